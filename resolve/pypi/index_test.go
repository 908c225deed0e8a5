package pypi

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/internal/fetch"
	"appbundle/resolve"
)

// A fakeIndex is an index in the test: pages below /simple/, files below
// /files/.
type fakeIndex struct {
	*httptest.Server
	html      bool                                              // pages in HTML alone
	bare      bool                                              // no hash, size or time in pages
	advertise bool                                              // pages say that there are sidecars
	sidecars  bool                                              // there are
	noRanges  bool                                              // files come whole
	status    string                                            // of every project
	user      string                                            // "user:password" that every request needs
	intercept func(w http.ResponseWriter, r *http.Request) bool // takes a request over where it returns true

	mu       sync.Mutex
	files    map[string][]byte
	extra    map[string]string // attributes by file name: JSON for a member, HTML for an attribute
	requests []string
}

func newFake(t testing.TB) *fakeIndex {
	f := &fakeIndex{files: map[string][]byte{}, extra: map[string]string{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeIndex) add(name string, data []byte) *fakeIndex {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[name] = data
	return f
}

// seen gives the requests since it was called last: "PATH" or "PATH RANGE".
func (f *fakeIndex) seen() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.requests, ", ")
	f.requests = nil
	return s
}

// ServeHTTP answers as an index does.
func (f *fakeIndex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	f.mu.Unlock()
	if user, password, _ := r.BasicAuth(); f.user != "" && user+":"+password != f.user {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if f.intercept != nil && f.intercept(w, r) {
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
		f.file(w, r, name)
		return
	}
	project, ok := strings.CutPrefix(r.URL.Path, "/simple/")
	project, ok2 := strings.CutSuffix(project, "/")
	if !ok || !ok2 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		o := offer{name: name}
		if o.readName(); project == "" || o.project == project || o.project == "" && strings.HasPrefix(name, project+"-") {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0:
		w.WriteHeader(http.StatusNotFound)
	case f.html || !strings.Contains(r.Header.Get("Accept"), "json"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, f.htmlPage(names))
	default:
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		w.Write(f.jsonPage(project, names))
	}
}

func (f *fakeIndex) file(w http.ResponseWriter, r *http.Request, name string) {
	data, ok := f.files[name]
	if wheel, is := strings.CutSuffix(name, ".metadata"); is && f.sidecars {
		if data, ok = f.files[wheel]; ok {
			data = memberOf(data, "METADATA")
		}
	}
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case f.noRanges:
		w.Write(data)
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func (f *fakeIndex) jsonPage(project string, names []string) []byte {
	type object = map[string]any
	var files []object
	for _, name := range names {
		o := object{"filename": name, "url": "../../files/" + name, "hashes": object{}, "requires-python": nil, "yanked": false}
		if !f.bare {
			o["hashes"] = object{"sha256": sum(f.files[name])}
			o["size"] = len(f.files[name])
			o["upload-time"] = "2025-06-01T12:00:00.5Z"
		}
		if f.advertise && strings.HasSuffix(name, ".whl") {
			o["core-metadata"] = object{"sha256": sum(memberOf(f.files[name], "METADATA"))}
		}
		if extra := f.extra[name]; extra != "" {
			if err := json.Unmarshal([]byte(extra), &o); err != nil {
				panic(err)
			}
		}
		files = append(files, o)
	}
	page := object{"meta": object{"api-version": "1.1"}, "name": project, "files": files}
	if f.status != "" {
		page["project-status"] = object{"status": f.status, "reason": "bad things"}
	}
	data, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return data
}

func (f *fakeIndex) htmlPage(names []string) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html><head><meta name=\"pypi:repository-version\" content=\"1.1\">")
	if f.status != "" {
		fmt.Fprintf(&b, "<meta name=\"pypi:project-status\" content=%q><meta name=\"pypi:project-status-reason\" content=\"bad things\">", f.status)
	}
	b.WriteString("<title>Links</title></head>\n<body>\n")
	for _, name := range names {
		href := "../../files/" + name
		if !f.bare {
			href += "#sha256=" + sum(f.files[name])
		}
		attributes := f.extra[name]
		if f.advertise && strings.HasSuffix(name, ".whl") {
			attributes += " data-core-metadata=\"sha256=" + sum(memberOf(f.files[name], "METADATA")) + "\""
		}
		fmt.Fprintf(&b, "<a href=\"%s\" %s>%s</a><br />\n", html.EscapeString(href), attributes, name)
	}
	b.WriteString("</body></html>")
	return b.String()
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// A member is one file of an archive.
type member struct{ name, content string }

// makeZip makes a zip archive, such as a wheel.
func makeZip(members ...member) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		w, err := z.Create(m.name)
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// makeTar makes a tar.gz archive, such as an sdist.
func makeTar(members ...member) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(m.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// metadata is the text of a METADATA file.
func metadata(name, version string, lines ...string) string {
	return "Metadata-Version: 2.2\nName: " + name + "\nVersion: " + version + "\n" + strings.Join(append(lines, ""), "\n") + "\nA description.\n"
}

// wheel makes the wheel of a pure Python project.
func wheel(name, version string, lines ...string) []byte {
	dir := name + "-" + version + ".dist-info/"
	return makeZip(member{name + "/__init__.py", ""}, member{dir + "METADATA", metadata(name, version, lines...)}, member{dir + "RECORD", ""})
}

// bigWheel makes a wheel whose directory is larger than the first request.
func bigWheel(name, version string, lines ...string) []byte {
	dir := name + "-" + version + ".dist-info/"
	var members []member
	for i := range 3000 {
		members = append(members, member{fmt.Sprintf("%s/a/quite/long/name/of/a/module/number_%05d.py", name, i), ""})
	}
	return makeZip(append(members, member{dir + "METADATA", metadata(name, version, lines...)}, member{dir + "RECORD", ""})...)
}

// frontWheel makes a wheel that begins with its metadata, which ends in text.
func frontWheel(text string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range []member{{"foo-1.0.dist-info/METADATA", metadata("foo", "1.0", "Requires-Dist: bar>=1", "Requires-Python: >=3.9") + text}, {"foo/data", noise(1 << 20)}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: m.name, Method: zip.Store})
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// noise is text that nothing makes smaller, the same every time.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return hex.EncodeToString(b[:n/2])
}

func sdist(name, version string, lines ...string) []byte {
	dir := name + "-" + version + "/"
	return makeTar(member{dir, ""}, member{dir + name + "/PKG-INFO", "not me"}, member{dir + "PKG-INFO", metadata(name, version, lines...)}, member{dir + "setup.py", ""})
}

func memberOf(wheel []byte, base string) []byte {
	z, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return nil
	}
	for _, m := range z.File {
		if strings.HasSuffix(m.Name, "/"+base) {
			in, err := m.Open()
			if err != nil {
				return nil
			}
			data, _ := io.ReadAll(in)
			return data
		}
	}
	return nil
}

// newIndex makes an Index whose warnings are kept.
func newIndex(t testing.TB, cfg Config) (*Index, *[]string) {
	t.Helper()
	if cfg.Fetch.Dir == "" {
		cfg.Fetch.Dir = t.TempDir()
	}
	if cfg.Fetch.Backoff == 0 {
		cfg.Fetch.Backoff = time.Millisecond
	}
	warnings := new([]string)
	cfg.Warn = func(msg string) { *warnings = append(*warnings, msg) }
	x, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x, warnings
}

// on makes an Index of one server.
func on(t testing.TB, f *fakeIndex) *Index {
	t.Helper()
	x, _ := newIndex(t, Config{Index: f.URL + "/simple/"})
	return x
}

// show prints a project: a line for each release.
func show(p *resolve.Project) string {
	var b strings.Builder
	for _, r := range p.Releases {
		b.WriteString(r.Version.String())
		for _, f := range r.Files {
			b.WriteString(" " + f.Name)
			if f.RequiresPython != nil {
				b.WriteString(" python" + f.RequiresPython.String())
			}
			if f.Yanked {
				fmt.Fprintf(&b, " yanked(%s)", f.YankedReason)
			}
		}
		b.WriteString("\n")
	}
	if p.Quarantined != "" {
		b.WriteString("quarantined: " + p.Quarantined + "\n")
	}
	return b.String()
}

// ask gets the metadata of the file with that name, or of the newest release.
func ask(t testing.TB, x *Index, project, file string) (*resolve.Metadata, error) {
	t.Helper()
	p, err := x.Project(t.Context(), project)
	if err != nil {
		return nil, err
	}
	for _, r := range p.Releases {
		for _, f := range r.Files {
			if file == "" || f.Name == file {
				return x.Metadata(t.Context(), project, r, f)
			}
		}
	}
	t.Fatalf("%s has no file %s: %s", project, file, show(p))
	return nil, nil
}

// showMetadata prints metadata, or the error.
func showMetadata(m *resolve.Metadata, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var requires []string
	for _, r := range m.Requires {
		requires = append(requires, r.String())
	}
	return fmt.Sprintf("%s %s %s%v", m.Name, m.Version, m.RequiresPython, requires)
}

// offline is the configuration of a client that must not ask.
func offline(dir string) fetch.Config { return fetch.Config{Dir: dir, Offline: true} }
