package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DigestPrefix is the name of the digest that [TreeDigest] computes.
const DigestPrefix = "ab1:"

// DigestLine gives the line of an entry in the list that [TreeDigest] hashes,
// without its end:
//
//	d "path"                     a directory
//	l "path" "target"            a symbolic link
//	f x sha256 size "path"       a file that its owner may execute
//	f - sha256 size "path"       another file
//
// sha256 is 64 lower-case hexadecimal digits, size a decimal number, and one
// blank separates two fields. Paths and targets are JSON strings, exactly as
// Python's json.dumps(path, ensure_ascii=False) writes them: within double
// quotes, with \" and \\ for those two; \b, \f, \n, \r and \t for U+0008,
// U+000C, U+000A, U+000D and U+0009; \u and four lower-case hexadecimal digits
// for the others below U+0020; and every other character as it is, in UTF-8.
// So U+007F, "/", "<", ">", "&", U+2028 and U+2029 are never escaped, although
// encoding/json escapes some of them. A byte that is not UTF-8 is written as
// U+FFFD; such a path is no path of a bundle.
func DigestLine(e ManifestEntry) string { return string(appendDigestLine(nil, &e)) }

func appendDigestLine(b []byte, e *ManifestEntry) []byte {
	switch e.Type {
	case EntryDir:
		return appendJSONString(append(b, "d "...), e.Path)
	case EntryLink:
		b = appendJSONString(append(b, "l "...), e.Path)
		return appendJSONString(append(b, ' '), e.Link)
	}
	x := "f - "
	if e.X {
		x = "f x "
	}
	b = append(append(append(b, x...), e.SHA256...), ' ')
	b = strconv.AppendInt(b, e.Size, 10)
	return appendJSONString(append(b, ' '), e.Path)
}

// TreeDigest gives the identity of a tree: "ab1:" and the SHA-256, in lower-case
// hexadecimal digits, of the lines of all entries in bytewise order of their
// paths, each with a line feed at its end. Which entries there are is up to the
// caller: the directories above an entry are entries of their own.
func TreeDigest(entries []ManifestEntry) string {
	byPath := func(a, b ManifestEntry) int { return strings.Compare(a.Path, b.Path) }
	if !slices.IsSortedFunc(entries, byPath) { // as those of a manifest are
		entries = slices.SortedStableFunc(slices.Values(entries), byPath)
	}
	h := sha256.New()
	var line []byte
	for i := range entries {
		line = append(appendDigestLine(line[:0], &entries[i]), '\n')
		h.Write(line)
	}
	return DigestPrefix + hex.EncodeToString(h.Sum(nil))
}

// shortEscapes has the letter after the backslash.
var shortEscapes = map[rune]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r >= 0x20 && r != '"' && r != '\\':
			b = utf8.AppendRune(b, r)
		case shortEscapes[r] != 0:
			b = append(b, '\\', shortEscapes[r])
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
