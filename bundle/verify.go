package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
)

// Limits bound what an archive may cost; the zero value has the defaults.
type Limits = safearchive.Limits

// A RefusedError says why an archive is refused: it is an answer about the
// archive, as opposed to an error of the disk.
type RefusedError = safearchive.RefusedError

// A VerifyReport is what [Verify] found out about a good archive.
type VerifyReport struct {
	Archive  string
	Manifest *schema.Manifest
	Digest   string // computed, and equal to the manifest's
	Files    int
	Bytes    int64 // of all files
}

// Verify reads an archive of any of the formats from front to back, and compares every entry with
// the manifest that must come first. The error is a [*RefusedError] when the
// archive is not exactly what its manifest says, or is not to be unpacked. Of a
// delta this is known of its files; whether they make the bundle that the manifest
// promises is known when it is unpacked over its base.
func Verify(ctx context.Context, archive string) (*VerifyReport, error) {
	return VerifyFile(ctx, archive, nil)
}

// VerifyFile is Verify for an archive that is open already, so that what is read is what
// somebody has looked at, whatever is at the path by now. A nil f opens it.
func VerifyFile(ctx context.Context, archive string, f *os.File) (*VerifyReport, error) {
	m, err := verify(ctx, archive, f, nil)
	if err != nil {
		return nil, err
	}
	return m.report(), nil
}

// SBOM verifies an archive, and gives the bill of materials that is in it, nil
// where there is none.
func SBOM(ctx context.Context, archive string) ([]byte, error) {
	var b bytes.Buffer
	m, err := verify(ctx, archive, nil, &b)
	if err != nil || m.manifest.SBOM == "" {
		return nil, err
	}
	return b.Bytes(), nil
}

// opened gives an archive that is open already, or opens it; done closes what it has
// opened.
func opened(archive string, f *os.File) (in *os.File, done func(), err error) {
	if f != nil {
		return f, func() {}, nil
	}
	in, err = os.Open(archive)
	return in, func() { in.Close() }, err // opened for reading: nothing can be lost
}

// verify reads an archive to its end, from f unless that is nil. The bill of materials
// goes to sbom, unless that is nil.
func verify(ctx context.Context, archive string, f *os.File, sbom io.Writer) (*matcher, error) {
	f, done, err := opened(archive, f)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := safearchive.Open(ctx, archive, f, safearchive.OpenOptions{})
	if err != nil {
		return nil, explainForeign(err)
	}
	defer r.Close()
	m, err := readAnyManifest(archive, r)
	if err != nil {
		return nil, err
	}
	if err := m.readAll(r, func(e safearchive.Entry) (io.Writer, error) {
		if sbom == nil || !m.isSBOM(e) || e.Size > schema.MaxSBOM {
			return nil, nil
		}
		return sbom, nil
	}); err != nil {
		return nil, err
	}
	return m, m.finish()
}

// A noManifestError is the refusal of an archive that others made.
type noManifestError struct{ refused RefusedError }

func (e *noManifestError) Error() string { return e.refused.Error() }

func (e *noManifestError) Unwrap() error { return &e.refused }

// Hint says how to unpack it all the same.
func (e *noManifestError) Hint() string {
	return "unpack it with --no-manifest if you trust who made it"
}

func errNoManifest(archive string) error {
	return &noManifestError{RefusedError{Archive: archive,
		Reason: "the first entry is not " + manifestPath + ": no archive of appbundle"}}
}

// A foreignError is the refusal of a format that is not ours.
type foreignError struct{ refused *safearchive.ForeignError }

func (e *foreignError) Error() string { return e.refused.Error() }

func (e *foreignError) Unwrap() error { return e.refused }

// Hint says what can be done with it all the same.
func (e *foreignError) Hint() string {
	if e.refused.Known {
		return "unpack it with --no-manifest if you trust who made it"
	}
	return "unpack it with the program that made it, or have it packed as tar.gz or zip"
}

// explainForeign adds the hint where err is about a format of others.
func explainForeign(err error) error {
	var foreign *safearchive.ForeignError
	if errors.As(err, &foreign) {
		return &foreignError{foreign}
	}
	return err
}

// A matcher compares the entries of an archive with its manifest.
type matcher struct {
	archive  string
	manifest *schema.Manifest
	data     []byte // the manifest as it is in the archive
	index    map[string]int
	seen     []bool
	left     int
	entries  int  // that were compared
	sbom     bool // the bill of materials was found good
	claims   *claims
}

// readManifest reads the first entry, which must be the manifest of a bundle. Where
// that is no manifest, r gives it once more.
func readManifest(archive string, r *safearchive.Reader) (*matcher, error) {
	x, err := readAnyManifest(archive, r)
	if err == nil && x.manifest.Delta != nil {
		return nil, newDeltaError(archive, x.manifest)
	}
	return x, err
}

// readAnyManifest is readManifest, also of a delta.
func readAnyManifest(archive string, r *safearchive.Reader) (*matcher, error) {
	e, err := r.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errNoManifest(archive)
	case err != nil:
		return nil, err
	case !isManifest(e):
		r.Unread()
		return nil, errNoManifest(archive)
	}
	m, data, err := parseManifest(archive, r, e)
	if err != nil {
		return nil, err
	}
	x := &matcher{archive: archive, manifest: m, data: data, left: len(m.Entries),
		index: make(map[string]int, len(m.Entries)), seen: make([]bool, len(m.Entries))}
	for i := range m.Entries {
		x.index[m.Entries[i].Path] = i
		if m.Delta != nil && m.Entries[i].Type != schema.EntryFile {
			x.seen[i] = true // all there is of it is in the manifest
			x.left--
		}
	}
	x.claims = newClaims(m, x.index)
	return x, nil
}

// isManifest reports whether an entry that is the first can be the manifest.
func isManifest(e safearchive.Entry) bool {
	return e.Path == manifestPath && e.Type == safearchive.File && e.Hard == ""
}

// parseManifest reads the manifest e, and tells r what it announces.
func parseManifest(archive string, r *safearchive.Reader, e safearchive.Entry) (*schema.Manifest, []byte, error) {
	if e.Size > schema.MaxManifest {
		return nil, nil, &RefusedError{Archive: archive, Entry: e.Path, Reason: fmt.Sprintf("has %d bytes, more than %d", e.Size, schema.MaxManifest)}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, err
	}
	m, problems := schema.ParseManifest(manifestPath, data)
	if len(problems) > 0 {
		return nil, nil, &RefusedError{Archive: archive, Reason: problems[0].Error()}
	}
	var size int64
	for i := range m.Entries {
		size += min(m.Entries[i].Size, math.MaxInt64-size)
	}
	entries := len(m.Entries)
	if m.SBOM != "" {
		entries++
	}
	if err := r.Announce(entries, size); err != nil {
		return nil, nil, err
	}
	return m, data, nil
}

// readAll reads every entry and compares it. The content of a file goes to the
// writer that copyOf gives for it as well; nil is no writer.
func (x *matcher) readAll(r *safearchive.Reader, copyOf func(e safearchive.Entry) (io.Writer, error)) error {
	h := sha256.New()
	buf := make([]byte, bufSize)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var sum [sha256.Size]byte
		if e.Type == safearchive.File {
			h.Reset()
			to := io.Writer(h)
			if copyOf != nil {
				w, err := copyOf(e)
				if err != nil {
					return err
				}
				if w != nil {
					to = io.MultiWriter(h, w)
				}
			}
			if x.claims.wants[e.Path] {
				if err := x.claims.read(e.Path, io.TeeReader(onlyReader{r}, to)); err != nil {
					return err
				}
			}
			if _, err := io.CopyBuffer(to, onlyReader{r}, buf); err != nil {
				return err
			}
			h.Sum(sum[:0])
		}
		if err := x.entry(e, sum); err != nil {
			return err
		}
	}
}

// onlyReader keeps io.CopyBuffer to its buffer.
type onlyReader struct{ io.Reader }

// entry compares one entry, of which all content was read. It is the one check
// that Verify and Unpack share.
func (x *matcher) entry(e safearchive.Entry, sum [sha256.Size]byte) error {
	x.entries++
	if x.isSBOM(e) {
		return x.bill(e, sum)
	}
	i, ok := x.index[e.Path]
	if !ok {
		return x.refuse(e.Path, "is not in the manifest")
	}
	want := x.manifest.Entries[i]
	got := schema.ManifestEntry{Path: e.Path, Type: string(typeOfEntry(e)), Link: e.Link}
	if e.Type == safearchive.File {
		got.X, got.Size, got.SHA256 = e.X, e.Size, hex.EncodeToString(sum[:])
	}
	switch {
	case x.manifest.Delta != nil && e.Type != safearchive.File:
		return x.refuse(e.Path, "is a %s, and a delta has files alone", got.Type)
	case e.Hard != "":
		return x.refuse(e.Path, "is a hard link, which appbundle never writes")
	case got.Type != want.Type:
		return x.refuse(e.Path, "is a %s, and the manifest says %s", got.Type, want.Type)
	case got.Size != want.Size:
		return x.refuse(e.Path, "has %d bytes, and the manifest says %d", got.Size, want.Size)
	case got.SHA256 != want.SHA256:
		return x.refuse(e.Path, "has other content than the manifest says")
	case got != want:
		return x.refuse(e.Path, "has another mode or target than the manifest says")
	}
	x.seen[i] = true
	x.left--
	return nil
}

// isSBOM reports the bill of materials.
func (x *matcher) isSBOM(e safearchive.Entry) bool {
	return x.manifest.SBOM != "" && e.Path == sbomPath
}

// bill compares the bill of materials, which follows the manifest.
func (x *matcher) bill(e safearchive.Entry, sum [sha256.Size]byte) error {
	switch {
	case x.entries != 1:
		return x.refuse(e.Path, "does not follow the manifest")
	case e.Type != safearchive.File || e.Hard != "" || e.X:
		return x.refuse(e.Path, "is no plain file")
	case e.Size > schema.MaxSBOM:
		return x.refuse(e.Path, "has %d bytes, more than %d", e.Size, schema.MaxSBOM)
	case hex.EncodeToString(sum[:]) != x.manifest.SBOM:
		return x.refuse(e.Path, "has other content than the manifest says")
	}
	x.sbom = true
	return nil
}

func typeOfEntry(e safearchive.Entry) Type { return entryOf(e).Type }

func (x *matcher) refuse(entry, format string, args ...any) error {
	return &RefusedError{Archive: x.archive, Entry: entry, Reason: fmt.Sprintf(format, args...)}
}

// finish is called after the last entry.
func (x *matcher) finish() error {
	if x.manifest.SBOM != "" && !x.sbom {
		return x.refuse(sbomPath, "is in the manifest and not in the archive")
	}
	for i, ok := range x.seen {
		if !ok {
			return x.refuse(x.manifest.Entries[i].Path, "is in the manifest and not in the archive")
		}
	}
	if x.manifest.Delta != nil {
		return nil // the digest is that of entries which the base has
	}
	if d := schema.TreeDigest(x.manifest.Entries); d != x.manifest.Digest {
		return x.refuse("", "the entries have the digest %s, and the manifest says %s", d, x.manifest.Digest)
	}
	return x.checkClaims()
}

func (x *matcher) report() *VerifyReport {
	rep := &VerifyReport{Archive: x.archive, Manifest: x.manifest, Digest: x.manifest.Digest}
	for i := range x.manifest.Entries {
		if e := &x.manifest.Entries[i]; e.Type == schema.EntryFile {
			rep.Files++
			rep.Bytes += e.Size
		}
	}
	return rep
}

// UnpackOptions are the settings of [Unpack].
type UnpackOptions struct {
	// NoManifest accepts an archive that others made, also as tar.xz or tar.bz2:
	// without a manifest there is nothing to compare it with. One that has a
	// manifest is compared.
	NoManifest bool
	// Base is the directory or archive of the bundle that a delta is from. It is
	// read and left as it is. "" takes bundles, and no delta.
	Base   string
	Limits Limits
	// Accept is shown the manifest before anything is unpacked; its error ends
	// the unpacking. Nil accepts every archive.
	Accept func(m *schema.Manifest) error
	// Finish may add to the directory what belongs to the host. It is called with
	// the directory under its temporary name, when all of the archive was found
	// good. Nil adds nothing.
	Finish func(ctx context.Context, dir string) error

	// File is the archive where it is open already, as for VerifyFile; nil opens it.
	File *os.File

	fs atomicfile.FS // for tests
}

// Unpack makes the directory dir, which must not exist, of an archive. The
// archive is read once and written into a staging directory beside dir, which
// gets its name after the last byte was found good. When it fails or ctx ends,
// nothing is left.
func Unpack(ctx context.Context, archive, dir string, opts UnpackOptions) error {
	f, done, err := opened(archive, opts.File)
	if err != nil {
		return err
	}
	defer done()
	staging, err := opts.fs.Staging(dir, 0o755)
	if err != nil {
		return err
	}
	err = unpackInto(ctx, archive, f, staging, opts)
	if err == nil && opts.Finish != nil {
		err = opts.Finish(ctx, staging.Path())
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return withCleanup(err, staging.Abort())
	}
	return staging.Commit()
}

// withCleanup adds the error of a cleanup that failed too, and leaves err as
// it is where it did not.
func withCleanup(err, cleanup error) error {
	if cleanup != nil {
		return errors.Join(err, cleanup)
	}
	return err
}

func unpackInto(ctx context.Context, archive string, f *os.File, staging *atomicfile.Dir, opts UnpackOptions) error {
	r, err := safearchive.Open(ctx, archive, f, safearchive.OpenOptions{Limits: opts.Limits, Foreign: opts.NoManifest})
	if err != nil {
		return explainForeign(err)
	}
	defer r.Close()
	if opts.Base != "" {
		return unpackDelta(ctx, archive, r, staging, opts)
	}
	return unpackFrom(ctx, archive, r, staging, opts)
}

// unpackFrom unpacks what r gives.
func unpackFrom(ctx context.Context, archive string, r *safearchive.Reader, staging *atomicfile.Dir, opts UnpackOptions) error {
	m, err := readManifest(archive, r)
	var none *noManifestError
	if opts.NoManifest && errors.As(err, &none) {
		return safearchive.Extract(ctx, r, staging.Root(), safearchive.Options{})
	}
	if err != nil {
		return err
	}
	if opts.Accept != nil {
		if err := opts.Accept(m.manifest); err != nil {
			return err
		}
	}
	if err := writeManifest(staging.Root(), m.data); err != nil {
		return err
	}
	observe := func(e safearchive.Entry, sum [sha256.Size]byte) error { return m.observe(staging.Root(), e, sum) }
	if err := safearchive.Extract(ctx, r, staging.Root(), safearchive.Options{Observe: observe}); err != nil {
		return err
	}
	return m.finish()
}

// writeManifest puts the manifest where the archive has it.
func writeManifest(root *atomicfile.Root, data []byte) error {
	if err := root.Mkdir(toolDir, 0o755); err != nil {
		return err
	}
	f, err := root.Create(manifestPath, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
