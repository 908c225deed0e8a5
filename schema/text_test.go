package schema

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A textCase is one case of a file in testdata: "== NAME", the input, a line
// "-- want --", and what must come out.
type textCase struct{ name, in, want string }

func readCases(t testing.TB, file string) []textCase {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []textCase
	for part := range strings.SplitSeq("\n"+string(data), "\n== ") {
		name, body, ok := strings.Cut(part, "\n")
		if !ok || strings.TrimSpace(name) == "" || name[0] == '#' {
			continue
		}
		in, want, ok := strings.Cut(body, "-- want --\n")
		if !ok {
			t.Fatalf("%s: case %q has no -- want --", file, name)
		}
		cases = append(cases, textCase{name, in, strings.TrimRight(want, "\n")})
	}
	return cases
}

// positionsInside fails when a problem points outside the file.
func positionsInside(t *testing.T, file string, data []byte, problems Problems) {
	t.Helper()
	if len(problems) > MaxProblems {
		t.Errorf("%d problems", len(problems))
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for _, p := range problems {
		if p.File != file || p.Line < 0 || p.Line > len(lines) {
			t.Errorf("%v: outside the file", p)
			continue
		}
		if p.Line > 0 && (p.Col < 0 || p.Col > len(lines[p.Line-1])+1) {
			t.Errorf("%v: outside the line %q", p, lines[p.Line-1])
		}
		if p.Msg == "" {
			t.Errorf("%v: no message", p)
		}
	}
}

func TestTextLines(t *testing.T) {
	for _, c := range []struct{ in, want, problems string }{
		{"a\r\nb\rc\nd", "1:a 2:b 3:c 4:d", ""},
		{"\ufeffa\n", "1:a", ""},
		{"a\n\fb\nc", "1:a 3:c", "f:2:1: control character U+000C; delete it"},
		{"# a\u2028b", "", "f:1:4: control character U+2028; delete it"},
		{"a \u202e b", "", "f:1:3: control character U+202E; delete it"},
		{"a\nb\xff", "1:a", "f:2:2: the line is not UTF-8; save the file as UTF-8"},
		{"a\ufffd", "1:a\ufffd", ""},
		{strings.Repeat("x", MaxLine+1), "", "f:1: the line has 65537 bytes, more than 65536"},
		{strings.Repeat("x", MaxFile+1), "", "f: the file has 4194305 bytes, more than 4194304"},
	} {
		var ps Problems
		var got []string
		for _, l := range textLines("f", []byte(c.in), &ps) {
			got = append(got, string(rune('0'+l.no))+":"+l.text)
		}
		if g := strings.Join(got, " "); g != c.want || ps.Error() != c.problems {
			t.Errorf("%.20q: %q, %q, want %q, %q", c.in, g, ps.Error(), c.want, c.problems)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"numprocesses", "max_retry", "cmd", "args", "uid", "gid"}
	for word, want := range map[string]string{
		"numproceses": "numprocesses", "NumProcesses": "numprocesses", "maxretry": "max_retry",
		"cdm": "cmd", "uuid": "uid", "shell": "", "x": "", "wxyz": "", "grid": "gid", "cmdxy": "",
	} {
		if got := Closest(word, names); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
