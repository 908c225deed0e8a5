package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"appbundle/internal/atomicfile"
	"appbundle/internal/fetch"
)

// A VerifyRequest says what to look at.
type VerifyRequest struct {
	Dir    string // the cache directory; that there is none is no error
	Remove bool   // what is damaged
	Waits  func() // hears that somebody uses the cache, for whom Verify waits; nil means nobody does
	// Progress hears how many entries have been dealt with; nil means nobody does.
	Progress func(done int)
}

// A Damage is an entry of the cache that is not what it was.
type Damage struct {
	Kind   string // "wheel", "bytecode", or "pages", "metadata", "sidecars", "files" for what was fetched
	SHA256 string // of the wheel or file, or of the key of what is neither
	Name   string // "flask 3.1.3", "" where not even that is known
	File   string // of the wheel; "" where its index is damaged
	Reason string
}

// String is one line.
func (d *Damage) String() string {
	s := d.Kind + " " + d.SHA256
	if d.Name != "" {
		s += " (" + d.Name + ")"
	}
	if d.File != "" {
		s += ": " + d.File
	}
	return s + ": " + d.Reason
}

// Verify reads the cache and reports what is not as it was stored: somebody
// wrote to a file that is shared, or the disk did. With Remove it removes such
// entries, so that they are fetched anew, and waits until nobody uses the cache;
// environments that share the damage have to be made anew. The content of byte
// code is not judged: it can always be made from the wheel, and goes with it.
func Verify(ctx context.Context, req VerifyRequest) ([]Damage, error) {
	v := &verification{VerifyRequest: req}
	fetched, err := fetch.Verify(ctx, req.Dir, req.Remove, req.Waits, v.tell)
	for _, d := range fetched {
		v.found = append(v.found, Damage{Kind: string(d.Bucket), SHA256: d.Name, Reason: d.Reason})
	}
	if err != nil {
		return v.found, err
	}
	unlock, err := atomicfile.Lock(ctx, req.Dir, req.Remove, req.Waits)
	if errors.Is(err, fs.ErrNotExist) {
		return v.found, nil
	}
	if err != nil {
		return v.found, err
	}
	defer unlock()
	c := &cache{dir: req.Dir}
	if err := c.entries(ctx, wheelsDir, isDigest, func(e cacheEntry) error { return v.wheel(ctx, c, e) }); err != nil {
		return v.found, err
	}
	return v.found, c.bytecodes(ctx, v.bytecode)
}

// A verification is a Verify on its way.
type verification struct {
	VerifyRequest
	found []Damage
	done  int
}

func (v *verification) tell() {
	if v.done++; v.Progress != nil {
		v.Progress(v.done)
	}
}

func (v *verification) wheel(ctx context.Context, c *cache, e cacheEntry) error {
	if e.left {
		return nil // nothing reads it
	}
	v.tell()
	d, err := verifyTree(ctx, e.path)
	if err != nil || d == nil {
		return err
	}
	v.found = append(v.found, *d)
	if !v.Remove {
		return nil
	}
	err = c.bytecodes(ctx, func(b cacheEntry) error {
		if b.left || b.name != e.name {
			return nil
		}
		return atomicfile.RemoveAll(b.path)
	})
	if err != nil {
		return err
	}
	return atomicfile.RemoveAll(e.path)
}

// bytecode looks whether the files of the index are there.
func (v *verification) bytecode(e cacheEntry) error {
	if e.left {
		return nil // nothing reads it
	}
	v.tell()
	d := Damage{Kind: "bytecode", SHA256: e.name}
	switch b, err := readBytecode(e.path); {
	case errors.Is(err, errIndex), errors.Is(err, fs.ErrNotExist):
		d.Reason = "its index is damaged"
	case err != nil:
		return err
	default:
		for _, f := range b.files {
			if st, err := os.Lstat(filepath.Join(e.path, filepath.FromSlash(f))); err != nil || !st.Mode().IsRegular() {
				d.File, d.Reason = f, "is missing"
				break
			}
		}
	}
	if d.Reason == "" {
		return nil
	}
	v.found = append(v.found, d)
	if !v.Remove {
		return nil
	}
	return atomicfile.RemoveAll(e.path)
}

// verifyTree compares the files of a tree with its index.
func verifyTree(ctx context.Context, path string) (*Damage, error) {
	d := &Damage{Kind: "wheel", SHA256: filepath.Base(path)}
	t, err := readTree(path)
	if errors.Is(err, errIndex) || errors.Is(err, fs.ErrNotExist) {
		d.Reason = "its index is damaged"
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	d.Name = t.name + " " + t.version
	for _, f := range t.files {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		sum, size, err := hashFile(filepath.Join(path, filepath.FromSlash(f.path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.Reason = "is missing"
		case errors.Is(err, fs.ErrPermission):
			return nil, err
		case err != nil:
			d.Reason = "cannot be read: " + err.Error()
		case size != f.size:
			d.Reason = fmt.Sprintf("has %d bytes, and had %d", size, f.size)
		case sum != f.sum:
			d.Reason = "has another content"
		default:
			continue
		}
		d.File = f.path
		return d, nil
	}
	return nil, nil
}

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	h := sha256.New()
	size, err = io.Copy(h, f)
	return encodeSum(h.Sum(nil)), size, err
}
