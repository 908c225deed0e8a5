package pypi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"appbundle/resolve"
)

const fooWheel = "foo-1.0-py3-none-any.whl"

// Where metadata comes from, and what is sent for it.
func TestMetadata(t *testing.T) {
	small := wheel("foo", "1.0", "Requires-Dist: bar>=1", "Requires-Python: >=3.9")
	big := bigWheel("foo", "1.0", "Requires-Dist: bar>=1", "Requires-Python: >=3.9")
	const want = "foo 1.0 >=3.9[bar>=1]"
	tests := []struct {
		name     string
		wheel    []byte
		set      func(*fakeIndex)
		requests string
	}{
		{"advertised sidecar", small, func(f *fakeIndex) { f.advertise, f.sidecars = true, true }, "M"},
		{"advertised in HTML", small, func(f *fakeIndex) { f.html, f.advertise, f.sidecars = true, true, true }, "M"},
		{"advertised and missing", small, func(f *fakeIndex) { f.advertise = true }, "M, W R"},
		{"advertised the old way", small, func(f *fakeIndex) { f.sidecars = true; f.extra[fooWheel] = `{"dist-info-metadata": true}` }, "M"},
		{"new word counts", small, func(f *fakeIndex) {
			f.sidecars = true
			f.extra[fooWheel] = `{"core-metadata": false, "dist-info-metadata": true}`
		}, "W R"},
		{"a text is no word", small, func(f *fakeIndex) { f.extra[fooWheel] = `{"core-metadata": "true"}` }, "M, W R"},
		{"hidden sidecar", small, func(f *fakeIndex) { f.sidecars = true }, "M"},
		{"range", small, func(*fakeIndex) {}, "M, W R"},
		{"two ranges", big, func(*fakeIndex) {}, "M, W R, W R"},
		{"range, size unknown", small, func(f *fakeIndex) { f.html = true }, "M, W R"},
		{"two ranges, size unknown", big, func(f *fakeIndex) { f.html = true }, "M, W R, W R"},
		{"whole for a range", small, func(f *fakeIndex) { f.noRanges = true }, "M, W R"},
		{"whole for the second range", big, func(f *fakeIndex) {
			n := 0
			f.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") != "" {
					n++
				}
				f.noRanges = n == 2
				return false
			}
		}, "M, W R, W R"},
		{"metadata in front", frontWheel(""), func(*fakeIndex) {}, "M, W R, W R"},
		{"metadata all over the file", frontWheel(noise(1 << 20)), func(*fakeIndex) {}, "M, W R, W R, W R, W R, W R, W R, W R, W"},
		{"ranges are refused", small, func(f *fakeIndex) {
			f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
		}, "M, W R, W"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t).add(fooWheel, tt.wheel)
			tt.set(f)
			dir := t.TempDir()
			cfg := Config{Index: f.URL + "/simple/"}
			cfg.Fetch.Dir = dir
			x, _ := newIndex(t, cfg)
			for range 2 {
				if got := showMetadata(ask(t, x, "foo", "")); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if got := inShort(f.seen()); got != "P, "+tt.requests {
				t.Errorf("requests %s, want P, %s", got, tt.requests)
			}
			cfg.Fetch = offline(dir)
			x, _ = newIndex(t, cfg)
			if got := showMetadata(ask(t, x, "foo", "")); got != want {
				t.Errorf("offline: got %s", got)
			}
		})
	}
}

// inShort writes P for the page, W for the wheel, M for its sidecar and R for a
// range.
func inShort(requests string) string {
	s := strings.NewReplacer("/simple/foo/", "P", "/files/"+fooWheel+".metadata", "M", "/files/"+fooWheel, "W").Replace(requests)
	words := strings.Split(s, ", ")
	for i, word := range words {
		if before, _, ok := strings.Cut(word, " bytes="); ok {
			words[i] = before + " R"
		}
	}
	return strings.Join(words, ", ")
}

// An index is asked for one hidden sidecar; the answer is remembered.
func TestProbeOnce(t *testing.T) {
	for _, has := range []bool{true, false} {
		f := newFake(t)
		f.sidecars = has
		for _, v := range []string{"1", "2", "3"} {
			f.add("foo-"+v+"-py3-none-any.whl", wheel("foo", v))
		}
		cfg := Config{Index: f.URL + "/simple/"}
		cfg.Fetch.Dir = t.TempDir()
		for _, v := range []string{"1", "2", "3"} {
			x, _ := newIndex(t, cfg)
			if got := showMetadata(ask(t, x, "foo", "foo-"+v+"-py3-none-any.whl")); got != "foo "+v+" []" {
				t.Errorf("got %s", got)
			}
		}
		want := map[bool]int{true: 3, false: 1}[has]
		if n := strings.Count(f.seen(), ".metadata"); n != want {
			t.Errorf("sidecars %v: asked for %d, want %d", has, n, want)
		}
	}
}

// What a server sends for whatever it is asked is no metadata.
func TestProbeOfAFriendlyServer(t *testing.T) {
	f := newFake(t).add(fooWheel, wheel("foo", "1.0"))
	f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".metadata") {
			return false
		}
		io.WriteString(w, "<html>welcome")
		return true
	}
	if got := showMetadata(ask(t, on(t, f), "foo", "")); got != "foo 1.0 []" {
		t.Errorf("got %s", got)
	}
}

// Twenty goroutines that want metadata of one index at once probe it once.
func TestProbeAtOnce(t *testing.T) {
	f := newFake(t)
	const n = 20
	for i := range n {
		v := strings.Repeat("1", i+1)
		f.add("foo-"+v+"-py3-none-any.whl", wheel("foo", v))
	}
	x := on(t, f)
	p, err := x.Project(t.Context(), "foo")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, r := range p.Releases {
		for range 2 {
			wg.Go(func() {
				m, err := x.Metadata(t.Context(), "foo", r, r.Files[0])
				if err != nil || m.Version.String() != r.Version.String() {
					t.Errorf("got %v, %v", m, err)
				}
			})
		}
	}
	wg.Wait()
	seen := f.seen()
	if probes, ranges := strings.Count(seen, ".metadata"), strings.Count(seen, "bytes="); probes != 1 || ranges != n {
		t.Errorf("%d probes and %d ranges, want 1 and %d", probes, ranges, n)
	}
}

func TestSdist(t *testing.T) {
	dir := "foo-1.0/"
	static := metadata("foo", "1.0", "Requires-Dist: bar")
	for _, tt := range []struct {
		name, file string
		data       []byte
		want       string
	}{
		{"static", "foo-1.0.tar.gz", sdist("foo", "1.0", "Requires-Dist: bar"), "foo 1.0 [bar]"},
		{"static zip", "foo-1.0.zip", makeZip(member{dir + "PKG-INFO", static}), "foo 1.0 [bar]"},
		{"from here", "foo-1.0.tar.gz", makeTar(member{"./" + dir + "PKG-INFO", static}), "foo 1.0 [bar]"},
		{"dynamic", "foo-1.0.tar.gz", sdist("foo", "1.0", "Dynamic: Requires-Dist"), "error: foo-1.0.tar.gz: its PKG-INFO is dynamic, and builds are not allowed"},
		{"old", "foo-1.0.tar.gz", makeTar(member{dir + "PKG-INFO", "Metadata-Version: 1.1\nName: foo\nVersion: 1.0\n"}), "error: foo-1.0.tar.gz: its PKG-INFO is of version 1.1, and only 2.2 and later promise anything, and builds are not allowed"},
		{"without version", "foo-1.0.tar.gz", makeTar(member{dir + "PKG-INFO", "Name: foo\nVersion: 1.0\n"}), "error: foo-1.0.tar.gz: its PKG-INFO has no version, and only 2.2 and later promise anything, and builds are not allowed"},
		{"no PKG-INFO", "foo-1.0.tar.gz", makeTar(member{dir + "setup.py", ""}, member{"PKG-INFO", static}), "error: foo-1.0.tar.gz: it has no PKG-INFO in its top directory"},
		{"two", "foo-1.0.tar.gz", makeTar(member{dir + "PKG-INFO", static}, member{dir + "PKG-INFO", static}), "error: foo-1.0.tar.gz: it has more than one PKG-INFO in its top directory"},
		{"a directory", "foo-1.0.tar.gz", makeTar(member{dir + "PKG-INFO/", ""}), "error: foo-1.0.tar.gz: it has no PKG-INFO in its top directory"},
		{"no archive", "foo-1.0.tar.gz", []byte("no archive"), "error: foo-1.0.tar.gz: it is no tar.gz archive: gzip: invalid header"},
		{"no zip", "foo-1.0.zip", []byte("no archive"), "error: foo-1.0.zip: it is no zip archive: zip: not a valid zip file"},
		{"other version", "foo-1.0.tar.gz", sdist("foo", "2.0"), "error: foo-1.0.tar.gz: its metadata is that of foo 2.0"},
		{"large", "foo-1.0.tar.gz", makeTar(member{dir + "PKG-INFO", strings.Repeat("x", maxMetadata+1)}), "error: foo-1.0.tar.gz: its metadata has 4194305 bytes, more than 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t).add(tt.file, tt.data)
			m, err := ask(t, on(t, f), "foo", "")
			if got := showMetadata(m, err); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			var answer *resolve.MetadataError
			if err != nil && !errors.As(err, &answer) {
				t.Errorf("%v is no *MetadataError", err)
			}
		})
	}
}

// A wheel that says nothing of its release is an answer, whichever way it came.
func TestBadWheels(t *testing.T) {
	good := metadata("foo", "1.0")
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"no zip", []byte("this is no zip archive at all"), "it is no zip archive: zip: not a valid zip file"},
		{"no metadata", makeZip(member{"foo/METADATA", good}), "it has no METADATA in a .dist-info directory"},
		{"two", makeZip(member{"foo-1.0.dist-info/METADATA", good}, member{"bar-1.0.dist-info/METADATA", good}), "it has more than one METADATA in a .dist-info directory"},
		{"another project", makeZip(member{"foo-1.0.dist-info/METADATA", metadata("bar", "1.0")}), "its metadata is that of bar 1.0"},
		{"large", makeZip(member{"foo-1.0.dist-info/METADATA", strings.Repeat("x", maxMetadata+1)}), "its metadata has 4194305 bytes, more than 4194304"},
		{"no fields", makeZip(member{"foo-1.0.dist-info/METADATA", "hello"}), "its metadata cannot be used: the file has no name"},
		{"bad requirement", makeZip(member{"foo-1.0.dist-info/METADATA", metadata("foo", "1.0", "Requires-Dist: ]")}), `its metadata cannot be used: Requires-Dist "]": `},
	} {
		for _, whole := range []bool{false, true} {
			f := newFake(t).add(fooWheel, tt.data)
			f.noRanges = whole
			_, err := ask(t, on(t, f), "foo", "")
			var answer *resolve.MetadataError
			if !errors.As(err, &answer) || !strings.HasPrefix(err.Error(), fooWheel+": "+tt.want) {
				t.Errorf("%s, whole %v: got %v, want %s", tt.name, whole, err, tt.want)
			}
		}
	}
}

func TestRepairIsToldOnce(t *testing.T) {
	f := newFake(t).add(fooWheel, wheel("foo", "1.0", "Requires-Dist: bar>=1.*"))
	x, warnings := newIndex(t, Config{Index: f.URL + "/simple/"})
	for range 2 {
		if got := showMetadata(ask(t, x, "foo", "")); got != "foo 1.0 [bar>=1]" {
			t.Errorf("got %s", got)
		}
	}
	if want := fooWheel + `: Requires-Dist "bar>=1.*" is read as "bar>=1"`; len(*warnings) != 1 || (*warnings)[0] != want {
		t.Errorf("warnings %q", *warnings)
	}
}

// What one index says beside a wheel does not count for another that has the
// same wheel, but what was found in the wheel does.
func TestOneIndexCannotSpeakForAnother(t *testing.T) {
	data := wheel("foo", "1.0")
	liar, honest := newFake(t).add(fooWheel, data), newFake(t).add(fooWheel, data)
	liar.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".metadata") {
			return false
		}
		io.WriteString(w, metadata("foo", "1.0", "Requires-Dist: evil"))
		return true
	}
	cache := t.TempDir()
	get := func(f *fakeIndex) string {
		cfg := Config{Index: f.URL + "/simple/"}
		cfg.Fetch.Dir = cache
		x, _ := newIndex(t, cfg)
		return showMetadata(ask(t, x, "foo", ""))
	}
	if got := get(liar); got != "foo 1.0 [evil]" {
		t.Errorf("got %s", got)
	}
	if got := get(honest); got != "foo 1.0 []" {
		t.Errorf("got %s", got)
	}
	honest.noRanges = true // now the whole wheel is read and its digest compared
	other := newFake(t).add(fooWheel, data)
	other.noRanges = true
	get(other)
	if got := get(liar); got != "foo 1.0 []" {
		t.Errorf("got %s after the wheel was read", got)
	}
}

// A file that no page lists, such as one that a requirement names by URL.
func TestMetadataByURL(t *testing.T) {
	f := newFake(t).add(fooWheel, wheel("foo", "1.0", "Requires-Dist: bar"))
	x, _ := newIndex(t, Config{NoIndex: true})
	o := offer{name: fooWheel}
	o.readName()
	file := &resolve.File{Name: fooWheel, URL: f.URL + "/files/" + fooWheel, Wheel: o.wheel}
	m, err := x.Metadata(t.Context(), "foo", &resolve.Release{Version: o.version, Files: []*resolve.File{file}}, file)
	if got := showMetadata(m, err); got != "foo 1.0 [bar]" {
		t.Errorf("got %s", got)
	}
	sha, size, err := x.Digest(t.Context(), file)
	if data := f.files[fooWheel]; err != nil || sha != sum(data) || size != int64(len(data)) {
		t.Errorf("Digest = %s, %d, %v", sha, size, err)
	}
}
