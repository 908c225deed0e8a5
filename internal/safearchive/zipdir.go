package safearchive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Signatures and sizes of the records of a zip archive.
const (
	zipLocal      = 0x04034b50
	zipCentral    = 0x02014b50
	zipEnd        = 0x06054b50
	zipEnd64      = 0x06064b50
	zipLocator64  = 0x07064b50
	zipDescriptor = 0x08074b50

	zipLocalSize     = 30
	zipCentralSize   = 46
	zipEndSize       = 22
	zipEnd64Size     = 56
	zipLocator64Size = 20
)

// Systems on which an entry was made, and which have Unix modes.
const (
	zipUnix = 3
	zipMac  = 19
)

// The two methods that are read.
const (
	zipStored   = 0
	zipDeflated = 8
)

// Flags of an entry. All others are refused: they encrypt, or change what the
// records mean.
const (
	zipFlagLevel      = 0x6 // how hard the compressor tried
	zipFlagDescriptor = 0x8 // sizes and checksum follow the content
	zipFlagUTF8       = 1 << 11
)

// Extra fields that matter.
const (
	zipExtra64      = 0x0001
	zipExtraUnicode = 0x7075 // another name
)

// A zipDirectory reads the directory of an archive. What is at its end decides,
// and everything before it must fit: entries follow each other without a gap
// from the first byte to the directory, so that nothing is hidden and a reader
// from the front sees the same archive.
type zipDirectory struct {
	*Zip
	tree  *tree
	size  int64 // of the archive
	first int64 // where the first entry begins: behind a first line of a script
	links []int // indexes in Zip.entries, in the order of tree.links
	// targets are the lengths of what the links lead to.
	targets []int64
	start   int64 // of the directory
	end     int64 // of the directory
	count   int64 // of entries
	total   int64 // bytes of all files
	heads   []zipHead
}

// A zipHead is what a record says about an entry.
type zipHead struct {
	name       string
	flags      uint16
	utf8       bool // the name is
	method     uint16
	crc        uint32
	compressed uint64
	size       uint64
	offset     uint64 // of the local header
	dataStart  int64
	entry      int // index in Zip.entries
}

func (d *zipDirectory) read() error {
	if err := d.locate(); err != nil {
		return err
	}
	if d.count > int64(d.lim.Entries) {
		return over("", LimitEntries, d.lim.Entries)
	}
	r := bufio.NewReaderSize(&errorReader{io.NewSectionReader(d.r, d.start, d.end-d.start)}, streamBuffer)
	for range d.count {
		if err := d.central(r); err != nil {
			return err
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return cmp.Or(err, refuse("", "is damaged: its directory has more than the %d entries that it says", d.count))
	}
	return d.locals()
}

// An errorReader marks errors of the world.
type errorReader struct{ r io.Reader }

func (e *errorReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && err != io.EOF {
		err = &zipReadError{err}
	}
	return n, err
}

// locate finds the directory by the record at the end.
func (d *zipDirectory) locate() error {
	tail, at, err := d.tail()
	if err != nil {
		return err
	}
	r := le(tail)
	r = r[4:]
	disk, dirDisk, here, total := r.u16(), r.u16(), r.u16(), r.u16()
	size, start := r.u32(), r.u32()
	d.start, d.end, d.count = int64(start), int64(start)+int64(size), int64(total)
	endAt := int64(-1)
	if total == math.MaxUint16 || size == math.MaxUint32 || start == math.MaxUint32 {
		if at, endAt, err = d.locate64(at, total, size, start); err != nil {
			return err
		}
	} else if disk != 0 || dirDisk != 0 || here != total {
		return refuse("", "is one of several volumes")
	}
	shift := at - d.end
	switch {
	case d.start < 0 || d.end < d.start || shift != 0 && (shift < 0 || shift != d.first):
		return refuse("", "is damaged: its directory does not end where its end begins")
	case endAt >= 0 && endAt+shift != at:
		return refuse("", "is damaged: its end for large archives does not fit")
	case shift > 0:
		// The places are counted from the end of the script's first line.
		d.r, d.size, d.first = io.NewSectionReader(d.r, shift, d.size-shift), d.size-shift, 0
	}
	return nil
}

// tail reads the record at the end, and says where it begins.
func (d *zipDirectory) tail() ([]byte, int64, error) {
	const most = zipEndSize + math.MaxUint16
	n := min(d.size, most)
	if d.wheel {
		n = min(n, zipEndSize)
	}
	b := make([]byte, n)
	if err := d.readAt(b, d.size-n); err != nil {
		return nil, 0, err
	}
	// In a comment another end can hide: for readers of bundles the last is the
	// end, whose comment is exactly what follows. Wheels have none.
	i := bytes.LastIndex(b, []byte("PK\x05\x06"))
	switch {
	case i >= 0 && len(b)-i >= zipEndSize && int(binary.LittleEndian.Uint16(b[i+20:])) == len(b)-i-zipEndSize:
		return b[i : i+zipEndSize], d.size - int64(len(b)-i), nil
	case n < zipEndSize:
		return nil, 0, refuse("", "is no zip archive")
	case d.wheel:
		return nil, 0, refuse("", "is no zip archive, is cut, or has a comment at its end")
	}
	return nil, 0, refuse("", "is no zip archive, is cut, or has bytes behind its end")
}

// locate64 reads the records that large archives have before their end.
func (d *zipDirectory) locate64(end int64, total uint16, size, start uint32) (at, endAt int64, err error) {
	bad := refuse("", "is damaged: its end for large archives does not fit")
	at = end - zipLocator64Size - zipEnd64Size
	if at < 0 {
		return 0, 0, bad
	}
	var b [zipEnd64Size + zipLocator64Size]byte
	if err := d.readAt(b[:], at); err != nil {
		return 0, 0, err
	}
	r := le(b[:])
	signature, length := r.u32(), r.u64()
	r = r[4:] // versions
	disk, dirDisk, here, count := r.u32(), r.u32(), r.u64(), r.u64()
	bytes64, start64 := r.u64(), r.u64()
	locator, locatorDisk, at64, disks := r.u32(), r.u32(), r.u64(), r.u32()
	switch {
	case signature != zipEnd64 || locator != zipLocator64 || length != zipEnd64Size-12 || at64 > uint64(at):
		return 0, 0, bad
	case disk != 0 || dirDisk != 0 || locatorDisk != 0 || disks > 1 || here != count:
		return 0, 0, refuse("", "is one of several volumes")
	case total != math.MaxUint16 && uint64(total) != count,
		size != math.MaxUint32 && uint64(size) != bytes64,
		start != math.MaxUint32 && uint64(start) != start64:
		return 0, 0, refuse("", "is damaged: its two ends differ")
	case count > uint64(d.size) || bytes64 > uint64(d.size) || start64 > uint64(d.size):
		return 0, 0, bad
	}
	d.start, d.end, d.count = int64(start64), int64(start64+bytes64), int64(count)
	return at, int64(at64), nil
}

// central reads one record of the directory and judges it.
func (d *zipDirectory) central(in *bufio.Reader) error {
	var b [zipCentralSize]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return err
	}
	r := le(b[:])
	if r.u32() != zipCentral {
		return refuse("", "is damaged: its directory is not one")
	}
	system := r.u16() >> 8
	r = r[2:] // version needed
	h := zipHead{flags: r.u16(), method: r.u16()}
	r = r[4:] // time
	h.crc, h.compressed, h.size = r.u32(), uint64(r.u32()), uint64(r.u32())
	name, extra, comment, disk := r.u16(), r.u16(), r.u16(), r.u16()
	r = r[2:] // internal attributes
	attributes := r.u32()
	h.offset = uint64(r.u32())
	text := make([]byte, int(name)+int(extra)+int(comment))
	if _, err := io.ReadFull(in, text); err != nil {
		return err
	}
	h.name = string(text[:name])
	switch {
	case disk != 0 && disk != math.MaxUint16:
		return refuse("", "is one of several volumes")
	case comment != 0 && d.wheel:
		return refuse(h.name, "has a comment")
	}
	// Info-ZIP does not mark what is UTF-8 on a Unix system.
	h.utf8 = !d.wheel && (system == zipUnix || system == zipMac)
	if err := h.extras(text[name:int(name)+int(extra)], true, d.wheel); err != nil {
		return err
	}
	return d.accept(h, zipMode(system, attributes))
}

// zipMode gives the Unix mode of an entry, 0 where the system had none.
func zipMode(system uint16, attributes uint32) uint32 {
	if system == zipUnix || system == zipMac {
		return attributes >> 16
	}
	return 0
}

// extras looks through the extra fields of a record for sizes that do not fit
// into it, and for a second name, which says at best that the first is UTF-8.
func (h *zipHead) extras(b []byte, central, wheel bool) error {
	seen := false
	for len(b) > 0 {
		r := le(b)
		if len(r) < 4 {
			return refuse(h.name, "is damaged: half an extra field")
		}
		id, n := r.u16(), int(r.u16())
		if n > len(r) {
			return refuse(h.name, "is damaged: half an extra field")
		}
		switch id {
		case zipExtraUnicode:
			const own = 5 // a version, and a checksum of the name
			if wheel || n < own || string(r[own:n]) != h.name {
				return refuse(h.name, "has a second name")
			}
			h.utf8 = true
		case zipExtra64:
			if seen {
				return refuse(h.name, "is damaged: its sizes occur twice")
			}
			seen = true
			if !h.sizes64(r[:n], central) {
				return refuse(h.name, "is damaged: its sizes for large files do not fit")
			}
		}
		b = r[n:]
	}
	if !seen && (h.size == math.MaxUint32 || h.compressed == math.MaxUint32 || h.offset == math.MaxUint32) {
		return refuse(h.name, "is damaged: its size is missing")
	}
	return nil
}

// sizes64 replaces each field that says it does not fit, in the order of the
// standard, and nothing else. Go's writer repeats the place where it fits.
func (h *zipHead) sizes64(r le, central bool) bool {
	for _, field := range []*uint64{&h.size, &h.compressed, &h.offset} {
		if *field != math.MaxUint32 || field == &h.offset && !central {
			continue
		}
		if len(r) < 8 {
			return false
		}
		if *field = r.u64(); *field > math.MaxInt64 {
			return false
		}
	}
	if central && len(r) == 8 && binary.LittleEndian.Uint64(r) == h.offset {
		return true
	}
	return len(r) == 0 || !central || len(r) == 4 // the number of a volume
}

// accept checks an entry and takes it into the tree.
func (d *zipDirectory) accept(h zipHead, mode uint32) error {
	isDir := strings.HasSuffix(h.name, "/")
	isLink := mode&zipTypeMask == zipTypeLink && !d.wheel
	if why := h.check(mode, isDir, d.wheel); why != "" {
		return refuse(h.name, "%s", why)
	}
	e := Entry{Path: strings.TrimSuffix(h.name, "/"), Type: File, X: mode&0o111 != 0, Size: int64(h.size)}
	if !d.wheel {
		var top bool
		if e.Path, top = canonical(h.name, isDir); top {
			return d.top(h, isDir)
		}
		e.X = mode&0o100 != 0
	}
	switch {
	case isDir:
		e.Type, e.X = Dir, false
	case isLink:
		e.Type, e.X, e.Size = Link, false, 0
	}
	if err := checkName(e.Path, &d.lim); err != nil {
		return err
	}
	if err := d.add(h, e); err != nil {
		return err
	}
	h.entry = len(d.entries)
	d.entries = append(d.entries, e)
	d.heads = append(d.heads, h)
	return nil
}

// top takes an entry for the top directory, which is none of the tree.
func (d *zipDirectory) top(h zipHead, isDir bool) error {
	if !isDir {
		return refuse(h.name, "name of a directory on something else")
	}
	h.entry = -1
	d.heads = append(d.heads, h)
	return d.tree.addRoot()
}

// add takes e into the tree. The target of a link is its content, which is read
// when its place is known.
func (d *zipDirectory) add(h zipHead, e Entry) error {
	switch {
	case e.Type == Link && h.size > uint64(d.lim.Path):
		return over(e.Path, LimitPath, d.lim.Path)
	case e.Type == Link:
		d.links, d.targets = append(d.links, len(d.entries)), append(d.targets, int64(h.size))
		return d.tree.addLink(e.Path)
	case h.size > uint64(d.lim.File):
		return over(e.Path, LimitFile, d.lim.File)
	case int64(h.size) > d.lim.Total-d.total:
		return over(e.Path, LimitTotal, d.lim.Total)
	}
	d.total += e.Size
	_, err := d.tree.add(e.Path, e.Type, e.Size)
	return err
}

// The types in a Unix mode.
const (
	zipTypeMask = 0o170000
	zipTypeFile = 0o100000
	zipTypeDir  = 0o040000
	zipTypeLink = 0o120000
)

// check says what is wrong with an entry but for its name, "" for nothing.
func (h *zipHead) check(mode uint32, isDir, wheel bool) string {
	isASCII := !strings.ContainsFunc(h.name, func(r rune) bool { return r >= 0x80 })
	switch kind := mode & zipTypeMask; {
	case h.flags&^(zipFlagLevel|zipFlagDescriptor|zipFlagUTF8) != 0:
		return "is encrypted, or of a kind that is not read"
	case h.method != zipStored && h.method != zipDeflated:
		return "is compressed by a method other than deflate"
	case !isASCII && h.flags&zipFlagUTF8 == 0 && !h.utf8:
		return "name is not marked as UTF-8"
	case kind == zipTypeLink && wheel:
		return "is a symbolic link"
	case kind == zipTypeLink && isDir:
		return "is a link by its mode and a directory by its name"
	case kind == zipTypeDir && !isDir, kind == zipTypeFile && isDir:
		return "is a directory by its mode or by its name, not by both"
	case kind != 0 && kind != zipTypeFile && kind != zipTypeDir && kind != zipTypeLink:
		return "is a device"
	case mode&0o7000 != 0 && !wheel:
		return fmt.Sprintf("mode %#o has a setuid, setgid or sticky bit", mode&0o7777)
	case isDir && h.size != 0:
		return "is a directory with content"
	case h.method == zipStored && h.compressed != h.size:
		return "is damaged: it is stored with two sizes"
	}
	return ""
}

// locals checks that the local headers say what the directory says, and that
// the entries follow each other without a gap.
func (d *zipDirectory) locals() error {
	slices.SortFunc(d.heads, func(a, b zipHead) int { return cmp.Compare(a.offset, b.offset) })
	d.places = make([]zipPlace, len(d.entries))
	end := d.first
	for i := range d.heads {
		h := &d.heads[i]
		switch {
		case h.offset < uint64(end):
			return refuse(h.name, "overlaps another entry")
		case h.offset > uint64(end):
			return refuse(h.name, "comes behind %d bytes that belong to no entry", h.offset-uint64(end))
		}
		next, err := d.local(h)
		if err != nil {
			return err
		}
		if h.entry >= 0 {
			d.places[h.entry] = zipPlace{h.dataStart, int64(h.compressed), h.crc, h.method}
		}
		end = next
	}
	if end != d.start {
		return refuse("", "has %d bytes that belong to no entry", d.start-end)
	}
	return nil
}

// local reads the local header of h and returns where the entry ends.
func (d *zipDirectory) local(h *zipHead) (int64, error) {
	var b [zipLocalSize]byte
	at := int64(h.offset)
	if at > d.start-zipLocalSize {
		return 0, refuse(h.name, "is damaged: it is not where the directory says")
	}
	if err := d.readAt(b[:], at); err != nil {
		return 0, err
	}
	r := le(b[:])
	if r.u32() != zipLocal {
		return 0, refuse(h.name, "is damaged: it is not where the directory says")
	}
	r = r[2:] // version needed
	l := zipHead{flags: r.u16(), method: r.u16()}
	r = r[4:] // time
	l.crc, l.compressed, l.size = r.u32(), uint64(r.u32()), uint64(r.u32())
	nameLen, extraLen := int(r.u16()), int(r.u16())
	text := make([]byte, nameLen+extraLen)
	if at += zipLocalSize; at > d.start-int64(len(text)) {
		return 0, refuse(h.name, "is damaged: it runs into the directory")
	}
	if err := d.readAt(text, at); err != nil {
		return 0, err
	}
	l.name = string(text[:nameLen])
	if l.name != h.name {
		return 0, refuse(h.name, "is called %s where it begins", quote(l.name))
	}
	if err := l.extras(text[nameLen:], false, d.wheel); err != nil {
		return 0, err
	}
	h.dataStart = at + int64(len(text))
	if h.compressed > uint64(d.start-h.dataStart) {
		return 0, refuse(h.name, "is damaged: it runs into the directory")
	}
	end := h.dataStart + int64(h.compressed)
	if l.flags != h.flags || l.method != h.method || !h.agrees(&l, d.wheel) {
		return 0, refuse(h.name, "differs between its own header and the directory")
	}
	if h.flags&zipFlagDescriptor == 0 {
		return end, nil
	}
	return d.descriptor(h, end)
}

// agrees reports whether the local header l says of the content what the directory
// says, or leaves it to the descriptor: in a wheel all of it.
func (h *zipHead) agrees(l *zipHead, wheel bool) bool {
	later := h.flags&zipFlagDescriptor != 0
	if wheel && later && uint64(l.crc)|l.size|l.compressed != 0 {
		later = false
	}
	said := func(here, there uint64) bool { return here == there || later && here == 0 }
	return said(uint64(l.crc), uint64(h.crc)) && said(l.size, h.size) && said(l.compressed, h.compressed)
}

// descriptor reads what follows the content where sizes were not known before:
// with or without a signature, of four or eight bytes a size.
func (d *zipDirectory) descriptor(h *zipHead, at int64) (int64, error) {
	var b [24]byte
	have := b[:min(int64(len(b)), d.start-at)]
	if err := d.readAt(have, at); err != nil {
		return 0, err
	}
	for _, signed := range []bool{true, false} {
		for _, large := range []bool{false, true} {
			if want := h.encodeDescriptor(signed, large); bytes.HasPrefix(have, want) {
				return at + int64(len(want)), nil
			}
		}
	}
	return 0, refuse(h.name, "differs between what follows it and the directory")
}

func (h *zipHead) encodeDescriptor(signed, large bool) []byte {
	var b []byte
	if signed {
		b = binary.LittleEndian.AppendUint32(b, zipDescriptor)
	}
	b = binary.LittleEndian.AppendUint32(b, h.crc)
	for _, n := range []uint64{h.compressed, h.size} {
		if large {
			b = binary.LittleEndian.AppendUint64(b, n)
		} else {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
	}
	return b
}
