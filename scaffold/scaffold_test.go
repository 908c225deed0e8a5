package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, dir string) *Plan {
	t.Helper()
	plan, err := Look(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// said gives the guesses as text.
func said(p *Plan) string {
	var all []string
	for _, g := range p.Guesses {
		all = append(all, g.String())
	}
	return strings.Join(all, "\n")
}

// A project that somebody made to hurt is looked at as far as the limits go.
func TestHostile(t *testing.T) {
	outside := t.TempDir()
	put(t, outside, "secret.py", "from flask import Flask\napp = Flask(__name__)\n")
	put(t, outside, "list.txt", "secret\n")
	dir := t.TempDir()
	put(t, dir, "requirements/base.txt", "-r base.txt\n-r ../../etc/passwd\nflask\x0b\n")
	put(t, dir, "Procfile", "web: gunicorn ../../x:app\nw\x01: y\nx: '\n")
	put(t, dir, "broken.py", "app = Flask((((\n'''")
	put(t, dir, "pyproject.toml", strings.Repeat("#", schema.MaxFile+1))
	put(t, dir, "large.py", strings.Repeat("#\n", maxModule))
	put(t, dir, "a/b/c/d/e/deep.py", "app = Flask()\n")
	for name, target := range map[string]string{"link.py": outside + "/secret.py", "requirements.txt": outside + "/list.txt", "app": outside, "production.ini": "production.ini"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "manage.py"), 0o644); err != nil {
		t.Fatal(err)
	}
	plan := look(t, dir)
	for _, want := range []string{
		"pyproject.toml: has more than 4194304 bytes, and is not read",
		"large.py: has more than 1048576 bytes, and is not read",
		"broken.py:1: the application is app, made by Flask: wsgi",
		"Procfile:3: is left out: it cannot be a watcher",
		"../etc/passwd: is included, and cannot be read",
		`requirements/base.txt:3:6: "flask" is left out: control character U+000B`,
	} {
		if !strings.Contains(said(plan), want) {
			t.Errorf("no %q in\n%s", want, said(plan))
		}
	}
	if s := said(plan); strings.Contains(s, "secret") || strings.Contains(s, "deep") {
		t.Errorf("it has looked too far:\n%s", s)
	}
}

func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range maxModules + 1 {
		put(t, dir, fmt.Sprintf("m%d.py", i), "")
	}
	if s := said(look(t, dir)); !strings.Contains(s, "more files than are looked at") {
		t.Error(s)
	}
}

// What appears while the project is looked at is not replaced, and neither is a
// link that leads nowhere.
func TestReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "app.ini")); err != nil {
		t.Fatal(err)
	}
	plan := look(t, dir)
	put(t, dir, "bin/app.py", "mine")
	if err := plan.Write(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "bin/app.py is there by now") {
		t.Errorf("Write: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "dependencies.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dependencies.txt: %v", err)
	}
	if err := look(t, dir).Write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bin/app.py"))
	if err != nil || string(text) != "mine" {
		t.Errorf("bin/app.py is %q, %v", text, err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "app.ini")); err != nil || target != "nowhere" {
		t.Errorf("app.ini leads to %q, %v", target, err)
	}
}

// Where the disk takes one of the files not, none is left.
func TestWriteFails(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		plan := look(t, dir)
		fault := atomicfile.FailAt(n)
		atomicfile.Intercept(fault.FS().Before)
		err := plan.Write(t.Context(), dir)
		atomicfile.Intercept(nil)
		if (err != nil) != fault.Hit() {
			t.Fatalf("%v: %v", fault, err)
		}
		entries, readErr := os.ReadDir(dir)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if !fault.Hit() {
			if n < 15 || len(entries) != 4 {
				t.Errorf("%d operations, %v", n-1, entries)
			}
			return
		}
		if len(entries) > 0 {
			t.Errorf("%v: left %v", fault, entries)
		}
	}
}

func FuzzLook(f *testing.F) {
	for i, text := range []string{"-r more.txt\n-e .\nflask ; x\n", "[project]\nname='a'\n", "web: gunicorn a:b\nx: y\n", "app = Flask()\ndef create_app(): pass\n", "[app:main]\nuse = egg:x\n", "module x\nrequire y v1.0.0\n"} {
		f.Add(byte(i), []byte(text))
	}
	names := []string{"requirements.txt", "pyproject.toml", "Procfile", "m.py", "production.ini", "go.mod"}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		name := names[int(which)%len(names)]
		put(t, dir, name, string(data))
		plan := look(t, dir)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		for _, file := range plan.Files {
			var problems schema.Problems
			switch file.Path {
			case dependencies:
				_, problems = schema.ParseRequirements(file.Path, file.Data)
			case external:
				_, problems = schema.ParseExternal(file.Path, file.Data)
			case appINI:
				_, problems = schema.ParseAppINI(file.Path, file.Data)
			}
			if len(problems) > 0 || bytes.ContainsRune(file.Data, 0) {
				t.Errorf("of %s %q: %s is\n%s\n%v", name, data, file.Path, file.Data, problems)
			}
		}
	})
}
