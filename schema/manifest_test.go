package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func sampleManifest() *Manifest {
	entries := []ManifestEntry{
		{Path: "bin", Type: EntryDir},
		{Path: "bin/<app> & \u2028\x7f", Type: EntryFile, X: true, Size: 12, SHA256: strings.Repeat("a", 64)},
		{Path: "empty", Type: EntryFile, SHA256: strings.Repeat("b", 64)},
		{Path: "link", Type: EntryLink, Link: "bin/\"q\"\\\t\x01é"},
	}
	return &Manifest{
		Format: ManifestFormat, Digest: TreeDigest(entries), Name: "shop", Version: "1.0.0", Interface: WSGI,
		Target: "cp311-linux_x86_64", Tool: "appbundle 0.1.0", Compressor: "zstd", Entries: entries,
	}
}

func sampleDelta() *Manifest {
	m := sampleManifest()
	m.Format = DeltaFormat
	m.Delta = &ManifestDelta{Base: TreeDigest(nil), Version: "0.9.0", Deleted: []string{"a/b", "linked"}}
	return m
}

func TestDeltaProblems(t *testing.T) {
	text, err := sampleDelta().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"format":2`, `"format":1`, "m: delta is in a manifest of the format 1"},
		{`"base":"ab1:`, `"base":"ab2:`, `m: delta: base "ab2:` + TreeDigest(nil)[4:57] + `..." is not ab1: and 64 hexadecimal digits`},
		{TreeDigest(nil), sampleDelta().Digest, "m: delta: base and digest are the same"},
		{`"version":"0.9.0"`, `"version":"0.9"`, `m: delta: "0.9" is no semantic version`},
		{`"delta":`, `"sbom":"` + TreeDigest(nil)[4:] + `","delta":`, "m: sbom is in the manifest of a delta"},
		{`,"deleted":["a/b","linked"]`, ``, "m: delta: deleted is missing"},
		{`"a/b","linked"`, `"a/../b","linked"`, `m: delta: deleted "a/../b": it is no path that is relative, clean and at most 4096 bytes long`},
		{`"a/b","linked"`, `"linked","a/b"`, `m: delta: deleted "a/b": it is not after "linked" in bytewise order`},
		{`"a/b","linked"`, `"a/b","a/b"`, `m: delta: deleted "a/b": it is not after "a/b" in bytewise order`},
		{`"a/b","linked"`, `"a/b","empty"`, `m: delta: deleted "empty": it is an entry too`},
		{`"a/b","linked"`, `"a/b",1`, `m:1:`},
		{`"base"`, `"bases"`, `m:`},
	} {
		data := strings.Replace(string(text), c.old, c.new, 1)
		_, ps := ParseManifest("m", []byte(data))
		if got := ps.Error(); got != c.want && (len(c.want) > 5 || !strings.HasPrefix(got, c.want)) {
			t.Errorf("with %s for %s:\n got %s\nwant %s", c.new, c.old, got, c.want)
		}
	}
}

func TestManifestRoundTrip(t *testing.T) {
	for _, m := range []*Manifest{sampleManifest(), sampleDelta(), {
		Format: 1, Digest: TreeDigest(nil), Name: "a", Version: "1.0.0-rc.1+b", Interface: Exec, Target: "any", Entries: []ManifestEntry{},
	}} {
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, ps := ParseManifest("m.json", data)
		if err := ps.Err(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%s\nreads as %+v, want %+v", data, got, m)
		}
		again, err := got.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("encodes as\n%s (%v), want\n%s", again, err, data)
		}
	}
}

func TestDigestLines(t *testing.T) {
	want := []string{
		`d "bin"`,
		`f x ` + strings.Repeat("a", 64) + ` 12 "bin/<app> & ` + "\u2028\x7f" + `"`,
		`f - ` + strings.Repeat("b", 64) + ` 0 "empty"`,
		`l "link" "bin/\"q\"\\\t\u0001é"`,
	}
	m := sampleManifest()
	for i, e := range m.Entries {
		if got := DigestLine(e); got != want[i] {
			t.Errorf("DigestLine = %s, want %s", got, want[i])
		}
	}
	// As hashlib and json.dumps(path, ensure_ascii=False) of Python compute it.
	if want := "ab1:2dcfe4fa46c670193bc42bbecc6801023728720bab9884b64d07cfc53e50e26c"; m.Digest != want {
		t.Errorf("TreeDigest = %s, want %s", m.Digest, want)
	}
	if got, want := TreeDigest(nil), "ab1:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("TreeDigest(nil) = %s, want %s", got, want)
	}
	shuffled := slices.Clone(m.Entries)
	slices.Reverse(shuffled)
	if TreeDigest(shuffled) != m.Digest {
		t.Error("the digest depends on the order of its argument")
	}
}

func TestManifestProblems(t *testing.T) {
	text, err := sampleManifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"format":1`, `"format":3`, "m: the manifest has the format 3, this appbundle reads 2; use a newer appbundle"},
		{`"format":1`, `"format":2`, "m: delta is missing in a manifest of the format 2"},
		{`"name":"shop"`, `"name":"shop","name":"x"`, `m:1:113: "name" occurs twice in one object`},
		{`"name"`, `"Name"`, `m:1:99: unknown field "Name"`},
		{`"tool"`, `"tools"`, `m:6:3: unknown field "tools"`},
		{`"size":12`, `"size":-1`, `m: entry "bin/<app> & \u2028\x7f": size or sha256 of the file is none`},
		{`"size":12`, `"size":1.5`, `m:3:64: entries.size: number 1.5 does not fit`},
		{`"path":"empty"`, `"path":"c/../x"`, `m: entry "c/../x": the path is not relative and clean`},
		{`"path":"empty"`, `"path":"bin"`, `m: entry "bin": it is not after "bin/<app> & \u2028\x7f" in bytewise order`},
		{`"path":"empty"`, `"path":"bin/<app> & \u2028\u007f"`, `m: entry "bin/<app> & \u2028\x7f": it is not after "bin/<app> & \u2028\x7f" in bytewise order`},
		{`"type":"dir"`, `"type":"dir","x":true`, `m: entry "bin": size, sha256 and x are for files`},
		{`"type":"dir"`, `"type":"fifo"`, `m: entry "bin": "fifo" is no type`},
		{`"interface":"wsgi"`, `"interface":"cgi"`, `m: "cgi" is no interface`},
		{`"target":"cp311-`, `"target":"../`, `m: "../linux_x86_64" is no target`},
		{`"digest":"ab1:`, `"digest":"ab2:`, `m: digest "ab2:` + sampleManifest().Digest[4:57] + `..." is not ab1: and 64 hexadecimal digits`},
		{`"name":"shop"`, `"name":""`, `m: name or version is missing`},
		{`"name":"shop"`, `"name":"../.."`, `m: "../.." is no name of an application`},
		{`"name":"shop"`, `"name":"Shop_2"`, `m: "Shop_2" is no name of an application`},
		{`"version":"1.0.0"`, `"version":"x/y z"`, `m: "x/y z" is no semantic version`},
		{`"version":"1.0.0"`, `"version":"1.0"`, `m: "1.0" is no semantic version`},
		{`"version":"1.0.0"`, `"version":"1.0.0-../x"`, `m: "1.0.0-../x" is no semantic version`},
		{`"tool":"appbundle 0.1.0"`, `"tool":"a\u001b[2J"`, `m: "a\x1b[2J" is no name of a tool`},
		{`"compressor":"zstd"`, `"compressor":"zstd","sbom":"AB"`, `m: sbom "AB" is not 64 hexadecimal digits`},
		{`"compressor":"zstd"`, `"compressor":"a\nb"`, `m: "a\nb" is no name of a compressor`},
		{"\n]}\n", "\n]} x", "m:6:3: something follows the JSON object"},
		{"\n]}\n", "\n]", "m:6:2: the file ends too early"},
	} {
		data := strings.Replace(string(text), c.old, c.new, 1)
		_, ps := ParseManifest("m", []byte(data))
		if got := ps.Error(); got != c.want {
			t.Errorf("with %s for %s:\n got %s\nwant %s", c.new, c.old, got, c.want)
		}
	}
	for in, want := range map[string]string{
		"":                          "m:1:1: the file ends too early",
		"[]":                        "m:1:2: the file must be one JSON object",
		"{\"a\":\"\xff\"}":          "m:1:1: the file is not UTF-8",
		strings.Repeat(`{"a":`, 70): "m:1:322: objects and arrays more than 64 deep",
	} {
		if _, ps := ParseManifest("m", []byte(in)); ps.Error() != want {
			t.Errorf("ParseManifest(%.20q): %s, want %s", in, ps.Error(), want)
		}
	}
}

// The schema names exactly the fields that Go has.
func TestJSONSchemas(t *testing.T) {
	type object struct {
		Properties map[string]json.RawMessage
		Required   []string
	}
	read := func(text []byte) (o object) {
		t.Helper()
		if err := json.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	data, err := JSONSchemas.ReadFile("schemas/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	top := read(data)
	fieldNames := func(v any) []string {
		var names []string
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	if got, want := slices.Sorted(maps.Keys(top.Properties)), fieldNames(Manifest{}); !slices.Equal(got, want) || len(top.Required) != len(want)-2 { // delta and sbom
		t.Errorf("manifest: schema has %q (required %q), Go has %q", got, top.Required, want)
	}
	if got, want := slices.Sorted(maps.Keys(read(top.Properties["delta"]).Properties)), fieldNames(ManifestDelta{}); !slices.Equal(got, want) {
		t.Errorf("delta: schema has %q, Go has %q", got, want)
	}
	var entries struct{ Items json.RawMessage }
	if err := json.Unmarshal(top.Properties["entries"], &entries); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(read(entries.Items).Properties)), fieldNames(ManifestEntry{}); !slices.Equal(got, want) {
		t.Errorf("entry: schema has %q, Go has %q", got, want)
	}
	if data, err = JSONSchemas.ReadFile("schemas/environment.json"); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(read(data).Properties)), fieldNames(Environment{}); !slices.Equal(got, want) {
		t.Errorf("environment: schema has %q, Go has %q", got, want)
	}
	if data, err = JSONSchemas.ReadFile("schemas/check.json"); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(read(data).Properties)), []string{"errors", "findings", "format", "mended", "suppressed", "warnings"}; !slices.Equal(got, want) {
		t.Errorf("check: schema has %q, want %q", got, want)
	}
}

func FuzzManifest(f *testing.F) {
	for _, m := range []*Manifest{sampleManifest(), sampleDelta()} {
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, ps := ParseManifest("f", data)
		if len(ps) > 0 {
			return
		}
		out, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, ps := ParseManifest("f", out)
		if len(ps) > 0 || TreeDigest(again.Entries) != TreeDigest(m.Entries) || !reflect.DeepEqual(again.Delta, m.Delta) {
			t.Errorf("%s reads back with %v", out, ps)
		}
	})
}

// BenchmarkManifest50000 is what build does beside reading and compressing.
func BenchmarkManifest50000(b *testing.B) {
	m := sampleManifest()
	sum := strings.Repeat("a", 64)
	for i := range 50_000 {
		m.Entries = append(m.Entries, ManifestEntry{Path: fmt.Sprintf("srv/%03d/module_%05d.py", i/100, i), Type: EntryFile, Size: 3000, SHA256: sum})
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Digest = TreeDigest(m.Entries)
		if _, err := m.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
