package pypi

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"appbundle/internal/fetch"
	"appbundle/resolve"
)

// wheelText reads METADATA out of the end of a wheel, or out of all of it where
// the server gives no parts.
func (x *Index) wheelText(ctx context.Context, f *file) (text, error) {
	t, err := x.wheelEnd(ctx, f)
	var e *fetch.Error
	if errors.Is(err, errScattered) || errors.As(err, &e) && e.Status == 416 {
		var kept fetch.Kept
		if kept, err = x.client.File(ctx, f.fetchFile()); err == nil {
			return readArchive(f, kept.Path)
		}
	}
	return t, err
}

func (x *Index) wheelEnd(ctx context.Context, f *file) (text, error) {
	part, err := x.client.Tail(ctx, f.fetchFile(), tailSize(f.Size))
	if err != nil {
		return text{}, err
	}
	if part.Whole != nil {
		return readArchive(f, part.Whole.Path)
	}
	whole := f.fetchFile()
	whole.Size = part.Size
	w := &window{
		size:  part.Size,
		spans: []span{{part.From, part.Data}},
		get: func(from, n int64) (*fetch.Part, error) {
			return x.client.Range(ctx, whole, from, n)
		},
	}
	data, err := w.readMETADATA(f)
	if w.whole != nil {
		return readArchive(f, w.whole.Path)
	}
	if w.err != nil {
		return text{}, w.err
	}
	return text{data: data}, err
}

// tailSize guesses how much of the end of a wheel has its directory and its
// metadata: some 100 bytes for each file, and wheels with many are large.
func tailSize(size int64) int64 {
	if size == 0 {
		return 64 << 10
	}
	return min(size, 16<<10+size/200, 512<<10)
}

// errScattered says that reading parts takes more than reading all.
var errScattered = errors.New("what is asked for is all over the file")

const (
	maxParts   = 6
	partAhead  = 32 << 10 // asked for with a directory: METADATA is before it, as wheels are written
	partSmall  = 64 << 10 // asked for elsewhere
	maxBetween = 8 << 20  // the largest gap in a directory that is closed
)

// A window is an io.ReaderAt over a file of which parts are at hand. It is used
// by one goroutine, for one look at one wheel.
type window struct {
	size  int64
	spans []span
	get   func(from, n int64) (*fetch.Part, error)
	parts int
	small bool // what is missing is one member, and not the directory

	err   error       // why a part could not be had
	whole *fetch.Kept // where the server gave all instead of a part
}

// A span is a part at hand.
type span struct {
	from int64
	data []byte
}

// ReadAt gets what is missing. An archive may point outside of itself.
func (w *window) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= w.size {
		return 0, io.EOF
	}
	if int64(len(p)) > w.size-off {
		p, err = p[:w.size-off], io.EOF
	}
	for n < len(p) {
		at := off + int64(n)
		s := w.at(at)
		if s == nil {
			if w.err = w.fetch(at, int64(len(p)-n)); w.err != nil || w.whole != nil {
				return n, io.ErrUnexpectedEOF
			}
			continue
		}
		n += copy(p[n:], s.data[at-s.from:])
	}
	return n, err
}

// at gives the span that has a byte, nil for none.
func (w *window) at(off int64) *span {
	for i := range w.spans {
		if s := &w.spans[i]; off >= s.from && off < s.from+int64(len(s.data)) {
			return s
		}
	}
	return nil
}

// readMETADATA reads the directory and then the one member.
func (w *window) readMETADATA(f *file) ([]byte, error) {
	z, err := openZip(f, w, w.size)
	if err != nil {
		return nil, err
	}
	w.small = true
	return memberMETADATA(f, z)
}

// fetch gets a part that begins at or before off. Of a directory the end is at
// hand, and what is before that is got at once.
func (w *window) fetch(off, n int64) error {
	if w.parts++; w.parts > maxParts {
		return errScattered
	}
	from, end := off, off+max(n, partSmall)
	next := w.after(off)
	if !w.small && next-off <= maxBetween {
		from, end = max(off-partAhead, 0), next
	}
	end = min(end, next)
	part, err := w.get(from, end-from)
	if err != nil {
		return err
	}
	if w.whole = part.Whole; w.whole == nil {
		w.spans = append(w.spans, span{part.From, part.Data})
	}
	return nil
}

// after gives where the first span after off begins. There is one: the first
// part reaches to the end of the file, and nothing behind it is asked for.
func (w *window) after(off int64) int64 {
	next := w.spans[0].from
	for _, s := range w.spans {
		if s.from > off && (s.from < next || next <= off) {
			next = s.from
		}
	}
	return next
}

// readArchive reads the metadata out of a whole file.
func readArchive(f *file, path string) (text, error) {
	in, err := os.Open(path)
	if err != nil {
		return text{}, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return text{}, err
	}
	var data []byte
	switch {
	case f.Wheel != nil:
		data, err = readMETADATA(f, in, info.Size())
	case strings.HasSuffix(f.Name, ".zip"):
		data, err = readZipSdist(f, in, info.Size())
	default:
		data, err = readTarSdist(f, in)
	}
	return text{data, true}, err
}

// readMETADATA reads NAME-VERSION.dist-info/METADATA.
func readMETADATA(f *file, r io.ReaderAt, size int64) ([]byte, error) {
	z, err := openZip(f, r, size)
	if err != nil {
		return nil, err
	}
	return memberMETADATA(f, z)
}

func memberMETADATA(f *file, z *zip.Reader) ([]byte, error) {
	return readMember(f, z, "METADATA in a .dist-info directory", func(name string) bool {
		dir, base, _ := strings.Cut(name, "/")
		return base == "METADATA" && strings.HasSuffix(dir, ".dist-info")
	})
}

// openZip reads the directory of a zip archive.
func openZip(f *file, r io.ReaderAt, size int64) (*zip.Reader, error) {
	z, err := zip.NewReader(&meter{r, maxDirectory}, size)
	if err != nil {
		return nil, &resolve.MetadataError{File: f.Name, Reason: "it is no zip archive: " + err.Error()}
	}
	return z, nil
}

// readMember reads the one member of a zip archive that wanted picks.
func readMember(f *file, z *zip.Reader, what string, wanted func(name string) bool) ([]byte, error) {
	var found *zip.File
	for _, m := range z.File {
		if !wanted(m.Name) {
			continue
		}
		if found != nil {
			return nil, &resolve.MetadataError{File: f.Name, Reason: "it has more than one " + what}
		}
		found = m
	}
	if found == nil {
		return nil, &resolve.MetadataError{File: f.Name, Reason: "it has no " + what}
	}
	if found.UncompressedSize64 > maxMetadata {
		return nil, &resolve.MetadataError{File: f.Name, Reason: fmt.Sprintf("its metadata has %d bytes, more than %d", found.UncompressedSize64, maxMetadata)}
	}
	data, err := readZipMember(found)
	if err != nil {
		return nil, &resolve.MetadataError{File: f.Name, Reason: "its metadata cannot be unpacked: " + err.Error()}
	}
	return data, nil
}

// maxDirectory bounds how much is read of a zip archive, in bytes: its directory,
// of which every entry takes memory, and one member.
const maxDirectory = 24 << 20

// A meter reads no more than is left.
type meter struct {
	r    io.ReaderAt
	left int64
}

func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, fmt.Errorf("its directory has more than %d bytes", maxDirectory)
	}
	return m.r.ReadAt(p, off)
}

func readZipMember(m *zip.File) ([]byte, error) {
	const encrypted = 1
	if m.Flags&encrypted != 0 {
		return nil, errors.New("it is encrypted")
	}
	in, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxMetadata+1))
	if err == nil && len(data) > maxMetadata {
		err = errors.New("it is larger than it says")
	}
	return data, err
}
