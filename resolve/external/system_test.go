package external

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// Targets by os-release's names and by ours.
func TestParseTarget(t *testing.T) {
	tests := []struct{ name, want string }{
		{"debian-12", "debian-12"},
		{"debian-12.5", "debian-12"},
		{"fedora-41", "fedora-41"},
		{"el9", "el9"},
		{"rocky-9.4", "el9"},
		{"rhel-9", "el9"},
		{"alpine-3.20", "alpine-3.20"},
		{"alpine-3.20.3", "alpine-3.20"},
		{"debian-13", ""},
		{"debian-120", ""},
		{"alpine-3.2", ""},
		{"alpine-3.201", ""},
		{"debian", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.name, "x86_64")
		if unknown := (*UnknownError)(nil); tt.want == "" && !errors.As(err, &unknown) || got.Name != tt.want {
			t.Errorf("ParseTarget(%q) = %q, %v, want %q", tt.name, got.Name, err, tt.want)
		}
	}
	_, err := ParseTarget("ubuntu-24.04", "x86_64")
	if want := `no package names are known for "ubuntu-24.04"`; err == nil || err.Error() != want {
		t.Errorf("ParseTarget = %v, want %s", err, want)
	}
	if want := "--for debian-12|fedora-41|el9|alpine-3.20"; err.(*UnknownError).Hint() != want {
		t.Errorf("Hint = %s, want %s", err.(*UnknownError).Hint(), want)
	}
	if _, err := ParseTarget("debian-12", "pdp11"); err == nil {
		t.Error("ParseTarget on a pdp11 = nil error")
	}
	if _, err := Any("ebuild", "x86_64"); err == nil {
		t.Error("Any of ebuilds = nil error")
	}
	for machine := range elfMachines {
		if _, err := ParseTarget("debian-12", machine); err != nil {
			t.Errorf("ParseTarget on %s: %v", machine, err)
		}
	}
	target, _ := ParseTarget("el9", "x86_64")
	if target, err = target.WithPython("3.12.4"); err != nil || target.Env.PythonVersion != "3.12" || target.Env.PythonFullVersion != "3.12.4" {
		t.Errorf("WithPython = %v, %v", target.Env, err)
	}
}

func TestParseOSRelease(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{"ID=debian\nVERSION_ID=\"12\"\n", "debian-12", ""},
		{"# x\n\nNAME='Alpine Linux'\nVERSION_ID=3.20.3\nID='alpine'", "alpine-3.20.3", ""},
		{"ID=arch\n", "arch", ""},
		{"VERSION_ID=1\n", "-1", ""},
		{"NAME=x\n", "", "f: has no ID"},
		{"ID=\"debian\n", "", `f:1: "ID=\"debian" is no assignment`},
		{"\nID=a b\n", "", `f:2: "ID=a b" is no assignment`},
		{strings.Repeat("#\n", 40000), "", "f: has more than 65536 bytes"},
	}
	for _, tt := range tests {
		got, err := ParseOSRelease("f", []byte(tt.text))
		if message := messageOf(err); got != tt.want || message != tt.err {
			t.Errorf("ParseOSRelease(%.20q) = %q, %q, want %q, %q", tt.text, got, message, tt.want, tt.err)
		}
	}
}

func messageOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nVERSION_ID=\"12\"\n"))
	f.Add([]byte("ID='a\\'"))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, err := ParseOSRelease("f", data)
		if (name == "") == (err == nil) {
			t.Errorf("ParseOSRelease(%q) = %q, %v", data, name, err)
		}
		_, _ = ParseTarget(name, "x86_64")
	})
}

// Databases of packages are other people's text.
func FuzzPackageDatabases(f *testing.F) {
	f.Add(dpkgText)
	f.Add(apkText)
	f.Fuzz(func(t *testing.T, text string) {
		for name := range must(readDpkgStatus(strings.NewReader(text), "x86_64")) {
			if name != strings.TrimSpace(name) || name == "" {
				t.Errorf("readDpkgStatus(%q) has %q", text, name)
			}
		}
		for name := range must(readAPKInstalled(strings.NewReader(text))) {
			if name == "" {
				t.Errorf("readAPKInstalled(%q) has %q", text, name)
			}
		}
	})
}

func must(m map[string]string, _ error) map[string]string { return m }

const dpkgText = `Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0.17-1~deb12u2
Description: x
 Package: not this

Package: pkgconf
Status: install ok installed
Architecture: amd64
Provides: pkg-config (= 1.8.1-1), other:any
Version: 1.8.1-1

Package: zlib1g
Status: install ok installed
Architecture: i386
Version: 1:1.2.13.dfsg-1

Package: git
Status: deinstall ok config-files
Architecture: amd64
Version: 1:2.39.5-0

Package: tzdata
Status: hold ok installed
Architecture: all
Version: 2024a-0
`

const apkText = `C:Q1
P:zlib
V:1.3.1-r1
p:so:libz.so.1=1.3.1

P:python3
V:3.12.8-r1
p:cmd:python3=3.12.8-r1 py3-any
`

// elf is the beginning of an ELF file.
func elf(class, order, machine byte) string {
	head := make([]byte, 20)
	copy(head, "\x7fELF")
	head[4], head[5] = class, order
	if order == 2 {
		head[19] = machine
	} else {
		head[18] = machine
	}
	return string(head)
}

func root(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		mode := fs.FileMode(0o644)
		if strings.Contains(name, "bin/") && text != "not executable" {
			mode = 0o755
		}
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: mode}
	}
	return m
}

func TestSystem(t *testing.T) {
	target := parse(t, "debian-12")
	s := NewSystem(SystemConfig{Target: target, Path: []string{"bin", "/usr/local/bin", "/usr/bin"}, Root: root(map[string]string{
		"etc/ld.so.conf":                        "# where\ninclude ld.so.conf.d/*.conf nothing\ninclude /etc/ld.so.conf\nhwcap 1 x\n",
		"etc/ld.so.conf.d/own.conf":             "/opt/own/lib # ours\n/..//\n",
		"opt/own/lib/libpq.so.5":                elf(2, 1, 62),
		"usr/lib/libz.so.1":                     elf(1, 1, 3),
		"usr/lib/x86_64-linux-gnu/libxml2.so.2": elf(2, 1, 62),
		"usr/lib64/libshort.so.1":               "\x7fELF",
		"usr/bin/git":                           "x",
		"usr/bin/text":                          "not executable",
		"bin/near":                              "x",
		"var/lib/dpkg/status":                   dpkgText,
	})})
	for soname, want := range map[string]bool{"libpq.so.5": true, "libxml2.so.2": true, "libz.so.1": false, "libshort.so.1": false, "libnone.so.1": false} {
		if got, err := s.Library(soname); got != want || err != nil {
			t.Errorf("Library(%s) = %v, %v, want %v", soname, got, err, want)
		}
	}
	for name, want := range map[string]bool{"git": true, "/usr/bin/git": true, "text": false, "near": false, "/bin/near": true, "none": false, "../bin/git": false} {
		if got, err := s.Command(name); got != want || err != nil {
			t.Errorf("Command(%s) = %v, %v, want %v", name, got, err, want)
		}
	}
	for name, want := range map[string]string{"libssl3": "3.0.17-1~deb12u2", "pkg-config": "1.8.1-1", "other": "", "zlib1g": "-", "git": "-", "tzdata": "2024a-0"} {
		if got, ok, err := s.Package(name); err != nil || ok != (want != "-") || ok && got != want {
			t.Errorf("Package(%s) = %q, %v, %v, want %q", name, got, ok, err, want)
		}
	}
	if isELF([20]byte([]byte(elf(2, 2, 22))), "s390x") != true || isELF([20]byte([]byte(elf(2, 1, 183))), "x86_64") {
		t.Error("isELF takes one architecture for another")
	}
}

// Other families, and hosts without their database.
func TestSystemDatabases(t *testing.T) {
	alpine := NewSystem(SystemConfig{Target: parse(t, "alpine-3.20"), Root: root(map[string]string{
		"lib/apk/db/installed":    apkText,
		"etc/ld-musl-x86_64.path": "/lib:/usr/lib\n/srv/lib\n",
		"srv/lib/libfoo.so.1":     elf(2, 1, 62),
	})})
	for name, want := range map[string]string{"zlib": "1.3.1-r1", "so:libz.so.1": "1.3.1", "cmd:python3": "3.12.8-r1", "py3-any": ""} {
		if got, ok, err := alpine.Package(name); got != want || !ok || err != nil {
			t.Errorf("Package(%s) = %q, %v, %v, want %q", name, got, ok, err, want)
		}
	}
	if ok, err := alpine.Library("libfoo.so.1"); !ok || err != nil {
		t.Errorf("Library = %v, %v, want true", ok, err)
	}
	for _, name := range []string{"debian-12", "alpine-3.20", "el9"} {
		s := NewSystem(SystemConfig{Target: parse(t, name), Root: root(nil)})
		if _, ok, err := s.Package("x"); err == nil || ok {
			t.Errorf("%s: Package on an empty host = %v, nil error", name, ok)
		}
	}
	long := root(map[string]string{"var/lib/dpkg/status": "Package: " + strings.Repeat("x", maxDatabaseLine)})
	if _, _, err := NewSystem(SystemConfig{Target: parse(t, "debian-12"), Root: long}).Package("x"); err == nil {
		t.Error("a line of a megabyte = nil error")
	}
}

// A host for Check: what it has, by name.
type fake map[string]string

func (f fake) Library(soname string) (bool, error) { _, ok := f[soname]; return ok, nil }
func (f fake) Command(name string) (bool, error)   { _, ok := f["cmd "+name]; return ok, f.broken() }
func (f fake) Package(name string) (string, bool, error) {
	v, ok := f["pkg "+name]
	return v, ok, f.broken()
}

func (f fake) broken() error {
	if _, ok := f["broken"]; ok {
		return errors.New("disk")
	}
	return nil
}

func TestCheck(t *testing.T) {
	host := fake{
		"libxml2.so.2": "", "libssl.so.3": "", "pkg libssl3": "3.0.17-1~deb12u2",
		"cmd /usr/bin/git": "", "cmd curl": "", "cmd mytool": "", "pkg myfont": "1.0", "libffi.so.8": "",
		"pkg zlib1g": "1:1.2.13.dfsg-1", "libz.so.1": "", "pkg python3": "3.11.2-1+b1", "cmd /usr/bin/python3": "",
		"libfoo.so.1": "", "pkg libicu72": "lost", "libicuuc.so.72": "", "pkg odd": "3.0~rc1-2",
	}
	tests := []struct{ line, want string }{
		{"libxml2", ""},
		{"openssl (>=3)", ""},
		{"openssl (>=3.2)", "libssl3 is 3.0.17-1~deb12u2, not >=3.2"},
		{"zlib (==1.2.13)", ""},
		{"libffi (>=3)", "it is there, but its version is not known: the package libffi8 is not installed"},
		{"icu (>=3)", "libicu72 is lost, not >=3"},
		{"python3 (>=3.9)", ""},
		{"git", ""},
		{"curl", ""},
		{"nginx", "there is no command nginx"},
		{"libpq", "the loader finds no libpq.so.5"},
		{"libpq-dev", "the package libpq-dev is not installed"},
		{"ca-certificates", "the package ca-certificates is not installed"},
		{"mytool", ""},
		{"myfont", ""},
		{"odd (<3)", "odd is 3.0~rc1-2, not <3"},
		{"odd (>=3.0rc1)", ""},
		{"nothing", "there is no command nothing, and no package nothing"},
		{"libfoo.so.1", ""},
		{"libbar.so.1", "the loader finds no libbar.so.1, and no package libbar.so.1"},
		{"winreg; sys_platform == 'win32'", ""},
		{"gcc", "there is no command gcc"},
	}
	for _, tt := range tests {
		answers, _ := For(parse(t, "debian-12"), dependencies(t, tt.line))
		got, err := Check(answers, host)
		if err != nil || got[0] != tt.want {
			t.Errorf("Check(%s) = %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
	answers, _ := For(parse(t, "alpine-3.20"), dependencies(t, "systemd"))
	if got, err := Check(answers, host); err != nil || got[0] != "it has no package" {
		t.Errorf("Check = %q, %v", got, err)
	}
	for _, line := range []string{"git", "ca-certificates"} {
		answers, _ := For(parse(t, "debian-12"), dependencies(t, line))
		if _, err := Check(answers, fake{"broken": ""}); err == nil {
			t.Errorf("Check(%s) on a broken disk = nil error", line)
		}
	}
}

// The real machine is one that can be asked; what it has is its own affair.
func TestSystemHere(t *testing.T) {
	s := NewSystem(SystemConfig{Root: os.DirFS("/"), Target: parse(t, "debian-12"), Path: []string{"/usr/bin", "/bin"}})
	if ok, err := s.Command("sh"); !ok || err != nil {
		t.Errorf("Command(sh) = %v, %v, want true", ok, err)
	}
	if ok, err := s.Library("libnobody.so.0"); ok || err != nil {
		t.Errorf("Library = %v, %v, want false", ok, err)
	}
}
