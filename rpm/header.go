package rpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A tag says what an entry of a header is. Tags of the signature have a name space
// of their own.
type tag int32

// Types of entries.
const (
	typeNull = iota
	typeChar
	typeInt8
	typeInt16
	typeInt32
	typeInt64
	typeString
	typeBinary
	typeStrings
	typeI18N
	numTypes
)

// typeSizes are the bytes of an element, 0 where it has a length of its own.
var typeSizes = [numTypes]int{typeChar: 1, typeInt8: 1, typeInt16: 2, typeInt32: 4, typeInt64: 8, typeBinary: 1}

// The limits of rpm itself.
const (
	maxHeaderEntries = 0xffff
	maxHeaderStore   = 0x0fffffff
)

// regionTag is what the first entry of a header has to be: it covers the others.
const (
	regionSignatures tag = 62
	regionImmutable  tag = 63
)

var headerMagic = [8]byte{0x8e, 0xad, 0xe8, 0x01}

// An entry is a value in a header, encoded.
type entry struct {
	kind  int
	count int
	data  []byte
}

// A header is a signature or a header of an rpm: values by tag.
type header map[tag]entry

// readHeader reads a header, and gives the bytes that it takes. Nothing of it is
// kept that has not arrived: a length that lies costs nothing.
func readHeader(r io.Reader, region tag) (header, []byte, error) {
	var intro [16]byte
	if _, err := io.ReadFull(r, intro[:]); err != nil {
		return nil, nil, err
	}
	if [8]byte(intro[:8]) != headerMagic {
		return nil, nil, malformed("does not begin a header with its magic number")
	}
	entries, store := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries == 0 || entries > maxHeaderEntries {
		return nil, nil, malformed("has a header with %d entries", entries)
	}
	if store > maxHeaderStore {
		return nil, nil, malformed("has a header with %d bytes", store)
	}
	var raw bytes.Buffer
	raw.Write(intro[:])
	length := int64(entries)*16 + int64(store)
	if n, err := io.Copy(&raw, io.LimitReader(r, length)); err != nil {
		return nil, nil, err
	} else if n < length {
		return nil, nil, io.ErrUnexpectedEOF
	}
	h, err := parseHeader(raw.Bytes()[16:], int(entries), region)
	return h, raw.Bytes(), err
}

// parseHeader takes the index and the store apart.
func parseHeader(b []byte, entries int, region tag) (header, error) {
	index, store := b[:entries*16], b[entries*16:]
	h := make(header, min(entries, 256))
	end := 0 // of the value before
	for i := range entries {
		t, e, offset := indexEntry(index[i*16:])
		if i == 0 {
			if err := checkRegion(t, e, offset, region, entries, store); err != nil {
				return nil, err
			}
			continue
		}
		if t < 100 && region == regionImmutable || t == region {
			return nil, malformed("has the tag %d where none of its kind may be", t)
		}
		if _, twice := h[t]; twice {
			return nil, malformed("has the tag %d twice", t)
		}
		if offset < end { // before its texts are counted: that takes time
			return nil, malformed("has the value of tag %d inside of another", t)
		}
		data, err := value(t, e, offset, store)
		if err != nil {
			return nil, err
		}
		end = offset + len(data)
		e.data = data
		h[t] = e
	}
	return h, nil
}

func indexEntry(b []byte) (t tag, e entry, offset int) {
	return tag(binary.BigEndian.Uint32(b)),
		entry{kind: int(int32(binary.BigEndian.Uint32(b[4:]))), count: int(int32(binary.BigEndian.Uint32(b[12:])))},
		int(int32(binary.BigEndian.Uint32(b[8:])))
}

// checkRegion checks the first entry: it points to a trailer in the store that says
// the same, and how many entries the region has. All have to be in it.
func checkRegion(t tag, e entry, offset int, region tag, entries int, store []byte) error {
	if t != region || e.kind != typeBinary || e.count != 16 {
		return malformed("has a header that does not begin with the region %d", region)
	}
	if offset < 0 || offset > len(store)-16 {
		return malformed("has the trailer of region %d outside of the header", region)
	}
	tt, te, back := indexEntry(store[offset:])
	// rpmbuild once wrote the tag of the other region into the trailer of signatures.
	if tt != region && (region != regionSignatures || tt != 61 && tt != regionImmutable) || te.kind != typeBinary || te.count != 16 || back != -16*entries {
		return malformed("has a trailer of region %d that is not that of its header", region)
	}
	return nil
}

// value finds the bytes of an entry in the store.
func value(t tag, e entry, offset int, store []byte) ([]byte, error) {
	if e.kind <= typeNull || e.kind >= numTypes {
		return nil, malformed("has the tag %d of type %d", t, e.kind)
	}
	if offset < 0 || offset > len(store) || e.count <= 0 || e.count > len(store) {
		return nil, malformed("has the tag %d outside of the header", t)
	}
	size := typeSizes[e.kind]
	if size > 0 {
		if offset%size != 0 {
			return nil, malformed("has the tag %d unaligned", t)
		}
		if e.count > (len(store)-offset)/size {
			return nil, malformed("has the tag %d outside of the header", t)
		}
		return store[offset : offset+e.count*size], nil
	}
	if e.kind == typeString && e.count != 1 {
		return nil, malformed("has the tag %d with %d texts for one", t, e.count)
	}
	end := offset
	for range e.count {
		n := bytes.IndexByte(store[end:], 0)
		if n < 0 {
			return nil, malformed("has the tag %d with a text without an end", t)
		}
		end += n + 1
	}
	return store[offset:end], nil
}

// bytes encodes the header, with its region.
func (h header) bytes(region tag) []byte {
	var index, store bytes.Buffer
	put := func(t tag, kind, offset, count int) []byte {
		var b [16]byte
		for i, n := range []int{int(t), kind, offset, count} {
			binary.BigEndian.PutUint32(b[i*4:], uint32(int32(n)))
		}
		return b[:]
	}
	for _, t := range slices.Sorted(maps.Keys(h)) {
		e := h[t]
		if size := typeSizes[e.kind]; size > 1 {
			store.Write(make([]byte, (size-store.Len()%size)%size))
		}
		index.Write(put(t, e.kind, store.Len(), e.count))
		store.Write(e.data)
	}
	first := put(region, typeBinary, store.Len(), 16)
	store.Write(put(region, typeBinary, -16*(len(h)+1), 16))
	var out bytes.Buffer
	out.Write(headerMagic[:])
	out.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(len(h)+1)), uint32(store.Len())))
	out.Write(first)
	out.Write(index.Bytes())
	out.Write(store.Bytes())
	return out.Bytes()
}

func (h header) setString(t tag, s string) {
	h[t] = entry{typeString, 1, append([]byte(s), 0)}
}

func (h header) setStrings(t tag, list []string) {
	h[t] = entry{typeStrings, len(list), []byte(strings.Join(list, "\x00") + "\x00")}
}

func (h header) setInts(t tag, list ...uint32) {
	b := make([]byte, 0, 4*len(list))
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	h[t] = entry{typeInt32, len(list), b}
}

func (h header) setShorts(t tag, list []uint16) {
	b := make([]byte, 0, 2*len(list))
	for _, n := range list {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	h[t] = entry{typeInt16, len(list), b}
}

func (h header) setBinary(t tag, b []byte) { h[t] = entry{typeBinary, len(b), b} }

// text gives a single text, "" where there is none: of one in several languages
// the first, which is the untranslated.
func (h header) text(t tag) (string, error) {
	e, ok := h[t]
	if !ok {
		return "", nil
	}
	first, _, _ := bytes.Cut(e.data, []byte{0})
	all, err := header{t: {e.kind, 1, first}}.texts(t)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

// sameCount reports whether every tag of a list has n values. It is asked before they are
// decoded, which takes more memory than the header.
func (h header) sameCount(n int, tags ...tag) error {
	for _, t := range tags {
		if have := h[t].count; have != n {
			return malformed("has %d of one thing, and %d values of tag %d that belong to them", n, have, t)
		}
	}
	return nil
}

// texts gives all texts of a tag, none where the tag is not there.
func (h header) texts(t tag) ([]string, error) {
	e, ok := h[t]
	if !ok {
		return nil, nil
	}
	if e.kind != typeString && e.kind != typeStrings && e.kind != typeI18N {
		return nil, malformed("has the tag %d of type %d, and it is a text", t, e.kind)
	}
	return strings.Split(strings.TrimSuffix(string(e.data), "\x00"), "\x00"), nil
}

// ints gives all numbers of a tag, none where the tag is not there.
func (h header) ints(t tag) ([]uint64, error) {
	e, ok := h[t]
	if !ok {
		return nil, nil
	}
	all := make([]uint64, e.count)
	for i := range all {
		switch e.kind {
		case typeChar, typeInt8:
			all[i] = uint64(e.data[i])
		case typeInt16:
			all[i] = uint64(binary.BigEndian.Uint16(e.data[2*i:]))
		case typeInt32:
			all[i] = uint64(binary.BigEndian.Uint32(e.data[4*i:]))
		case typeInt64:
			all[i] = binary.BigEndian.Uint64(e.data[8*i:])
		default:
			return nil, malformed("has the tag %d of type %d, and it is a number", t, e.kind)
		}
	}
	return all, nil
}

// number gives a single number, 0 where there is none.
func (h header) number(t tag) (uint64, error) {
	e, ok := h[t]
	if !ok {
		return 0, nil
	}
	all, err := header{t: {e.kind, 1, e.data}}.ints(t)
	if err != nil {
		return 0, err
	}
	return all[0], nil
}

// malformed is an answer about a package, before its name is known.
func malformed(format string, args ...any) error {
	return &FormatError{Reason: fmt.Sprintf(format, args...)}
}
