package rpm

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"appbundle/install"
)

// hostile is what nobody should describe a package with.
const hostile = "%(touch pwned) and %{lua:os.exit(1)} by 100%\n%files\n  %if 1\n%include /etc/passwd\n# no comment\n%%package x\n%{!?x:\nback\\\n\n%[1+1] \"$HOME\" `id` end"

// odd is a package with native code, and what a spec could take for something else.
func odd(t *testing.T) *Package {
	p := shop(RPM)
	p.Arch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	p.EVR = EVR{Version: "1.2^post1", Release: "3"}
	program := text("/opt/shop/lib/z{1,2} 'a' b", elfProgram(t))
	program.Mode = 0o755
	p.Files = slices.Insert(p.Files, slices.IndexFunc(p.Files, func(f File) bool { return f.Path == "/opt/shop/lib/ä.txt" }),
		text(`/opt/shop/lib/quote"d`, "q"), text("/opt/shop/lib/space d", "s"), text("/opt/shop/lib/space_d", "s"), program)
	p.Summary, p.Description = "%files (%{name}) # 100% \\", hostile
	p.Requires = append(p.Requires, Relation{Name: "(git or mercurial)"}, Relation{Name: "libc.so.6(GLIBC_2.14)(64bit)"},
		Relation{Name: "systemd", Pre: true}, Relation{Name: "/usr/bin/x%y"})
	p.Scripts = Scripts{PreInstall: "true 100% \\\n  more\n", PostInstall: "# %{name}\ncat <<E\n$1 %(id)\nE\n", PreRemove: "true\n\n\n", PostRemove: "true", PostTransaction: "true all"}
	return p
}

// rebuild makes a package with the real rpmbuild from an rpm of sources. What the
// source demands, the database of this machine's rpm cannot know.
func rebuild(t *testing.T, srpm string) *Info {
	t.Helper()
	top := t.TempDir()
	if said, err := tool(t, "rpmbuild", "--rebuild", "--nodeps", "--define", "_topdir "+top, "--define", "_tmppath "+top, srpm); err != nil {
		t.Fatalf("rpmbuild: %v\n%s", err, said)
	}
	found, err := filepath.Glob(top + "/RPMS/*/*.rpm")
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	if left, err := filepath.Glob(top + "/*/*/pwned"); err != nil || len(left) > 0 {
		t.Errorf("a macro of the description was executed: %q, %v", left, err)
	}
	info, err := ReadFile(t.Context(), found[0], Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// sameBut compares a package that rpmbuild made with the plan of it, but for what
// rpmbuild does in its own way.
func sameBut(t *testing.T, p *Package, got *Info) {
	t.Helper()
	same := *got
	for _, script := range []*string{&same.Scripts.PreInstall, &same.Scripts.PostInstall, &same.Scripts.PreRemove, &same.Scripts.PostRemove, &same.Scripts.PostTransaction} {
		if *script != "" {
			*script += "\n" // which it strips
		}
	}
	same.Time = p.date() // the clock's
	same.Requires = slices.Clone(got.Requires)
	for i, r := range same.Requires {
		if r.Name == "/bin/sh" { // for each script, and not for all
			same.Requires[i].Pre = true
		}
	}
	if !slices.ContainsFunc(same.Requires, func(r Relation) bool { return r.Name == "rpmlib(PayloadIsZstd)" }) {
		same.Requires = append(same.Requires, Relation{Name: "rpmlib(PayloadIsZstd)", Op: "<=", Version: "5.4.18-1"}) // the compression is the distribution's
	}
	if err := p.compare(&same); err != nil {
		t.Errorf("rpmbuild: %v", err)
	}
	if got.Section != p.section() || got.Description != strings.ReplaceAll(specText(p.describe()), "%%", "%") {
		t.Errorf("rpmbuild: group %q, description %q", got.Section, got.Description)
	}
	if !strings.HasSuffix(got.Source, ".src.rpm") {
		t.Errorf("rpmbuild: its source is %q", got.Source)
	}
}

// TestRebuild compares what rpmbuild makes with what Write does.
func TestRebuild(t *testing.T) {
	app := planApp(t)
	dists, err := install.Dists(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	planned, _, err := Plan(RPM, Input{App: app, Dists: dists, External: []Relation{{Name: "/usr/bin/git"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Package{shop(RPM), odd(t), planned[0]} {
		s := &Source{Package: p, BuildRequires: []Relation{{Name: "pkgconfig(libpq)"}, {Name: "gcc", Op: ">=", Version: "1:12"}}}
		path := filepath.Join(t.TempDir(), s.FileName())
		if _, err := WriteSource(t.Context(), path, s, Options{}); err != nil {
			t.Fatal(err)
		}
		sameBut(t, p, rebuild(t, path))
	}
}

// TestSourceRead has rpm read the source, and build it from a spec that lies beside its
// archive.
func TestSourceRead(t *testing.T) {
	s := &Source{Package: odd(t), BuildRequires: []Relation{{Name: "pkgconfig(libpq)"}, {Name: "gcc"}}}
	dir := t.TempDir()
	path := filepath.Join(dir, s.FileName())
	info, err := WriteSource(t.Context(), path, s, Options{Signer: testKey(t, "rsa", "")})
	if err != nil || !info.IsSource || len(info.Signatures) != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	says(t, []string{"\nshop-1.2^post1-3.tar.gz\nshop.spec\n"}, "rpm", "-qlp", path)
	says(t, []string{"digests OK"}, "rpm", "-K", "--nosignature", path)
	says(t, []string{"\ngcc\n", "\npkgconfig(libpq)\n", "\nrpmlib(FileDigests)"}, "rpm", "-qp", "--requires", path)
	says(t, []string{"shop 1 " + s.Package.Arch + " 0 32"}, "rpm", "-qp", "--qf", "%{NAME} %{SOURCEPACKAGE} %{ARCH} [%{FILEFLAGS} ]", path)
	if data, err := os.ReadFile(path); err != nil || data[7] != leadSource {
		t.Errorf("the lead has the type %d, %v", data[7], err)
	}

	files, err := WriteSpec(t.Context(), dir, s)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	says(t, []string{"\nshop 1.2^post1 3\n"}, "rpmspec", "-q", "--qf", "%{NAME} %{VERSION} %{RELEASE}\n", filepath.Join(dir, s.SpecName()))
	top := t.TempDir()
	says(t, nil, "rpmbuild", "-bb", "--nodeps", "--define", "_topdir "+top, "--define", "_tmppath "+top, "--define", "_sourcedir "+dir, filepath.Join(dir, s.SpecName()))
}

// TestSourceSameBytes writes a source twice, in two places.
func TestSourceSameBytes(t *testing.T) {
	all := func() (list [][]byte) {
		dir := t.TempDir()
		s := &Source{Package: odd(t)}
		if _, err := WriteSource(t.Context(), filepath.Join(dir, s.FileName()), s, Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := WriteSpec(t.Context(), dir, s); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{s.FileName(), s.SpecName(), s.ArchiveName()} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, data)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(list) {
			t.Errorf("%v, %v", entries, err)
		}
		return list
	}
	if first, second := all(), all(); !slices.EqualFunc(first, second, bytes.Equal) {
		t.Error("the bytes differ")
	}
}

// TestSpecRefuses has what a spec cannot say.
func TestSpecRefuses(t *testing.T) {
	for name, change := range map[string]func(*Package){
		"script %post: a line that begins with % is a directive in a spec": func(p *Package) { p.Scripts.PostInstall = "true\n  %if 1\n" },
		`Requires "a,b": a comma ends a name in a spec`:                    func(p *Package) { p.Requires = []Relation{{Name: "a,b"}} },
		`summary "a\nb" is not one line`:                                   func(p *Package) { p.Summary = "a\nb" },
		`file "/x/a*b": a spec cannot tell it from "/x/a_b"`: func(p *Package) {
			p.Files = append([]File{text("/x/a*b", ""), text("/x/a_b", "")}, p.Files[:0]...)
		},
		"a spec is for an rpm, not for a deb": func(p *Package) { p.Format = Deb },
	} {
		p := shop(RPM)
		change(p)
		if _, err := WriteSpec(t.Context(), t.TempDir(), &Source{Package: p}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("WriteSpec: %v, want %s", err, name)
		}
	}
}
