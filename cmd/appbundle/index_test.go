package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"appbundle/schema/pep508"
)

// wheel FILE [REQUIREMENT...] writes a wheel with one module, which has the name
// of the package.
func wheel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: wheel FILE [REQUIREMENT...]")
	}
	ts.Check(writeWheel(ts.MkAbs(args[0]), "", args[1:]...))
}

// writeWheel writes a wheel with one module, which has the name of the package; ""
// is one that knows its version.
func writeWheel(file, module string, requires ...string) error {
	w, err := pep508.ParseWheelName(filepath.Base(file))
	if err != nil {
		return err
	}
	stem := strings.Join(strings.Split(filepath.Base(file), "-")[:2], "-")
	name, release, _ := strings.Cut(stem, "-")
	if module == "" {
		module = "version = " + fmt.Sprintf("%q", release) + "\n"
	}
	metadata := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + release + "\n"
	for _, r := range requires {
		metadata += "Requires-Dist: " + r + "\n"
	}
	tags := ""
	for _, tag := range w.Tags {
		tags += "Tag: " + tag + "\n"
	}
	files := [][2]string{
		{name + ".py", module},
		{stem + ".dist-info/METADATA", metadata},
		{stem + ".dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n" + tags},
	}
	record := ""
	for _, f := range files {
		sum := sha256.Sum256([]byte(f[1]))
		record += fmt.Sprintf("%s,sha256=%s,%d\n", f[0], base64.RawURLEncoding.EncodeToString(sum[:]), len(f[1]))
	}
	files = append(files, [2]string{stem + ".dist-info/RECORD", record + stem + ".dist-info/RECORD,,\n"})
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range files {
		part, err := z.Create(f[0])
		if err != nil {
			return err
		}
		if _, err := part.Write([]byte(f[1])); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// spoil CACHE writes to web.py of the cache.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spoil CACHE")
	}
	found, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "wheels/*/site/web.py"))
	ts.Check(err)
	for _, file := range found {
		ts.Check(os.Chmod(file, 0o644)) // read-only, which stops everybody but root
		ts.Check(os.WriteFile(file, []byte("version = 'spoilt'\n"), 0o644))
	}
}

// index DIR serves the files of a directory as an index at $INDEX until the
// script ends. What arrives later is there at once.
func index(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: index DIR")
	}
	server := httptest.NewServer(indexOf(ts.MkAbs(args[0])))
	ts.Defer(server.Close)
	ts.Setenv("INDEX", server.URL+"/simple/")
}

// indexOf serves the files of a directory.
func indexOf(dir string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /files/", http.StripPrefix("/files/", http.FileServer(http.Dir(dir))))
	mux.HandleFunc("GET /simple/{name}/", func(w http.ResponseWriter, r *http.Request) {
		files, err := os.ReadDir(dir)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		page := ""
		for _, f := range files {
			name, _, _ := strings.Cut(f.Name(), "-")
			data, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil || pep508.NormalizeName(name) != r.PathValue("name") {
				continue
			}
			page += fmt.Sprintf("<a href=\"/files/%s#sha256=%x\">%s</a>\n", f.Name(), sha256.Sum256(data), f.Name())
		}
		if page == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html>\n"+page)
	})
	return mux
}
