package build

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"appbundle/install"
	"appbundle/internal/atomicfile"
	"appbundle/schema"
	"appbundle/schema/pep508"
)

// entryName is the file in CACHE/builds/KEY that has a wheel beside it. What a
// backend asks for is in CACHE/builds/KEY.json.
const entryName = "entry.json"

// entryFormat is the format number of an entry.
const entryFormat = 1

// An entry says what wheel is beside it, or what a backend asks for.
type entry struct {
	Format   int      `json:"format"`
	Wheel    string   `json:"wheel,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
	Size     int64    `json:"size,omitempty"`
	Requires []string `json:"requires,omitempty"`
}

// maxEntry is the size of the largest entry, in bytes.
const maxEntry = 1 << 20

// decodeEntry reads an entry. Who finds an error builds again.
func decodeEntry(data []byte) (*entry, error) {
	if len(data) > maxEntry {
		return nil, errors.New("it is too large")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	e := &entry{}
	if err := d.Decode(e); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("it has more than one value")
	}
	if e.Format != entryFormat {
		return nil, fmt.Errorf("it has the format %d", e.Format)
	}
	if e.Wheel != "" {
		if _, err := pep508.ParseWheelName(e.Wheel); err != nil || e.Wheel != filepath.Base(e.Wheel) {
			return nil, fmt.Errorf("%q is no name of a wheel", e.Wheel)
		}
	}
	_, err := requirements(e.Requires)
	return e, err
}

func readEntry(path string) *entry {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	e, err := decodeEntry(data)
	if err != nil {
		return nil
	}
	return e
}

// key is the digest of everything that a part of a build depends on; used are the
// packages that take part.
func (b *builder) key(part string, tools *schema.PyLock) (key string, used []schema.LockedBuildRequirement) {
	for i := range tools.Packages {
		p := &tools.Packages[i]
		for _, f := range p.Files() {
			used = append(used, schema.LockedBuildRequirement{Name: p.Name, Version: p.Version, SHA256: f.SHA256()})
		}
	}
	slices.SortFunc(used, func(a, b schema.LockedBuildRequirement) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.SHA256, b.SHA256))
	})
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n%s\n%s %s\n", entryFormat, part, b.SHA256, b.host.Name, b.full) // never fails
	for _, u := range used {
		fmt.Fprintf(h, "%s %s %s\n", u.Name, u.Version, u.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil)), used
}

func (b *builder) at(name string) string { return filepath.Join(b.Cache, install.BuildsDir, name) }

// kept gives a wheel that was built before, nil where there is none that is
// whole.
func (b *builder) kept(key string) *Wheel {
	e := readEntry(filepath.Join(b.at(key), entryName))
	if e == nil || e.Wheel == "" {
		return nil
	}
	w := &Wheel{Path: filepath.Join(b.at(key), e.Wheel), Name: e.Wheel}
	var err error
	if w.SHA256, w.Size, err = sumOf(w.Path); err != nil || w.SHA256 != e.SHA256 || w.Size != e.Size {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(b.at(key), now, now) // when it was used: only Prune wants to know
	return w
}

// keep puts the wheel into the cache, from where it is used. An entry of another
// process, which was faster, does as well; a damaged one is replaced.
func (b *builder) keep(key string, w *Wheel) error {
	at := b.at(key)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	err := b.commit(at, w)
	if errors.Is(err, fs.ErrExist) {
		if other := b.kept(key); other != nil {
			w.Path, w.Name, w.SHA256, w.Size = other.Path, other.Name, other.SHA256, other.Size
			return nil
		}
		if err := atomicfile.RemoveAll(at); err != nil {
			return err
		}
		err = b.commit(at, w)
	}
	w.Path = filepath.Join(at, w.Name)
	return err
}

// commit makes an entry of the cache, which must not be there.
func (b *builder) commit(at string, w *Wheel) error {
	d, err := atomicfile.Staging(at, 0o755)
	if err != nil {
		return err
	}
	defer d.Abort()
	text, err := json.Marshal(entry{Format: entryFormat, Wheel: w.Name, SHA256: w.SHA256, Size: w.Size})
	if err != nil {
		return err
	}
	fill := d.Filler()
	if err := fill.WriteFile(entryName, text, 0o444); err != nil {
		return err
	}
	if err := copyWheel(fill, w); err != nil {
		return err
	}
	return d.Commit()
}

// copyWheel copies the wheel, because somebody may still hold the file that it is
// in, and sees that it is what was checked.
func copyWheel(fill *atomicfile.Filler, w *Wheel) error {
	in, err := os.Open(w.Path)
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	out, err := fill.Create(w.Name, 0o444)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), in)
	if err == nil && hex.EncodeToString(h.Sum(nil)) != w.SHA256 {
		err = errors.New(w.Name + " changed while it was copied")
	}
	return errors.Join(err, out.Close())
}

// keptRequires gives what the backend asked for before.
func (b *builder) keptRequires(key string) ([]*pep508.Requirement, bool) {
	e := readEntry(b.at(key + ".json"))
	if e == nil {
		return nil, false
	}
	list, err := requirements(e.Requires)
	return list, err == nil
}

// keepRequires remembers what the backend asks for. A cache that cannot be
// written shows when the wheel is kept.
func (b *builder) keepRequires(key string, texts []string) {
	text, err := json.Marshal(entry{Format: entryFormat, Requires: texts})
	if err == nil && os.MkdirAll(b.at(""), 0o755) == nil {
		_ = atomicfile.WriteFile(b.at(key+".json"), text, 0o644)
	}
}
