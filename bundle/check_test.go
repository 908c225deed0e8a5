package bundle

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the wanted texts of testdata")

// goodApp conforms; every case changes it.
const goodApp = `
-- dependencies.txt --
flask>=3
gunicorn==27.0.1
-- external-dependencies.txt --
libmagic
-- app.ini --
[app]
name = shop
version = 1.0.0
-- bin/app.py --
from flask import Flask
application = Flask(__name__)
-- README --
A shop.
`

// write puts the files of an archive below dir; those of a prefix only, and
// without it, when prefix is not "".
func write(t testing.TB, dir string, a *txtar.Archive, prefix string) {
	t.Helper()
	for _, f := range a.Files {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || prefix == "" && isReserved(f.Name) {
			continue
		}
		p := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, f.Data, 0o644))
	}
}

func isReserved(name string) bool {
	return name == "ops" || name == "fixops" || name == "want" || strings.HasPrefix(name, "fix/")
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// do carries out lines such as "chmod 600 a", "link TARGET a", "rm a". In a
// word \s is a blank, \n a line feed and \377 that byte.
func do(t testing.TB, dir, ops string) {
	t.Helper()
	for line := range strings.Lines(ops) {
		f := strings.Fields(line)
		for i := range f {
			f[i] = strings.NewReplacer(`\s`, " ", `\377`, "\377", `\n`, "\n").Replace(f[i])
		}
		p := filepath.Join(dir, f[len(f)-1])
		var err error
		switch f[0] {
		case "rm":
			err = os.RemoveAll(p)
		case "mv":
			err = os.Rename(filepath.Join(dir, f[1]), p)
		case "mkdir":
			err = os.MkdirAll(p, 0o755)
		case "touch":
			err = os.WriteFile(p, nil, 0o644)
		case "link":
			err = os.Symlink(f[1], p)
		case "fifo":
			err = syscall.Mkfifo(p, 0o644)
		case "crlf":
			var data []byte
			data, err = os.ReadFile(p)
			must(t, err)
			err = os.WriteFile(p, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), 0o644)
		case "chmod":
			var mode uint32
			for _, c := range f[1] {
				mode = mode<<3 | uint32(c-'0')
			}
			err = syscall.Chmod(p, mode)
		default:
			t.Fatalf("no operation %q", f[0])
		}
		must(t, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// TestCheck breaks a good application as each file of testdata/check says,
// wants exactly its findings, applies the remedy, and wants none. For each rule there
// is a case that passes where the rule is not looked at.
func TestCheck(t *testing.T) {
	cases, err := filepath.Glob("testdata/check/*.txt")
	must(t, err)
	alone := map[string]bool{} // rules that alone find what a case breaks
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			must(t, err)
			dir := filepath.Join(t.TempDir(), "shop")
			write(t, dir, txtar.Parse([]byte(goodApp)), "")
			write(t, dir, a, "")
			do(t, dir, section(a, "ops"))
			got := checkDir(t, dir)
			id := strings.ToUpper(filepath.Base(file)[:len("AB000")])
			alone[id] = alone[id] || len(got) > 0 && !slices.ContainsFunc(got, func(f Finding) bool { return f.Rule != id })
			for _, f := range got {
				if f.Fix == "" {
					t.Errorf("%s: no remedy", f)
				}
			}
			if *update {
				rewrite(t, file, a, text(got))
			} else if want := section(a, "want"); text(got) != want {
				t.Errorf("findings:\n%swant:\n%s", text(got), want)
			}
			write(t, dir, a, "fix/")
			do(t, dir, section(a, "fixops"))
			if got := checkDir(t, dir); len(got) != 0 {
				t.Errorf("with the remedy:\n%s", text(got))
			}
		})
	}
	for _, r := range rules {
		if !alone[r.ID] {
			t.Errorf("there is no case that %s alone finds", r.ID)
		}
	}
}

func checkDir(t testing.TB, dir string) []Finding {
	t.Helper()
	app, err := Load(dir)
	must(t, err)
	return Check(app)
}

func rewrite(t *testing.T, file string, a *txtar.Archive, want string) {
	for i := range a.Files {
		if a.Files[i].Name == "want" {
			a.Files[i].Data = []byte(want)
		}
	}
	must(t, os.WriteFile(file, txtar.Format(a), 0o644))
}

func TestGoodAppHasNoFindings(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	if got := checkDir(t, dir); len(got) != 0 {
		t.Errorf("Check:\n%s", text(got))
	}
}
