package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/schema"
)

// two makes two releases of an app that differ in every way that trees can, packs
// them, and unpacks the old one. It gives the directory that has them:
// old.TYPE, new.TYPE and base.
func two(t *testing.T, kind ArchiveType) string {
	t.Helper()
	dir := t.TempDir()
	for _, release := range []string{"old", "new"} {
		app := filepath.Join(dir, release)
		write(t, app, txtar.Parse([]byte(goodApp)), "")
		must(t, os.MkdirAll(filepath.Join(app, ".appbundle/env/lib/python3.11/site-packages"), 0o755))
		script := `
cp README same; cp README mode; ln -s same link; ln -s same from-link; cp README to-link
mkdir -p from-dir/deep to-empty gone/deep/er stays; touch from-dir/deep/x gone/deep/er/y stays/z; cp README to-dir
mkdir emptied; touch emptied/x; cp README .appbundle/env/lib/python3.11/site-packages/word.py; rmdir to-empty`
		if release == "new" {
			script = `
cp README same; cp README mode; chmod +x mode; ln -s mode link; cp README from-link; ln -s same to-link
echo file >from-dir; mkdir -p to-dir/deep to-empty stays emptied; touch to-dir/deep/x stays/z stays/fresh; ln -s ../bin/../README stays/up
echo 'word = 2' >.appbundle/env/lib/python3.11/site-packages/word.py; sed -i s/1.0.0/1.1.0/ app.ini`
		}
		sh(t, app, script)
		must(t, os.WriteFile(filepath.Join(dir, release+"."+string(kind)), archiveOf(t, app, kind), 0o644))
	}
	must(t, Unpack(t.Context(), filepath.Join(dir, "old."+string(kind)), filepath.Join(dir, "base"), UnpackOptions{}))
	return dir
}

// TestDelta makes the new release of the old one, from a directory and from an
// archive, with deltas of every type.
func TestDelta(t *testing.T) {
	for _, kind := range ArchiveTypes() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dir := two(t, kind)
			old, fresh := filepath.Join(dir, "old."+string(kind)), filepath.Join(dir, "new."+string(kind))
			res, err := Delta(t.Context(), old, fresh, DeltaOptions{Output: dir, Type: kind, Tool: "test"})
			must(t, err)
			if want := filepath.Join(dir, "shop-1.1.0-any.from-1.0.0."+string(kind)); res.Path != want {
				t.Errorf("the delta is %s, want %s", res.Path, want)
			}
			again, err := Delta(t.Context(), old, fresh, DeltaOptions{Output: filepath.Join(dir, "again."+string(kind)), Tool: "test"})
			must(t, err)
			if a, b := read(t, res.Path), read(t, again.Path); a != b || len(a) != int(res.Size) {
				t.Error("the same two archives gave two deltas")
			}
			rep, err := Verify(t.Context(), res.Path)
			must(t, err)
			whole, err := Verify(t.Context(), fresh)
			must(t, err)
			var files, others []string
			for _, e := range rep.Manifest.Entries {
				if e.Type == schema.EntryFile {
					files = append(files, e.Path)
				} else {
					others = append(others, e.Path)
				}
			}
			if want := strings.Fields(".appbundle/env/lib/python3.11/site-packages/word.py app.ini from-dir from-link mode stays/fresh to-dir/deep/x"); !slices.Equal(files, want) {
				t.Errorf("the files are %q, want %q", files, want)
			}
			if want := strings.Fields("link stays/up to-dir to-dir/deep to-empty to-link"); !slices.Equal(others, want) {
				t.Errorf("the other entries are %q, want %q", others, want)
			}
			if want := strings.Fields("emptied/x from-dir/deep from-dir/deep/x gone gone/deep gone/deep/er gone/deep/er/y"); !slices.Equal(rep.Manifest.Delta.Deleted, want) {
				t.Errorf("deleted are %q, want %q", rep.Manifest.Delta.Deleted, want)
			}
			for _, base := range []string{old, filepath.Join(dir, "base")} {
				to := filepath.Join(dir, "to-"+filepath.Base(base))
				must(t, Unpack(t.Context(), res.Path, to, UnpackOptions{Base: base}))
				app, err := Load(to)
				must(t, err)
				if app.Digest() != whole.Digest || !slices.Equal(app.manifestEntries(), whole.Manifest.Entries) {
					t.Errorf("over %s: another tree", filepath.Base(base))
				}
				m, ps := schema.ParseManifest("m", []byte(read(t, filepath.Join(to, manifestPath))))
				must(t, ps.Err())
				if m.Delta != nil || m.Digest != whole.Digest {
					t.Errorf("over %s: another manifest", filepath.Base(base))
				}
			}
		})
	}
}

// TestDeltaRefuses has one sentence for what is no pair, and leaves nothing.
func TestDeltaRefuses(t *testing.T) {
	dir := two(t, TarZst)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(at("cut.tar.zst"), []byte(read(t, at("new.tar.zst"))[:500]), 0o644))
	other := at("other")
	write(t, other, txtar.Parse([]byte(goodApp)), "")
	sh(t, other, "sed -i s/shop/shop2/ app.ini")
	must(t, os.WriteFile(at("other.tar.zst"), archiveOf(t, other, TarZst), 0o644))
	res, err := Delta(t.Context(), at("old.tar.zst"), at("new.tar.zst"), DeltaOptions{Output: at("d.tar.zst")})
	must(t, err)
	before := listDir(t, dir)
	for _, c := range []struct{ old, new, out, want string }{
		{"old.tar.zst", "old.tar.zst", "x.tar.zst", "nothing changed"},
		{"old.tar.zst", "other.tar.zst", "x.tar.zst", "is an archive of shop2, and "},
		{"old.tar.zst", "d.tar.zst", "x.tar.zst", "is a delta: what changed in shop since 1.0.0, and no bundle"},
		{"d.tar.zst", "new.tar.zst", "x.tar.zst", "is a delta"},
		{"old.tar.zst", "cut.tar.zst", "made/", "cut.tar.zst: "},
		{"cut.tar.zst", "new.tar.zst", "x.tar.zst", "cut.tar.zst: "},
		{"old.tar.zst", "new.tar.zst", "new.tar.zst", "would be written over what it is made of"},
		{"old.tar.zst", "new.tar.zst", "x.rar", "an archive is called"},
		{"old.tar.zst", "none.tar.zst", "x.tar.zst", "no such file"},
	} {
		_, err := Delta(t.Context(), at(c.old), at(c.new), DeltaOptions{Output: dir + "/" + c.out})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Delta(%s, %s): %v, want %q", c.old, c.new, err, c.want)
		}
		if now := listDir(t, dir); !slices.Equal(now, before) {
			t.Errorf("Delta(%s, %s) left %q", c.old, c.new, now)
		}
	}
	edited := filepath.Join(at("base"), "README")
	for _, c := range []struct{ delta, base, want string }{
		{"d.tar.zst", "", "is a delta"},
		{"d.tar.zst", "new.tar.zst", "is from the bundle " + res.Base + ", and "},
		{"d.tar.zst", "new.tar.zst", " has the digest " + res.Digest},
		{"d.tar.zst", "d.tar.zst", "is a delta"},
		{"d.tar.zst", "cut.tar.zst", "cut.tar.zst: "},
		{"d.tar.zst", "none", "no such file"},
		{"new.tar.zst", "old.tar.zst", "is no delta; unpack it without --base"},
		{"d.tar.zst", "base", "has the digest ab1:"},
	} {
		if c.base == "base" {
			must(t, os.WriteFile(edited, []byte("edited"), 0o644))
		}
		base := c.base
		if base != "" {
			base = at(base)
		}
		err := Unpack(t.Context(), at(c.delta), at("x"), UnpackOptions{Base: base})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Unpack(%s, %s): %v, want %q", c.delta, c.base, err, c.want)
		}
		if now := listDir(t, dir); !slices.Equal(now, before) {
			t.Errorf("Unpack(%s, %s) left %q", c.delta, c.base, now)
		}
	}
	if _, err := Open(at("d.tar.zst")); err == nil || !strings.Contains(err.Error(), "is a delta") {
		t.Errorf("Open: %v", err)
	}
	if !isOwnArchive("shop", "dist/shop-1.1.0-any.from-1.0.0.tar.zst") || isOwnArchive("shop", "shop-1.1.0-any.from-x.tar.zst") || !isOwnArchive("shop", "shop-1.1.0-any.zip.minisig") {
		t.Error("another name is a delta's")
	}
}

// TestDeltaOfStrangers forges deltas and bases.
func TestDeltaOfStrangers(t *testing.T) {
	dir := two(t, TarZst)
	old, err := Verify(t.Context(), filepath.Join(dir, "old.tar.zst"))
	must(t, err)
	file := func(path, text string) schema.ManifestEntry {
		sum := sha256.Sum256([]byte(text))
		return schema.ManifestEntry{Path: path, Type: schema.EntryFile, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
	}
	for _, c := range []struct {
		name    string
		entries []schema.ManifestEntry
		deleted []string
		archive map[string]string // files; "/" is a directory
		edit    func(m *schema.Manifest)
		want    string
	}{
		{name: "good", entries: []schema.ManifestEntry{file("new", "x")}, archive: map[string]string{"new": "x"}},
		{name: "collision", entries: []schema.ManifestEntry{file("readme", "x")}, archive: map[string]string{"readme": "x"}, want: "name is the same as"},
		{name: "absolute link", entries: []schema.ManifestEntry{{Path: "l", Type: "link", Link: "/etc"}}, want: "link to the absolute path"},
		{name: "leaving link", entries: []schema.ManifestEntry{{Path: "l", Type: "link", Link: "bin/../../x"}}, want: "climbs out of the archive"},
		{name: "unclean", entries: []schema.ManifestEntry{file("static/../x", "")}, want: "the path is not relative and clean"},
		{name: "fewer entries", deleted: []string{"README"}},
		{name: "through a link", entries: []schema.ManifestEntry{file("link/x", "x")}, archive: map[string]string{"link/x": "x"}, want: "name leads through the"},
		{name: "not in the base", deleted: []string{"nothing"}, entries: []schema.ManifestEntry{file("new", "x")}, archive: map[string]string{"new": "x"}, want: `"nothing": is deleted by the delta, and not in its base`},
		{name: "other digest", edit: func(m *schema.Manifest) { m.Digest = schema.TreeDigest(nil) }, want: "makes a bundle with the digest"},
		{name: "other content", entries: []schema.ManifestEntry{file("new", "x")}, archive: map[string]string{"new": "y"}, want: "has other content than the manifest says"},
		{name: "other size", entries: []schema.ManifestEntry{file("new", "x")}, archive: map[string]string{"new": "xx"}, want: "has 2 bytes, and the manifest says 1"},
		{name: "missing", entries: []schema.ManifestEntry{file("new", "x")}, want: "is in the manifest and not in the archive"},
		{name: "one too many", archive: map[string]string{"new": "y"}, want: "is not in the manifest"},
		{name: "directory", entries: []schema.ManifestEntry{{Path: "new", Type: "dir"}}, archive: map[string]string{"new/": ""}, want: "is a dir, and a delta has files alone"},
		{name: "version", edit: func(m *schema.Manifest) { m.Version = "7.0.0" }, want: "says the version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := *old.Manifest
			m.Format, m.Entries = schema.DeltaFormat, append([]schema.ManifestEntry{}, c.entries...)
			m.Delta = &schema.ManifestDelta{Base: old.Digest, Version: "1.0.0", Deleted: append([]string{}, c.deleted...)}
			whole := slices.DeleteFunc(slices.Clone(old.Manifest.Entries), func(e schema.ManifestEntry) bool { return slices.Contains(c.deleted, e.Path) })
			m.Digest = schema.TreeDigest(append(whole, c.entries...))
			if len(c.entries)+len(c.deleted) == 0 {
				m.Digest = schema.TreeDigest(append(whole, file("z", "")))
				m.Entries = []schema.ManifestEntry{file("z", "")}
				c.archive = maps.Clone(c.archive)
				if c.archive == nil {
					c.archive = map[string]string{}
				}
				c.archive["z"] = ""
			}
			if c.edit != nil {
				c.edit(&m)
			}
			data, err := m.Encode()
			must(t, err)
			var b bytes.Buffer
			p, err := newPacker(Tar, &b)
			must(t, err)
			must(t, writeEntry(p, &Entry{Path: manifestPath, Type: File, Size: int64(len(data))}, data))
			for _, path := range slices.Sorted(maps.Keys(c.archive)) {
				e := &Entry{Path: strings.TrimSuffix(path, "/"), Type: File, Size: int64(len(c.archive[path]))}
				if strings.HasSuffix(path, "/") {
					e.Type = Dir
				}
				must(t, writeEntry(p, e, []byte(c.archive[path])))
			}
			must(t, p.end())
			delta := filepath.Join(t.TempDir(), "d.tar")
			must(t, os.WriteFile(delta, b.Bytes(), 0o644))
			for _, base := range []string{"old.tar.zst", "base"} {
				to := filepath.Join(filepath.Dir(delta), "to-"+base)
				err = Unpack(t.Context(), delta, to, UnpackOptions{Base: filepath.Join(dir, base)})
				if c.want == "" && err == nil {
					continue
				}
				var refused *RefusedError
				if !errors.As(err, &refused) || c.want == "" || !strings.Contains(err.Error(), c.want) {
					t.Errorf("over %s: %v, want %q", base, err, c.want)
				}
				if _, err := os.Lstat(to); err == nil {
					t.Errorf("over %s: something is left", base)
				}
			}
		})
	}
	// A base whose content is not what its manifest says.
	delta, err := Delta(t.Context(), filepath.Join(dir, "old.tar.zst"), filepath.Join(dir, "new.tar.zst"), DeltaOptions{Output: filepath.Join(dir, "d.tar.zst")})
	must(t, err)
	var b bytes.Buffer
	p, err := newPacker(Tar, &b)
	must(t, err)
	data, err := old.Manifest.Encode()
	must(t, err)
	must(t, writeEntry(p, &Entry{Path: manifestPath, Type: File, Size: int64(len(data))}, data))
	for i := range old.Manifest.Entries {
		if m := &old.Manifest.Entries[i]; m.Type == schema.EntryFile {
			must(t, writeEntry(p, entryOfManifest(m), make([]byte, m.Size)))
		}
	}
	must(t, p.end())
	lies := filepath.Join(dir, "lies.tar")
	must(t, os.WriteFile(lies, b.Bytes(), 0o644))
	if err := Unpack(t.Context(), delta.Path, filepath.Join(dir, "x"), UnpackOptions{Base: lies}); err == nil ||
		!strings.Contains(err.Error(), "lies.tar: ") || !strings.Contains(err.Error(), "has other content than the manifest says") {
		t.Errorf("over a base that lies: %v", err)
	}
}

// sh runs a script in dir.
func sh(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", "umask 022\n"+script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// listDir lists what is in dir.
func listDir(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	all := []string{}
	for _, e := range list {
		all = append(all, fmt.Sprint(e.Name(), e.IsDir()))
	}
	return all
}
