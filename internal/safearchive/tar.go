package safearchive

import (
	"bufio"
	"errors"
	"io"
)

// A tarReader takes a tar stream apart, block by block. It knows the format
// and no rule about names; what it returns may still be hostile.
type tarReader struct {
	r    *bufio.Reader
	lim  *Limits
	body int64 // bytes of the current entry that were not read
	pad  int64 // bytes from its end to the next block
	ext  []byte
	blk  block
}

// next returns the header of the next entry with its extended headers applied,
// and io.EOF when the archive is complete and the stream has ended behind it.
func (t *tarReader) next() (header, error) {
	if err := t.skip(); err != nil {
		return header{}, err
	}
	var x extension
	for {
		if err := t.readBlock("has no end-of-archive blocks: it may be cut"); err != nil {
			return header{}, err
		}
		if t.blk == zeroBlock {
			if x.any() {
				return header{}, refuse(x.name, "extended header without an entry")
			}
			return header{}, t.end()
		}
		h, err := parseHeader(&t.blk)
		if err != nil {
			return header{}, err
		}
		switch h.kind {
		case 'x', 'g', 'L', 'K':
			if err := t.extended(h, &x); err != nil {
				return header{}, err
			}
			continue
		}
		if err := x.apply(&h); err != nil {
			return header{}, err
		}
		t.open(h.size)
		return h, nil
	}
}

// open makes the next size bytes the body.
func (t *tarReader) open(size int64) { t.body, t.pad = size, -size&(blockSize-1) }

// extended reads the body of an extended header into x.
func (t *tarReader) extended(h header, x *extension) error {
	if h.size > t.lim.Header || x.bytes+h.size > t.lim.Header {
		return over("", LimitHeader, t.lim.Header)
	}
	x.bytes += h.size
	if int64(cap(t.ext)) < h.size {
		t.ext = make([]byte, h.size)
	}
	body := t.ext[:h.size]
	t.open(h.size)
	if _, err := io.ReadFull(t, body); err != nil && err != io.EOF {
		return err
	}
	if err := t.skip(); err != nil {
		return err
	}
	return x.take(h.kind, body)
}

// Read reads the body of the current entry.
func (t *tarReader) Read(p []byte) (int, error) {
	if t.body == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(p[:min(int64(len(p)), t.body)])
	t.body -= int64(n)
	if err == io.EOF && t.body > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil // the next call says so
	}
	return n, err
}

// skip passes over what is left of the current entry.
func (t *tarReader) skip() error {
	rest := t.body + t.pad
	t.body, t.pad = 0, 0
	for rest > 0 {
		n, err := t.r.Discard(int(min(rest, 1<<30)))
		rest -= int64(n)
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readBlock reads a block; missing is the reason where the stream ends.
func (t *tarReader) readBlock(missing string) error {
	_, err := io.ReadFull(t.r, t.blk[:])
	if err == io.EOF {
		return refuse("", "%s", missing)
	}
	return err
}

// end is called behind the first zero block: there must be a second one, and
// to the end of the stream nothing but more of them (writers fill a record).
// It reads to the end, so that the decompressor compares its checksum.
func (t *tarReader) end() error {
	if err := t.readBlock("has one end-of-archive block instead of two: it may be cut"); err != nil {
		return err
	}
	for t.blk == zeroBlock {
		_, err := io.ReadFull(t.r, t.blk[:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return refuse("", "has bytes behind the end of the archive")
		}
		if err != nil {
			return err // io.EOF among them
		}
	}
	return refuse("", "has bytes or a second archive behind the end of the archive")
}
