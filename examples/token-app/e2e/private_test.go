package e2e

import "testing"

// What looks for private texts finds them, wherever in a line they are.
func TestPrivate(t *testing.T) {
	p := privates{all: []string{"word"}}
	p.add("other")
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{[]string{"a", "b"}, ""},
		{[]string{"a", "xwordx", "b"}, "xword"},
		{[]string{"word"}, "word"},
		{[]string{"a", "b", "x other"}, "x other"},
	} {
		if got := p.said(tt.lines); got != tt.want {
			t.Errorf("said(%q) = %q, want %q", tt.lines, got, tt.want)
		}
	}
}
