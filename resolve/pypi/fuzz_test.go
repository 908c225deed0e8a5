package pypi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"appbundle/internal/fetch"
)

// fuzzPage holds a page of strangers to what is promised of every page.
func fuzzPage(t *testing.T, kind string, body []byte) {
	base, err := url.Parse("https://index.test/simple/foo/")
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPage(fetch.Answer{URL: base, Type: kind, Body: body})
	if err != nil {
		return
	}
	p.settle("foo")
	data := p.encode()
	l, err := decodeListing(data, "foo")
	if err != nil {
		t.Fatalf("%v of what was encoded: %q", err, data)
	}
	if len(l.files) != len(p.offers) || l.passed != p.passed || l.quarantined != p.quarantined || !reflect.DeepEqual(append([]string{}, l.notes...), append([]string{}, p.notes...)) {
		t.Errorf("encoded %d files and %d passed over, decoded %d and %d", len(p.offers), p.passed, len(l.files), l.passed)
	}
	for i := range l.files {
		f, o := &l.files[i], &p.offers[i]
		u, err := url.Parse(f.URL)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" || !isPlain(f.Name) {
			t.Errorf("file %q at %q", f.Name, f.URL)
		}
		same := f.Name == o.name && f.URL == o.url && f.Size == o.size && f.Yanked == o.yanked && f.YankedReason == o.reason && f.side == o.side &&
			f.Hashes["sha256"] == o.hashes.sha256 && f.Hashes["sha384"] == o.hashes.sha384 && f.Hashes["sha512"] == o.hashes.sha512 &&
			f.version.String() == o.version.String() && (f.Wheel == nil) == (o.wheel == nil) && (f.Wheel == nil || reflect.DeepEqual(*f.Wheel, *o.wheel))
		if !same {
			t.Errorf("encoded %+v, decoded %+v", o, f)
		}
		if again := (&offer{}); !again.setURL(base, o.url) || again.url != o.url {
			t.Errorf("%q is %q when it is resolved again", o.url, again.url)
		}
	}
}

// fuzzScan holds scan to encoding/json: what it reads at all, it reads the same.
func fuzzScan(t *testing.T, body []byte) {
	var got, want jsonPage
	if !got.scan(string(body), func(f *jsonFile) { got.Files = append(got.Files, *f) }) {
		return
	}
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("scan reads %q, and encoding/json says: %v", body, err)
	}
	if len(want.Files) == 0 {
		want.Files = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: scan reads %+v, encoding/json %+v", body, got, want)
	}
}

// A page as an index writes it is read by scan: another way is not needed.
func TestScanReadsPages(t *testing.T) {
	for _, body := range []string{
		`{"files":[]}`,
		`{"alternate-locations": [], "files": [{"core-metadata": {"sha256": "00"}, "data-dist-info-metadata": false, "filename": "a", "hashes": {"sha256": "é", "blake2b_256": "x"},
			"provenance": null, "requires-python": null, "size": 12, "upload-time": "2025-06-01T12:00:00.123456Z", "url": "https://h/\u0061", "yanked": "say \"no\""}],
			"meta": {"_last-serial": 1, "api-version": "1.4"}, "name": "foo", "project-status": {"status": "active"}, "versions": ["1.0", "2.0"]}`,
	} {
		if !new(jsonPage).scan(body, func(*jsonFile) {}) {
			t.Errorf("scan does not read %s", body)
		}
		fuzzScan(t, []byte(body))
	}
	for _, body := range []string{
		``, `null`, `{}`, `{"files":[]`, `{"files":[]}x`, `{"files":[]}` + "\x00", `{"files":[],}`, `{"files":[{}{}]}`, `{"files":[],"files":[]}`, `{"Files":[],"files":[]}`,
		`{"files":[{"size":01}]}`, `{"files":[{"size":-1}]}`, `{"files":[{"size":1.5}]}`, `{"files":[{"size":99999999999999999999}]}`, `{"files":[{"size":"1"}]}`,
		`{"files":[{"filename":"a`, `{"files":[{"filename":"\`, `{"files":[{"filename":"\x"}]}`, `{"files":[{"filename":1}]}`, `{"files":{}}`, `[]`,
		`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `,"files":[]}`,
	} {
		if new(jsonPage).scan(body, func(*jsonFile) {}) {
			t.Errorf("scan reads %s", body)
		}
	}
}

func FuzzJSONPage(f *testing.F) {
	f.Add([]byte(`{"meta":{"api-version":"1.4"},"name":"Foo","project-status":{"status":"quarantined","reason":"r"},"files":[{"filename":"foo-1.0-1-py2.py3-none-any.whl","url":"../x/foo-1.0-1-py2.py3-none-any.whl#sha256=00","hashes":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"requires-python":">=3.6*","yanked":"why","core-metadata":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"size":5,"upload-time":"2025-06-01T12:00:00.5Z"},{"filename":"foo-2.tar.gz","url":"http://u:p@h/x","yanked":true}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzScan(t, body)
		fuzzPage(t, "application/vnd.pypi.simple.v1+json", body)
	})
}

func FuzzHTMLPage(f *testing.F) {
	f.Add([]byte(`<!DOCTYPE html><head><base href="/b/"><meta name="pypi:repository-version" content="1.0"><meta name="pypi:project-status" content="quarantined"></head><a href="foo-1.0-py3-none-any.whl#sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" data-requires-python="&gt;=3" data-yanked="" data-core-metadata="true" data-dist-info-metadata="sha256=00">foo-1.0-py3-none-any.whl</a><a href=x>foo-2.tar.gz`))
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzPage(t, "text/html", body)
	})
}

// A page that was cached is garbage or not, and never a panic or too much work.
func FuzzCachedPage(f *testing.F) {
	base, err := url.Parse("https://index.test/simple/foo/")
	if err != nil {
		f.Fatal(err)
	}
	p := &page{base: base, notes: []string{"n"}}
	for _, name := range []string{"foo-1-py3-none-any.whl", "foo-1.tar.gz", "foo-2-py2.py3-none-any.whl"} {
		p.add(offer{name: name, requires: ">=3", yanked: true, reason: "r", size: 7, hashes: hashes{sha256: sum(nil)}, side: sidecar{sideThere, sum(nil)}}, name)
	}
	p.settle("foo")
	f.Add(p.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := decodeListing(data, "foo")
		if err == nil && len(l.files) > len(data) {
			t.Errorf("%d files of %d bytes", len(l.files), len(data))
		}
	})
}

// A wheel of strangers, whole and through a window, is metadata or an answer,
// and the same both ways.
func FuzzWheel(f *testing.F) {
	f.Add(wheel("foo", "1.0"), uint8(30))
	f.Add(makeZip(member{"foo-1.0.dist-info/METADATA", "x"}, member{"foo/x", noise(200)}), uint8(90))
	f.Fuzz(func(t *testing.T, data []byte, tail uint8) {
		o := &file{}
		o.Name = fooWheel
		text, err := readMETADATA(o, bytes.NewReader(data), int64(len(data)))
		if err != nil && !isAnswer(err) {
			t.Errorf("%v is no answer", err)
		}
		if len(text) > maxMetadata {
			t.Errorf("%d bytes of metadata", len(text))
		}
		if len(data) == 0 {
			return
		}
		size := int64(len(data))
		from := max(size-1-int64(tail), 0)
		w := &window{size: size, spans: []span{{from, data[from:]}}}
		w.get = func(from, n int64) (*fetch.Part, error) {
			if from < 0 || n <= 0 || from+n > size {
				t.Errorf("%d bytes from %d are asked for of %d", n, from, size)
			}
			return &fetch.Part{Data: data[from : from+n], From: from, Size: size}, nil
		}
		again, err2 := w.readMETADATA(o)
		if w.err == nil && (!bytes.Equal(text, again) || (err == nil) != (err2 == nil)) {
			t.Errorf("whole %q, %v; through a window %q, %v", text, err, again, err2)
		}
	})
}

func FuzzSdist(f *testing.F) {
	f.Add(sdist("foo", "1.0"), true)
	f.Add(makeZip(member{"foo-1.0/PKG-INFO", "x"}), false)
	f.Fuzz(func(t *testing.T, data []byte, tar bool) {
		o := &file{}
		o.Name = "foo-1.0"
		text, err := readTarSdist(o, bytes.NewReader(data))
		if !tar {
			text, err = readZipSdist(o, bytes.NewReader(data), int64(len(data)))
		}
		if err != nil && !isAnswer(err) {
			t.Errorf("%v is no answer", err)
		}
		if len(text) > maxMetadata {
			t.Errorf("%d bytes of metadata", len(text))
		}
	})
}
