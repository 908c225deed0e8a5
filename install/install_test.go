package install

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"appbundle/schema"
	"appbundle/schema/pep425"
)

// shop is a shelf with one of everything.
func shop(t testing.TB) shelf {
	t.Helper()
	const name = "shop_front-1.0-py3-none-any.whl"
	const data = "shop_front-1.0.data/"
	return shelf{
		name: makeWheel(t, name,
			part{name: "shop/__init__.py", text: "import sys, tools\ndef main():\n    print('main', sys.argv[1:], tools.word)\n"},
			part{name: "shop/old.py", text: "print 'Python 2'\n"},
			part{name: "shop/run.so", text: "\x7fELF", mode: 0o104755},
			part{name: "shop/größe.txt", text: "x"},
			part{name: "shop.pth", text: "import sys\n"},
			part{name: "shop_front-1.0.dist-info/entry_points.txt", text: "[console_scripts]\nshop = shop:main\n# a comment\n[gui_scripts]\nshop-gui = shop:main [gui]\n[shop.plugins]\nx = y z\n"},
			part{name: "shop_front-1.0.dist-info/INSTALLER", text: "other\n"},
			part{name: "shop_front-1.0.dist-info/RECORD.jws", text: "{}"},
			part{name: data + "scripts/plain", text: "#!python\nimport sys\nprint('plain', sys.prefix != sys.base_prefix)\n"},
			part{name: data + "scripts/future", text: "#!pythonw -E\n'''Text.'''\nfrom __future__ import annotations\nprint('future')\n"},
			part{name: data + "scripts/latin", text: "#!python\n# -*- coding: latin-1 -*-\nprint(len('\xe4'))\n"},
			part{name: data + "scripts/shell.sh", text: "#!/bin/sh\necho shell\n"},
			part{name: data + "headers/shop.h", text: "int shop;\n"},
			part{name: data + "data/share/shop/a,b.txt", text: "data\n"},
			part{name: data + "purelib/shop/pure.py", text: ""},
			part{name: data + "platlib/shop/plat.py", text: ""}),
		"tools-2-py3-none-any.whl": makeWheel(t, "tools-2-py3-none-any.whl", part{name: "tools.py", text: "word = 'tools'\n"}),
	}
}

// output runs a program and gives what it prints.
func output(t testing.TB, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

func sync1(t testing.TB, req Request) *Result {
	t.Helper()
	res, err := Sync(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestSync(t *testing.T) {
	req := shop(t).request(t)
	req.Compile = true
	req.Requested = func(name string) bool { return name == "shop-front" }
	var heard []string
	var mu sync.Mutex
	req.Progress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, p.Package)
	}
	res := sync1(t, req)
	if res.Current || res.Fetched != 2 || res.Compiled != 2 || len(res.Packages) != 2 || len(heard) != 2 || len(res.Warnings) > 0 {
		t.Errorf("got %+v, heard %v", res, heard)
	}
	if got := strings.Join(res.Startup, " "); got != "shop.pth" {
		t.Errorf("startup files %q", got)
	}
	interpreter, err := Ask(context.Background(), req.Python, req.Cache)
	if err != nil {
		t.Fatal(err)
	}
	version, tag := interpreter.Env.PythonVersion, interpreter.CacheTag
	site := "lib/python" + version + "/site-packages/"
	var want []string
	for line := range strings.Lines(`bin/activate
bin/future
bin/latin
bin/plain
bin/python
bin/python3
bin/pythonVERSION
bin/shell.sh
bin/shop
bin/shop-gui
include/site/pythonVERSION/shop-front/shop.h
installed.json
SITE__pycache__/tools.TAG.pyc
SITEshop.pth
SITEshop/__init__.py
SITEshop/__pycache__/__init__.TAG.pyc
SITEshop/__pycache__/plat.TAG.pyc
SITEshop/__pycache__/pure.TAG.pyc
SITEshop/größe.txt
SITEshop/old.py
SITEshop/plat.py
SITEshop/pure.py
SITEshop/run.so
SITEshop_front-1.0.dist-info/INSTALLER
SITEshop_front-1.0.dist-info/METADATA
SITEshop_front-1.0.dist-info/RECORD
SITEshop_front-1.0.dist-info/REQUESTED
SITEshop_front-1.0.dist-info/WHEEL
SITEshop_front-1.0.dist-info/entry_points.txt
SITEtools-2.dist-info/INSTALLER
SITEtools-2.dist-info/METADATA
SITEtools-2.dist-info/RECORD
SITEtools-2.dist-info/WHEEL
SITEtools.py
pyvenv.cfg
share/shop/a,b.txt
`) {
		want = append(want, strings.NewReplacer("SITE", site, "VERSION", version, "TAG", tag).Replace(line))
	}
	slices.Sort(want)
	got := strings.SplitAfter(list(t, res.Env), "\n")
	got = got[:len(got)-1]
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
	checkRecord(t, res.Env, site, "shop_front-1.0.dist-info", 24)
	checkModes(t, res.Env, site)
	checkScripts(t, res.Env)
	checkCurrent(t, req)
}

// checkRecord holds RECORD to the files that are there.
func checkRecord(t *testing.T, env, site, info string, n int) {
	t.Helper()
	f, err := os.Open(filepath.Join(env, site, info, "RECORD"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != n {
		t.Errorf("RECORD has %d lines, want %d: %v, %v", len(lines), n, lines, err)
	}
	for _, l := range lines {
		text, err := os.ReadFile(filepath.Join(env, site, l[0]))
		if err != nil {
			t.Error(err)
			continue
		}
		isFree := strings.HasSuffix(l[0], ".pyc") || strings.HasSuffix(l[0], "/RECORD")
		if isFree != (l[1] == "") || !isFree && l[1] != "sha256="+sumOf(text) {
			t.Errorf("RECORD: %v", l)
		}
	}
}

// checkModes looks for set-id bits and for files that a program could change.
func checkModes(t *testing.T, env, site string) {
	t.Helper()
	for name, want := range map[string]os.FileMode{"shop/run.so": 0o555, "shop/__init__.py": 0o444, "shop_front-1.0.dist-info/RECORD": 0o644} {
		if st, err := os.Stat(filepath.Join(env, site, name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, st.Mode(), err, want)
		}
	}
}

// checkScripts runs everything where it is, after a move, and through links.
func checkScripts(t *testing.T, env string) {
	t.Helper()
	all := map[string]string{"shop": "main ['a b'] tools\n", "shop-gui": "main ['a b'] tools\n", "plain": "plain True\n", "future": "future\n", "latin": "1\n", "shell.sh": "shell\n"}
	run := func(dir string) {
		for name, want := range all {
			if got := output(t, filepath.Join(dir, name), "a b"); got != want {
				t.Errorf("%s/%s: %q, want %q", dir, name, got, want)
			}
		}
	}
	run(filepath.Join(env, "bin"))
	elsewhere := t.TempDir()
	for name := range all {
		if err := os.Symlink(filepath.Join(env, "bin", name), filepath.Join(elsewhere, name)); err != nil {
			t.Fatal(err)
		}
	}
	run(elsewhere)
	moved := filepath.Join(t.TempDir(), strings.Repeat("a long name ", 20))
	if err := os.Rename(env, moved); err != nil {
		t.Fatal(err)
	}
	run(filepath.Join(moved, "bin"))
	got := output(t, "/bin/bash", "-c", `. "$1/bin/activate" && shop && echo "$VIRTUAL_ENV" && deactivate && echo "[$VIRTUAL_ENV]"`, "-", moved)
	if want := "main [] tools\n" + moved + "\n[]\n"; got != want {
		t.Errorf("activate: %q, want %q", got, want)
	}
	// Nothing names where it was, nor the cache.
	err := filepath.WalkDir(moved, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(p)
		if bytes.Contains(text, []byte(filepath.Dir(filepath.Dir(env)))) || bytes.Contains(text, []byte("/cache")) {
			t.Errorf("%s names the host:\n%s", p, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved, env); err != nil {
		t.Fatal(err)
	}
}

// checkCurrent installs again, with and without a reason.
func checkCurrent(t *testing.T, req Request) {
	t.Helper()
	if ok, err := Current(context.Background(), req); !ok || err != nil {
		t.Errorf("Current: %v, %v", ok, err)
	}
	if res := sync1(t, req); !res.Current {
		t.Error("a second Sync made it anew")
	}
	req.Offline, req.Compile = true, false
	if ok, err := Current(context.Background(), req); ok || err != nil {
		t.Errorf("Current without byte code: %v, %v", ok, err)
	}
	res := sync1(t, req)
	if res.Current || res.Fetched != 0 || strings.Contains(list(t, res.Env), ".pyc") {
		t.Errorf("without byte code: %+v", res)
	}
	if err := os.Remove(filepath.Join(res.Env, "bin/python")); err != nil {
		t.Fatal(err)
	}
	if res := sync1(t, req); res.Current {
		t.Error("an environment without an interpreter is current")
	}
	req.Lock.Packages = req.Lock.Packages[1:]
	if res := sync1(t, req); res.Current || strings.Contains(list(t, res.Env), "shop") {
		t.Error("a package that is no longer in the lock is still there")
	}
}

// What another wheel has already is kept, and said where it differs.
func TestOverlap(t *testing.T) {
	s := shelf{}
	for _, c := range []struct{ name, text string }{{"aa", "1"}, {"bb", "2"}, {"cc", "1"}} {
		file := c.name + "-1-py3-none-any.whl"
		s[file] = makeWheel(t, file, part{name: "tests/__init__.py"}, part{name: "tests/x.txt", text: c.text})
	}
	res := sync1(t, s.request(t))
	if got := strings.Join(res.Warnings, "; "); !strings.HasPrefix(got, "aa 1 and bb 1 both have lib/python") || len(res.Warnings) != 1 {
		t.Errorf("got %q", got)
	}
	found, err := filepath.Glob(filepath.Join(res.Env, "lib/*/site-packages/tests/x.txt"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if text, err := os.ReadFile(found[0]); err != nil || string(text) != "1" {
		t.Errorf("%q, %v", text, err)
	}
}

// A wheel beside the lock, and one of a URL.
func TestSources(t *testing.T) {
	s := shop(t)
	req := s.request(t)
	for i := range req.Lock.Packages {
		p := &req.Lock.Packages[i]
		f := &p.Wheels[0]
		if p.Name == "tools" {
			p.Archive, p.Wheels = f, nil
			continue
		}
		f.URL, f.Path = "", "wheels/"+f.Name
		if err := os.Mkdir(filepath.Join(req.Dir, "wheels"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(req.Dir, f.Path), s[f.Name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	res := sync1(t, req)
	found, err := filepath.Glob(filepath.Join(res.Env, "lib/*/site-packages/*/direct_url.json"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"url":"https://files.example/tools-2-py3-none-any.whl","archive_info":{"hashes":{"sha256":"` + sha(s["tools-2-py3-none-any.whl"]) + `"}}}` + "\n"
	if string(text) != want || !json.Valid(text) {
		t.Errorf("got %s", text)
	}
}

func TestNo(t *testing.T) {
	mac, err := pep425.ParseTarget("macosx_14_0_arm64", "3.99")
	if err != nil {
		t.Fatal(err)
	}
	s := shelf{"a-1-cp39-cp39-win_amd64.whl": makeWheel(t, "a-1-cp39-cp39-win_amd64.whl")}
	file := &schema.LockedFile{Name: "a-1.tar.gz"}
	for _, c := range []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"no wheel fits", func(*Request) {}, "a 1 has no wheel that fits this target, of 1; lock a wheel of it for cp3"},
		{"a source distribution", func(r *Request) { r.Lock.Packages[0].Wheels, r.Lock.Packages[0].Sdist = nil, file }, "a 1 has only a source distribution, and only wheels are installed; appbundle lock --allow-build makes a wheel of it"},
		{"version control", func(r *Request) { r.Lock.Packages[0].VCS = &schema.LockedVCS{} }, "a 1 is a source tree, and only wheels are installed"},
		{"another Python", func(r *Request) { r.Target = &mac }, ", and the target cp399-macosx_14_0_arm64 needs 3.99"},
		{"not for this Python", func(r *Request) { r.Lock.RequiresPython = "<3" }, "pylock.toml: the lock does not cover this environment: it is for Python <3, not 3."},
		{"a relative path", func(r *Request) { r.Python = "python3" }, `python: "python3" is not an absolute path`},
		{"no interpreter", func(r *Request) { r.Python = "/nonexistent/python3" }, "stat /nonexistent/python3: no such file or directory"},
		{"no Python", func(r *Request) { r.Python = "/bin/true" }, "/bin/true: is no Python 3"},
		{"not even a program that ends well", func(r *Request) { r.Python = "/bin/false" }, "/bin/false: exit status 1"},
		{"no application", func(r *Request) { r.Lock.Packages = nil; r.Dir += "/x" }, "app/x/.appbundle: no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := s.request(t)
			c.change(&req)
			_, err := Sync(context.Background(), req)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if got := list(t, req.Dir); got != "" {
				t.Errorf("left %s", got)
			}
		})
	}
}

func TestFetchNo(t *testing.T) {
	s := shelf{"a-1-py3-none-any.whl": makeWheel(t, "a-1-py3-none-any.whl")}
	digest := sha(s["a-1-py3-none-any.whl"])
	for _, c := range []struct {
		name   string
		change func(r *Request, f *schema.LockedFile)
		want   string
	}{
		{"offline", func(r *Request, _ *schema.LockedFile) { r.Offline = true }, "a 1: a-1-py3-none-any.whl is not in the cache, and nothing may be fetched"},
		{"404", func(r *Request, f *schema.LockedFile) { f.Name = "a-1-py2.py3-none-any.whl" }, "a 1: 404"},
		{"a file of the host", func(r *Request, f *schema.LockedFile) { f.URL = "file:///a-1-py3-none-any.whl" }, "a 1: the lock names a file of the host that made it; copy the wheel into the application and lock again"},
		{"a path that climbs", func(r *Request, f *schema.LockedFile) { f.Path = "../a" }, "a 1: openat ../a: path escapes from parent"},
		{"too short", func(r *Request, f *schema.LockedFile) { f.Size++ }, "its size is "},
		{"too long", func(r *Request, f *schema.LockedFile) { f.Size-- }, "its size is more, and the lock says "},
		{"another file", func(r *Request, f *schema.LockedFile) {
			f.Hashes = map[string]string{"sha256": strings.Repeat("0", 64)}
		}, "a 1: a-1-py3-none-any.whl: is not the file of the lock: its sha256 is " + digest + ", and the lock says " + strings.Repeat("0", 64)},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := s.request(t)
			c.change(&req, &req.Lock.Packages[0].Wheels[0])
			_, err := Sync(context.Background(), req)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "the lock says") != errors.As(err, new(*MismatchError)) {
				t.Errorf("%v: of the wrong kind", err)
			}
			if got := list(t, req.Dir) + list(t, filepath.Join(req.Cache, wheelsDir)); got != "" {
				t.Errorf("left %s", got)
			}
		})
	}
}

// A digest that another lock brought into the cache is not taken for a wheel of
// another name.
func TestSwappedDigest(t *testing.T) {
	s := shop(t)
	req := s.request(t)
	sync1(t, req)
	for i := range req.Lock.Packages {
		req.Lock.Packages[i].Wheels[0].Hashes = map[string]string{"sha256": sha(s["tools-2-py3-none-any.whl"])}
	}
	if _, err := Sync(context.Background(), req); err == nil || !strings.Contains(err.Error(), "the file with this sha256 is a wheel of tools 2") {
		t.Errorf("got %v", err)
	}
}

// Twenty installations at once share one cache, and each wheel is fetched once.
func TestTogether(t *testing.T) {
	s := shop(t)
	first := s.request(t)
	first.Compile = true
	var fetched atomic.Int64
	first.Fetch = func(ctx context.Context, f schema.LockedFile, w io.Writer) error {
		fetched.Add(1)
		return s.fetch(ctx, f, w)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		req := first
		if i%2 == 0 { // half of them share an application too
			req.Dir = t.TempDir()
		}
		wg.Go(func() {
			if _, err := Sync(context.Background(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if fetched.Load() != 2 {
		t.Errorf("%d wheels fetched, want 2", fetched.Load())
	}
}

// An end of the context ends the work, and leaves nothing.
func TestInterrupted(t *testing.T) {
	s := shop(t)
	req := s.request(t)
	ctx, cancel := context.WithCancel(context.Background())
	req.Fetch = func(ctx context.Context, f schema.LockedFile, w io.Writer) error {
		cancel()
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if _, err := Sync(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := list(t, req.Dir) + list(t, filepath.Join(req.Cache, wheelsDir)); got != "" {
		t.Errorf("left %s", got)
	}
}

// TestScriptFor makes scripts of an environment ones for any place, and leaves the
// others as they are.
func TestScriptFor(t *testing.T) {
	ours := entryPoint{"web", "web.cli", "main"}.script()
	future := relocatable([]byte("#!python\nfrom __future__ import annotations\n"))
	for in, want := range map[string]string{
		string(ours):   "#!/usr/bin/python3.11\nimport sys\n\nfrom web.cli import main\n\nif __name__ == \"__main__\":\n    sys.exit(main())\n",
		string(future): "#!/usr/bin/python3.11\nfrom __future__ import annotations\n",
		string(relocatable([]byte("#!pythonw\nprint()\n"))): "#!/usr/bin/python3.11\nprint()\n",
		"#!/bin/sh\necho\n": "#!/bin/sh\necho\n",
		"\x7fELF":           "\x7fELF",
	} {
		if got := string(ScriptFor([]byte(in), "/usr/bin/python3.11")); got != want {
			t.Errorf("ScriptFor(%q) = %q, want %q", in, got, want)
		}
	}
}
