package bundle

import (
	"path"
	"strings"
	"testing"
)

// Each case is a file and what it leaves out; "/" at the end of a path makes
// it a directory. The wanted answers are
// those of git check-ignore, but for the last one: git counts bytes.
var ignoreCases = []struct {
	name, file string
	out, in    string
}{
	{"name at every depth", "*.log", "a.log d/b.log", "a.log2 log"},
	{"comment and blank", "# a\n\n\\#b\n", "#b", "a b"},
	{"anchored at the front", "/build", "build build/", "x/build"},
	{"anchored in the middle", "doc/a.txt", "doc/a.txt", "x/doc/a.txt"},
	{"directory only", "tmp/", "tmp/ d/tmp/", "tmp d/tmp"},
	{"anchored directory", "/a/b/", "a/b/", "a/b x/a/b/"},
	{"take back", "*.txt\n!keep.txt", "a.txt d/a.txt", "keep.txt d/keep.txt"},
	{"last one wins", "!a\na", "a", "b"},
	{"quoted bang", "\\!a", "!a", "a"},
	{"star stops at slash", "a/*.c", "a/b.c", "a/b/c.c"},
	{"question mark", "a?c", "abc", "ac a/c abbc"},
	{"leading double star", "**/foo", "foo d/foo d/e/foo", "foo2"},
	{"trailing double star", "abc/**", "abc/x abc/d/x", "abc x/abc/y"},
	{"middle double star", "a/**/b", "a/b a/x/b a/x/y/b", "b a/xb x/a/b"},
	{"two stars in a name", "/a**b", "ab axb", "a/b a/x/b"},
	{"class", "[abc].o", "a.o d/c.o", "d.o"},
	{"class range", "[a-c0-9]x", "bx 5x", "dx -x"},
	{"negated class", "[!a]x\n[^b]y", "bx ay", "ax by"},
	{"class with bracket first", "[]a]x", "]x ax", "bx"},
	{"class with dash", "[a-]x", "-x ax", "bx"},
	{"posix class", "[[:digit:]_]z", "1z _z", "az"},
	{"class never a slash", "a[.-0]b\na[[:punct:]]c\na[!x]d", "a.b a-c a.c abd", "a/b a/c a/d axd"},
	{"unclosed class", "[abc", "", "a [abc"},
	{"empty range", "[z-a]", "", "a -"},
	{"trailing spaces", "a  \nb\\ ", "a b\\s", "b"},
	{"trailing backslash", "a\\", "", "a a\\"},
	{"quoted star", "a\\*", "a*", "ab"},
	{"carriage return and mark", "\ufeffa\r\nb/\r\n", "a b/", "b"},
	{"slash alone", "/\n!\n!/", "", "a d/"},
	{"everything but", "/*\n!/bin\n", "x d/ dependencies.txt", "bin/"},
	{"unicode", "ü?", "üä", "ü"},
}

func TestIgnore(t *testing.T) {
	for _, c := range ignoreCases {
		t.Run(c.name, func(t *testing.T) {
			ig := ParseIgnore([]byte(c.file))
			for want, list := range map[bool]string{true: c.out, false: c.in} {
				for p := range strings.FieldsSeq(list) {
					p = strings.ReplaceAll(p, "\\s", " ")
					clean := strings.TrimSuffix(p, "/")
					if got := ig.Match(clean, clean != p); got != want {
						t.Errorf("Match(%q) = %v, want %v", p, got, want)
					}
				}
			}
		})
	}
}

// FuzzIgnore looks for panics, for a match of the last name that depends on
// the directory, and for a class or a star that crosses a slash.
func FuzzIgnore(f *testing.F) {
	for _, c := range ignoreCases {
		f.Add([]byte(c.file), "d/a.txt")
	}
	f.Fuzz(func(t *testing.T, file []byte, p string) {
		if len(file) > 4<<10 || len(p) > 1<<10 {
			return
		}
		ig := ParseIgnore(file)
		ig.Match(p, true)
		if len(ig.patterns) == 1 && !ig.patterns[0].whole && p != "" && !strings.HasSuffix(p, "/") {
			base := path.Base(p)
			if ig.Match("q/"+p, false) != ig.Match(base, false) {
				t.Errorf("%q: Match(%q) and Match(%q) differ", file, "q/"+p, base)
			}
		}
	})
}
