package safearchive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
)

// A Zip is a zip archive whose directory was read and checked. Unlike a tar it
// can be read in any order, and all its names are known before its content. It
// belongs to one goroutine.
type Zip struct {
	name    string
	r       io.ReaderAt
	lim     Limits
	wheel   bool // the stricter rules of wheels
	entries []Entry
	places  []zipPlace // where the content of entries[i] is
	buf     *bufio.Reader
	inflate io.ReadCloser
}

// A zipPlace says where the content of an entry is, and what it must be.
type zipPlace struct {
	offset     int64 // of the content; of the local header while the directory is read
	compressed int64
	crc        uint32
	method     uint16
}

// OpenZip reads the directory of the zip archive r by the rules of wheels. It is
// size bytes, and messages call it name. Everything but the content of files is
// checked before it returns: a refusal is a [*RefusedError] or a [*LimitError].
func OpenZip(name string, r io.ReaderAt, size int64, limits Limits) (*Zip, error) {
	z := &Zip{name: name, r: r, lim: limits.withDefaults(), wheel: true}
	d := &zipDirectory{Zip: z, tree: newTree(&z.lim), size: size}
	err := d.read()
	if err == nil && d.total > d.lim.RatioAfter && d.total/d.lim.Ratio > d.size {
		err = over("", LimitRatio, d.lim.Ratio)
	}
	if err != nil {
		return nil, z.explain("", err)
	}
	return z, nil
}

// Entries lists the directories and files in the order of the archive's
// directory. The caller must not change it.
func (z *Zip) Entries() []Entry { return z.entries }

// Open begins to read the content of entry i, a file. What Read gives before
// [io.EOF] is worth nothing: size and checksum are judged there. The next Open
// ends the use of the reader before.
func (z *Zip) Open(i int) io.Reader {
	p := z.places[i]
	section := io.NewSectionReader(z.r, p.offset, p.compressed)
	if z.buf == nil {
		z.buf = bufio.NewReaderSize(section, streamBuffer)
	} else {
		z.buf.Reset(section)
	}
	f := &zipFile{z: z, e: &z.entries[i], want: p.crc, from: z.buf}
	if p.method == zipDeflated {
		if z.inflate == nil {
			z.inflate = flate.NewReader(z.buf)
		} else if err := z.inflate.(flate.Resetter).Reset(z.buf, nil); err != nil {
			f.err = err
		}
		f.from = z.inflate
	}
	return f
}

// explain completes a refusal with the archive's name, and says what an end of
// the archive or an error of a decoder means. An error of r wraps its cause.
func (z *Zip) explain(entry string, err error) error {
	var limit *LimitError
	var refused *RefusedError
	var outside *zipReadError
	switch {
	case errors.As(err, &outside):
		return fmt.Errorf("%s: %w", z.name, outside.cause)
	case errors.As(err, &limit):
		return &LimitError{Archive: z.name, Entry: limit.Entry, Limit: limit.Limit, Max: limit.Max}
	case errors.As(err, &refused):
		return &RefusedError{Archive: z.name, Entry: refused.Entry, Reason: refused.Reason}
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF:
		return &RefusedError{Archive: z.name, Entry: entry, Reason: "is cut: the archive ends too early"}
	}
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) {
		return &RefusedError{Archive: z.name, Entry: entry, Reason: "is damaged: " + strings.TrimPrefix(err.Error(), "flate: ")}
	}
	return fmt.Errorf("%s: %w", z.name, err)
}

// A zipReadError is an error of the reader below, not of the archive.
type zipReadError struct{ cause error }

func (e *zipReadError) Error() string { return e.cause.Error() }

// readAt fills b from the offset.
func (z *Zip) readAt(b []byte, at int64) error {
	n, err := z.r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return &zipReadError{err}
}

// le reads little-endian numbers one after the other.
type le []byte

func (b *le) u16() uint16 {
	v := binary.LittleEndian.Uint16(*b)
	*b = (*b)[2:]
	return v
}

func (b *le) u32() uint32 {
	v := binary.LittleEndian.Uint32(*b)
	*b = (*b)[4:]
	return v
}

func (b *le) u64() uint64 {
	v := binary.LittleEndian.Uint64(*b)
	*b = (*b)[8:]
	return v
}
