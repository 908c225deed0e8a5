package schema

import (
	"fmt"
	"strings"
	"testing"
)

func goModText(g *GoMod) string {
	var b strings.Builder
	for _, r := range g.Requires {
		fmt.Fprintf(&b, "%d %s %s %v\n", r.Line, r.Name, r.Version, r.Indirect)
	}
	for _, r := range g.Replaces {
		fmt.Fprintf(&b, "%d %s => %s %v\n", r.Line, r.Name, r.Dir, r.IsInside())
	}
	return b.String()
}

// What a go.mod says, in blocks and alone, quoted and with what nobody knows yet.
func TestGoMod(t *testing.T) {
	const text = `module shop // ours
go 1.26
tomorrow ( a => b )
require example.org/a v1.2.3
require (
	"example.org/b" v0.0.0-20240606120523-5a60cdf6a761 // indirect
	example.org/c v2.0.0+incompatible
)
replace example.org/a v1.2.3 => ./a
replace (
	example.org/b => example.org/other v1.0.0
	example.org/c => "../c d"
	example.org/d => /srv/d
	example.org/e => ./x/../..
)
`
	const want = `4 example.org/a 1.2.3 false
6 example.org/b 0.0.0-20240606120523-5a60cdf6a761 true
7 example.org/c 2.0.0+incompatible false
9 example.org/a => ./a true
12 example.org/c => ../c d false
13 example.org/d => /srv/d false
14 example.org/e => ./x/../.. false
`
	g, problems := ParseGoMod("go.mod", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if got := goModText(g); got != want {
		t.Errorf("ParseGoMod =\n%swant\n%s", got, want)
	}
}

func TestGoModProblems(t *testing.T) {
	for text, want := range map[string]string{
		"require example.org/a": "go.mod:1: usage: require module/path v1.2.3; write what go mod edit accepts",
		"module shop\nrequire a.org/a v1.99999999999999999999.0\n": `go.mod:2: "v1.99999999999999999999.0" is no version; run go mod tidy`,
		"module (\n":                   "go.mod:2: syntax error (unterminated block started at go.mod:1:1); write what go mod edit accepts",
		strings.Repeat(" ", MaxFile+1): fmt.Sprintf("go.mod: the file has %d bytes, more than %d", MaxFile+1, MaxFile),
	} {
		_, problems := ParseGoMod("go.mod", []byte(text))
		if err := problems.Err(); err == nil || err.Error() != want {
			t.Errorf("ParseGoMod(%.40q) = %v, want %s", text, err, want)
		}
	}
}

func FuzzGoMod(f *testing.F) {
	f.Add([]byte("module a\nrequire b.c/d v1.0.0\nreplace b.c/d => ../d\n"))
	f.Add([]byte("replace (\n\t\"x\" v1.0.0 => `./y`\n)\n"))
	f.Add([]byte("require b.c/d v0.0.0-1 // indirect\nreplace =>\nreplace a => \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, problems := ParseGoMod("go.mod", data)
		if (g == nil) != (len(problems) > 0) && len(problems) == 0 {
			t.Fatal("neither a GoMod nor a problem")
		}
		if g == nil {
			return
		}
		for _, r := range g.Requires {
			if r.Name == "" || r.Version == nil || r.Line == 0 {
				t.Errorf("a requirement without a name, a version or a line: %+v", r)
			}
		}
	})
}
