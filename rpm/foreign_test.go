package rpm

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spec is a package as rpmbuild makes it, with what ours never have.
const spec = `
Name: foreign
Version: 1.0^post1
Release: 2
Epoch: 3
Summary: A foreign package
License: MIT
BuildArch: noarch
Requires: bash >= 4, (git or hg)
Requires(post): /bin/true
Recommends: curl
Suggests: wget
Supplements: firefox
Enhances: vim
Obsoletes: older < 1
Conflicts: other
%%global debug_package %%{nil}
%%global _build_id_links none
%%global __os_install_post %%{nil}
%%define _binary_payload %s
%%description
Text.
%%install
mkdir -p %%{buildroot}/opt/f/dir %%{buildroot}/etc
echo one >%%{buildroot}/opt/f/one
ln %%{buildroot}/opt/f/one %%{buildroot}/opt/f/two
echo set >%%{buildroot}/opt/f/setuid
seq 1 20000 >%%{buildroot}/opt/f/long
ln -s ../../etc/passwd %%{buildroot}/opt/f/link
echo x >%%{buildroot}/etc/f.conf
touch "%%{buildroot}/opt/f/a b" %%{buildroot}/opt/f/ghost
%%files
%%dir /opt/f
%%dir %%attr(1777,root,root) /opt/f/dir
/opt/f/one
/opt/f/two
/opt/f/long
%%attr(4755,root,bin) /opt/f/setuid
/opt/f/link
"/opt/f/a b"
%%ghost /opt/f/ghost
%%config(noreplace) /etc/f.conf
%%post
true
%%changelog
* Mon Jan 01 2024 Ann <ann@example.org> - 1.0
- first
`

// rpmbuild builds the spec with a payload of a kind.
func rpmbuild(t testing.TB, payload string) string {
	t.Helper()
	top := t.TempDir()
	file := filepath.Join(top, "f.spec")
	if err := os.WriteFile(file, fmt.Appendf(nil, spec, payload), 0o644); err != nil {
		t.Fatal(err)
	}
	says(t, nil, "rpmbuild", "-bb", "--define", "_topdir "+top, file)
	found, err := filepath.Glob(top + "/RPMS/noarch/*.rpm")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

func TestReadRpmbuilds(t *testing.T) {
	for _, payload := range []string{"w6.gzdio", "w6.bzdio", "w2.xzdio", "w3.zstdio", "w.ufdio"} {
		info, err := ReadFile(t.Context(), rpmbuild(t, payload), Limits{})
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		var files []string
		for _, f := range info.Files {
			files = append(files, fmt.Sprintf("%s %v %v %s %s %d", f.Path, f.Kind, f.Mode, f.Group, f.Link, f.Size))
			if f.Kind.hasContent() && f.SHA256 == [32]byte{} {
				t.Errorf("%s has no digest", f.Path)
			}
		}
		want := []string{
			"/etc/f.conf configuration file -rw-r--r-- root  2", "/opt/f directory -rwxr-xr-x root  0", "/opt/f/a b file -rw-r--r-- root  0", "/opt/f/dir directory trwxrwxrwx root  0",
			"/opt/f/ghost ghost -rw-r--r-- root  0", "/opt/f/link symbolic link -rwxrwxrwx root ../../etc/passwd 0", "/opt/f/long file -rw-r--r-- root  108894",
			"/opt/f/one file -rw-r--r-- root  4", "/opt/f/setuid file urwxr-xr-x bin  4", "/opt/f/two file -rw-r--r-- root  4",
		}
		if !slices.Equal(files, want) {
			t.Errorf("%s: files are\n%s", payload, strings.Join(files, "\n"))
		}
		if info.String() != "foreign-3:1.0^post1-2.noarch" || len(info.Suggests) != 1 || len(info.Obsoletes) != 1 || len(info.Supplements) != 1 || len(info.Enhances) != 1 ||
			!slices.Contains(info.Requires, Relation{Name: "/bin/true", Pre: true}) || !slices.Contains(info.Requires, Relation{Name: "bash", Op: ">=", Version: "4"}) {
			t.Errorf("%s: %+v", payload, info)
		}
	}
	_, err := ReadFile(t.Context(), rpmbuild(t, "w2.lzdio"), Limits{})
	if err == nil || !strings.Contains(err.Error(), `is compressed by "lzma", which is not read`) {
		t.Errorf("lzma: %v", err)
	}
}

// TestIndexForeign compares what createrepo_c and we say of a package of rpmbuild.
func TestIndexForeign(t *testing.T) {
	dir, theirs := t.TempDir(), t.TempDir()
	b, err := os.ReadFile(rpmbuild(t, "w3.zstdio"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/foreign.rpm", b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Index(t.Context(), RPM, dir, IndexOptions{}); err != nil {
		t.Fatal(err)
	}
	says(t, nil, "createrepo_c", "-q", "-o", theirs, dir)
	if out := says(t, []string{"name='foreign'"}, "/usr/bin/python3", "-c", describe, dir, theirs); strings.HasPrefix(out, "DIFFERENT") {
		t.Error(out)
	}
}

// TestReadDpkgDebs reads what dpkg-deb packs, with what ours never have.
func TestReadDpkgDebs(t *testing.T) {
	src := t.TempDir()
	script := `
cd "$1"; umask 022
mkdir -p DEBIAN opt/f
printf 'Package: foreign\nVersion: 3:1.0+post1-2\nArchitecture: all\nMaintainer: Ann <ann@example.org>\nDepends: bash (>= 4), git | hg, libc6:any\nPre-Depends: dpkg (>= 1)\nDescription: foreign\n more\n' >DEBIAN/control
printf '/opt/f/conf\n' >DEBIAN/conffiles
printf '#!/bin/sh\n' >DEBIAN/postinst; chmod 755 DEBIAN/postinst
echo one >opt/f/one; ln opt/f/one opt/f/two; echo x >opt/f/conf; ln -s /etc/passwd opt/f/link
echo s >opt/f/setuid; chmod 4755 opt/f/setuid; mkfifo opt/f/pipe
mkdir -p "opt/f/$(printf 'n%.0s' $(seq 1 120))"; echo y >"opt/f/$(printf 'n%.0s' $(seq 1 120))/long"
`
	says(t, nil, "sh", "-ec", script, "sh", src)
	for _, z := range []string{"gzip", "xz", "zstd", "none"} {
		out := t.TempDir() + "/f.deb"
		says(t, nil, "dpkg-deb", "--root-owner-group", "-Z"+z, "-b", src, out)
		info, err := ReadFile(t.Context(), out, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", z, err)
		}
		kinds := map[string]Kind{}
		for _, f := range info.Files {
			kinds[f.Path] = f.Kind
			if f.Path == "/opt/f/two" && (f.Size != 4 || f.SHA256 == [32]byte{}) || f.Path == "/opt/f/setuid" && f.Mode != 0o755|fs.ModeSetuid {
				t.Errorf("%+v", f)
			}
		}
		if len(kinds) != 10 || kinds["/opt/f/conf"] != Config || kinds["/opt/f/pipe"] != Special || kinds["/opt/f/link"] != Symlink || info.String() != "foreign-3:1.0+post1-2.all" || info.Description != " more" {
			t.Errorf("%s: %v %+v", z, kinds, info)
		}
		want := []Relation{{Name: "bash", Op: ">=", Version: "4"}, {Name: "dpkg", Op: ">=", Version: "1", Pre: true}, {Name: "git | hg"}, {Name: "libc6:any"}}
		if got := normal(info.Requires); !slices.Equal(got, want) {
			t.Errorf("%s: requires %v", z, got)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
