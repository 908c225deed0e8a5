// Command package makes the RPM and the Debian package of appbundle itself, of a
// binary that was built and what was generated from it: see the Makefile.
//
//	package VERSION BINARY MAN COMPLETIONS OUTPUT
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"appbundle/rpm"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: package VERSION BINARY MAN COMPLETIONS OUTPUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(3)
	}
}

// about is what both packages say of appbundle.
const about = `Checks, locks, builds and runs network applications as bundles.

An application is a directory with dependencies.txt, external-dependencies.txt
and bin/app. One static program checks it, pins what it needs with hashes,
archives it or makes packages of it, and runs it under a supervisor.`

func run(version, binary, man, completions, output string) error {
	files, err := collect(binary, man, completions)
	if err != nil {
		return err
	}
	machine, err := machineOf(binary)
	if err != nil {
		return err
	}
	for f, arch := range map[rpm.Format]string{rpm.RPM: machine[0], rpm.Deb: machine[1]} {
		evr, err := rpm.FromSemver(f, version)
		if err != nil {
			return err
		}
		evr.Release = "1"
		p := &rpm.Package{
			Format: f, Name: "appbundle", EVR: evr, Arch: arch, Section: section[f], License: "Apache-2.0",
			Summary: "Deployment standard and toolchain for network applications", Description: about,
			Maintainer: "appbundle <appbundle@localhost>", Files: files, Time: time.Unix(0, 0).UTC(),
		}
		if err := p.Document(); err != nil {
			return err
		}
		path := filepath.Join(output, p.FileName())
		if _, err := rpm.Write(context.Background(), path, p, rpm.Options{}); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}

var section = map[rpm.Format]string{rpm.RPM: "System Environment/Daemons", rpm.Deb: "admin"}

// machineOf gives the processor of the binary, as each format names it.
func machineOf(binary string) ([2]string, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return [2]string{}, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	switch f.Machine {
	case elf.EM_X86_64:
		return [2]string{"x86_64", "amd64"}, nil
	case elf.EM_AARCH64:
		return [2]string{"aarch64", "arm64"}, nil
	}
	return [2]string{}, fmt.Errorf("%s is for %s, for which nobody makes packages", binary, f.Machine)
}

// collect lists what is installed.
func collect(binary, man, completions string) ([]rpm.File, error) {
	files := []rpm.File{}
	add := func(at, from string, mode fs.FileMode, pack bool) error {
		data, err := os.ReadFile(from)
		if err == nil && pack {
			data, err = compress(data)
		}
		if err != nil {
			return err
		}
		files = append(files, rpm.File{Path: at, Mode: mode, Size: int64(len(data)), SHA256: sha256.Sum256(data),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }})
		return nil
	}
	if err := add("/usr/bin/appbundle", binary, 0o755, false); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(man, "*.1"))
	if err != nil || len(pages) == 0 {
		return nil, fmt.Errorf("%s has no man pages", man)
	}
	for _, page := range pages {
		if err := add("/usr/share/man/man1/"+filepath.Base(page)+".gz", page, 0o644, true); err != nil {
			return nil, err
		}
	}
	for _, c := range [][2]string{
		{"bash", "/usr/share/bash-completion/completions/appbundle"},
		{"zsh", "/usr/share/zsh/site-functions/_appbundle"},
		{"fish", "/usr/share/fish/vendor_completions.d/appbundle.fish"},
	} {
		if err := add(c[1], filepath.Join(completions, c[0]), 0o644, false); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(files, func(a, b rpm.File) int { return cmp.Compare(a.Path, b.Path) })
	return files, nil
}

// compress packs a man page without a name and a time.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
