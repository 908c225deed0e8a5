package rpm

import (
	"bufio"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// The forms of a cpio header: with names, and with a number of the file list as rpm
// writes it for large files.
const (
	cpioMagic    = "070701"
	cpioCRCMagic = "070702"
	cpioStripped = "07070X"
	cpioTrailer  = "TRAILER!!!"
	cpioHeader   = 110
)

// readPayload reads a cpio archive and compares each entry with the file list. It
// must have every file that is no ghost, once.
func (p *Info) readPayload(r *bufio.Reader, digests []digest, lim Limits) error {
	c := payloadReader{r: r, info: p, digests: digests, left: lim.Content, index: make(map[string]int, len(p.Files)), done: make([]bool, len(p.Files)), sets: map[int]bool{}, buf: make([]byte, 64<<10)}
	for i, f := range p.Files {
		c.index[strings.TrimPrefix(f.Path, "/")] = i
	}
	for {
		more, err := c.entry()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	for i, f := range p.Files {
		if set := digests[i].set; !c.done[i] && f.Kind != Ghost || set > 0 && !c.sets[set] && f.Size > 0 {
			return badFile(f.Path, "is in the file list, and its content is not in the payload")
		}
	}
	// Behind the trailer there is padding, and nothing else.
	for n := 0; ; n++ {
		b, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if b != 0 || n > 1<<16 {
			return malformed("has data behind the end of its payload")
		}
	}
}

type payloadReader struct {
	r       *bufio.Reader
	info    *Info
	digests []digest
	left    int64 // of the limit
	index   map[string]int
	done    []bool
	sets    map[int]bool // hard links whose content was there
	buf     []byte
}

// entry reads one entry, and reports whether it was not the trailer.
func (c *payloadReader) entry() (more bool, err error) {
	var b [cpioHeader]byte
	if _, err := io.ReadFull(c.r, b[:6]); err != nil {
		return false, cut(err)
	}
	if string(b[:6]) == cpioStripped {
		if _, err := io.ReadFull(c.r, b[6:14]); err != nil {
			return false, cut(err)
		}
		i, err := strconv.ParseUint(string(b[6:14]), 16, 32)
		if err != nil || i >= uint64(len(c.info.Files)) {
			return false, malformed("has the file number %q in its payload", b[6:14])
		}
		if err := c.skip(2); err != nil {
			return false, err
		}
		f := c.info.Files[i]
		size := f.Size
		if f.Kind == Symlink {
			size = int64(len(f.Link))
		}
		return true, c.body(int(i), size, false)
	}
	if _, err := io.ReadFull(c.r, b[6:]); err != nil {
		return false, cut(err)
	}
	if m := string(b[:6]); m != cpioMagic && m != cpioCRCMagic {
		return false, malformed("has %q in its payload, where an entry begins", m)
	}
	var fields [13]int64
	for i := range fields {
		n, err := strconv.ParseUint(string(b[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return false, malformed("has %q in its payload for a number", b[6+8*i:14+8*i])
		}
		fields[i] = int64(n)
	}
	return c.named(fields[1], fields[6], fields[11])
}

// named reads the name and the rest of an entry.
func (c *payloadReader) named(mode, size, length int64) (more bool, err error) {
	if length < 2 || length > maxPath+4 {
		return false, malformed("has a name of %d bytes in its payload", length)
	}
	name := make([]byte, length)
	if _, err := io.ReadFull(c.r, name); err != nil {
		return false, cut(err)
	}
	if err := c.skip(pad4(cpioHeader + length)); err != nil {
		return false, err
	}
	text := string(name[:length-1])
	if name[length-1] != 0 {
		return false, malformed("has the name %.100q without an end in its payload", text)
	}
	if text == cpioTrailer {
		if size != 0 {
			return false, malformed("has a trailer of %d bytes in its payload", size)
		}
		return false, nil
	}
	i, ok := c.index[strings.TrimPrefix(strings.TrimPrefix(text, "."), "/")]
	if !ok {
		return false, badFile(text, "is in the payload and not in the file list")
	}
	f := c.info.Files[i]
	if !sameType(mode, f.Kind) {
		return false, badFile(f.Path, "is of another type in the payload than in the file list")
	}
	return true, c.body(i, size, true)
}

// sameType reports whether a mode of the payload is what the list says.
func sameType(mode int64, k Kind) bool {
	switch mode & modeType {
	case modeRegular:
		return k.hasContent() || k == Ghost
	case modeDir:
		return k == Directory || k == Ghost
	case modeLink:
		return k == Symlink || k == Ghost
	}
	return k == Special || k == Ghost
}

// body reads the content of file i.
func (c *payloadReader) body(i int, size int64, named bool) error {
	f := &c.info.Files[i]
	if c.done[i] {
		return badFile(f.Path, "is in the payload twice")
	}
	c.done[i] = true
	if size > c.left {
		return badFile(f.Path, "is more than the limit of bytes in a package")
	}
	c.left -= size
	set := c.digests[i].set
	switch {
	case f.Kind == Symlink:
		if size != int64(len(f.Link)) {
			return badFile(f.Path, "is a link in the payload to something else than in the file list")
		}
		link := make([]byte, size)
		if _, err := io.ReadFull(c.r, link); err != nil {
			return cut(err)
		}
		if string(link) != f.Link {
			return badFile(f.Path, "is a link to %.100q in the payload, and to %.100q in the file list", link, f.Link)
		}
	case f.Kind.hasContent() && (size > 0 || set == 0):
		if size != f.Size {
			return badFile(f.Path, "has %d bytes in the payload, and %d in the file list", size, f.Size)
		}
		if err := c.content(f, c.digests[i], size); err != nil {
			return err
		}
		c.sets[set] = true
	case f.Kind.hasContent():
		// One of several hard links; the content is with another.
	case size != 0:
		return badFile(f.Path, "has content in the payload, and is no file")
	}
	return c.skip(pad4(size))
}

// content digests a file.
func (c *payloadReader) content(f *File, d digest, size int64) error {
	own := sha256.New()
	hashes := []hash.Hash{own}
	switch d.algo {
	case algoSHA384:
		hashes = append(hashes, sha512.New384())
	case algoSHA512:
		hashes = append(hashes, sha512.New())
	}
	w := io.Writer(own)
	if len(hashes) > 1 {
		w = io.MultiWriter(own, hashes[1])
	}
	n, err := io.CopyBuffer(w, io.LimitReader(c.r, size), c.buf)
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	got := hashes[len(hashes)-1].Sum(nil)
	if hex.EncodeToString(got) != d.want {
		return badFile(f.Path, "has the digest %x in the payload, and %s in the file list", got, d.want)
	}
	f.SHA256 = [32]byte(own.Sum(nil))
	return nil
}

func (c *payloadReader) skip(n int64) error {
	_, err := c.r.Discard(int(n)) // of padding
	return cut(err)
}

// cut makes the end of the stream one that came too early.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// pad4 is what is missing to a multiple of 4.
func pad4(n int64) int64 { return (4 - n%4) % 4 }

// cpioEntry encodes the header of an entry of our own.
func cpioEntry(name string, inode int, mode uint32, links int, mtime uint32, size int64) []byte {
	b := fmt.Appendf(nil, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		cpioMagic, inode, mode, 0, 0, links, mtime, size, 0, 0, 0, 0, len(name)+1, 0, name)
	return append(b, make([]byte, pad4(int64(len(b))))...)
}
