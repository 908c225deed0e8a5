package schema

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A textLine is a physical line without its end.
type textLine struct {
	no   int // from 1
	text string
}

// textLines splits a file as an editor shows it: at LF, CR and CRLF, and at
// nothing else. A line that hides something (control characters, line
// separators that only some readers know, marks that reverse the direction of
// text) or is not UTF-8 is a problem and left out.
func textLines(file string, data []byte, ps *Problems) []textLine {
	if len(data) > MaxFile {
		ps.Add(Pos{File: file}, "", "the file has %d bytes, more than %d", len(data), MaxFile)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r", "\n"), "\n")
	var lines []textLine
	no := 0
	for s := range strings.SplitSeq(text, "\n") {
		no++
		if checkLine(Pos{File: file, Line: no}, s, ps) {
			lines = append(lines, textLine{no, s})
		}
	}
	return lines
}

// checkLine reports what a line must not hold, the first of it only.
func checkLine(pos Pos, s string, ps *Problems) bool {
	if len(s) > MaxLine {
		ps.Add(pos, "", "the line has %d bytes, more than %d", len(s), MaxLine)
		return false
	}
	for i, r := range s {
		pos.Col = i + 1
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				ps.Add(pos, "save the file as UTF-8", "the line is not UTF-8")
				return false
			}
		}
		if isHidden(r) {
			ps.Add(pos, "delete it", "control character %U", r)
			return false
		}
	}
	return true
}

// isHidden reports whether a reader may not see r, or may see a line end that
// is none.
func isHidden(r rune) bool {
	switch {
	case r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	case r == 0x2028, r == 0x2029, r == 0xfeff:
		return true
	}
	return r >= 0x200e && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// Closest gives the candidate that word is most likely a misspelling of, "" for
// none.
func Closest(word string, candidates []string) string {
	best, least := "", min(max(len(word)/3, 1), 3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), least); d < least || d == least && best == "" {
			best, least = c, d
		}
	}
	return best
}

// distance is how many letters must be added, dropped, replaced or swapped with
// their neighbours to make b of a; more than most where it is more.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most || len(a) > 100 {
		return most + 1
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
