package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
)

// A baseFiles gives the files of a bundle that a delta is from.
type baseFiles interface {
	// manifest gives all entries, in bytewise order, and their digest.
	manifest() (entries []schema.ManifestEntry, digest string)
	// each gives put every file that wanted has, with its content, in any order.
	each(wanted map[string]bool, put func(path string, content io.Reader) error) error
	// other is the error of a file whose content is not what manifest said.
	other(path string) error
	close()
}

// openBase opens a directory or an archive.
func openBase(ctx context.Context, path string) (baseFiles, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		app, err := Load(path)
		return &baseDir{ctx, app}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := &baseArchive{f: f}
	if b.r, err = safearchive.Open(ctx, path, f, safearchive.OpenOptions{}); err != nil {
		b.close()
		return nil, explainForeign(err)
	}
	if b.x, err = readManifest(path, b.r); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// A baseDir is a base that was unpacked.
type baseDir struct {
	ctx context.Context // of one call of Unpack
	app *App
}

func (b *baseDir) manifest() ([]schema.ManifestEntry, string) {
	entries := b.app.manifestEntries()
	return entries, schema.TreeDigest(entries)
}

func (b *baseDir) each(wanted map[string]bool, put func(string, io.Reader) error) error {
	for i := range b.app.Entries {
		if err := b.ctx.Err(); err != nil {
			return context.Cause(b.ctx)
		}
		if e := &b.app.Entries[i]; wanted[e.Path] {
			if err := b.file(e, put); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *baseDir) file(e *Entry, put func(string, io.Reader) error) error {
	f, _, err := openEntry(b.app.Dir, e)
	if err != nil {
		return err
	}
	defer f.Close() // opened for reading: nothing can be lost
	return put(e.Path, f)
}

func (b *baseDir) other(path string) error { return fmt.Errorf("%s: %w", path, ErrChanged) }

func (b *baseDir) close() {}

// A baseArchive is a base that is read from front to back.
type baseArchive struct {
	f *os.File
	r *safearchive.Reader
	x *matcher
}

func (b *baseArchive) manifest() ([]schema.ManifestEntry, string) {
	return b.x.manifest.Entries, schema.TreeDigest(b.x.manifest.Entries)
}

func (b *baseArchive) each(wanted map[string]bool, put func(string, io.Reader) error) error {
	missing := len(wanted)
	for {
		e, err := b.r.Next()
		switch {
		case errors.Is(err, io.EOF) && missing > 0:
			return b.x.refuse("", "lacks %d of the files that are in its manifest", missing)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case e.Type != safearchive.File || e.Hard != "" || !wanted[e.Path]:
			continue
		}
		if err := put(e.Path, onlyReader{b.r}); err != nil {
			return err
		}
		missing--
	}
}

func (b *baseArchive) other(path string) error {
	return b.x.refuse(path, "has other content than the manifest says")
}

func (b *baseArchive) close() {
	if b.r != nil {
		_ = b.r.Close() // it frees memory
	}
	_ = b.f.Close() // opened for reading: nothing can be lost
}

// unpackDelta makes the whole bundle of the delta that r gives and of its base, as
// a tar that nobody stores, and unpacks that: what is unpacked passes every check
// that an archive passes.
func unpackDelta(ctx context.Context, archive string, r *safearchive.Reader, staging *atomicfile.Dir, opts UnpackOptions) error {
	x, err := readAnyManifest(archive, r)
	if err != nil {
		return err
	}
	if x.manifest.Delta == nil {
		return x.refuse("", "is no delta; unpack it without --base")
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	base, err := openBase(inner, opts.Base)
	if err != nil {
		return err
	}
	defer base.close()
	g, err := newGraft(x, base, opts.Base)
	if err != nil {
		return err
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := g.write(r, pw)
		pw.CloseWithError(err) // nil is io.EOF for the reader
		done <- err
	}()
	err = g.unpack(ctx, pr, staging, opts)
	cancel()
	pr.CloseWithError(errStopped)
	// Who wrote knows better than who read what was wrong, unless it was stopped.
	werr := <-done
	if werr == nil || errors.Is(werr, errStopped) || err != nil && errors.Is(werr, context.Canceled) {
		return err
	}
	return werr
}

// errStopped ends the writing of a tar whose reader has failed.
var errStopped = errors.New("the reader has stopped")

// A graft is a delta over its base.
type graft struct {
	delta    *matcher
	base     baseFiles
	manifest *schema.Manifest // of the whole
	kept     map[string]bool  // files that are the base's
	files    map[string]*schema.ManifestEntry
}

// newGraft decides where each entry of the whole comes from.
func newGraft(x *matcher, base baseFiles, name string) (*graft, error) {
	d := x.manifest.Delta
	old, digest := base.manifest()
	if digest != d.Base {
		return nil, x.refuse("", "is from the bundle %s, and %s has the digest %s", d.Base, name, digest)
	}
	whole := *x.manifest
	whole.Format, whole.Delta = schema.ManifestFormat, nil
	g := &graft{delta: x, base: base, manifest: &whole, kept: map[string]bool{}, files: map[string]*schema.ManifestEntry{}}
	deleted := make(map[string]bool, len(d.Deleted))
	for _, p := range d.Deleted {
		deleted[p] = true
	}
	whole.Entries = slices.Clone(x.manifest.Entries)
	for i := range old {
		e := &old[i]
		_, changed := x.index[e.Path]
		if deleted[e.Path] {
			delete(deleted, e.Path)
			continue
		}
		if changed {
			continue
		}
		whole.Entries = append(whole.Entries, *e)
		g.kept[e.Path] = e.Type == schema.EntryFile
	}
	for _, p := range d.Deleted {
		if deleted[p] {
			return nil, x.refuse(p, "is deleted by the delta, and not in its base")
		}
	}
	slices.SortFunc(whole.Entries, func(a, b schema.ManifestEntry) int { return cmp.Compare(a.Path, b.Path) })
	if got := schema.TreeDigest(whole.Entries); got != whole.Digest {
		return nil, x.refuse("", "makes a bundle with the digest %s of its base, and its manifest says %s", got, whole.Digest)
	}
	for i := range whole.Entries {
		e := &whole.Entries[i]
		if g.files[e.Path] = e; !g.kept[e.Path] {
			delete(g.kept, e.Path)
		}
	}
	return g, nil
}

// write writes the whole as a tar: its manifest, directories and links, the files
// of the base and those of the delta.
func (g *graft) write(r *safearchive.Reader, w io.Writer) error {
	data, err := g.manifest.Encode()
	if err != nil {
		return err
	}
	p, err := newPacker(Tar, w)
	if err != nil {
		return err
	}
	if err := writeEntry(p, &Entry{Path: manifestPath, Type: File, Size: int64(len(data))}, data); err != nil {
		return err
	}
	for i := range g.manifest.Entries {
		if e := &g.manifest.Entries[i]; e.Type != schema.EntryFile {
			if err := p.begin(entryOfManifest(e)); err != nil {
				return err
			}
		}
	}
	buf := make([]byte, bufSize)
	put := func(path string, content io.Reader) error { return g.copyFile(p, path, content, buf) }
	if err := g.base.each(g.kept, put); err != nil {
		return err
	}
	err = g.delta.readAll(r, func(e safearchive.Entry) (io.Writer, error) {
		i, ok := g.delta.index[e.Path]
		if !ok || g.delta.manifest.Entries[i].Size != e.Size || e.Hard != "" {
			return nil, nil // which the comparison refuses
		}
		return p, p.begin(entryOfManifest(&g.delta.manifest.Entries[i]))
	})
	if err != nil {
		return err
	}
	if err := g.delta.finish(); err != nil {
		return err
	}
	return p.end()
}

// copyFile writes a file of the base.
func (g *graft) copyFile(p packer, path string, content io.Reader, buf []byte) error {
	e := g.files[path]
	if err := p.begin(entryOfManifest(e)); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(p, h), io.LimitReader(content, e.Size), buf)
	if err != nil {
		return err
	}
	if more, _ := io.ReadFull(content, buf[:1]); n != e.Size || more > 0 || hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return g.base.other(path)
	}
	return nil
}

// unpack unpacks the tar. Its name in messages has no suffix: it is no file.
func (g *graft) unpack(ctx context.Context, tar io.Reader, staging *atomicfile.Dir, opts UnpackOptions) error {
	name := g.delta.archive + " over its base"
	r, err := safearchive.NewReader(ctx, name, tar, opts.Limits)
	if err != nil {
		return err
	}
	defer r.Close()
	opts.NoManifest = false
	return unpackFrom(ctx, name, r, staging, opts)
}
