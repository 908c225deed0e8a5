package safearchive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

// An input is the archive as it comes from outside: it counts bytes, and keeps
// apart what failed outside from what the decoders above it make of that.
type input struct {
	r     io.Reader
	n     int64
	ioErr error // of the reader or the context
	cause error // a refusal by a layer below the decoder, which hides it
}

// newInput reads r until ctx ends.
func newInput(ctx context.Context, r io.Reader) *input {
	in := &input{}
	in.r = readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.Read(p)
	})
	return in
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (in *input) Read(p []byte) (int, error) {
	if in.ioErr != nil {
		return 0, in.ioErr
	}
	n, err := in.r.Read(p)
	in.n += int64(n)
	if err != nil && err != io.EOF {
		in.ioErr = err
	}
	return n, err
}

// fail keeps the first refusal and returns it for the decoder.
func (in *input) fail(err error) error {
	if in.cause == nil {
		in.cause = err
	}
	return in.cause
}

// A ratio is decompressed data that must stay in proportion to its input.
type ratio struct {
	r   io.Reader
	in  *input
	lim *Limits
	n   int64
	// announced is how much of n may be out of proportion, see Reader.Announce.
	announced int64
}

func (d *ratio) Read(p []byte) (int, error) {
	if d.in.cause != nil {
		return 0, d.in.cause
	}
	n, err := d.r.Read(p)
	d.n += int64(n)
	if n := d.n - d.announced; n > d.lim.RatioAfter && n/d.lim.Ratio > d.in.n {
		return 0, d.in.fail(over("", LimitRatio, d.lim.Ratio))
	}
	return n, err
}

// A format is a kind of archive that is read here.
type format string

const (
	formatTar  format = "tar"
	formatGzip format = "tar.gz"
	formatZstd format = "tar.zst"
	formatZip  format = "zip"
	formatXz   format = "tar.xz"
	formatBz2  format = "tar.bz2"

	formatBrotli format = "brotli" // known by its name alone
)

// decompress opens the stream that is inside r, which is in or reads from it.
// The ratio is nil where nothing is compressed.
func decompress(f format, r io.Reader, in *input, lim *Limits) (io.ReadCloser, *ratio, error) {
	var rc io.ReadCloser
	var err error
	switch f {
	case formatGzip:
		rc, err = archiver.Gz{}.OpenReader(r)
	case formatZstd:
		rc, err = archiver.Zstd{DecoderOptions: []zstd.DOption{
			zstd.WithDecoderConcurrency(1), // no goroutine reads ahead or outlives us
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(min(max(lim.Window, zstd.MinWindowSize), zstd.MaxWindowSize))),
			zstd.WithDecoderMaxMemory(math.MaxInt64), // of the whole stream: Total and Ratio bound that
		}}.OpenReader(&zstdFrames{r: r, in: in, lim: lim})
	case formatXz:
		rc, err = archiver.Xz{}.OpenReader(r) // with at most 64 MiB of memory
	case formatBz2:
		rc, err = archiver.Bz2{}.OpenReader(r)
	default:
		return io.NopCloser(r), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	d := &ratio{r: rc, in: in, lim: lim}
	return struct {
		io.Reader
		io.Closer
	}{d, rc}, d, nil
}

// zstdSkippable is what the magic numbers of skippable frames share.
var zstdSkippable = []byte{0x2a, 0x4d, 0x18}

// recognise tells the format of an archive by its first bytes. name is asked
// only whether it agrees; one without a known suffix agrees with everything.
func recognise(ctx context.Context, name string, head []byte, foreign bool) (format, error) {
	claim := claimed(name)
	found := format("")
	switch {
	case len(head) == 0:
		return "", refuse("", "is empty")
	case matches(ctx, archiver.Gz{}, head):
		found = formatGzip
	case matches(ctx, archiver.Zstd{}, head) || isSkippable(head):
		found = formatZstd
	case looksLikeZip(head):
		found = formatZip
	case looksLikeTar(head):
		found = formatTar
	default:
		other := foreignFormat(ctx, claim, head)
		switch {
		case other != nil && other.read != "" && foreign:
			found = other.read
		case other != nil:
			return "", &ForeignError{Format: other.name, Known: other.read != ""}
		case claim == formatTar || claim == "":
			return "", refuse("", "is no tar archive")
		default:
			return "", refuse("", "is no %s archive, though its name says so", claim)
		}
	}
	if claim != "" && claim != found {
		return "", refuse("", "is a %s archive, but its name says %s", found, claim)
	}
	return found, nil
}

func isSkippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], zstdSkippable)
}

// matcher is the part of an archiver.Format that looks at content.
type matcher interface {
	Match(ctx context.Context, filename string, stream io.Reader) (archiver.MatchResult, error)
}

func matches(ctx context.Context, m matcher, head []byte) bool {
	mr, err := m.Match(ctx, "", bytes.NewReader(head))
	return mr.ByStream && (err == nil || errors.Is(err, io.EOF))
}

// A foreigner is a format that is not ours.
type foreigner struct {
	m    matcher
	name string
	read format // what it is read as where that was asked for, "" for never
}

var foreigners = []foreigner{
	{archiver.SevenZip{}, "a 7z archive", ""},
	{archiver.Rar{}, "a rar archive", ""},
	{archiver.Xz{}, "xz data", formatXz},
	{archiver.Bz2{}, "bzip2 data", formatBz2},
	{archiver.Lz4{}, "lz4 data", ""},
	{archiver.Lzip{}, "lzip data", ""},
	{archiver.Sz{}, "snappy data", ""},
}

// foreignFormat gives the format that is not ours, nil when head is none that has a
// magic number. archiver.Identify would ask the formats in random order, some of
// which match by guessing: for these, brotli is one, the name counts.
func foreignFormat(ctx context.Context, claim format, head []byte) *foreigner {
	for i := range foreigners {
		if matches(ctx, foreigners[i].m, head) {
			return &foreigners[i]
		}
	}
	if claim == formatBrotli {
		return &foreigner{name: "brotli data by its name"}
	}
	return nil
}
