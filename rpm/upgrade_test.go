package rpm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appbundle/install"
)

// A release is one of the app of planAppOf.
type release struct {
	version, python, util string
	single                bool
}

// put adds the packages of a release to a repository.
func (r release) put(t *testing.T, f Format, dir string) {
	t.Helper()
	app := planAppOf(t, r.python, r.util)
	app.Version = r.version
	dists, err := install.Dists(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	packages, _, err := Plan(f, Input{App: app, Dists: dists, Collection: !r.single})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if _, err := Write(t.Context(), filepath.Join(dir, p.FileName()), p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Index(t.Context(), f, dir, IndexOptions{}); err != nil {
		t.Fatal(err)
	}
}

// putHost adds what the packages of all releases require of a host.
func putHost(t *testing.T, f Format, dir string) {
	t.Helper()
	for _, name := range []string{"appbundle", "python3.11", "python3.12"} {
		p := &Package{Format: f, Name: name, EVR: EVR{Version: "1", Release: "1"}, Arch: "all", Summary: name, License: "MIT", Maintainer: "Ann <ann@example.org>"}
		if f == RPM {
			p.Arch = "noarch"
			p.Provides = []Relation{{Name: "/bin/sh"}}
			if python, ok := strings.CutPrefix(name, "python"); ok {
				p.Provides = []Relation{{Name: "/usr/bin/" + name}, {Name: "python(abi)", Op: "=", Version: python}}
			}
		}
		if _, err := Write(t.Context(), filepath.Join(dir, p.FileName()), p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

// dnfRoot gives dnf for a root of its own, in whose database packages are and nothing
// else, and a repository.
func dnfRoot(t *testing.T, dir string) func(args ...string) (string, error) {
	root := t.TempDir()
	// Debian's rpm keeps its database below the home directory, in the root.
	line := []string{"env", "HOME=/root", "dnf", "-y", "--installroot=" + root, "--releasever=1", "--forcearch=x86_64", "--disablerepo=*", "--repofrompath=own,file://" + dir, "--enablerepo=own",
		"--setopt=gpgcheck=0", "--setopt=reposdir=/nonexistent", "--setopt=varsdir=/nonexistent", "--setopt=pluginpath=/nonexistent",
		"--setopt=tsflags=justdb,noscripts"}
	if os.Getuid() != 0 {
		line = append([]string{"unshare", "--map-root-user"}, line...)
	}
	return func(args ...string) (string, error) {
		t.Helper()
		cache := t.TempDir() // of nothing that it read before
		return tool(t, line[0], append(append(slices.Clone(line[1:]), "--setopt=cachedir="+cache, "--setopt=logdir="+cache), args...)...)
	}
}

// The releases of the tests: another Python, and then another pin.
var (
	firstRelease = release{version: "1.0.0", python: "3.11", util: "1.0"}
	otherPython  = release{version: "1.1.0", python: "3.12", util: "1.0"}
	otherPin     = release{version: "1.2.0", python: "3.12", util: "1.1"}
)

// TestDnfUpgrades takes all packages to another Python, and two for another pin.
func TestDnfUpgrades(t *testing.T) {
	dir := t.TempDir()
	putHost(t, RPM, dir)
	firstRelease.put(t, RPM, dir)
	dnf := dnfRoot(t, dir)
	if said, err := dnf("install", "shop"); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, step := range []struct {
		to   release
		want string
	}{{otherPython, "Upgrade  4 Packages"}, {otherPin, "Upgrade  2 Packages"}} {
		step.to.put(t, RPM, dir)
		if said, err := dnf("upgrade"); err != nil || !strings.Contains(said, step.want) {
			t.Errorf("to %+v: %v, not %q: %s", step.to, err, step.want, said)
		}
	}
	if said, err := dnf("downgrade", "shop-1.0.0"); err != nil || !strings.Contains(said, "Downgrade  4 Packages") {
		t.Errorf("back: %v: %s", err, said)
	}
}

// TestDnfMoves goes from one package to a collection, and back.
func TestDnfMoves(t *testing.T) {
	dir := t.TempDir()
	putHost(t, RPM, dir)
	release{version: "1.0.0", python: "3.11", util: "1.0", single: true}.put(t, RPM, dir)
	dnf := dnfRoot(t, dir)
	if said, err := dnf("install", "shop"); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	release{version: "1.1.0", python: "3.11", util: "1.0"}.put(t, RPM, dir)
	if said, err := dnf("upgrade"); err != nil || !strings.Contains(said, "Install  3 Packages\nUpgrade  1 Package\n") {
		t.Errorf("to the collection: %v: %s", err, said)
	}
	release{version: "1.2.0", python: "3.11", util: "1.0", single: true}.put(t, RPM, dir)
	if said, err := dnf("upgrade", "shop-1.2.0"); err == nil && !strings.Contains(said, "conflicts with shop-filesystem") {
		t.Errorf("back without a word: %v: %s", err, said)
	}
	if said, err := dnf("install", "--allowerasing", "shop-1.2.0"); err != nil || !strings.Contains(said, "Upgrade  1 Package\nRemove   3 Packages\n") {
		t.Errorf("back: %v: %s", err, said)
	}
}

// TestAptMoves goes from one package to a collection, and back. What dpkg makes of it
// TestPackages shows.
func TestAptMoves(t *testing.T) {
	dir := t.TempDir()
	putHost(t, Deb, dir)
	one := release{version: "1.0.0", python: "3.11", util: "1.0", single: true}
	one.put(t, Deb, dir)
	many, again := one, one
	many.version, many.single, again.version = "1.1.0", false, "1.2.0"
	status := installedStatus(t, dir, one)
	many.put(t, Deb, dir)
	options := aptOptions(t, dir, "trusted=yes", status)
	updateApt(t, options)
	says(t, []string{"\n1 upgraded, 3 newly installed, 0 to remove"}, "apt-get", append(options, "install", "-s", "shop")...)

	status = installedStatus(t, dir, many)
	again.put(t, Deb, dir)
	options = aptOptions(t, dir, "trusted=yes", status)
	updateApt(t, options)
	says(t, []string{"\n1 upgraded, 0 newly installed, 3 to remove"}, "apt-get", append(options, "install", "-s", "shop")...)
}

// installedStatus is dpkg's file where the packages of a repository are installed that
// are of a version or, of the app, of a release.
func installedStatus(t *testing.T, dir string, r release) string {
	t.Helper()
	packages, err := os.ReadFile(dir + "/Packages")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	tag := "cp" + strings.ReplaceAll(r.python, ".", "")
	for stanza := range strings.SplitSeq(strings.TrimSpace(string(packages)), "\n\n") {
		name, version := field(stanza, "Package"), field(stanza, "Version")
		switch {
		case name == "shop" && version != r.version+"-3",
			name == "shop-filesystem" && version != r.python+"-1",
			name == "shop-python3-util" && version != r.util+"-1."+tag,
			name == "shop-python3-web" && !strings.HasSuffix(version, tag),
			r.single && strings.HasPrefix(name, "shop-"):
			continue
		}
		b.WriteString(stanza + "\nStatus: install ok installed\n\n")
	}
	return b.String()
}

// field gives a field of a paragraph.
func field(stanza, name string) string {
	for line := range strings.Lines(stanza) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// TestAptUpgrades takes all packages to another Python, and two for another pin.
func TestAptUpgrades(t *testing.T) {
	dir := t.TempDir()
	putHost(t, Deb, dir)
	firstRelease.put(t, Deb, dir)
	for _, step := range []struct {
		from, to release
		want     string
	}{{firstRelease, otherPython, "\n4 upgraded, 0 newly installed, 0 to remove"}, {otherPython, otherPin, "\n2 upgraded, 0 newly installed, 0 to remove"}} {
		status := installedStatus(t, dir, step.from)
		step.to.put(t, Deb, dir)
		options := aptOptions(t, dir, "trusted=yes", status)
		updateApt(t, options)
		says(t, []string{step.want}, "apt-get", append(options, "upgrade", "-s")...)
	}
}

// aptBack is what docs/PACKAGES.md says of going back: apt takes the newest of what it
// is not told, and finds no solution.
const aptBack = `apt-get install --allow-downgrades shop=1.0.0-3 $(apt-cache show shop=1.0.0-3 | grep -o '[^ ]* (= [^)]*)' | tr -d ' ()')`

// TestAptGoesBack installs a release of before, over another Python and another pin.
func TestAptGoesBack(t *testing.T) {
	documented, err := os.ReadFile("../docs/PACKAGES.md")
	if err != nil {
		t.Fatal(err)
	}
	if line := strings.ReplaceAll(aptBack, "1.0.0-3", "1.0.0-1"); !strings.Contains(string(documented), line) {
		t.Errorf("docs/PACKAGES.md does not say %q", line)
	}
	dir := t.TempDir()
	putHost(t, Deb, dir)
	for _, r := range []release{firstRelease, otherPython, otherPin} {
		r.put(t, Deb, dir)
	}
	options := aptOptions(t, dir, "trusted=yes", installedStatus(t, dir, otherPin))
	updateApt(t, options)
	back := strings.NewReplacer("apt-get install", `apt-get "$@" install -s`, "apt-cache show", `apt-cache "$@" show`).Replace(aptBack)
	says(t, []string{"\n0 upgraded, 0 newly installed, 4 downgraded, 0 to remove"}, "sh", append([]string{"-c", back, "sh"}, options...)...)
}
