package schema

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

func readOwnLock(t testing.TB) (*PyLock, []byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/pylock-own.toml")
	if err != nil {
		t.Fatal(err)
	}
	l, problems := ParsePyLock("pylock.toml", data)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return l, data
}

// lockCases gives the cases of a file: a name, a lock, and what is wanted.
func lockCases(t testing.TB, file string) (cases [][3]string) {
	t.Helper()
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(ar.Files); i += 2 {
		text := strings.ReplaceAll(string(ar.Files[i].Data), "SUM", strings.Repeat("0", 64))
		cases = append(cases, [3]string{ar.Files[i].Name, text, string(ar.Files[i+1].Data)})
	}
	return cases
}

// What was read is written as it was, whatever the order of its parts.
func TestPyLockRoundTrip(t *testing.T) {
	l, data := readOwnLock(t)
	for range 3 {
		slices.Reverse(l.Packages)
		slices.Reverse(l.Environments)
		slices.Reverse(l.Tool.Targets)
		got, err := l.Encode()
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%v, got\n%s", err, got)
		}
	}
	if len(l.Unknown) > 0 {
		t.Errorf("unknown keys %v in a lock of our own", l.Unknown)
	}
}

func TestPyLockOthers(t *testing.T) {
	for _, c := range lockCases(t, "testdata/pylock-others.txt") {
		t.Run(c[0], func(t *testing.T) {
			l, problems := ParsePyLock("pylock.toml", []byte(c[1]))
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			if got := renderLock(l); got != c[2] {
				t.Errorf("got\n%swant\n%s", got, c[2])
			}
			again, err := l.Encode()
			if err != nil {
				t.Fatal(err)
			}
			l2, problems := ParsePyLock("pylock.toml", again)
			third, err := l2.Encode()
			if len(problems) > 0 || err != nil || !bytes.Equal(again, third) {
				t.Errorf("written and read: %v, %v\n%s", problems, err, third)
			}
		})
	}
}

func renderLock(l *PyLock) string {
	var b strings.Builder
	for _, p := range l.Packages {
		fmt.Fprintf(&b, "%s %s @%d:", p.Name, p.Version, p.Line)
		for _, f := range p.Files() {
			fmt.Fprintf(&b, " %s@%d %d", f.Name, f.Line, f.Size)
		}
		if p.VCS != nil {
			b.WriteString(" vcs")
		}
		if p.Directory != nil {
			b.WriteString(" directory")
		}
		b.WriteString("\n")
	}
	for _, u := range l.Unknown {
		fmt.Fprintf(&b, "unknown %s@%d\n", u.Text, u.Line)
	}
	return b.String()
}

func TestPyLockProblems(t *testing.T) {
	for _, c := range lockCases(t, "testdata/pylock-problems.txt") {
		t.Run(c[0], func(t *testing.T) {
			_, problems := ParsePyLock("pylock.toml", []byte(c[1]))
			if got := problems.Error() + "\n"; got != c[2] {
				t.Errorf("got\n%swant\n%s", got, c[2])
			}
		})
	}
}

// What a decoder without limits would choke on is refused by the scanner.
func TestPyLockLimits(t *testing.T) {
	deep := strings.Repeat("[", 1<<20)
	for _, c := range []struct{ name, text, want string }{
		{"arrays", "a = " + deep, "arrays and tables more than 32 deep"},
		{"tables", "a = " + strings.Repeat("{a = ", 1<<20), "arrays and tables more than 32 deep"},
		{"behind a string of six quotes", `a = """x"""""` + "\nb = " + deep, "arrays and tables more than 32 deep"},
		{"behind an escaped quote", `a = "\"" # "` + "\nb = " + deep, "arrays and tables more than 32 deep"},
		{"a header", "[" + strings.Repeat("a.", 1<<20) + "a]", "a key with more than 16 parts"},
		{"a key", strings.Repeat("a.", 1<<20) + "a = 1", "a key with more than 16 parts"},
		{"a key inside", "a = {" + strings.Repeat("a.", 1<<20) + "a = 1}", "a key with more than 16 parts"},
		{"size", strings.Repeat("#", MaxPyLock+1), "the lock has 33554433 bytes, more than 33554432"},
		{"UTF-8", "# \xff", "the line is not UTF-8"},
		{"hidden", "# \u202e", "control character U+202E"},
	} {
		_, problems := ParsePyLock("f", []byte(c.text))
		if len(problems) != 1 || problems[0].Msg != c.want {
			t.Errorf("%s: %.200v, want %s", c.name, problems, c.want)
		}
	}
}

func TestPyLockSelect(t *testing.T) {
	l, _ := readOwnLock(t)
	env := pep508.Env{SysPlatform: "linux", PlatformMachine: "x86_64", PythonVersion: "3.11", OSName: "posix"}
	v := pep440.MustParse("3.11.7")
	short, err := l.For(env, v)
	if err != nil {
		t.Fatal(err)
	}
	if pin, ok := short.Find("werkzeug"); len(short.Packages) != 3 || !ok || pin.Version != "3.1.0" {
		t.Errorf("got %v", short.Packages)
	}
	for _, c := range []struct {
		change  func()
		covered bool
		want    string
	}{
		{func() { env.PlatformMachine = "riscv64" }, false, "pylock.toml: the lock does not cover this environment: none of its environments is Python 3.11 on linux riscv64"},
		{func() { l.Environments = nil; l.Packages[2].Marker = nil; env.PlatformMachine = "x86_64" }, true, "pylock.toml:60: werkzeug occurs twice for one environment, here and at pylock.toml:48; lock again"},
		{func() { l.Packages[0].RequiresPython = ">=3.12" }, false, "pylock.toml:12: the lock does not cover this environment: flask 3.1.3 needs Python >=3.12, not 3.11.7"},
		{func() { l.RequiresPython = ">3.11.7" }, false, "pylock.toml: the lock does not cover this environment: it is for Python >3.11.7, not 3.11.7"},
	} {
		c.change()
		_, err := l.Select(env, v)
		if err == nil || err.Error() != c.want || errors.Is(err, ErrNotCovered) == c.covered {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// Default groups count where nobody names others.
func TestPyLockGroups(t *testing.T) {
	text := `lock-version = "1.0"
created-by = "x"
dependency-groups = ["dev"]
default-groups = ["dev"]
[[packages]]
name = "a"
version = "1"
marker = "'dev' in dependency_groups"
sdist = { url = "https://f.example/a-1.tar.gz", hashes = { sha256 = "SUM" } }
`
	l, problems := ParsePyLock("pylock.toml", []byte(strings.ReplaceAll(text, "SUM", strings.Repeat("0", 64))))
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	v := pep440.MustParse("3.11.7")
	for _, c := range []struct {
		groups []string
		want   int
	}{{nil, 1}, {[]string{}, 0}, {[]string{"dev"}, 1}} {
		if got, err := l.Select(pep508.Env{DependencyGroups: c.groups}, v); err != nil || len(got) != c.want {
			t.Errorf("%v: %d, %v", c.groups, len(got), err)
		}
	}
}

func TestPyLockRequirements(t *testing.T) {
	l, _ := readOwnLock(t)
	l.Packages[0].Index = "https://user:secret@index.example/simple/"
	got, err := l.Requirements()
	if err != nil {
		t.Fatal(err)
	}
	want := `--index-url https://index.example/simple/
flask==3.1.3 \
    --hash=sha256:0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb \
    --hash=sha256:f4bcbefc124291925f1a26446da31a5178f9483862233b23c0c96a20701f670c
./wheels/shop_models-1-py3-none-any.whl \
    --hash=sha256:` + strings.Repeat("a", 64) + `
werkzeug==3.0.0 ; platform_machine == "aarch64" \
    --hash=sha256:` + strings.Repeat("1", 64) + `
werkzeug==3.1.0 ; platform_machine == "x86_64" \
    --hash=sha256:` + strings.Repeat("2", 64) + "\n"
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
	// What is written is what our own reader of such files accepts.
	if _, problems := ParseRequirements("requirements.txt", got); len(problems) > 0 {
		t.Error(problems)
	}
	l.Packages[0].VCS = &LockedVCS{}
	l.Packages[0].Sdist, l.Packages[0].Wheels = nil, nil
	if _, err := l.Requirements(); err == nil || err.Error() != "pylock.toml:12: flask is a source tree, which no hash pins; lock a wheel of it instead" {
		t.Errorf("got %v", err)
	}
}

// Credentials never get into a lock, and a lock that could not be read is not
// written.
func TestPyLockEncode(t *testing.T) {
	l, _ := readOwnLock(t)
	l.Packages[0].Index = "https://user:secret@index.example/simple/"
	l.Packages[0].Wheels[0].URL = "https://user@files.example/flask-3.1.3-py3-none-any.whl"
	got, err := l.Encode()
	if err != nil || bytes.Contains(got, []byte("user")) {
		t.Errorf("%v\n%s", err, got)
	}
	l.Packages[0].Name = "Flask"
	if _, err := l.Encode(); err == nil {
		t.Error("a name that is not normalised was written")
	}
}

func FuzzPyLock(f *testing.F) {
	_, own := readOwnLock(f)
	f.Add(own)
	for _, file := range []string{"testdata/pylock-others.txt", "testdata/pylock-problems.txt"} {
		for _, c := range lockCases(f, file) {
			f.Add([]byte(c[1]))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, problems := ParsePyLock("f", data)
		if len(problems) > 0 || l == nil {
			return
		}
		once, err := l.Encode()
		if err != nil {
			t.Fatalf("read and not written: %v\n%s", err, data)
		}
		again, problems := ParsePyLock("f", once)
		if len(problems) > 0 {
			t.Fatalf("written and not read: %v\n%s", problems, once)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v: written twice:\n%s\n%s", err, once, twice)
		}
		if _, err := l.Requirements(); err != nil && !errors.As(err, new(*Problem)) {
			t.Fatal(err)
		}
	})
}
