package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rpmlintAllows are the errors of rpmlint that stay, see docs/PACKAGES.md.
var rpmlintAllows = map[string]string{
	"dir-or-file-in-opt": "applications are in /opt",
	"non-readable":       "/etc/NAME/environment may have secrets; systemd reads it as root",
	"unknown-key":        "rpmlint has no keys; rpmkeys has",
}

// lintianAllows are the errors and warnings of lintian that stay.
var lintianAllows = map[string]string{
	"dir-or-file-in-opt":                  "applications are in /opt",
	"package-installs-python-pycache-dir": "all is compiled: nothing is written below /opt when the app runs",
	"unstripped-binary-or-object":         "a wheel's code stays as the index has it",
	"non-standard-file-perm":              "/etc/NAME/environment may have secrets",
	"maintainer-script-calls-systemctl":   "one script for hosts with debhelper's tools and without",
	"malformed-deb-archive":               "lintian of Debian 12 does not know zstd, which its dpkg reads",
	"copyright-without-copyright-notice":  "the notices are in the license files that the copyright file names",
	"initial-upload-closes-no-bugs":       "the package is for another archive than Debian's",
}

// ownAllows are more that stay in the packages of appbundle itself.
var ownAllows = map[string]string{
	"statically-linked-binary":            "one binary for every distribution",
	"no-signature":                        "make package signs nothing",
	"bogus-mail-host":                     "there is no list to write to",
	"bogus-mail-host-in-debian-changelog": "the same",
}

// findings are lines of a lint that are of one of the marks, without what stays.
func findings(said string, marks string, allowed map[string]string) (left []string) {
	for line := range strings.Lines(said) {
		words := strings.Fields(line)
		if len(words) < 3 {
			continue
		}
		// rpmlint says "PACKAGE.ARCH: E: TAG", and lintian "E: PACKAGE: TAG".
		mark, pkg, tag := words[0], words[1], words[2]
		if strings.HasSuffix(pkg, ":") && len(pkg) == 2 {
			mark, pkg = pkg, mark
		}
		if len(mark) == 2 && strings.Contains(marks, mark) && allowed[tag] == "" && (!strings.HasPrefix(pkg, "appbundle") || ownAllows[tag] == "") {
			left = append(left, line)
		}
	}
	return left
}

// dated builds signed packages with a time, since lints find 1970 ancient.
func (k *kit) dated(t *testing.T, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	output(t, k.work, "env", append(append([]string{"SOURCE_DATE_EPOCH=1700000000", k.tool, "build", "--sign", k.secret, "-o", dir + "/"}, flags...), k.shops[0])...)
	return dir
}

// testRpmlint asks rpm and rpmlint about packages of a real app.
func testRpmlint(t *testing.T, k *kit) {
	single, repo := k.dated(t, "--rpm"), k.dated(t, "--rpm", "--collection")
	shop := globOne(t, single+"/shop-1.0.0-1.x86_64.rpm")
	for args, want := range map[string][]string{
		"-qip":            {"\nName        : shop\n", "\nVersion     : 1.0.0\n", "\nLicense     : MIT\n", "\nURL         : https://shop.example.org\n", "\nPackager    : Ann <ann@example.org>\n", "\nSignature   : RSA/"},
		"-qp --requires":  {"\nappbundle\n", "\npython(abi) = 3.11\n", "\n/usr/bin/python3.11\n", "\nlibc.so.6(GLIBC_2.14)(64bit)\n", "\nrpmlib(PayloadIsZstd)"},
		"-qp --provides":  {"\nshop = 1.0.0-1\n", "\nshop(x86-64) = 1.0.0-1\n", "\nconfig(shop) = 1.0.0-1\n"},
		"-qp --scripts":   {"systemd-sysusers shop.conf"},
		"-qcp":            {"\n/etc/shop/environment\n"},
		"-qp --conflicts": {"\n"},
	} {
		said := "\n" + output(t, k.work, "rpm", append(strings.Fields(args), shop)...)
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("rpm %s does not say %q:\n%s", args, w, said)
			}
		}
	}

	// All are signed, and by nobody else.
	all, err := filepath.Glob(repo + "/*.rpm")
	if err != nil || len(all) != 10 {
		t.Fatalf("%q, %v", all, err)
	}
	all = append(all, shop)
	ring, empty := t.TempDir(), t.TempDir()
	output(t, k.work, "rpmkeys", "--dbpath", ring, "--import", k.public)
	if said := output(t, k.work, "rpmkeys", append([]string{"--dbpath", ring, "-K"}, all...)...); strings.Count(said, ": digests signatures OK\n") != len(all) {
		t.Errorf("rpmkeys -K: %s", said)
	}
	said, err := exec.Command("rpmkeys", append([]string{"--dbpath", empty, "-K"}, all...)...).Output()
	if err == nil || strings.Count(string(said), ": digests SIGNATURES NOT OK\n") != len(all) {
		t.Errorf("rpmkeys -K without the key: %v: %s", err, said)
	}

	files := []string{shop, globOne(t, k.platform+"/appbundle-*.rpm")}
	for _, name := range []string{"shop-1*", "shop-filesystem-*", "shop-python3-flask-*", "shop-python3-markupsafe-*"} {
		files = append(files, globOne(t, repo+"/"+name))
	}
	said, _ = exec.Command("rpmlint", files...).CombinedOutput() // its status counts what is allowed too
	if !strings.Contains(string(said), "6 packages and 0 specfiles checked") {
		t.Errorf("rpmlint: %s", said)
	}
	for _, line := range findings(string(said), "E:", rpmlintAllows) {
		t.Error(line)
	}
}

// testLintian asks lintian about packages of a real app, and of appbundle. Those of
// appbundle are dated 1970.
func testLintian(t *testing.T, k *kit) {
	repo := k.dated(t, "--deb", "--collection")
	files := []string{k.deb}
	for _, name := range []string{"shop_*", "shop-filesystem_*", "shop-python3-markupsafe_*"} {
		files = append(files, globOne(t, repo+"/"+name+".deb"))
	}
	said, err := exec.Command("lintian", append([]string{"--allow-root", "--no-cfg", "--suppress-tags", "package-contains-ancient-file"}, files...)...).CombinedOutput()
	for _, name := range []string{"shop", "shop-filesystem", "shop-python3-markupsafe"} {
		if !strings.Contains(string(said), "E: "+name+": dir-or-file-in-opt") {
			t.Errorf("lintian of %s: %v: %s", name, err, said)
		}
	}
	for _, line := range findings(string(said), "E: W:", lintianAllows) {
		t.Error(line)
	}
}
