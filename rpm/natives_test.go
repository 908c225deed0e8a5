package rpm

import (
	"slices"
	"strings"
	"testing"
)

// nativePlanner plans for two files of native code, of which the first needs a
// library of the application, one of Debian's and the C library.
func nativePlanner(f Format) *planner {
	needs := &ELF{
		Path: "/opt/shop/a.so", Class64: true, marker: "(64bit)", Needed: []string{"libown.so.1", "libpq.so.5", "libc.so.6"},
		Needs: []ELFVersion{{"libc.so.6", "GLIBC_2.17"}, {"libc.so.6", "GLIBC_2.4"}, {"libown.so.1", "OWN_1"}},
	}
	return &planner{
		format: f, provided: map[string]bool{"libown.so.1": true},
		elf:      map[string]*ELF{"/opt/shop/a.so": needs},
		machines: map[string]string{"/opt/shop/a.so": "aarch64", "/opt/shop/b.o": "aarch64", "/opt/shop/c.o": "s390x"},
		in: Input{Library: func(soname string) (string, bool) {
			return map[string]string{"libpq.so.5": "libpq5"}[soname], soname == "libpq.so.5"
		}},
	}
}

func nativePackage(paths ...string) *Package {
	pkg := &Package{Name: "shop"}
	for _, p := range paths {
		pkg.Files = append(pkg.Files, File{Path: p})
	}
	return pkg
}

func TestNatives(t *testing.T) {
	for f, want := range map[Format]string{
		RPM: "aarch64: libc.so.6()(64bit), libc.so.6(GLIBC_2.17)(64bit), libc.so.6(GLIBC_2.4)(64bit), libpq.so.5()(64bit)",
		Deb: "arm64: libc6 >= 2.17, libpq5",
	} {
		p, pkg := nativePlanner(f), nativePackage("/opt/shop/a.so", "/opt/shop/b.o", "/opt/shop/readme")
		if err := p.natives(pkg); err != nil || len(p.warnings) > 0 {
			t.Errorf("%s: %v, %q", f, err, p.warnings)
		}
		var names []string
		for _, r := range pkg.Requires {
			names = append(names, r.String())
		}
		slices.Sort(names)
		if got := pkg.Arch + ": " + strings.Join(names, ", "); got != want {
			t.Errorf("%s: the package is %s, want %s", f, got, want)
		}
		mixed := p.natives(nativePackage("/opt/shop/b.o", "/opt/shop/c.o"))
		if mixed == nil || mixed.Error() != "shop: /opt/shop/c.o is for s390x, and other files of the package are for aarch64" {
			t.Errorf("%s: of two processors: %v", f, mixed)
		}
		for arch, path := range map[string]string{"s390x": "/opt/shop/c.o", map[Format]string{RPM: "noarch", Deb: "all"}[f]: "/opt/shop/readme"} {
			if pkg := nativePackage(path); p.natives(pkg) != nil || pkg.Arch != arch {
				t.Errorf("%s: a package of %s is for %s, want %s", f, path, pkg.Arch, arch)
			}
		}
	}
	p := nativePlanner(Deb)
	p.in.Library = nil
	pkg := nativePackage("/opt/shop/a.so")
	if err := p.natives(pkg); err != nil || len(pkg.Requires) != 1 || len(p.warnings) != 1 || !strings.Contains(p.warnings[0], "shop needs libpq.so.5, ") {
		t.Errorf("of a library that nobody knows: %v, %v, %q", err, pkg.Requires, p.warnings)
	}
}

// TestReadNatives reads a library of this machine, which is found by its soname and by
// the name that its file has in the package.
func TestReadNatives(t *testing.T) {
	var all []planned
	for _, file := range systemELF(t, 50) {
		all = append(all, planned{File: File{Path: "/opt/shop/lib/renamed" + file}, native: file, machine: "here"})
	}
	p := &planner{files: append(all, planned{File: File{Path: "/opt/shop/libtext.so"}}), provided: map[string]bool{}, machines: map[string]string{}}
	if err := p.readNatives(); err != nil {
		t.Fatal(err)
	}
	if p.provided["libtext.so"] || len(p.machines) != len(all) || len(p.elf) == 0 {
		t.Errorf("%d of %d files are native, %d ask for something", len(p.machines), len(all), len(p.elf))
	}
	for at, e := range p.elf {
		if name := at[strings.LastIndexByte(at, '/')+1:]; !p.provided[name] || e.Soname != "" && !p.provided[e.Soname] {
			t.Errorf("%s, with the soname %q: not both are provided", at, e.Soname)
		}
	}
}
