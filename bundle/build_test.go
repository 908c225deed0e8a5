package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/tools/txtar"
)

const builtApp = `
-- app.ini --
[app]
name = shop
version = 1.0.0
interface = exec

[build]
command = make "all of it"
outputs =
    bin/app
    static/*.js
-- dependencies.txt --
-- external-dependencies.txt --
`

// TestBuildCommand builds an application whose entrypoint is made.
func TestBuildCommand(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	makes := func(files ...string) func(context.Context, []string, string) error {
		return func(_ context.Context, argv []string, in string) error {
			if in != dir || strings.Join(argv, "|") != "make|all of it" {
				t.Errorf("Run(%q, %s)", argv, in)
			}
			for _, f := range files {
				p := filepath.Join(dir, f)
				must(t, os.MkdirAll(filepath.Dir(p), 0o755))
				must(t, os.WriteFile(p, []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"), 0o755))
			}
			return nil
		}
	}
	failed := errors.New("exit status 2")
	for _, c := range []struct {
		name, want string
		run        func(context.Context, []string, string) error
	}{
		{"no runner", "app.ini: [build] command: there is nothing to run it", nil},
		{"fails", `app.ini: [build] command "make all of it": exit status 2`, func(context.Context, []string, string) error { return failed }},
		{"makes nothing", "3 findings are errors", makes()},
		{"makes one", "1 finding is an error", makes("bin/app")},
		{"makes all", "", makes("bin/app", "static/a.js")},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(t, os.RemoveAll(dir))
			write(t, dir, txtar.Parse([]byte(builtApp)), "")
			app, err := Load(dir)
			must(t, err)
			res, err := Build(t.Context(), app, BuildOptions{Output: base, Run: c.run})
			if c.want != "" {
				if err == nil || err.Error() != c.want {
					t.Errorf("Build: %v, want %s", err, c.want)
				}
				onlyThere(t, base, "shop")
				return
			}
			must(t, err)
			if filepath.Base(res.Path) != "shop-1.0.0-linux_x86_64.tar.zst" {
				t.Errorf("Path = %s", res.Path)
			}
		})
	}
}

// TestOutputsOfBuiltTree: a source tree misses no output, a built one does.
func TestOutputsOfBuiltTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(builtApp)), "")
	app, err := Load(dir)
	must(t, err)
	if got := Check(app); len(got) != 0 {
		t.Errorf("a source tree:\n%s", text(got))
	}
	app.built = true
	want := `bin/app: AB003 is missing: there is no entrypoint; make it, or bin/app.py
app.ini:9:5: AB018 [build] outputs: nothing matches "bin/app"; correct the glob, or make the build command write it
app.ini:10:5: AB018 [build] outputs: nothing matches "static/*.js"; correct the glob, or make the build command write it
`
	if got := text(Check(app)); got != want {
		t.Errorf("a built tree:\n%swant:\n%s", got, want)
	}
}

func TestBuildRefuses(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	richApp(t, dir)
	app, err := Load(dir)
	must(t, err)
	const called = "an archive is called NAME.tar.zst, NAME.tar.gz, NAME.zip or NAME.tar (a directory ends in a slash)"
	for _, c := range []struct {
		out, want string
		kind      ArchiveType
	}{
		{base + "/a.tgz", "a.tgz: " + called, ""},
		{base + "/.tar.zst", ".tar.zst: " + called, ""},
		{base + "/.zip", ".zip: " + called, ""},
		{base + "/shop/app.ini/", "app.ini/: is no directory", ""},
		{base + "/a.tar.gz", "a.tar.gz: an archive of the type zip is called NAME.zip", Zip},
		{base + "/a.tar.gz", "a.tar.gz: an archive of the type tar is called NAME.tar", Tar},
		{base + "/a", "a: an archive of the type tar is called NAME.tar", Tar},
		{base, `there are no archives of the type "rar"`, "rar"},
	} {
		_, err := Build(t.Context(), app, BuildOptions{Output: c.out, Type: c.kind})
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("Build(%q): %v, want a usage error %s", c.out, err, c.want)
		}
	}
	if _, err := Build(t.Context(), app, BuildOptions{Output: base + "/no/such/"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Build: %v, want ErrNotExist", err)
	}
	must(t, os.WriteFile(dir+"/.env", nil, 0o644))
	app, err = Load(dir)
	must(t, err)
	var check *CheckError
	if _, err := Build(t.Context(), app, BuildOptions{Output: base}); !errors.As(err, &check) || len(check.Findings) != 1 {
		t.Errorf("Build: %v, want a CheckError", err)
	}
	onlyThere(t, base, "shop")
}

// A member is one entry of a tar that a test changes.
type member struct {
	h    tar.Header
	body []byte
}

func readTar(t *testing.T, archive string) []member {
	data, err := os.ReadFile(archive)
	must(t, err)
	zr, err := zstd.NewReader(bytes.NewReader(data))
	must(t, err)
	defer zr.Close()
	var all []member
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err != nil {
			return all
		}
		var b bytes.Buffer
		_, err = b.ReadFrom(tr)
		must(t, err)
		all = append(all, member{*h, b.Bytes()})
	}
}

func writeTar(t *testing.T, archive string, all []member) {
	var b bytes.Buffer
	zw, err := zstd.NewWriter(&b)
	must(t, err)
	tw := tar.NewWriter(zw)
	for _, m := range all {
		m.h.Size = int64(len(m.body))
		must(t, tw.WriteHeader(&m.h))
		_, err := tw.Write(m.body)
		must(t, err)
	}
	must(t, errors.Join(tw.Close(), zw.Close()))
	must(t, os.WriteFile(archive, b.Bytes(), 0o644))
}

// TestDamagedArchives changes one thing in a good archive: Verify and Unpack
// say the same, and nothing is unpacked.
func TestDamagedArchives(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	do(t, dir, "link README readme-link")
	app, err := Load(dir)
	must(t, err)
	res, err := Build(t.Context(), app, BuildOptions{Output: base})
	must(t, err)
	at := func(all []member, name string) *member {
		for i := range all {
			if all[i].h.Name == name {
				return &all[i]
			}
		}
		t.Fatalf("no %s in the archive", name)
		return nil
	}
	manifest := func(all []member, from, to string) {
		m := &all[0]
		if !bytes.Contains(m.body, []byte(from)) {
			t.Fatalf("no %s in the manifest", from)
		}
		m.body = bytes.Replace(m.body, []byte(from), []byte(to), 1)
	}
	digest := strings.TrimPrefix(res.Digest, "ab1:")
	for _, c := range []struct {
		name, want string
		change     func(all []member) []member
	}{
		{"content", `"README": has other content than the manifest says`, func(all []member) []member {
			at(all, "README").body[0] ^= 1
			return all
		}},
		{"size", `"README": has 1 bytes, and the manifest says 8`, func(all []member) []member {
			at(all, "README").body = []byte("x")
			return all
		}},
		{"mode", `"bin/app.py": has another mode or target than the manifest says`, func(all []member) []member {
			at(all, "bin/app.py").h.Mode = 0o755
			return all
		}},
		{"target", `"readme-link": has another mode or target than the manifest says`, func(all []member) []member {
			at(all, "readme-link").h.Linkname = "app.ini"
			return all
		}},
		{"type", `"readme-link": is a file, and the manifest says link`, func(all []member) []member {
			m := at(all, "readme-link")
			m.h.Typeflag, m.h.Linkname = tar.TypeReg, ""
			return all
		}},
		{"one more", `"zzz": is not in the manifest`, func(all []member) []member {
			return append(all, member{tar.Header{Name: "zzz", Mode: 0o644, Typeflag: tar.TypeReg}, nil})
		}},
		{"one less", `"README": is in the manifest and not in the archive`, func(all []member) []member {
			var out []member
			for _, m := range all {
				if m.h.Name != "README" {
					out = append(out, m)
				}
			}
			return out
		}},
		{"hard link", `"README": is a hard link, which appbundle never writes`, func(all []member) []member {
			m := at(all, "README")
			m.h.Typeflag, m.h.Linkname, m.body = tar.TypeLink, manifestPath, nil
			return all
		}},
		{"digest", "the entries have the digest ab1:" + digest + ", and the manifest says ab1:" + strings.Repeat("0", 64), func(all []member) []member {
			manifest(all, digest, strings.Repeat("0", 64))
			return all
		}},
		{"format", ".appbundle/manifest.json: the manifest has the format 3, this appbundle reads 2; use a newer appbundle", func(all []member) []member {
			manifest(all, `"format":1`, `"format":3`)
			return all
		}},
		{"manifest", `.appbundle/manifest.json: entry "README": size or sha256 of the file is none`, func(all []member) []member {
			manifest(all, `"path":"README","type":"file","size":8,`, `"path":"README","type":"file","size":-1,`)
			return all
		}},
		{"name", `"app.ini": says the name shop, and the manifest says bank`, func(all []member) []member {
			manifest(all, `"name":"shop"`, `"name":"bank"`)
			return all
		}},
		{"name that climbs", `.appbundle/manifest.json: "../.." is no name of an application`, func(all []member) []member {
			manifest(all, `"name":"shop"`, `"name":"../.."`)
			return all
		}},
		{"version", `"app.ini": says the version 1.0.0, and the manifest says 2.0.0`, func(all []member) []member {
			manifest(all, `"version":"1.0.0"`, `"version":"2.0.0"`)
			return all
		}},
		{"interface", `"bin/app.py": has the interface wsgi (it is a Python script), and the manifest says exec`, func(all []member) []member {
			manifest(all, `"interface":"wsgi"`, `"interface":"exec"`)
			return all
		}},
		{"manifest not first", "the first entry is not .appbundle/manifest.json: no archive of appbundle", func(all []member) []member {
			all[0], all[1] = all[1], all[0]
			return all
		}},
		{"empty", "the first entry is not .appbundle/manifest.json: no archive of appbundle", func(all []member) []member { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.tar.zst")
			writeTar(t, bad, c.change(readTar(t, res.Path)))
			_, verr := Verify(t.Context(), bad)
			out := t.TempDir()
			uerr := Unpack(t.Context(), bad, out+"/x", UnpackOptions{})
			for what, err := range map[string]error{"Verify": verr, "Unpack": uerr} {
				var refused *RefusedError
				if !errors.As(err, &refused) || err.Error() != bad+": "+c.want {
					t.Errorf("%s: %v, want %s", what, err, c.want)
				}
			}
			onlyThere(t, out)
		})
	}
}

// TestForeignArchive unpacks what others made only when told to.
func TestForeignArchive(t *testing.T) {
	base := t.TempDir()
	foreign := filepath.Join(base, "foreign.tar.zst")
	writeTar(t, foreign, []member{{tar.Header{Name: "shop-1/README", Mode: 0o600, Typeflag: tar.TypeReg}, []byte("hello")}})
	if err := Unpack(t.Context(), foreign, base+"/x", UnpackOptions{}); err == nil {
		t.Error("Unpack without NoManifest: no error")
	} else if h, ok := err.(interface{ Hint() string }); !ok || !strings.Contains(h.Hint(), "--no-manifest") {
		t.Errorf("Unpack: %v has no hint", err)
	}
	must(t, Unpack(t.Context(), foreign, base+"/x", UnpackOptions{NoManifest: true}))
	if got, err := os.ReadFile(base + "/x/shop-1/README"); string(got) != "hello" {
		t.Errorf("README: %q, %v", got, err)
	}
	if err := Unpack(t.Context(), foreign, base+"/x", UnpackOptions{NoManifest: true}); !errors.Is(err, os.ErrExist) {
		t.Errorf("Unpack over a directory: %v, want ErrExist", err)
	}
}
