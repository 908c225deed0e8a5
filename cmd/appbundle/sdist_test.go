package main

import (
	"archive/tar"
	"compress/gzip"
	_ "embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// tinyBackend is a build backend that needs nothing.
//
//go:embed testdata/tinyback.py
var tinyBackend string

// backend FILE writes a wheel of the build backend tinyback.
func backend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: backend FILE")
	}
	ts.Check(writeWheel(ts.MkAbs(args[0]), tinyBackend))
}

// sdist FILE DIR [MEMBER...] writes a source distribution of the files in DIR,
// below one directory with the name of the file. A MEMBER is one more, as it is
// written: NAME, an empty file, or NAME->TARGET, a symbolic link.
func sdist(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sdist FILE DIR [MEMBER...]")
	}
	out, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	z := gzip.NewWriter(out)
	t := tar.NewWriter(z)
	top := strings.TrimSuffix(filepath.Base(args[0]), ".tar.gz")
	dir := ts.MkAbs(args[1])
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := top + filepath.ToSlash(strings.TrimPrefix(path, dir))
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = t.Write(data)
		return err
	}))
	for _, m := range args[2:] {
		h := &tar.Header{Name: m, Mode: 0o644}
		if name, target, ok := strings.Cut(m, "->"); ok {
			h = &tar.Header{Name: name, Mode: 0o777, Typeflag: tar.TypeSymlink, Linkname: target}
		}
		ts.Check(t.WriteHeader(h))
	}
	ts.Check(t.Close())
	ts.Check(z.Close())
	ts.Check(out.Close())
}
