package rpm

import (
	"bufio"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

// maxWindow is the largest window of a zstd stream, in bytes: what a hostile package
// may cost in memory.
const maxWindow = 128 << 20

// A source notes why bytes could not be read, which is no fault of the package.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A sum counts and digests what goes through it.
type sum struct {
	r io.Reader
	h hash.Hash
	n int64
}

func newSum(r io.Reader) *sum { return &sum{r: r, h: sha256.New()} }

func (s *sum) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

// drain reads to the end. Unless there may be more, nothing must be left.
func (s *sum) drain(more bool) error {
	n, err := io.Copy(io.Discard, s)
	if err == nil && n > 0 && !more {
		return malformed("has %d bytes behind its end", n)
	}
	return err
}

// decompress undoes a compression, of which name is the name in an rpm and the
// suffix of a member in a deb.
func decompress(name string, r io.Reader) (io.ReadCloser, error) {
	switch name {
	case "", "identity", "none":
		return io.NopCloser(r), nil
	case "gzip", ".gz":
		return archiver.Gz{}.OpenReader(r)
	case "zstd", ".zst":
		return archiver.Zstd{DecoderOptions: []zstd.DOption{
			zstd.WithDecoderConcurrency(1), // no goroutine reads ahead or outlives us
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecoderMaxMemory(math.MaxInt64), // of the whole stream, which its reader bounds
		}}.OpenReader(r)
	case "xz", ".xz":
		return archiver.Xz{}.OpenReader(r)
	case "bzip2", ".bz2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	return nil, malformed("is compressed by %q, which is not read", name)
}

// newWindow is a reader with a buffer, for formats that are read in small pieces.
func newWindow(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 128<<10) }
