package safearchive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
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
	start int64 // of the directory
	end   int64 // of the directory
	count int64 // of entries
	total int64 // bytes of all files
	heads []zipHead
}

// A zipHead is what a record says about an entry.
type zipHead struct {
	name       string
	flags      uint16
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
	if d.total > d.lim.RatioAfter && d.total/d.lim.Ratio > d.size {
		return over("", LimitRatio, d.lim.Ratio)
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
	var b [zipEndSize]byte
	at := d.size - zipEndSize
	if at < 0 {
		return refuse("", "is no zip archive")
	}
	if err := d.readAt(b[:], at); err != nil {
		return err
	}
	r := le(b[:])
	if r.u32() != zipEnd {
		// A comment would stand here, in which a second end can hide.
		return refuse("", "is no zip archive, is cut, or has a comment at its end")
	}
	disk, dirDisk, here, total := r.u16(), r.u16(), r.u16(), r.u16()
	size, start, comment := r.u32(), r.u32(), r.u16()
	if comment != 0 {
		return refuse("", "has a comment at its end")
	}
	d.start, d.end, d.count = int64(start), int64(start)+int64(size), int64(total)
	if total == math.MaxUint16 || size == math.MaxUint32 || start == math.MaxUint32 {
		var err error
		if at, err = d.locate64(at, total, size, start); err != nil {
			return err
		}
	} else if disk != 0 || dirDisk != 0 || here != total {
		return refuse("", "is one of several volumes")
	}
	if d.start < 0 || d.end < d.start || d.end != at {
		return refuse("", "is damaged: its directory does not end where its end begins")
	}
	return nil
}

// locate64 reads the records that large archives have before their end.
func (d *zipDirectory) locate64(end int64, total uint16, size, start uint32) (int64, error) {
	bad := refuse("", "is damaged: its end for large archives does not fit")
	at := end - zipLocator64Size - zipEnd64Size
	if at < 0 {
		return 0, bad
	}
	var b [zipEnd64Size + zipLocator64Size]byte
	if err := d.readAt(b[:], at); err != nil {
		return 0, err
	}
	r := le(b[:])
	signature, length := r.u32(), r.u64()
	r = r[4:] // versions
	disk, dirDisk, here, count := r.u32(), r.u32(), r.u64(), r.u64()
	bytes64, start64 := r.u64(), r.u64()
	locator, locatorDisk, endAt, disks := r.u32(), r.u32(), r.u64(), r.u32()
	switch {
	case signature != zipEnd64 || locator != zipLocator64 || length != zipEnd64Size-12 || endAt != uint64(at):
		return 0, bad
	case disk != 0 || dirDisk != 0 || locatorDisk != 0 || disks > 1 || here != count:
		return 0, refuse("", "is one of several volumes")
	case total != math.MaxUint16 && uint64(total) != count,
		size != math.MaxUint32 && uint64(size) != bytes64,
		start != math.MaxUint32 && uint64(start) != start64:
		return 0, refuse("", "is damaged: its two ends differ")
	case count > uint64(d.size) || bytes64 > uint64(d.size) || start64 > uint64(d.size):
		return 0, bad
	}
	d.start, d.end, d.count = int64(start64), int64(start64+bytes64), int64(count)
	return at, nil
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
	case comment != 0:
		return refuse(h.name, "has a comment")
	}
	if err := h.extras(text[name:int(name)+int(extra)], true); err != nil {
		return err
	}
	return d.accept(h, zipMode(system, attributes))
}

// zipMode gives the Unix mode of an entry, 0 where the system had none.
func zipMode(system uint16, attributes uint32) uint32 {
	if system == 3 || system == 19 { // Unix, macOS
		return attributes >> 16
	}
	return 0
}

// extras looks through the extra fields of a record for sizes that do not fit
// into it, and for a second name.
func (h *zipHead) extras(b []byte, central bool) error {
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
			return refuse(h.name, "has a second name")
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
// standard, and nothing else.
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
	return len(r) == 0 || !central || len(r) == 4 // the number of a volume
}

// accept checks an entry and takes it into the tree.
func (d *zipDirectory) accept(h zipHead, mode uint32) error {
	isDir := strings.HasSuffix(h.name, "/")
	if why := h.check(mode, isDir); why != "" {
		return refuse(h.name, "%s", why)
	}
	e := Entry{Path: strings.TrimSuffix(h.name, "/"), Type: File, X: mode&0o111 != 0, Size: int64(h.size)}
	if isDir {
		e.Type, e.X = Dir, false
	}
	if err := checkName(e.Path, &d.lim); err != nil {
		return err
	}
	switch {
	case h.size > uint64(d.lim.File):
		return over(e.Path, LimitFile, d.lim.File)
	case int64(h.size) > d.lim.Total-d.total:
		return over(e.Path, LimitTotal, d.lim.Total)
	}
	d.total += e.Size
	if _, err := d.tree.add(e.Path, e.Type, e.Size); err != nil {
		return err
	}
	h.entry = len(d.entries)
	d.entries = append(d.entries, e)
	d.heads = append(d.heads, h)
	return nil
}

// check says what is wrong with an entry but for its name, "" for nothing.
func (h *zipHead) check(mode uint32, isDir bool) string {
	const typeMask, typeFile, typeDir, typeLink = 0o170000, 0o100000, 0o040000, 0o120000
	isASCII := !strings.ContainsFunc(h.name, func(r rune) bool { return r >= 0x80 })
	switch kind := mode & typeMask; {
	case h.flags&^(zipFlagLevel|zipFlagDescriptor|zipFlagUTF8) != 0:
		return "is encrypted, or of a kind that is not read"
	case h.method != zipStored && h.method != zipDeflated:
		return "is compressed by a method other than deflate"
	case !isASCII && h.flags&zipFlagUTF8 == 0:
		return "name is not marked as UTF-8"
	case kind == typeLink:
		return "is a symbolic link"
	case kind == typeDir && !isDir, kind == typeFile && isDir:
		return "is a directory by its mode or by its name, not by both"
	case kind != 0 && kind != typeFile && kind != typeDir:
		return "is a device"
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
	end := int64(0)
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
		d.places[h.entry] = zipPlace{h.dataStart, int64(h.compressed), h.crc, h.method}
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
	if err := l.extras(text[nameLen:], false); err != nil {
		return 0, err
	}
	h.dataStart = at + int64(len(text))
	if h.compressed > uint64(d.start-h.dataStart) {
		return 0, refuse(h.name, "is damaged: it runs into the directory")
	}
	end := h.dataStart + int64(h.compressed)
	isLater := h.flags&zipFlagDescriptor != 0 && l.crc == 0 && l.size == 0 && l.compressed == 0
	isSame := l.crc == h.crc && l.size == h.size && l.compressed == h.compressed
	if l.flags != h.flags || l.method != h.method || !isLater && !isSame {
		return 0, refuse(h.name, "differs between its own header and the directory")
	}
	if h.flags&zipFlagDescriptor == 0 {
		return end, nil
	}
	return d.descriptor(h, end)
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
