package resolve_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"appbundle/resolve"
	"appbundle/schema/pep425"
)

// release gives a release of a universe, to change its files.
func release(t *testing.T, p resolve.Provider, name, version string) *resolve.Release {
	t.Helper()
	project, err := p.Project(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range project.Releases {
		if r.Version.String() == version {
			return r
		}
	}
	t.Fatalf("no %s %s", name, version)
	return nil
}

func fileNames(files []*resolve.File) string {
	var list []string
	for _, f := range files {
		list = append(list, f.Name)
	}
	return strings.Join(list, " ")
}

// Of a release that is yanked in part, the other files count.
func TestYankedFile(t *testing.T) {
	u := universe(t, "a 1 | wheel py3-none-any | wheel cp311-cp311-manylinux_2_17_x86_64")
	release(t, u, "a", "1").Files[0].Yanked = true
	for _, line := range []string{"a", "a==1"} {
		res, err := resolve.Lock(t.Context(), u, cloudRequest(t, line))
		if err != nil {
			t.Fatal(err)
		}
		if got := fileNames(res.Packages[0].Files); got != "a-1-py3-none-any.whl" {
			t.Errorf("%s: the files are %s", line, got)
		}
	}
}

// A file of the application directory has no date that could be too new.
func TestLocalFileHasNoDate(t *testing.T) {
	u := universe(t, "a 2\na 1 | uploaded 2020-01-01\nb 1")
	for _, f := range release(t, u, "a", "2").Files {
		f.URL, f.Path = "", "wheels/"+f.Name
	}
	req := cloudRequest(t, "a")
	req.ExcludeNewer = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	s, err := resolve.Solve(t.Context(), u, req)
	if err != nil || versions(s)["a"] != "2" {
		t.Errorf("Solve = %v, %v; want a 2", s, err)
	}
	for _, test := range []struct{ path, want string }{{"wheels/a-2-py3-none-any.whl", "2"}, {"wheels/a-1-py3-none-any.whl", ""}} {
		req := cloudRequest(t, "a")
		req.Requirements[0].Path = test.path
		s, err := resolve.Solve(t.Context(), u, req)
		if got := ""; err == nil {
			got = versions(s)["a"]
			if got != test.want {
				t.Errorf("a line with the path %s gets %s, want %q", test.path, got, test.want)
			}
		} else if test.want != "" {
			t.Errorf("a line with the path %s: %v", test.path, err)
		}
	}
}

// A target that was not locked for gets its wheel, although the source
// distribution, which is the same for all targets, is locked.
func TestLockedForOtherTarget(t *testing.T) {
	u := universe(t, "a 1 | wheel cp311-cp311-manylinux_2_17_x86_64 | wheel cp311-cp311-manylinux_2_17_aarch64 | sdist")
	req := cloudRequest(t, "a")
	first, err := resolve.Lock(t.Context(), u, req)
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, f := range first.Packages[0].Files {
		hashes = append(hashes, "sha256:"+f.Hashes["sha256"])
	}
	arm, err := pep425.ParseTarget("manylinux_2_28_aarch64", "3.11")
	if err != nil {
		t.Fatal(err)
	}
	req.Targets = append(req.Targets, resolve.NewTarget(arm))
	req.Locked = map[string][]resolve.Locked{"a": {{Version: "1", Hashes: hashes}}}
	res, err := resolve.Lock(t.Context(), u, req)
	if err != nil {
		t.Fatal(err)
	}
	want := "a-1-cp311-cp311-manylinux_2_17_aarch64.whl a-1-cp311-cp311-manylinux_2_17_x86_64.whl a-1.tar.gz"
	if got := fileNames(res.Packages[0].Files); got != want {
		t.Errorf("the files are %s, want %s", got, want)
	}
}

// Where the index has another file under the name of a locked one, the hash of
// the source distribution beside it is no reason to install that.
func TestAlteredFile(t *testing.T) {
	u := universe(t, "a 1 | wheel py3-none-any | sdist")
	files := release(t, u, "a", "1").Files
	sdist := files[slices.IndexFunc(files, func(f *resolve.File) bool { return f.Wheel == nil })]
	req := cloudRequest(t, "a")
	req.Locked = map[string][]resolve.Locked{"a": {{
		Version: "1", Hashes: []string{"sha256:00", "sha256:" + sdist.Hashes["sha256"]}, Files: []string{"a-1-py3-none-any.whl", sdist.Name},
	}}}
	res, err := resolve.Lock(t.Context(), u, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := fileNames(res.Packages[0].Files); got != "a-1-py3-none-any.whl a-1.tar.gz" {
		t.Errorf("the files are %s", got)
	}
	want := "dependencies.txt:1:1: a 1: the index has another file under the name a-1-py3-none-any.whl than was locked"
	if got := res.Warnings.Error(); got != want {
		t.Errorf("the warnings are %q, want %q", got, want)
	}
}

// As long as the version stays, files that came later are not added; they are
// where those that are locked fit no target.
func TestLockedFiles(t *testing.T) {
	u := universe(t, "a 1 | wheel py3-none-any | wheel cp311-cp311-manylinux_2_17_x86_64 | sdist\na 2")
	old := release(t, u, "a", "1").Files[1]
	if old.Name != "a-1-py3-none-any.whl" {
		t.Fatalf("the second file is %s", old.Name)
	}
	for _, test := range []struct {
		hash, file, files string
	}{
		{"sha256:" + old.Hashes["sha256"], old.Name, old.Name},
		{"sha256:00", "a-1-cp311-cp311-manylinux_2_17_x86_64.whl",
			"a-1-cp311-cp311-manylinux_2_17_x86_64.whl a-1-py3-none-any.whl a-1.tar.gz"},
	} {
		req := cloudRequest(t, "a")
		req.Locked = map[string][]resolve.Locked{"a": {{Version: "1", Hashes: []string{test.hash}}}}
		res, err := resolve.Lock(t.Context(), u, req)
		if err != nil {
			t.Fatal(err)
		}
		p := res.Packages[0]
		if p.File.Name != test.file || fileNames(p.Files) != test.files {
			t.Errorf("with the hash %s the file is %s of %s, want %s of %s", test.hash, p.File.Name, fileNames(p.Files), test.file, test.files)
		}
	}
}

// A lock has one source distribution of a release.
func TestOneSdist(t *testing.T) {
	u := universe(t, "a 1 | sdist")
	r := release(t, u, "a", "1")
	zip := *r.Files[0]
	zip.Name, zip.URL = "a-1.zip", "https://files.example/a-1.zip"
	r.Files = append(r.Files, &zip)
	res, err := resolve.Lock(t.Context(), u, cloudRequest(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := res.PyLock("appbundle")
	if err != nil {
		t.Fatal(err)
	}
	if got := lock.Packages[0].Sdist.Name; got != "a-1.tar.gz" || res.Packages[0].File.Name != got {
		t.Errorf("the lock has %s, and %s is installed", got, res.Packages[0].File.Name)
	}
}

// Wheels of one release are taken to require the same: one of them is read for
// all targets.
func TestOneWheelIsRead(t *testing.T) {
	u := universe(t, "a 1 | wheel cp311-cp311-manylinux_2_17_x86_64 | wheel cp312-cp312-manylinux_2_17_x86_64")
	req := cloudRequest(t, "a")
	other, err := pep425.ParseTarget("manylinux_2_28_x86_64", "3.12")
	if err != nil {
		t.Fatal(err)
	}
	req.Targets = append(req.Targets, resolve.NewTarget(other))
	res, err := resolve.Lock(t.Context(), u, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := fileNames(res.Packages[0].Files); strings.Count(got, " ") != 1 {
		t.Errorf("the files are %s", got)
	}
	if pages, reads := u.Pages.Load(), u.Reads.Load(); pages != 1 || reads != 1 {
		t.Errorf("%d pages and %d wheels were read, want one each", pages, reads)
	}
}

// Where many versions are tried in vain, the metadata of those that come next is
// asked for together.
func TestBatch(t *testing.T) {
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "a %d | c>=2\n", i+1)
	}
	text.WriteString("a 0\nc 1\nc 2\n")
	synctest.Test(t, func(t *testing.T) {
		p := &wrapped{Provider: universe(t, text.String()), metadata: func(context.Context, string) error {
			time.Sleep(time.Second)
			return nil
		}}
		begin := time.Now()
		s, err := resolve.Solve(t.Context(), p, cloudRequest(t, "a", "c<2"))
		if err != nil || versions(s)["a"] != "0" {
			t.Fatalf("Solve = %v, %v", s, err)
		}
		if took := time.Since(begin); took > 12*time.Second {
			t.Errorf("41 versions of a second each took %v", took)
		}
	})
}
