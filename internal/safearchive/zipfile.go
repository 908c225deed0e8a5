package safearchive

import (
	"hash/crc32"
	"io"
)

// A zipFile is the content of one entry.
type zipFile struct {
	z    *Zip
	e    *Entry
	from io.Reader
	n    int64 // bytes read
	crc  uint32
	want uint32
	err  error // for ever
}

func (f *zipFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.from.Read(p)
	f.n += int64(n)
	f.crc = crc32.Update(f.crc, crc32.IEEETable, p[:n])
	switch {
	case f.n > f.e.Size:
		f.err = f.z.explain("", refuse(f.e.Path, "has more than the %d bytes that the directory says", f.e.Size))
	case err == io.EOF:
		f.err = f.end()
	case err != nil:
		f.err = f.z.explain(f.e.Path, err)
	}
	if f.err != nil && f.err != io.EOF {
		return 0, f.err
	}
	return n, f.err
}

// end judges the content as a whole.
func (f *zipFile) end() error {
	reason := ""
	if _, err := f.z.buf.ReadByte(); err == nil {
		reason = "has bytes behind its compressed content"
	}
	switch {
	case f.n < f.e.Size:
		reason = "has less than the bytes that the directory says"
	case f.crc != f.want:
		reason = "is damaged: its checksum is wrong"
	}
	if reason != "" {
		return f.z.explain("", refuse(f.e.Path, "%s", reason))
	}
	return io.EOF
}
