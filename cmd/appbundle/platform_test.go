package main

import (
	"cmp"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"appbundle/rpm"
)

// platformDebs are packages of this machine that an empty root needs for a
// Python, a shell, and programs to look at it with.
var platformDebs = strings.Fields(`base-files libc6 libgcc-s1 libstdc++6 dash coreutils libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 libssl3
	zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 libreadline8 libdb5.3 libnsl2 libtirpc3
	libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libcrypt1
	python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3.11`)

// platform makes a package of each of platformDebs, from the files that are
// installed here, with the relations of its native code as they are.
func platform(t *testing.T, dir string) {
	t.Helper()
	for _, name := range platformDebs {
		p := &rpm.Package{
			Format: rpm.RPM, Name: "platform-" + name, EVR: rpm.EVR{Version: "1", Release: "1"}, Arch: "x86_64",
			Summary: name + " of this machine", Description: name + ".", License: "unknown", Maintainer: "test <test@localhost>",
			Time: time.Unix(0, 0),
		}
		seen := map[string]bool{}
		for at := range strings.Lines(output(t, dir, "dpkg", "-L", name)) {
			addHostFile(t, p, merged(strings.TrimSpace(at)), seen)
		}
		switch name {
		case "base-files":
			for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
				p.Files = append(p.Files, rpm.File{Path: "/" + link, Kind: rpm.Symlink, Link: "usr/" + link})
			}
			for _, d := range []string{"/proc", "/dev", "/tmp", "/run", "/var/lib"} {
				if !seen[d] {
					p.Files = append(p.Files, rpm.File{Path: d, Kind: rpm.Directory, Mode: 0o755})
				}
			}
		case "libc6": // what the loader can read
			p.Provides = append(p.Provides, rpm.Relation{Name: "rtld(GNU_HASH)"})
			p.Requires = append(p.Requires, rpm.Relation{Name: "platform-base-files"})
		case "dash":
			p.Provides = append(p.Provides, rpm.Relation{Name: "/bin/sh"})
		case "python3.11":
			p.Provides = append(p.Provides, rpm.Relation{Name: "python(abi)", Op: "=", Version: "3.11"})
			p.Requires = append(p.Requires, rpm.Relation{Name: "/usr/bin/python3.11"})
		case "python3.11-minimal":
			p.Requires = append(p.Requires, rpm.Relation{Name: "platform-libpython3.11-minimal"}, rpm.Relation{Name: "platform-libpython3.11-stdlib"})
		}
		slices.SortFunc(p.Files, func(a, b rpm.File) int { return cmp.Compare(a.Path, b.Path) })
		if _, err := rpm.Write(t.Context(), filepath.Join(dir, p.FileName()), p, rpm.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

// merged gives the path that a path has where /bin and its like are links.
func merged(at string) string {
	for _, top := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if at == top || strings.HasPrefix(at, top+"/") {
			return "/usr" + at
		}
	}
	return at
}

// addHostFile adds a file of this machine, and what it requires and provides where
// it is native code.
func addHostFile(t *testing.T, p *rpm.Package, at string, seen map[string]bool) {
	t.Helper()
	if at == "/." || seen[at] || strings.HasPrefix(at, "/usr/share/doc") || strings.HasPrefix(at, "/usr/share/man") || strings.HasPrefix(at, "/etc/init") {
		return
	}
	info, err := os.Lstat(at)
	if err != nil {
		return // an administrator removed it
	}
	seen[at] = true
	f := rpm.File{Path: at, Mode: 0o644}
	switch {
	case info.IsDir():
		f.Kind, f.Mode = rpm.Directory, 0o755
	case info.Mode()&fs.ModeSymlink != 0:
		f.Kind = rpm.Symlink
		if f.Link, err = os.Readlink(at); err != nil {
			t.Fatal(err)
		}
	case !info.Mode().IsRegular():
		return
	default:
		data, err := os.ReadFile(at)
		if err != nil {
			return // one that only root may read is not needed
		}
		if info.Mode()&0o100 != 0 {
			f.Mode = 0o755
		}
		f.Size, f.SHA256 = int64(len(data)), sha256.Sum256(data)
		f.Open = func() (io.ReadCloser, error) { return os.Open(at) }
		e, err := rpm.ReadELF(at, strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if e != nil {
			for _, r := range e.Requires() {
				p.Requires = append(p.Requires, rpm.Relation{Name: r})
			}
			for _, r := range e.Provides() {
				p.Provides = append(p.Provides, rpm.Relation{Name: r})
			}
		}
	}
	p.Files = append(p.Files, f)
}
