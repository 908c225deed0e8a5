package main

import (
	"archive/tar"
	"archive/zip"
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
// below one directory with the name of the file, as zip or tar.gz. A MEMBER of
// a tar.gz is one more, as it is written: NAME, an empty file, or NAME->TARGET,
// a symbolic link.
func sdist(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sdist FILE DIR [MEMBER...]")
	}
	out, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer out.Close()
	file := filepath.Base(args[0])
	if top, ok := strings.CutSuffix(file, ".zip"); ok {
		z := zip.NewWriter(out)
		ts.Check(eachFile(ts.MkAbs(args[1]), func(name string, data []byte) error {
			w, err := z.Create(top + name)
			if err != nil {
				return err
			}
			_, err = w.Write(data)
			return err
		}))
		ts.Check(z.Close())
		return
	}
	top := strings.TrimSuffix(file, ".tar.gz")
	z := gzip.NewWriter(out)
	t := tar.NewWriter(z)
	ts.Check(eachFile(ts.MkAbs(args[1]), func(name string, data []byte) error {
		if err := t.WriteHeader(&tar.Header{Name: top + name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err := t.Write(data)
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
}

// eachFile calls do with the path, from a slash on, and the content of every file
// below dir.
func eachFile(dir string, do func(name string, data []byte) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return do(filepath.ToSlash(strings.TrimPrefix(path, dir)), data)
	})
}
