package bundle

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/schema"
)

// The bill of materials travels behind the manifest, in every format: it is verified,
// unpacked, and no part of the application.
func TestSBOMTravels(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	app, err := Load(dir)
	must(t, err)
	for _, kind := range ArchiveTypes() {
		out := filepath.Join(t.TempDir(), "out."+string(kind))
		var of *App
		res, err := Build(t.Context(), app, BuildOptions{Output: out, Tool: "test", SBOM: func(a *App) ([]byte, error) {
			of = a
			return []byte("{}\n"), nil
		}})
		must(t, err)
		if res.Digest != app.Digest() || of.Digest() != app.Digest() {
			t.Errorf("%s: the digest is %s, that of the directory %s", kind, res.Digest, app.Digest())
		}
		if got, err := SBOM(t.Context(), out); err != nil || string(got) != "{}\n" {
			t.Errorf("%s: the bill is %q, %v", kind, got, err)
		}
		if rep, err := Verify(t.Context(), out); err != nil || rep.Digest != app.Digest() || rep.Manifest.SBOM == "" {
			t.Errorf("%s: %v, %v", kind, rep, err)
		}
		opened, err := Open(out)
		must(t, err)
		if opened.Digest() != app.Digest() {
			t.Errorf("%s: the archive has the digest %s", kind, opened.Digest())
		}
		to := filepath.Join(t.TempDir(), "to")
		must(t, Unpack(t.Context(), out, to, UnpackOptions{}))
		if data, err := os.ReadFile(filepath.Join(to, sbomPath)); err != nil || string(data) != "{}\n" {
			t.Errorf("%s: unpacked, the bill is %q, %v", kind, data, err)
		}
		unpacked, err := Load(to)
		must(t, err)
		if unpacked.Digest() != app.Digest() {
			t.Errorf("%s: unpacked, the digest is %s", kind, unpacked.Digest())
		}
	}
	without := filepath.Join(t.TempDir(), "out.tar")
	_, err = Build(t.Context(), app, BuildOptions{Output: without, Tool: "test"})
	must(t, err)
	if got, err := SBOM(t.Context(), without); err != nil || got != nil {
		t.Errorf("without one the bill is %q, %v", got, err)
	}
	failing := filepath.Join(t.TempDir(), "out.tar")
	_, err = Build(t.Context(), app, BuildOptions{Output: failing, Tool: "test", SBOM: func(*App) ([]byte, error) { return nil, context.Canceled }})
	if _, gone := os.Stat(failing); !errors.Is(err, context.Canceled) || !errors.Is(gone, os.ErrNotExist) {
		t.Errorf("a bill that cannot be made: %v, and the archive: %v", err, gone)
	}
}

// A bill that is not what the manifest says is refused, whether it is read or unpacked.
func TestSBOMRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	app, err := Load(dir)
	must(t, err)
	bill := []byte("{}\n")
	own, _, err := app.encodeManifest(ArchiveOptions{Type: Tar, Tool: "test", SBOM: bill})
	must(t, err)
	none, _, err := app.encodeManifest(ArchiveOptions{Type: Tar, Tool: "test"})
	must(t, err)
	file := func(text string) *Entry { return &Entry{Path: sbomPath, Type: File, Size: int64(len(text))} }
	for _, tt := range []struct {
		name     string
		manifest []byte
		first    *Entry
		text     string
		last     *Entry
		want     string
	}{
		{"good", own.manifest, file("{}\n"), "{}\n", nil, ""},
		{"other content", own.manifest, file("[]\n"), "[]\n", nil, "has other content than the manifest says"},
		{"missing", own.manifest, nil, "", nil, "is in the manifest and not in the archive"},
		{"at the end", own.manifest, nil, "{}\n", file("{}\n"), "does not follow the manifest"},
		{"executable", own.manifest, &Entry{Path: sbomPath, Type: File, Size: 3, X: true, Mode: 0o755}, "{}\n", nil, "is no plain file"},
		{"a link", own.manifest, nil, "", &Entry{Path: sbomPath, Type: Link, Link: "manifest.json"}, "does not follow the manifest"},
		{"unannounced", none.manifest, file("{}\n"), "{}\n", nil, "is not in the manifest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			p, err := newPacker(Tar, &b)
			must(t, err)
			put := func(e *Entry, text []byte) {
				must(t, p.begin(e))
				if e.Type == File {
					_, err := p.Write(text)
					must(t, err)
				}
			}
			put(&Entry{Path: manifestPath, Type: File, Size: int64(len(tt.manifest))}, tt.manifest)
			if tt.first != nil {
				put(tt.first, []byte(tt.text))
			}
			for i := range app.Entries {
				e := &app.Entries[i]
				var data []byte
				if e.Type == File {
					data, err = os.ReadFile(filepath.Join(dir, e.Path))
					must(t, err)
				}
				put(e, data)
			}
			if tt.last != nil {
				put(tt.last, []byte(tt.text))
			}
			must(t, p.end())
			archive := filepath.Join(t.TempDir(), "a.tar")
			must(t, os.WriteFile(archive, b.Bytes(), 0o644))
			_, verified := Verify(t.Context(), archive)
			_, billed := SBOM(t.Context(), archive)
			to := filepath.Join(t.TempDir(), "to")
			unpacked := Unpack(t.Context(), archive, to, UnpackOptions{})
			for how, err := range map[string]error{"Verify": verified, "SBOM": billed, "Unpack": unpacked} {
				var refused *RefusedError
				if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: %v, want %q", how, err, tt.want)
				}
			}
			if _, err := os.Stat(to); (err == nil) != (tt.want == "") {
				t.Errorf("unpacked: %v", err)
			}
		})
	}
}

// What nobody could read again is not written.
func TestSBOMTooLarge(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	app, err := Load(dir)
	must(t, err)
	out := filepath.Join(t.TempDir(), "out.tar")
	_, err = Build(t.Context(), app, BuildOptions{Output: out, SBOM: func(*App) ([]byte, error) { return make([]byte, schema.MaxSBOM+1), nil }})
	if err == nil || !strings.Contains(err.Error(), "more than 67108864") {
		t.Errorf("err = %v", err)
	}
}
