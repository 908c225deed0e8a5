package safearchive

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// rawHeader makes a header block with a right checksum; edit changes it before.
func rawHeader(name string, kind byte, size int, edit func(b *block)) []byte {
	var b block
	copy(b[:], name)
	copy(b[100:], "0000644")
	copy(b[124:], fmt.Sprintf("%011o", size))
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	if edit != nil {
		edit(&b)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", checksum(&b)))
	return b[:]
}

// body pads the body of an entry to whole blocks.
func body(s string) []byte {
	return append([]byte(s), make([]byte, -len(s)&(blockSize-1))...)
}

// record makes one pax record.
func record(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n++
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// Headers that no proper writer makes. What two readers would read differently
// is refused; what all read alike is accepted.
func TestHeaders(t *testing.T) {
	field := func(at int, s string) func(*block) {
		return func(b *block) { copy(b[at:], s) }
	}
	plain := rawHeader("a", '0', 0, nil)
	ext := func(kind byte, s string) []byte { return append(rawHeader("x", kind, len(s), nil), body(s)...) }
	for _, test := range []struct {
		name string
		in   [][]byte
		want string // entries, or a part of the refusal
	}{
		{"GNU magic has no prefix", [][]byte{rawHeader("a", '0', 0, func(b *block) { copy(b[257:], magicGNU); copy(b[345:], "12345670123") })}, "f a false 0 \n"},
		{"prefix", [][]byte{rawHeader("a", '0', 0, field(345, "p/q"))}, "f p/q/a false 0 \n"},
		{"prefix that climbs", [][]byte{rawHeader("a", '0', 0, field(345, ".."))}, `"../a": name climbs out`},
		{"star", [][]byte{rawHeader("a", '0', 0, field(508, "tar\x00"))}, "header has bytes behind its last field"},
		{"unknown magic", [][]byte{rawHeader("a", '0', 0, field(257, "ustaR"))}, "header of an unknown kind"},
		{"old directory", [][]byte{rawHeader("a/", 0, 0, nil)}, "d a\n"},
		{"old file", [][]byte{rawHeader("a", 0, 0, nil)}, "f a false 0 \n"},
		{"old directory with a body", [][]byte{rawHeader("a/", 0, 1, nil), body("x")}, "a directory or link with a body"},
		{"file with a slash", [][]byte{rawHeader("a/", '0', 0, nil)}, "name of a directory on something else"},
		{"link with a slash", [][]byte{rawHeader("a/", '2', 0, field(157, "b"))}, "name of a directory on something else"},
		{"hard link with a body", [][]byte{plain, rawHeader("b", '1', 1, field(157, "a")), body("x")}, "a directory or link with a body"},
		{"sparse", [][]byte{rawHeader("a", 'S', 0, nil)}, "sparse files are refused"},
		{"volume label", [][]byte{rawHeader("a", 'V', 0, nil)}, "unknown type 'V'"},
		{"type bits", [][]byte{rawHeader("a", '0', 0, field(100, "0100644"))}, "mode 0100644 has more than permission bits"},
		{"bad mode", [][]byte{rawHeader("a", '0', 0, field(100, "rw-r--r"))}, "bad mode"},
		{"blank mode", [][]byte{rawHeader("a", '0', 0, field(100, "       "))}, "f a false 0 \n"},
		{"mode in binary", [][]byte{rawHeader("a", '0', 0, field(100, "\x80\x00\x00\x00\x00\x00\x01\xed"))}, "f a true 0 \n"},
		{"setuid in binary", [][]byte{rawHeader("a", '0', 0, field(100, "\x80\x00\x00\x00\x00\x00\x08\x00"))}, "setuid"},
		{"size with blanks", [][]byte{rawHeader("a", '0', 0, field(124, "         1 \x00")), body("x")}, "f a false 1 x\n"},
		{"size with a second number", [][]byte{rawHeader("a", '0', 0, field(124, "1 1\x00\x00\x00\x00")), body("x")}, "bad or negative size"},
		{"blank size", [][]byte{rawHeader("a", '0', 0, field(124, strings.Repeat("\x00", 12)))}, "bad or negative size"},
		{"minus size", [][]byte{rawHeader("a", '0', 0, field(124, "-0000000001"))}, "bad or negative size"},
		{"largest binary size", [][]byte{rawHeader("a", '0', 0, field(124, "\xbf"+strings.Repeat("\xff", 11)))}, "total size is over the limit"},
		{"huge directory", [][]byte{rawHeader("a/", '5', 0, field(124, "\xbf"+strings.Repeat("\xff", 11)))}, "a directory or link with a body"},
		{"huge extended header", [][]byte{rawHeader("a", 'x', 0, field(124, "\xbf"+strings.Repeat("\xff", 11)))}, "extended header is over the limit"},

		{"pax name", [][]byte{ext('x', record("path", "b")), plain}, "f b false 0 \n"},
		{"pax empty name", [][]byte{ext('x', record("path", "")), plain}, "empty name"},
		{"pax size", [][]byte{ext('x', record("size", "3")), plain, body("abc")}, "f a false 3 abc\n"},
		{"pax size with a sign", [][]byte{ext('x', record("size", "+3")), plain, body("abc")}, "bad size"},
		{"pax negative size", [][]byte{ext('x', record("size", "-3")), plain, body("abc")}, "bad size"},
		{"pax huge size", [][]byte{ext('x', record("size", "99999999999999999999")), plain}, "bad size"},
		{"pax names twice", [][]byte{ext('x', record("path", "b")+record("path", "c")), plain}, "two names for one entry"},
		{"pax sizes twice", [][]byte{ext('x', record("size", "0")+record("size", "0")), plain}, "bad size"},
		{"pax targets twice", [][]byte{ext('x', record("linkpath", "b")+record("linkpath", "c")), plain}, "two link targets"},
		{"pax twice", [][]byte{ext('x', record("comment", "b")), ext('x', record("comment", "c")), plain}, "two extended headers"},
		{"pax and GNU name", [][]byte{ext('x', record("path", "b")), ext('L', "c\x00"), plain}, "two names for one entry"},
		{"GNU and pax name", [][]byte{ext('L', "c\x00"), ext('x', record("path", "b")), plain}, "two names for one entry"},
		{"GNU names twice", [][]byte{ext('L', "b\x00"), ext('L', "c\x00"), plain}, "two names for one entry"},
		{"GNU targets twice", [][]byte{ext('K', "b\x00"), ext('K', "c\x00"), plain}, "two link targets"},
		{"GNU name and target", [][]byte{ext('L', "b\x00"), ext('K', "c\x00"), rawHeader("a", '2', 0, field(157, "d"))}, "l b c\n"},
		{"GNU name with a NUL", [][]byte{ext('L', "b\x00c\x00"), plain}, "a long name has a NUL"},
		{"GNU empty name", [][]byte{ext('L', "\x00"), plain}, "empty name"},
		{"global between", [][]byte{ext('x', record("path", "b")), ext('g', record("comment", "b")), plain}, "a global header between"},
		{"nothing follows", [][]byte{ext('x', record("path", "b"))}, "extended header without an entry"},
		{"empty pax", [][]byte{ext('x', ""), plain}, "f a false 0 \n"},
		{"record too long", [][]byte{ext('x', "99 path=b\n"), plain}, "malformed extended header"},
		{"record too short", [][]byte{ext('x', "3 path=b\n"), plain}, "malformed extended header"},
		{"record of length 0", [][]byte{ext('x', "0 path=b\n"), plain}, "malformed extended header"},
		{"record without newline", [][]byte{ext('x', "9 path=bc"), plain}, "malformed extended header"},
		{"record with a leading zero", [][]byte{ext('x', "010 path=b\n"), plain}, "malformed extended header"},
		{"record without a key", [][]byte{ext('x', "5 =b\n"), plain}, "malformed extended header"},
		{"record without a value", [][]byte{ext('x', "7 path\n"), plain}, "malformed extended header"},
		{"record with a NUL behind", [][]byte{ext('x', record("path", "b")+"\x00"), plain}, "malformed extended header"},
		{"sparse by record", [][]byte{ext('x', record("path", "b")+record("SCHILY.realsize", "1")), plain}, `"b": sparse files are refused`},
		{"volume by record", [][]byte{ext('x', record("GNU.volume.offset", "1")), plain}, "several volumes"},
		{"together too long", [][]byte{ext('x', record("comment", strings.Repeat("c", 600_000))), ext('L', strings.Repeat("n", 600_000)), plain}, "extended header is over the limit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := append(bytes.Join(test.in, nil), make([]byte, 2*blockSize)...)
			got, err := list("a.tar", b, Limits{})
			if err == nil && got != test.want || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// A block that only has the sum of signed bytes is damaged.
func TestChecksumIsUnsigned(t *testing.T) {
	b := rawHeader("\u00e9", '0', 0, nil)
	sum := checksum((*block)(b)) - 2*256
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	if _, err := list("a.tar", append(b, make([]byte, 1024)...), Limits{}); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("got %v", err)
	}
}

// Who asks for it gets what set-id and type bits are on, without them.
func TestDropModes(t *testing.T) {
	var in []byte
	for _, h := range [][]byte{
		rawHeader("a/", '5', 0, func(b *block) { copy(b[100:], "0042775") }),
		rawHeader("a/b", '0', 0, func(b *block) { copy(b[100:], "0104755") }),
		make([]byte, 2*blockSize),
	} {
		in = append(in, h...)
	}
	for _, drop := range []bool{false, true} {
		r, err := NewReader(t.Context(), "a.tar", bytes.NewReader(in), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if drop {
			r.DropModes()
		}
		var got []Entry
		for err == nil {
			var e Entry
			if e, err = r.Next(); err == nil {
				got = append(got, e)
			}
		}
		if drop != (err == io.EOF && len(got) == 2 && got[1].X) {
			t.Errorf("drop %v: %v, %v", drop, got, err)
		}
	}
}
