package bundle

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An ArchiveType is a format of archives, named as their suffix is.
type ArchiveType string

// The formats that are written. "" means TarZst.
const (
	TarZst ArchiveType = "tar.zst"
	TarGz  ArchiveType = "tar.gz"
	Zip    ArchiveType = "zip"
	Tar    ArchiveType = "tar"
)

// ArchiveTypes lists the formats, the default first.
func ArchiveTypes() []ArchiveType { return []ArchiveType{TarZst, TarGz, Zip, Tar} }

// archiveType gives the format that the suffix of a file's name promises.
func archiveType(name string) (ArchiveType, bool) {
	for _, t := range ArchiveTypes() {
		if stem, ok := strings.CutSuffix(name, "."+string(t)); ok && stem != "" {
			return t, true
		}
	}
	return "", false
}

// compressor is what archives of the format are compressed with, for their
// manifest: other releases may write other bytes of the same content.
func (t ArchiveType) compressor() string {
	const release = "v1.20.4"
	switch t {
	case TarGz:
		return "github.com/klauspost/compress/gzip " + release + ", level 6"
	case Zip:
		return "github.com/klauspost/compress/flate " + release + ", level 6"
	case Tar:
		return "none"
	}
	return "github.com/klauspost/compress/zstd " + release + ", level 3"
}

// deflateLevel is that of tar.gz and zip.
const deflateLevel = 6

// writeBuffer is what is written at a time where a compressor writes less.
const writeBuffer = 256 << 10

// A packer writes one archive: entries, each followed by its content.
type packer interface {
	// begin starts an entry, whose content is then written; that of a link is its
	// target, and not written.
	begin(e *Entry) error
	io.Writer
	// end completes the archive.
	end() error
	// discard frees what the packer has after a failure; nothing is written any more.
	discard()
}

func newPacker(t ArchiveType, w io.Writer) (packer, error) {
	buf := bufio.NewWriterSize(w, writeBuffer)
	switch t {
	case TarZst, "":
		zw, err := zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstd.SpeedDefault), // "3"
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(true),
			zstd.WithWindowSize(8<<20))
		if err != nil {
			return nil, err
		}
		return &tarPacker{Writer: tar.NewWriter(zw), close: zw.Close, drop: func() {
			zw.Reset(nil)
			_ = zw.Close() // it writes nothing any more
		}}, nil
	case TarGz:
		gw, err := gzip.NewWriterLevel(buf, deflateLevel) // no name, no time, an unknown system
		if err != nil {
			return nil, err
		}
		return &tarPacker{Writer: tar.NewWriter(gw), close: func() error {
			if err := gw.Close(); err != nil {
				return err
			}
			return buf.Flush()
		}}, nil
	case Tar:
		return &tarPacker{Writer: tar.NewWriter(buf), close: buf.Flush}, nil
	case Zip:
		return newZipPacker(buf), nil
	}
	return nil, &UsageError{fmt.Sprintf("there are no archives of the type %q", string(t))}
}

// A tarPacker writes a tar into a compressor.
type tarPacker struct {
	*tar.Writer
	close func() error
	drop  func() // nil where there is nothing to free
}

func (p *tarPacker) begin(e *Entry) error { return p.WriteHeader(tarHeader(e)) }

func (p *tarPacker) end() error {
	if err := p.Close(); err != nil {
		p.discard()
		return err
	}
	return p.close()
}

func (p *tarPacker) discard() {
	if p.drop != nil {
		p.drop()
	}
}

// tarHeader gives a header that says what the digest covers and nothing else.
func tarHeader(e *Entry) *tar.Header {
	h := &tar.Header{Name: e.Path, Mode: int64(modeOf(e)), Format: tar.FormatUnknown}
	switch e.Type {
	case Dir:
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	case Link:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	default:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	}
	return h
}

// modeOf gives the permission bits that an archive has for e.
func modeOf(e *Entry) uint32 {
	switch {
	case e.Type == Link:
		return 0o777
	case e.Type == Dir || e.X:
		return 0o755
	}
	return 0o644
}

// A zipPacker writes a zip. A file is compressed while it is read, and its sizes
// follow it; where there is nothing to compress, they come first, because not every
// reader finds the end of what is stored.
type zipPacker struct {
	w   *zip.Writer
	out *bufio.Writer
	to  io.Writer // the current entry
}

func newZipPacker(out *bufio.Writer) *zipPacker {
	p := &zipPacker{w: zip.NewWriter(out), out: out}
	var deflate *flate.Writer // one for all: an entry ends before the next begins
	p.w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		if deflate != nil {
			deflate.Reset(w)
			return deflate, nil
		}
		var err error
		deflate, err = flate.NewWriter(w, deflateLevel)
		return deflate, err
	})
	return p
}

// The fields of a zip that every entry has alike.
const (
	zipUnix    = 3        // the system whose modes follow
	zipVersion = 20       // of the format
	zipDay     = 1<<5 | 1 // 1980-01-01, the first day that there is
	zipUTF8    = 1 << 11
	zipFile    = 0o100000
	zipDir     = 0o040000
	zipLink    = 0o120000
)

func (p *zipPacker) begin(e *Entry) error {
	h := &zip.FileHeader{Name: e.Path, Method: zip.Store, CreatorVersion: zipUnix<<8 | zipVersion, ReaderVersion: zipVersion}
	//lint:ignore SA1019 with Modified there would be an extra field for the time as well
	h.ModifiedDate = zipDay
	content := ""
	kind := uint32(zipFile)
	switch {
	case e.Type == Dir:
		h.Name, kind = e.Path+"/", zipDir
	case e.Type == Link:
		content, kind = e.Link, zipLink
	case e.Size > 0:
		h.Method = zip.Deflate
	}
	h.ExternalAttrs = (kind | modeOf(e)) << 16
	if h.Method == zip.Deflate {
		to, err := p.w.CreateHeader(h)
		p.to = to
		return err
	}
	if strings.ContainsFunc(h.Name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		h.Flags = zipUTF8
	}
	h.CRC32 = crc32.ChecksumIEEE([]byte(content))
	h.CompressedSize64, h.UncompressedSize64 = uint64(len(content)), uint64(len(content))
	to, err := p.w.CreateRaw(h)
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, content)
	return err
}

func (p *zipPacker) Write(b []byte) (int, error) { return p.to.Write(b) }

func (p *zipPacker) end() error {
	if err := p.w.Close(); err != nil {
		return err
	}
	return p.out.Flush()
}

func (p *zipPacker) discard() {}
