package pypi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"appbundle/internal/fetch"
)

// bigPage is a page with 5,000 files of 2,500 releases, as large indexes have
// them.
func bigPage(b *testing.B) fetch.Answer {
	base, err := url.Parse("https://index.test/simple/foo/")
	if err != nil {
		b.Fatal(err)
	}
	type object = map[string]any
	var files []object
	for i := range 2500 {
		version := fmt.Sprintf("1.%d.%d", i/100, i%100)
		for _, name := range []string{"foo-" + version + "-py3-none-any.whl", "foo-" + version + ".tar.gz"} {
			digest := sum([]byte(name))
			files = append(files, object{
				"filename": name, "url": "https://files.test/packages/" + digest[:2] + "/" + digest[2:4] + "/" + digest[4:] + "/" + name,
				"hashes": object{"sha256": digest}, "requires-python": ">=3.8", "yanked": false, "size": 1e7 + i,
				"upload-time": "2025-06-01T12:00:00.123456Z", "core-metadata": object{"sha256": digest},
			})
		}
	}
	body, err := json.Marshal(object{"meta": object{"api-version": "1.1"}, "name": "foo", "files": files})
	if err != nil {
		b.Fatal(err)
	}
	return fetch.Answer{URL: base, Type: "application/vnd.pypi.simple.v1+json", Body: body}
}

func BenchmarkReadJSON(b *testing.B) {
	a := bigPage(b)
	b.SetBytes(int64(len(a.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readPage(a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadHTML(b *testing.B) {
	a := bigPage(b)
	p, err := readPage(a)
	if err != nil {
		b.Fatal(err)
	}
	var body bytes.Buffer
	body.WriteString("<!DOCTYPE html><html><body>\n")
	for _, o := range p.offers {
		fmt.Fprintf(&body, "<a href=\"%s#sha256=%s\" data-requires-python=\"&gt;=3.8\">%s</a><br/>\n", o.url, o.hashes.sha256, o.name)
	}
	a.Type, a.Body = "text/html", body.Bytes()
	b.SetBytes(int64(len(a.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readPage(a); err != nil {
			b.Fatal(err)
		}
	}
}

// What is done once for a page that was fetched.
func BenchmarkEncode(b *testing.B) {
	a := bigPage(b)
	b.ReportAllocs()
	for b.Loop() {
		p, err := readPage(a)
		if err != nil {
			b.Fatal(err)
		}
		p.settle("foo")
		p.encode()
	}
}

// What a warm run does for every project.
func BenchmarkDecode(b *testing.B) {
	p, err := readPage(bigPage(b))
	if err != nil {
		b.Fatal(err)
	}
	p.settle("foo")
	data := p.encode()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeListing(data, "foo"); err != nil {
			b.Fatal(err)
		}
	}
}

// A project of two releases and the metadata of one, from the cache on the disk.
func BenchmarkWarm(b *testing.B) {
	f := newFake(b).add("foo-2.0-py3-none-any.whl", wheel("foo", "2.0")).add(fooWheel, wheel("foo", "1.0", "Requires-Dist: bar>=1", "Requires-Dist: baz; python_version < '3'"))
	cfg := Config{Index: f.URL + "/simple/"}
	cfg.Fetch.Dir = b.TempDir()
	step := func() {
		x, _ := newIndex(b, cfg)
		p, err := x.Project(b.Context(), "foo")
		if err != nil {
			b.Fatal(err)
		}
		r := p.Releases[1]
		if _, err := x.Metadata(b.Context(), "foo", r, r.Files[0]); err != nil {
			b.Fatal(err)
		}
	}
	step()
	f.seen()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	if got := f.seen(); got != "" {
		b.Errorf("requests %s", got)
	}
}
