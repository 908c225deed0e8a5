package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/internal/safearchive"
)

// TestZeros builds an archive whose content is out of every proportion to its
// size, and reads it in every way.
func TestZeros(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	do(t, dir, "touch zeros")
	const size = safearchive.DefaultRatioAfter + 20<<20
	must(t, os.Truncate(filepath.Join(dir, "zeros"), size))
	app, err := Load(dir)
	must(t, err)
	res, err := Build(t.Context(), app, BuildOptions{Output: base})
	must(t, err)
	if res.Size > size/safearchive.DefaultRatio {
		t.Fatalf("%d bytes are no bomb", res.Size)
	}
	_, err = Verify(t.Context(), res.Path)
	must(t, err)
	opened, err := Open(res.Path)
	must(t, err)
	if opened.Digest() != res.Digest {
		t.Errorf("Open: digest %s, want %s", opened.Digest(), res.Digest)
	}
	must(t, Unpack(t.Context(), res.Path, base+"/x", UnpackOptions{}))
	if info, err := os.Stat(base + "/x/zeros"); err != nil || info.Size() != size {
		t.Errorf("zeros: %v, %v", info, err)
	}

	// The limits of whoever unpacks are above what the manifest says.
	var limit *safearchive.LimitError
	err = Unpack(t.Context(), res.Path, base+"/y", UnpackOptions{Limits: Limits{Total: size}})
	if !errors.As(err, &limit) || limit.Limit != safearchive.LimitTotal {
		t.Errorf("Unpack with a limit: %v", err)
	}
	onlyThere(t, base, "shop", filepath.Base(res.Path), "x")
}

// TestBombsBehindAManifest: what a manifest does not announce is a bomb still,
// and it cannot announce more than an archive may hold.
func TestBombsBehindAManifest(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	app, err := Load(dir)
	must(t, err)
	res, err := Build(t.Context(), app, BuildOptions{Output: base})
	must(t, err)
	bad := filepath.Join(base, "bad.tar.zst")
	for _, c := range []struct {
		change func([]member) []member
		want   safearchive.Limit
	}{
		{func(all []member) []member {
			zeros := make([]byte, safearchive.DefaultRatioAfter+20<<20)
			return append(all, member{tar.Header{Name: "zeros", Mode: 0o644, Typeflag: tar.TypeReg}, zeros})
		}, safearchive.LimitRatio},
		{func(all []member) []member {
			huge := []byte(`"size":9223372036854775807,`)
			all[0].body = bytes.ReplaceAll(all[0].body, []byte(`"size":8,`), huge)
			all[0].body = bytes.ReplaceAll(all[0].body, []byte(`"size":10,`), huge)
			return all
		}, safearchive.LimitTotal},
	} {
		writeTar(t, bad, c.change(readTar(t, res.Path)))
		_, verr := Verify(t.Context(), bad)
		_, oerr := Open(bad)
		uerr := Unpack(t.Context(), bad, base+"/x", UnpackOptions{})
		for what, err := range map[string]error{"Verify": verr, "Open": oerr, "Unpack": uerr} {
			var limit *safearchive.LimitError
			if !errors.As(err, &limit) || limit.Limit != c.want || !strings.Contains(err.Error(), bad+": ") {
				t.Errorf("%s: %v, want %s", what, err, c.want)
			}
		}
	}
	onlyThere(t, base, "bad.tar.zst", "shop", filepath.Base(res.Path))
}

// TestBuildFits: no archive is written that is over the limits of its reader.
func TestBuildFits(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		app  App
		want string
	}{
		{App{Entries: []Entry{{Path: "a", Type: File, Size: 6 << 30}, {Path: "b", Type: File, Size: 6 << 30}}}, "would hold 12884901888 bytes, more than 10468982784"},
		{App{Entries: make([]Entry, safearchive.DefaultEntries-1)}, "would have 500001 entries, more than 500000"},
	} {
		_, err := c.app.write(t.Context(), dir+"/a.tar.zst", TarZst, BuildOptions{})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != c.want {
			t.Errorf("write: %v, want %s", err, c.want)
		}
	}
	onlyThere(t, dir)
}
