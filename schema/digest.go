package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
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
func DigestLine(e ManifestEntry) string {
	switch e.Type {
	case EntryDir:
		return "d " + jsonString(e.Path)
	case EntryLink:
		return "l " + jsonString(e.Path) + " " + jsonString(e.Link)
	}
	x := "-"
	if e.X {
		x = "x"
	}
	return fmt.Sprintf("f %s %s %d %s", x, e.SHA256, e.Size, jsonString(e.Path))
}

// TreeDigest gives the identity of a tree: "ab1:" and the SHA-256, in lower-case
// hexadecimal digits, of the lines of all entries in bytewise order of their
// paths, each with a line feed at its end. Which entries there are is up to the
// caller: the directories above an entry are entries of their own.
func TreeDigest(entries []ManifestEntry) string {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b ManifestEntry) int { return strings.Compare(a.Path, b.Path) })
	h := sha256.New()
	for _, e := range sorted {
		h.Write([]byte(DigestLine(e) + "\n"))
	}
	return DigestPrefix + hex.EncodeToString(h.Sum(nil))
}

var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func jsonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		esc, ok := shortEscapes[r]
		switch {
		case ok:
			b.WriteString(esc)
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(string(utf8.AppendRune(nil, r)))
		}
	}
	b.WriteByte('"')
	return b.String()
}
