package bundle

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
)

// DeltaOptions are the settings of [Delta].
type DeltaOptions struct {
	// Output is that of BuildOptions; the delta's own name is
	// NAME-VERSION-TARGET.from-OLDVERSION and the type.
	Output string
	Type   ArchiveType // that of BuildOptions
	Tool   string      // name and version of the tool, for the manifest

	fs atomicfile.FS // for tests
}

// A DeltaResult is what [Delta] wrote.
type DeltaResult struct {
	Path    string
	Digest  string // of the bundle that the delta makes
	Base    string // digest of the bundle that it is from
	Size    int64  // of the delta
	Files   int    // in it
	Bytes   int64  // of all of them
	Deleted int    // paths of the base
}

// A deltaError is the refusal of a delta where a bundle is wanted.
type deltaError struct{ refused RefusedError }

func newDeltaError(archive string, m *schema.Manifest) error {
	return &deltaError{RefusedError{Archive: archive, Reason: fmt.Sprintf("is a delta: what changed in %s since %s, and no bundle", m.Name, m.Delta.Version)}}
}

func (e *deltaError) Error() string { return e.refused.Error() }

func (e *deltaError) Unwrap() error { return &e.refused }

// Hint says how to make a bundle of it.
func (e *deltaError) Hint() string {
	return "unpack it over the bundle that it is from: appbundle unpack --base DIR|ARCHIVE DELTA DIR"
}

// Delta writes what makes the bundle in the archive fresh of the one in the archive
// old: the files that are new or changed, and a manifest with the rest. Both are
// read to their end and judged as [Verify] does. The same two bundles give the
// same bytes. Whatever fails, nothing half is left.
func Delta(ctx context.Context, old, fresh string, opts DeltaOptions) (*DeltaResult, error) {
	out, err := parseOutput(opts.Output, opts.Type)
	if err != nil {
		return nil, err
	}
	base, err := Verify(ctx, old)
	if err != nil {
		return nil, err
	}
	if base.Manifest.Delta != nil {
		return nil, newDeltaError(old, base.Manifest)
	}
	f, err := os.Open(fresh)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	r, err := safearchive.Open(ctx, fresh, f, safearchive.OpenOptions{})
	if err != nil {
		return nil, explainForeign(err)
	}
	defer r.Close()
	x, err := readManifest(fresh, r)
	if err != nil {
		return nil, err
	}
	switch m := x.manifest; {
	case m.Name != base.Manifest.Name:
		return nil, x.refuse("", "is an archive of %s, and %s is one of %s", m.Name, old, base.Manifest.Name)
	case m.Digest == base.Digest:
		return nil, x.refuse("", "has the digest of %s, %s: nothing changed", old, m.Digest)
	}
	d := &deltaWriter{new: x, manifest: deltaManifest(base.Manifest, x.manifest, out.kind, opts.Tool)}
	path := filepath.Join(out.dir, out.name)
	if out.name == "" {
		path = filepath.Join(out.dir, deltaName(d.manifest, out.kind))
	}
	for _, input := range []string{old, fresh} {
		if same, err := samePlace(input, path); err != nil || same {
			return nil, orUsage(err, "%s: would be written over what it is made of", path)
		}
	}
	made, err := out.makeDir()
	if err != nil {
		return nil, err
	}
	res, err := d.write(r, path, out.kind, opts.fs)
	if err != nil && made {
		err = withCleanup(err, os.Remove(out.dir))
	}
	return res, err
}

// samePlace reports whether two paths name one file that exists.
func samePlace(a, b string) (bool, error) {
	ai, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	bi, err := os.Stat(b)
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil && os.SameFile(ai, bi), err
}

func orUsage(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return &UsageError{fmt.Sprintf(format, args...)}
}

// deltaManifest compares two manifests.
func deltaManifest(old, fresh *schema.Manifest, t ArchiveType, tool string) *schema.Manifest {
	d := *fresh
	d.Format, d.Tool, d.Compressor = schema.DeltaFormat, tool, t.compressor()
	d.Delta = &schema.ManifestDelta{Base: old.Digest, Version: old.Version, Deleted: []string{}}
	d.Entries, d.SBOM = []schema.ManifestEntry{}, ""
	was := make(map[string]schema.ManifestEntry, len(old.Entries))
	for _, e := range old.Entries {
		was[e.Path] = e
	}
	for _, e := range fresh.Entries {
		if before, ok := was[e.Path]; !ok || before != e {
			d.Entries = append(d.Entries, e)
		}
		delete(was, e.Path)
	}
	for _, e := range old.Entries {
		if _, ok := was[e.Path]; ok {
			d.Delta.Deleted = append(d.Delta.Deleted, e.Path)
		}
	}
	return &d
}

// deltaName is the name of a delta.
func deltaName(m *schema.Manifest, t ArchiveType) string {
	return m.Name + "-" + m.Version + "-" + m.Target + ".from-" + m.Delta.Version + "." + string(t)
}

// A deltaWriter copies the changed files of an archive.
type deltaWriter struct {
	new      *matcher
	manifest *schema.Manifest
}

func (d *deltaWriter) write(r *safearchive.Reader, path string, t ArchiveType, fs atomicfile.FS) (*DeltaResult, error) {
	f, err := fs.Create(path, 0o644)
	if err != nil {
		return nil, err
	}
	w := &countingWriter{f: f}
	if err := d.pack(r, w, t); err != nil {
		return nil, withCleanup(err, f.Abort())
	}
	if err := f.Commit(); err != nil {
		return nil, err
	}
	m := d.manifest
	res := &DeltaResult{Path: path, Digest: m.Digest, Base: m.Delta.Base, Size: w.n, Deleted: len(m.Delta.Deleted)}
	for i := range m.Entries {
		if e := &m.Entries[i]; e.Type == schema.EntryFile {
			res.Files++
			res.Bytes += e.Size
		}
	}
	return res, nil
}

func (d *deltaWriter) pack(r *safearchive.Reader, w io.Writer, t ArchiveType) error {
	data, err := d.manifest.Encode()
	if err != nil {
		return err
	}
	p, err := newPacker(t, w)
	if err != nil {
		return err
	}
	if err := d.entries(r, p, data); err != nil {
		p.discard()
		return err
	}
	return p.end()
}

// entries writes the manifest and the changed files, and reads all others too: a
// delta is from and to bundles that are whole.
func (d *deltaWriter) entries(r *safearchive.Reader, p packer, manifest []byte) error {
	if err := writeEntry(p, &Entry{Path: manifestPath, Type: File, Size: int64(len(manifest))}, manifest); err != nil {
		return err
	}
	changed := map[string]*schema.ManifestEntry{}
	for i := range d.manifest.Entries {
		changed[d.manifest.Entries[i].Path] = &d.manifest.Entries[i]
	}
	err := d.new.readAll(r, func(e safearchive.Entry) (io.Writer, error) {
		m := changed[e.Path]
		if m == nil {
			return nil, nil
		}
		if e.Size != m.Size {
			return nil, d.new.refuse(e.Path, "has %d bytes, and the manifest says %d", e.Size, m.Size)
		}
		return p, p.begin(entryOfManifest(m))
	})
	if err != nil {
		return err
	}
	return d.new.finish()
}

// writeEntry writes a file of which all content is there.
func writeEntry(p packer, e *Entry, content []byte) error {
	if err := p.begin(e); err != nil {
		return err
	}
	_, err := p.Write(content)
	return err
}

// entryOfManifest gives an entry as it is written into an archive.
func entryOfManifest(m *schema.ManifestEntry) *Entry {
	return &Entry{Path: m.Path, Type: Type(m.Type), X: m.X, Size: m.Size, Link: m.Link}
}
