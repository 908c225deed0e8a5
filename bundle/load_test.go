package bundle

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/schema"
)

// TestLoadLeavesOut lists an application with everything that is not part of it.
func TestLoadLeavesOut(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{
		".git/x", "a/.hg/x", ".svn/x", ".venv/x", "a/venv/x", "node_modules/x", ".tox/x", ".nox/x",
		".mypy_cache/x", ".pytest_cache/x", ".ruff_cache/x", "a/__pycache__/x", "a/x.pyc",
		".appbundle/manifest.json", ".appbundle/env/bin/python", ".appbundle/env/bin/python3.11",
		".appbundle/env/lib/venv/x", ".appbundle/env/lib/__pycache__/x", ".appbundle/env/bin/flask",
		"a-b", "a.b", "a/b", "debug.log", "keep.log", "var/data", "A",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, p), nil, 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, ignoreFile), []byte("*.log\n!keep.log\n/var/\n"), 0o644))
	app, err := Load(dir)
	must(t, err)
	var got []string
	for _, e := range app.Entries {
		got = append(got, e.Path)
	}
	want := strings.Fields(`.appbundle .appbundle/env .appbundle/env/bin .appbundle/env/bin/flask .appbundle/env/lib
		.appbundle/env/lib/venv .appbundle/env/lib/venv/x .appbundleignore A a a-b a.b a/b keep.log`)
	if !slices.Equal(got, want) {
		t.Errorf("Entries:\n%q\nwant:\n%q", got, want)
	}
	if !slices.Contains(app.LeftOut, "debug.log") || !slices.Contains(app.LeftOut, "var") {
		t.Errorf("LeftOut: %q", app.LeftOut)
	}
}

func TestLoadDecides(t *testing.T) {
	wsgi, asgi, bash, python := "application = 1\n", "async def application(): pass\n", "#!/bin/sh\n", "#!/usr/bin/env python3\n"
	for _, c := range []struct {
		file, content, ini string
		want               schema.Interface
		how                string
	}{
		{"bin/app.py", wsgi, "", schema.WSGI, "it is a Python script"},
		{"bin/app.py", "x = 1\n", "", schema.WSGI, "it is a Python script"},
		{"bin/app", wsgi, "", schema.WSGI, "it is a Python script"},
		{"bin/wsgiapp", python + asgi, "", schema.ASGI, "it is a Python script that binds an ASGI application"},
		{"bin/app", python, "", schema.WSGI, "it is a Python script"},
		{"bin/app", bash + wsgi, "", schema.Exec, "it is an executable"},
		{"bin/app", "\x7fELF" + wsgi, "", schema.Exec, "it is an executable"},
		{"bin/app", "echo\n", "", schema.Exec, "it is an executable"},
		{"bin/app", bash, "[app]\ninterface = asgi\n", schema.ASGI, "app.ini says so"},
	} {
		t.Run(fmt.Sprintf("%s %q", c.file, c.content), func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Mkdir(dir+"/bin", 0o755))
			must(t, os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o644))
			must(t, os.WriteFile(filepath.Join(dir, appFile), []byte(c.ini), 0o644))
			app, err := Load(dir)
			must(t, err)
			if ep := app.Entrypoint; ep.Interface != c.want || ep.How != c.how {
				t.Errorf("interface %s, %s; want %s, %s", ep.Interface, ep.How, c.want, c.how)
			}
		})
	}
}

func TestDefaultNames(t *testing.T) {
	for base, want := range map[string]string{"Shop_2": "shop-2", "my shop.": "my-shop", "---": "app", "Ünï": "n"} {
		dir := filepath.Join(t.TempDir(), base)
		must(t, os.Mkdir(dir, 0o755))
		app, err := Load(dir)
		must(t, err)
		if app.Name != want || app.Version != "0.0.0" {
			t.Errorf("%q: %s %s, want %s 0.0.0", base, app.Name, app.Version, want)
		}
	}
}

// TestOpenTakesNameOfManifest: an archive that was renamed is the same
// application.
func TestOpenTakesNameOfManifest(t *testing.T) {
	base := t.TempDir()
	dir := base + "/Shop_2"
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	do(t, dir, "rm app.ini")
	app, err := Load(dir)
	must(t, err)
	res, err := Build(t.Context(), app, BuildOptions{Output: base + "/other.tar.zst"})
	must(t, err)
	opened, err := Open(res.Path)
	must(t, err)
	if opened.Name != "shop-2" || opened.Version != "0.0.0" {
		t.Errorf("Open: %s %s, want shop-2 0.0.0", opened.Name, opened.Version)
	}
	// Without a manifest there is the name of the file.
	foreign := base + "/foreign.tar.zst"
	writeTar(t, foreign, readTar(t, res.Path)[1:])
	opened, err = Open(foreign)
	must(t, err)
	if opened.Name != "foreign" || opened.Version != "0.0.0" {
		t.Errorf("Open: %s %s, want foreign 0.0.0", opened.Name, opened.Version)
	}
}

// TestLoadFails: what could not be looked at is an error and no finding.
func TestLoadFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir + "/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load: %v, want ErrNotExist", err)
	}
	must(t, os.WriteFile(dir+"/file", nil, 0o644))
	if _, err := Load(dir + "/file"); err == nil {
		t.Error("Load of a file: no error")
	}
	if _, err := Open(dir + "/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open: %v, want ErrNotExist", err)
	}
	var refused *RefusedError
	if _, err := Open(dir + "/file"); !errors.As(err, &refused) {
		t.Errorf("Open of an empty file: %v, want a refusal", err)
	}
}

// TestReadNoticesChanges: a file that is not what the walk saw.
func TestReadNoticesChanges(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/f", []byte("123"), 0o644))
	for _, e := range []Entry{
		{Path: "f", Type: File, Size: 2},
		{Path: "f", Type: File, Size: 4},
		{Path: "f", Type: File, Size: 3, X: true},
		{Path: "g", Type: File},
	} {
		if _, err := newFileReader(maphash.MakeSeed()).read(dir, &e, false); !errors.Is(err, ErrChanged) {
			t.Errorf("%+v: %v, want ErrChanged", e, err)
		}
	}
}

// TestOpenReadsIncludes: an archive is read a second time for them.
func TestOpenReadsIncludes(t *testing.T) {
	base := t.TempDir()
	dir := base + "/shop"
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	write(t, dir, txtar.Parse([]byte("-- dependencies.txt --\n-r a/b.txt\n-- a/b.txt --\n-r c.txt\n-r ../dependencies.txt\n-- a/c.txt --\ngunicorn==20.1\n")), "")
	app, err := Load(dir)
	must(t, err)
	res, err := Build(t.Context(), app, BuildOptions{Output: base})
	must(t, err)
	opened, err := Open(res.Path)
	must(t, err)
	for name, a := range map[string]*App{"Load": app, "Open": opened} {
		if v, ok := a.Pins["gunicorn"]; !ok || v != "20.1" {
			t.Errorf("%s: gunicorn %q, %v", name, v, ok)
		}
	}
}

func manyFiles(b *testing.B, n int) string {
	dir := filepath.Join(b.TempDir(), "shop")
	write(b, dir, txtar.Parse([]byte(goodApp)), "")
	data := []byte(strings.Repeat("print('hello')\n", 200))
	for i := range n {
		p := filepath.Join(dir, fmt.Sprintf("lib/%03d/%05d.py", i/100, i))
		must(b, os.MkdirAll(filepath.Dir(p), 0o755))
		must(b, os.WriteFile(p, data, 0o644))
	}
	return dir
}

// BenchmarkLoad10000 is what check does with 10,000 files of 3 KB.
func BenchmarkLoad10000(b *testing.B) {
	dir := manyFiles(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		app, err := Load(dir)
		must(b, err)
		if len(Check(app)) != 0 {
			b.Fatal("findings")
		}
	}
}

// BenchmarkArchive archives 63 MB: what reading, tar and the compressor cost
// together where there is much to find.
func BenchmarkArchive(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "shop")
	richApp(b, dir)
	src, err := os.ReadFile(filepath.Join(dir, "static/big"))
	must(b, err)
	for i := range 20 {
		must(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("static/%d", i)), src, 0o644))
	}
	app, err := Load(dir)
	must(b, err)
	b.SetBytes(app.size())
	b.ReportAllocs()
	for b.Loop() {
		must(b, app.Archive(b.Context(), io.Discard, ArchiveOptions{}))
	}
}
