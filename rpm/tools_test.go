package rpm

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tool runs a command and gives what it says. PATH has what Debian gives root alone.
func tool(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	full, err := exec.LookPath(name)
	if err != nil {
		full = "/usr/sbin/" + name
	}
	cmd := exec.Command(full, args...)
	home := t.TempDir()
	cmd.Env = []string{"PATH=" + path, "HOME=" + home, "LC_ALL=C.UTF-8", "TMPDIR=" + home, "GNUPGHOME=" + os.Getenv("GNUPGHOME"), "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// says runs a command that has to succeed and to say each of want.
func says(t testing.TB, want []string, name string, args ...string) string {
	t.Helper()
	out, err := tool(t, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	for _, w := range want {
		if !strings.Contains("\n"+out, w) {
			t.Errorf("%s %q does not say %q:\n%s", name, args, w, out)
		}
	}
	return out
}

func TestRPMReadsOurs(t *testing.T) {
	for _, c := range []Compression{Zstd, Gzip} {
		p := shop(RPM)
		p.Compression, p.Arch = c, "x86_64"
		p.Requires = append(p.Requires, Relation{Name: "(git or mercurial)"}, Relation{Name: "systemd", Pre: true})
		path := written(t, p, Options{})
		says(t, []string{"digests OK"}, "rpm", "-K", path)
		says(t, []string{"\nName        : shop\n", "\nEpoch       : 1\n", "\nVersion     : 1.2~rc1\n", "\nArchitecture: x86_64\n", "\nBuild Host  : localhost\n", "\nSize        : 69\n", "things.\n\n  And more.\n"}, "rpm", "-qip", path)
		says(t, []string{"\nshop = 1:1.2~rc1-1\n", "\nshop(x86-64) = 1:1.2~rc1-1\n", "\nwebshop = 1.2\n", "\nconfig(shop) = 1:1.2~rc1-1\n"}, "rpm", "-qp", "--provides", path)
		requires := says(t, []string{"\nbash\n", "\nzlib >= 1.2\n", "\nshop-data = 2:1.0-1\n", "\nrpmlib(FileDigests) <= 4.6.0-1\n", "\n/bin/sh\n", "\n(git or mercurial)\n", "\nrpmlib(TildeInVersions)", "\nrpmlib(RichDependencies)"}, "rpm", "-qp", "--requires", path)
		if has := strings.Contains(requires, "PayloadIsZstd"); has != (c == Zstd) {
			t.Errorf("%s: %s", c, requires)
		}
		says(t, []string{"systemd pre,post,preun,postun", "config(shop) config", "rpmlib(FileDigests) rpmlib", "bash manual"}, "rpm", "-qp", "--qf", "[%{REQUIRENAME} %{REQUIREFLAGS:deptype}\n]", path)
		says(t, []string{"-rw-r-----    1 root     root                       12", "lrwxrwxrwx    1 root     root                        4", "/opt/shop/bin/run -> shop", "/opt/shop/lib/a b%[1]*?.txt"}, "rpm", "-qlvp", path)
		says(t, []string{"\n/etc/shop/shop.conf\n"}, "rpm", "-qcp", path)
		says(t, []string{"\n/usr/share/licenses/shop/LICENSE\n"}, "rpm", "-qLp", path)
		says(t, []string{"utf-8"}, "rpm", "-qp", "--qf", "%{ENCODING}", path)
		dir := t.TempDir()
		says(t, nil, "sh", "-c", "cd "+dir+" && rpm2cpio "+path+" >x && cpio --quiet -idm <x && test -x opt/shop/bin/shop && test \"$(readlink opt/shop/bin/run)\" = shop")
	}
}

// TestRPMInstallsOurs installs below a directory: with all paths relocated, since only
// root may change the root.
func TestRPMInstallsOurs(t *testing.T) {
	root := t.TempDir()
	db := []string{"--dbpath", filepath.Join(root, "db")}
	rpm := func(want []string, args ...string) { says(t, want, "rpm", append(db, args...)...) }
	install := []string{"--nodeps", "--badreloc", "--relocate", "/etc=" + root + "/etc", "--relocate", "/opt=" + root + "/opt", "--relocate", "/usr=" + root + "/usr"}
	old := shop(RPM)
	old.EVR.Version = "1.2~dev1"
	old.Files = append(old.Files, text("/usr/share/zz", "gone in the next version"))
	rpm(nil, append([]string{"-i", written(t, old, Options{})}, install...)...)
	if _, err := os.Stat(root + "/usr/share/zz"); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(root+"/etc/shop/shop.conf", []byte("port = 9\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	rpm(nil, append([]string{"-U", written(t, shop(RPM), Options{})}, install...)...)
	rpm([]string{"shop-1.2~rc1-1.noarch"}, "-q", "shop")
	if b, err := os.ReadFile(root + "/etc/shop/shop.conf"); err != nil || string(b) != "port = 9\n" {
		t.Errorf("the administrator's configuration: %q, %v", b, err)
	}
	if _, err := os.Stat(root + "/usr/share/zz"); !os.IsNotExist(err) {
		t.Error(err)
	}
	out, _ := tool(t, "rpm", append(db, "-V", "--nodeps", "--nouser", "--nogroup", "shop")...)
	if out != "S.5....T.  c "+root+"/etc/shop/shop.conf\n" {
		t.Errorf("rpm -V says %q", out)
	}
	rpm(nil, "-e", "--nodeps", "shop")
	if _, err := os.Stat(root + "/opt/shop"); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// TestRPMResolvesOurs installs into the database alone, with dependencies: rpm has to
// know each of its features that we require.
func TestRPMResolvesOurs(t *testing.T) {
	p := shop(RPM)
	p.Requires, p.Scripts, p.EVR.Version = []Relation{{Name: "(shop-data or nothing)"}}, Scripts{}, "1.2^post1~rc1"
	data := shop(RPM)
	data.Name, data.Requires, data.Scripts, data.Files = "shop-data", nil, Scripts{}, nil
	db := filepath.Join(t.TempDir(), "db")
	app := written(t, p, Options{})
	out, err := tool(t, "rpm", "--dbpath", db, "-i", "--justdb", app)
	if err == nil || !strings.Contains(out, "(shop-data or nothing) is needed by shop-1:1.2^post1~rc1-1.noarch") || strings.Contains(out, "rpmlib") {
		t.Errorf("%v: %s", err, out)
	}
	says(t, nil, "rpm", "--dbpath", db, "-i", "--justdb", app, written(t, data, Options{}))
}

// plain is a package without what the lints rightly find odd.
func plain(f Format) *Package {
	p := shop(f)
	p.Requires = slices.DeleteFunc(p.Requires, func(r Relation) bool { return r.Name == "bash" })
	p.Files = slices.DeleteFunc(p.Files, func(f File) bool { return f.Path == "/opt/shop/lib/empty" })
	p.Files[1].Mode = 0o644
	return p
}

// lints are the findings of level error but those that are about packages which a
// distribution has itself.
func lints(out, mark string, allowed ...string) (found []string) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, mark) && !slices.ContainsFunc(allowed, func(a string) bool { return strings.Contains(line, a) }) {
			found = append(found, line)
		}
	}
	return found
}

func TestRpmlint(t *testing.T) {
	p := plain(RPM)
	p.Section = "Applications/Internet"
	out, err := tool(t, "rpmlint", written(t, p, Options{Signer: testKey(t, "rsa", "")}))
	if !strings.Contains(out, "1 packages and 0 specfiles checked") {
		t.Fatalf("%v: %s", err, out)
	}
	for _, l := range lints(out, ": E: ", "dir-or-file-in-opt", "unknown-key") {
		t.Error(l)
	}
}

func TestDpkgReadsOurs(t *testing.T) {
	for _, c := range []Compression{Zstd, Gzip} {
		p := shop(Deb)
		p.Compression = c
		p.Requires = append(p.Requires, Relation{Name: "python3.11 | python3"}, Relation{Name: "init-system-helpers", Pre: true})
		path := written(t, p, Options{})
		says(t, []string{" Version: 1:1.2~rc1-1\n", " Installed-Size: ", " Depends: bash, python3.11 | python3, shop-data (= 2:1.0-1), zlib (>= 1.2)\n",
			" Pre-Depends: init-system-helpers\n", " Conflicts: oldshop (<< 1)\n", " Provides: webshop (= 1.2)\n", " Description: Sells things\n  The shop sells\n"}, "dpkg-deb", "-I", path)
		says(t, []string{"drwxr-xr-x root/root         0 2023-11-14 22:13 ./opt/shop/\n", "-rw-r----- root/root        12 2023-11-14 22:13 ./etc/shop/shop.conf\n", "./opt/shop/bin/run -> shop\n"}, "sh", "-c", "TZ=UTC dpkg-deb -c "+path)
		says(t, []string{"\n/etc/shop/shop.conf\n"}, "dpkg-deb", "-I", path, "conffiles")
		dir := t.TempDir()
		says(t, nil, "sh", "-c", "dpkg-deb -R "+path+" "+dir+"/x && cd "+dir+"/x && md5sum --quiet -c DEBIAN/md5sums && test -x opt/shop/bin/shop")
	}
}

// TestDpkgInstallsOurs installs below a directory, as what fakeroot calls root.
func TestDpkgInstallsOurs(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(root+"/var/lib/dpkg/status", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) string {
		t.Helper()
		return says(t, nil, "fakeroot", append([]string{"dpkg", "--root=" + root, "--force-depends", "--force-not-root", "--force-script-chrootless", "--log=" + root + "/log"}, args...)...)
	}
	dpkg("-i", written(t, shop(Deb), Options{}))
	if out := says(t, nil, "dpkg", "--root="+root, "--verify"); out != "" {
		t.Errorf("dpkg --verify says %s", out)
	}
	if b, err := os.ReadFile(root + "/opt/shop/lib/a b%[1]*?.txt"); err != nil || string(b) != "odd\n" {
		t.Errorf("%q, %v", b, err)
	}
	dpkg("--purge", "shop")
	for _, dir := range []string{"/opt/shop", "/etc/shop"} {
		if _, err := os.Stat(root + dir); !os.IsNotExist(err) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestLintian has a package by gzip: lintian of Debian 12 does not know zstd, which its
// dpkg reads. The changelog is a file, and so a matter of who plans a package.
func TestLintian(t *testing.T) {
	p := plain(Deb)
	p.Compression = Gzip
	out, err := tool(t, "lintian", "--allow-root", "--no-cfg", written(t, p, Options{}))
	if !strings.Contains(out, "dir-or-file-in-opt") {
		t.Errorf("%v: %s", err, out)
	}
	for _, l := range lints("\n"+out, "E: ", "dir-or-file-in-opt", "no-changelog") {
		t.Error(l)
	}
}
