package bundle

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// TestFormatsForOthers has the archives unpacked by the programs that hosts have:
// every file, mode and link is there, and none of them has anything to complain about.
func TestFormatsForOthers(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	richApp(t, dir)
	for _, left := range []string{".git", "venv", "bin/__pycache__", ".appbundle"} {
		must(t, os.RemoveAll(filepath.Join(dir, left)))
	}
	app, err := Load(dir)
	must(t, err)
	for _, kind := range ArchiveTypes() {
		_, err := Build(t.Context(), app, BuildOptions{Output: base + "/", Type: kind})
		must(t, err)
	}
	for _, command := range []string{
		"tar -xf ../shop-1.0.0-any.tar", "tar -xzf ../shop-1.0.0-any.tar.gz", "tar --zstd -xf ../shop-1.0.0-any.tar.zst",
		"bsdtar -xf ../shop-1.0.0-any.tar.gz", "bsdtar -xf ../shop-1.0.0-any.zip", "bsdtar -xf - <../shop-1.0.0-any.zip",
		"unzip -q ../shop-1.0.0-any.zip; unzip -tq ../shop-1.0.0-any.zip",
		"gunzip -t ../shop-1.0.0-any.tar.gz; python3 -m zipfile -t ../shop-1.0.0-any.zip; unzip -q ../shop-1.0.0-any.zip",
	} {
		out, err := os.MkdirTemp(base, "out")
		must(t, err)
		cmd := exec.Command("sh", "-euc", "umask 022; "+command+`
			diff -r --no-dereference --exclude=.appbundle ../shop .
			test "$(find . -type f -perm 755)" = ./bin/tool
			test -z "$(find . -type f ! -perm 755 ! -perm 644)"`)
		cmd.Dir = out
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, said)
		}
	}
}

// TestHeaders has the fields that docs/STANDARD.md names.
func TestHeaders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	do(t, dir, "mkdir empty\nlink ../README empty/read-më\ntouch zero")
	must(t, os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"), 0o700))
	if head := archiveOf(t, dir, TarGz)[:10]; !bytes.Equal(head, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}) {
		t.Errorf("tar.gz begins with % x", head)
	}
	data := archiveOf(t, dir, Zip)
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	want := map[string]string{
		manifestPath:    "method 8 flags 0x8 mode 100644",
		"README":        "method 8 flags 0x8 mode 100644",
		"empty/":        "method 0 flags 0x0 mode 40755",
		"empty/read-më": "method 0 flags 0x800 mode 120777",
		"run":           "method 8 flags 0x8 mode 100755",
		"zero":          "method 0 flags 0x0 mode 100644",
	}
	for i, f := range z.File {
		got := fmt.Sprintf("method %d flags %#x mode %o", f.Method, f.Flags, f.ExternalAttrs>>16)
		if w, ok := want[f.Name]; ok && got != w {
			t.Errorf("%s: %s, want %s", f.Name, got, w)
		}
		delete(want, f.Name)
		if f.CreatorVersion != 3<<8|20 || f.ReaderVersion != 20 || f.ExternalAttrs&0xffff != 0 || len(f.Extra) != 0 || f.Comment != "" ||
			!f.Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v", f.Name, f.FileHeader)
		}
		if i == 0 && f.Name != manifestPath || i > 1 && strings.TrimSuffix(f.Name, "/") <= strings.TrimSuffix(z.File[i-1].Name, "/") {
			t.Errorf("%s is entry %d", f.Name, i)
		}
	}
	if len(want) > 0 || z.Comment != "" {
		t.Errorf("not there: %v; comment %q", want, z.Comment)
	}
}

// TestTypeOfOutput: the suffix decides, and --type does.
func TestTypeOfOutput(t *testing.T) {
	base := t.TempDir()
	for _, c := range []struct {
		out  string
		kind ArchiveType
		want ArchiveType
	}{
		{"", "", TarZst}, {"/", Zip, Zip}, {"/new/", TarGz, TarGz}, {"/a.zip", "", Zip}, {"/a.tar", "", Tar},
		{"/a.tar.gz", "", TarGz}, {"/a.tar.zst", TarZst, TarZst}, {"/a.tar.zip", "", Zip},
	} {
		o, err := parseOutput(base+c.out, c.kind)
		if err != nil || o.kind != c.want {
			t.Errorf("parseOutput(%q, %q) = %v, %v, want %s", c.out, c.kind, o, err, c.want)
		}
	}
}

// TestManyEntries has more entries than the end of a zip can count.
func TestManyEntries(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	app, err := Load(dir)
	must(t, err)
	const n = 1<<16 + 10
	for i := range n {
		app.Entries = append(app.Entries, Entry{Path: fmt.Sprintf("zz%06d", i), Type: Link, Link: "README"})
	}
	res, err := app.write(t.Context(), base+"/a.zip", Zip, BuildOptions{Tool: "test"})
	must(t, err)
	rep, err := Verify(t.Context(), res.Path)
	must(t, err)
	if len(rep.Manifest.Entries) < n {
		t.Errorf("%d entries", len(rep.Manifest.Entries))
	}
	out, err := exec.Command("zipinfo", "-h", res.Path).CombinedOutput()
	if want := fmt.Sprintf("number of entries: %d", len(rep.Manifest.Entries)+1); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("zipinfo: %v\n%s", err, out)
	}
}
