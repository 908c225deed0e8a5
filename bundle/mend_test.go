package bundle

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// broken makes the application of a case below dir.
func broken(t *testing.T, file, dir string) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	must(t, err)
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	write(t, dir, a, "")
	do(t, dir, section(a, "ops"))
}

// TestMend mends every case of testdata/check: what has a safe remedy is no finding
// any more, everything else is as it was.
func TestMend(t *testing.T) {
	cases, err := filepath.Glob("testdata/check/*.txt")
	must(t, err)
	rules := map[string]bool{}
	for _, file := range cases {
		dir := filepath.Join(t.TempDir(), "shop")
		broken(t, file, dir)
		app, err := Load(dir)
		must(t, err)
		var rest []Finding
		want := 0
		for _, f := range Check(app) {
			if f.mend == "" {
				rest = append(rest, f)
			} else {
				want++
			}
		}
		did, err := Mend(t.Context(), app)
		must(t, err)
		if len(did) != want {
			t.Errorf("%s: did %v, want %d remedies", file, did, want)
		}
		for _, m := range did {
			rules[m.Rule] = true
		}
		got := checkDir(t, dir)
		if strings.Contains(file, "ab001-missing") { // there is a file, and no server in it
			got = slices.DeleteFunc(got, func(f Finding) bool { return f.Rule == "AB008" })
		}
		if text(got) != text(rest) {
			t.Errorf("%s, mended:\n%swant:\n%s", file, text(got), text(rest))
		}
	}
	if got, want := slices.Sorted(maps.Keys(rules)), []string{"AB001", "AB002", "AB003", "AB011", "AB012", "AB017", "AB019", "AB032"}; !slices.Equal(got, want) {
		t.Errorf("remedies for %v, want %v", got, want)
	}
}

// What is mended keeps everything else: other bits of a mode, other lines of a
// script; what app.ini opts out of stays, and so does an archive.
func TestMendKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	write(t, dir, &txtar.Archive{Files: []txtar.File{
		{Name: appFile, Data: []byte("[app]\nversion = 1.0.0\n[check]\nAB012 = README: it is for the group alone\n")},
		{Name: "all", Data: []byte("#!/bin/sh\r\necho\r\n")},
		{Name: "first", Data: []byte("#!/bin/sh\r\necho '\r\n'\n")},
		{Name: "d/x", Data: nil},
	}}, "")
	do(t, dir, "chmod 640 README\nchmod 710 all\nchmod 4741 first\nchmod 2777 d")
	app, err := Load(dir)
	must(t, err)
	if _, err := Mend(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"README": "-rw-r-----", "all": "-rwx--xr--", "first": "-rwxr--r-x", "d": "dgrwxrwxr-x"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if got := info.Mode().String(); got != want {
			t.Errorf("%s has mode %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"all": "#!/bin/sh\necho\n", "first": "#!/bin/sh\necho '\r\n'\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want || err != nil {
			t.Errorf("%s is %q, want %q; %v", name, got, want, err)
		}
	}
	var usage *UsageError
	if did, err := Mend(t.Context(), &App{ArchivePath: "a.tar.zst"}); !errors.As(err, &usage) || did != nil {
		t.Errorf("Mend of an archive: %v, %v", did, err)
	}
}

// What somebody changed meanwhile is not touched.
func TestMendChanged(t *testing.T) {
	for file, change := range map[string]string{
		"ab001-missing":         "link README dependencies.txt",
		"ab019-carriage-return": "crlf bin/tool",
		"ab012-unreadable":      "rm README\nmkdir README",
	} {
		dir := filepath.Join(t.TempDir(), "shop")
		broken(t, "testdata/check/"+file+".txt", dir)
		app, err := Load(dir)
		must(t, err)
		for _, f := range Check(app) {
			change = strings.ReplaceAll(change, "README", f.File)
		}
		do(t, dir, change)
		if did, err := Mend(t.Context(), app); !errors.Is(err, ErrChanged) || len(did) > 0 {
			t.Errorf("%s: did %v, %v", file, did, err)
		}
	}
}
