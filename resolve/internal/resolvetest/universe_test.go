package resolvetest

import (
	"errors"
	"strings"
	"testing"

	"appbundle/resolve"
)

// A line that is none of a universe is named.
func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a 1\nb", `line 2: "b" is not NAME VERSION`},
		{"a one", `line 1: version "one": `},
		{"a 1 | b >", `line 1: "b >": `},
		{"a 1 | wheel x", "line 1: a-1-x.whl: "},
		{"a 1 | uploaded yesterday", "line 1: parsing time"},
		{"a 1 | python 3", "line 1: "},
		{"a 1 | metadata-python 3", "line 1: "},
	}
	for _, test := range tests {
		if _, err := Parse(test.text); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Parse(%q) = %v, want %s…", test.text, err, test.want)
		}
	}
	if _, err := ParseCases("=== x\n@ nonsense\n"); err == nil || err.Error() != `x: unknown option "nonsense"` {
		t.Errorf("ParseCases of an unknown option = %v", err)
	}
}

// A universe answers as a Provider does: newest first, and ErrNotFound.
func TestProvider(t *testing.T) {
	u, err := Parse("# numbers\nA_b 1\na-b 10 | wheel cp311-cp311-win_amd64 1x | broken no zip\na.b 2 # newer")
	if err != nil {
		t.Fatal(err)
	}
	p, err := u.Project(t.Context(), "a-b")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.Releases {
		got = append(got, r.Version.String())
	}
	if strings.Join(got, " ") != "10 2 1" {
		t.Errorf("the versions are %v, want 10, 2 and 1", got)
	}
	if name := p.Releases[0].Files[0].Name; name != "a_b-10-1x-cp311-cp311-win_amd64.whl" {
		t.Errorf("the file is %s", name)
	}
	var bad *resolve.MetadataError
	if _, err := u.Metadata(t.Context(), "a-b", p.Releases[0], p.Releases[0].Files[0]); !errors.As(err, &bad) || bad.Reason != "no zip" {
		t.Errorf("metadata that is broken = %v", err)
	}
	if _, err := u.Project(t.Context(), "c"); !errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("an unknown project = %v", err)
	}
	if _, err := u.Metadata(t.Context(), "a-b", &resolve.Release{}, &resolve.File{}); err == nil {
		t.Error("a release of nobody has metadata")
	}
}
