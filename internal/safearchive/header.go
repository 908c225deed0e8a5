package safearchive

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

const blockSize = 512

type block [blockSize]byte

var zeroBlock block

// A header is what a header block says, with what the extended headers before
// it replace.
type header struct {
	name string
	link string
	kind byte // the type flag
	mode int64
	size int64
}

// The magic numbers of the two kinds of headers with one; a v7 header has zeros
// there. What follows in the POSIX one, the version, nobody agrees on.
const (
	magicPOSIX = "ustar\x00"
	magicGNU   = "ustar  \x00"
)

// parseHeader decodes a block that is not zero.
func parseHeader(b *block) (header, error) {
	if sum, ok := octal(b[148:156]); !ok || sum != checksum(b) {
		return header{}, refuse("", "is damaged: the checksum of a header is wrong")
	}
	h := header{name: cstring(b[:100]), link: cstring(b[157:257]), kind: b[156]}
	switch {
	case string(b[257:265]) == magicGNU:
		// Where POSIX has the prefix, GNU has times.
	case string(b[257:263]) == magicPOSIX:
		if prefix := cstring(b[345:500]); prefix != "" {
			h.name = prefix + "/" + h.name
		}
		if !bytes.Equal(b[500:], zeroBlock[:12]) {
			// star cuts the prefix short here, others do not.
			return h, refuse(h.name, "header has bytes behind its last field")
		}
	case !bytes.Equal(b[257:265], zeroBlock[:8]):
		return h, refuse(h.name, "header of an unknown kind")
	}
	var ok bool
	if h.mode, ok = number(b[100:108]); !ok {
		return h, refuse(h.name, "header with a bad mode")
	}
	if h.size, ok = number(b[124:136]); !ok || cstring(b[124:136]) == "" {
		return h, refuse(h.name, "header with a bad or negative size")
	}
	return h, nil
}

// looksLikeTar reports whether an archive that begins with head may be tar.
func looksLikeTar(head []byte) bool {
	if len(head) < blockSize {
		return false
	}
	b := (*block)(head)
	if *b == zeroBlock || string(b[257:262]) == magicPOSIX[:5] {
		return true
	}
	sum, ok := octal(b[148:156])
	return ok && sum == checksum(b)
}

// checksum is the sum of all bytes with the checksum field as blanks.
func checksum(b *block) int64 {
	sum := int64(8 * ' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return sum
}

// cstring is the text before the first NUL.
func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// number reads a numeric field: octal digits, or a binary number with the high
// bit set, as GNU and star write what does not fit. Negative ones are bad; one
// that no int64 holds is as good as the largest.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		return octal(b)
	}
	if b[0]&0x40 != 0 {
		return 0, false
	}
	v := int64(b[0] & 0x3f)
	for _, c := range b[1:] {
		if v > math.MaxInt64>>8 {
			return math.MaxInt64, true
		}
		v = v<<8 | int64(c)
	}
	return v, true
}

// octal reads digits between blanks or NULs. A field of nothing else is 0.
func octal(b []byte) (int64, bool) {
	s := strings.TrimLeft(string(b), " ")
	end := strings.IndexAny(s, " \x00")
	if end < 0 {
		end = len(s)
	}
	if strings.Trim(s[end:], " \x00") != "" {
		return 0, false
	}
	if end == 0 {
		return 0, true
	}
	v, err := strconv.ParseUint(s[:end], 8, 63)
	return int64(v), err == nil
}
