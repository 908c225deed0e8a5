package rpm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appbundle/install"
)

// repository writes packages of format f into a directory and indexes it.
func repository(t *testing.T, f Format, opts IndexOptions) string {
	t.Helper()
	dir := t.TempDir()
	shop, data := shop(f), shop(f)
	data.Name, data.Requires, data.Scripts, data.EVR = "shop-data", nil, Scripts{}, EVR{Epoch: 2, Version: "1.0", Release: "1"}
	data.Files = []File{text("/opt/shop-data/list & <more>", "data")}
	data.Description = "It has <data> & \"more\"."
	data.Provides, data.Conflicts, data.Recommends = nil, nil, nil
	for _, p := range []*Package{shop, data} {
		if _, err := Write(t.Context(), filepath.Join(dir, p.FileName()), p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := Index(t.Context(), f, dir, opts); n != 2 || err != nil {
		t.Fatalf("Index() = %d, %v", n, err)
	}
	return dir
}

// describe prints a package as createrepo_c's own module reads it. What is left out is
// the time of the file, and the changelog.
const describe = `
import sys, createrepo_c as cr
def show(dir):
    md = cr.Metadata()
    md.locate_and_load_xml(dir)
    out = []
    for key in sorted(md.keys()):
        p = md.get(key)
        for a in ('name arch epoch version release pkgId checksum_type summary description url rpm_packager time_build size_package size_installed size_archive '
                  'location_href rpm_license rpm_vendor rpm_group rpm_buildhost rpm_sourcerpm rpm_header_start rpm_header_end').split():
            out.append('%s=%r' % (a, getattr(p, a) or ''))
        for a in 'requires provides conflicts obsoletes suggests enhances recommends supplements files'.split():
            out += sorted('%s: %r' % (a, tuple(x or '' for x in e)) for e in getattr(p, a))
    return '\n'.join(out)
a, b = show(sys.argv[1]), show(sys.argv[2])
print(a if a == b else 'DIFFERENT\n' + a + '\n\n' + b)
`

func TestCreaterepoReadsOurs(t *testing.T) {
	dir := repository(t, RPM, IndexOptions{})
	theirs := t.TempDir()
	says(t, nil, "createrepo_c", "-q", "-o", theirs, dir)
	out := says(t, []string{"name='shop'", "epoch='2'", "description='It has <data> & \"more\".'", "list & <more>"}, "/usr/bin/python3", "-c", describe, dir, theirs)
	if strings.HasPrefix(out, "DIFFERENT") {
		t.Errorf("what createrepo_c reads of ours is not what it writes itself:\n%s", out)
	}
}

// TestCreaterepoReadsPlanned compares what createrepo_c and we say of a planned
// collection.
func TestCreaterepoReadsPlanned(t *testing.T) {
	app := planApp(t)
	dists, err := install.Dists(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	packages, _, err := Plan(RPM, Input{App: app, Dists: dists, Collection: true, External: []Relation{{Name: "git"}}})
	if err != nil {
		t.Fatal(err)
	}
	dir, theirs := t.TempDir(), t.TempDir()
	for _, p := range packages {
		if _, err := Write(t.Context(), filepath.Join(dir, p.FileName()), p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := Index(t.Context(), RPM, dir, IndexOptions{}); n != 4 || err != nil {
		t.Fatalf("Index() = %d, %v", n, err)
	}
	says(t, nil, "createrepo_c", "-q", "-o", theirs, dir)
	out := says(t, []string{"name='shop-filesystem'", "bundled(python3dist(util))", "'/opt/shop/.appbundle/env/', 'pyvenv.cfg'"}, "/usr/bin/python3", "-c", describe, dir, theirs)
	if strings.HasPrefix(out, "DIFFERENT") {
		t.Errorf("what createrepo_c reads of ours is not what it writes itself:\n%s", out)
	}
}

func TestDnfReadsOurs(t *testing.T) {
	k := testKey(t, "rsa", "")
	dir := repository(t, RPM, IndexOptions{Signer: k})
	dnf := func(args ...string) string {
		cache := t.TempDir()
		check := "0" // an ordinary user has no key ring that dnf would fill
		if os.Getuid() == 0 {
			check = "1"
		}
		out := says(t, nil, "dnf", append([]string{"-q", "--releasever=1", "--forcearch=x86_64", "--disablerepo=*", "--repofrompath=own,file://" + dir, "--enablerepo=own",
			"--setopt=own.repo_gpgcheck=" + check, "--setopt=own.gpgkey=file://" + publicFile(t, k), "--setopt=reposdir=/nonexistent", "--setopt=varsdir=/nonexistent", "--setopt=pluginpath=/nonexistent",
			"--setopt=cachedir=" + cache, "--setopt=logdir=" + cache, "--setopt=persistdir=" + cache, "-y"}, args...)...)
		if _, answer, ok := strings.Cut(out, "key.asc\n"); ok {
			return answer // behind what is said of the key
		}
		return out
	}
	ring := filepath.Join(t.TempDir(), "ring")
	says(t, nil, "gpg", "--dearmor", "-o", ring, publicFile(t, k))
	says(t, []string{"Good signature"}, "gpgv", "--keyring", ring, dir+"/repodata/repomd.xml.asc", dir+"/repodata/repomd.xml")
	if got, want := dnf("repoquery", "shop*"), "shop-1:1.2~rc1-1.noarch\nshop-data-2:1.0-1.noarch\n"; got != want {
		t.Errorf("dnf repoquery says %q, want %q", got, want)
	}
	if got := dnf("repoquery", "--whatprovides", "/opt/shop/bin/run"); got != "shop-1:1.2~rc1-1.noarch\n" {
		t.Errorf("who provides a file: %q", got)
	}
	if got := dnf("repoquery", "--requires", "--resolve", "shop"); got != "shop-data-2:1.0-1.noarch\n" {
		t.Errorf("resolved: %q", got)
	}
}

// aptOptions are those with which apt-get knows one repository, with an option in its
// line of sources, and nothing of this machine. status is dpkg's file of what is installed.
func aptOptions(t *testing.T, dir, option, status string) []string {
	t.Helper()
	state := t.TempDir()
	for _, d := range []string{"lists/partial", "cache/archives/partial", "etc", "state"} {
		if err := os.MkdirAll(filepath.Join(state, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(state+"/sources.list", fmt.Appendf(nil, "deb [%s] file:%s ./\n", option, dir), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state+"/status", []byte(status), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"-o", "Dir::Etc=" + state + "/etc", "-o", "Dir::Etc::sourcelist=" + state + "/sources.list", "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State=" + state + "/state",
		"-o", "Dir::State::lists=" + state + "/lists", "-o", "Dir::State::status=" + state + "/status", "-o", "Dir::Cache=" + state + "/cache", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1",
		"-o", "APT::Get::List-Cleanup=0"}
}

// updateApt fetches the lists, and gives what is said; a list that is refused is an error.
func updateApt(t *testing.T, options []string) string {
	t.Helper()
	return says(t, nil, "apt-get", append(options, "update", "-o", "APT::Update::Error-Mode=any")...)
}

func TestAptReadsOurs(t *testing.T) {
	k := testKey(t, "rsa", "")
	for name, signer := range map[string]Signer{"signed": k, "trusted": nil} {
		dir := repository(t, Deb, IndexOptions{Signer: signer, Name: "Shop", Time: time.Unix(1_700_000_000, 0)})
		option := "trusted=yes"
		if signer != nil {
			option = "signed-by=" + publicFile(t, k)
		}
		options := aptOptions(t, dir, option, "")
		out := updateApt(t, options)
		if signer != nil && strings.Contains(out, "W: ") {
			t.Errorf("%s: %s", name, out)
		}
		says(t, []string{"Version: 1:1.2~rc1-1\n", "Description: Sells things\n", "Filename: ./shop_1.2~rc1-1_all.deb\n"}, "apt-cache", append(options, "show", "shop")...)
		says(t, []string{"Inst shop-data (2:1.0-1 Shop"}, "apt-get", append(options, "install", "-s", "shop-data")...)
		dl := t.TempDir()
		says(t, nil, "sh", append([]string{"-c", `cd "$1" && shift && apt-get "$@"`, "sh", dl}, append(options, "download", "shop-data")...)...)
		if _, err := os.Stat(dl + "/shop-data_2%3a1.0-1_all.deb"); err != nil {
			t.Error(err)
		}
	}
}

// TestAptSeesTheNext has releases that are dated before, like and after the first, and of
// another application: apt takes each.
func TestAptSeesTheNext(t *testing.T) {
	dir := t.TempDir()
	options := aptOptions(t, dir, "trusted=yes", "")
	for i, r := range []struct {
		date int64
		name string
	}{{1_700_000_000, "shop"}, {0, "shop"}, {1_700_000_000, "store"}, {1_700_000_001, "store"}, {0, ""}} {
		p := shop(Deb)
		p.EVR.Version = fmt.Sprintf("1.%d", i)
		if _, err := Write(t.Context(), filepath.Join(dir, p.FileName()), p, Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := Index(t.Context(), Deb, dir, IndexOptions{Name: r.name, Time: time.Unix(r.date, 0)}); err != nil {
			t.Fatal(err)
		}
		updateApt(t, options)
		says(t, []string{"Version: 1:" + p.EVR.Version + "-1\n"}, "apt-cache", append(options, "show", "shop")...)
	}
	release := string(tree(t, dir)["Release"])
	if want := "Origin: shop\nLabel: shop\nDate: Tue, 14 Nov 2023 22:13:21 UTC\n"; !strings.HasPrefix(release, want) {
		t.Errorf("Release is\n%s", release)
	}
}

// TestReleaseOfOthers keeps what another tool called the repository.
func TestReleaseOfOthers(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"Suite: stable\nCodename: x\nVersion: 1\nDate: Sat, 01 Jan 2033 00:00:00 +0100\nComponents: main\nSHA256:\n 00 1 x\n": "Suite: stable\nCodename: x\nVersion: 1\nDate: Fri, 31 Dec 2032 23:00:00 UTC\nSHA256:\n",
		"Date: soon\n": "Date: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n",
		"damaged":      "Origin: shop\nLabel: shop\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n",
	} {
		if err := os.WriteFile(dir+"/Release", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Index(t.Context(), Deb, dir, IndexOptions{Name: "shop"}); err != nil {
			t.Fatal(err)
		}
		if got := string(tree(t, dir)["Release"]); !strings.HasPrefix(got, want) {
			t.Errorf("of %q it becomes %q", text, got)
		}
	}
}

// TestRevision never goes back.
func TestRevision(t *testing.T) {
	dir := repository(t, RPM, IndexOptions{Time: time.Unix(1_700_000_000, 0)})
	for date, want := range map[int64]string{0: "1700000000", 1_800_000_000: "1800000000"} {
		if _, err := Index(t.Context(), RPM, dir, IndexOptions{Time: time.Unix(date, 0)}); err != nil {
			t.Fatal(err)
		}
		if got := string(tree(t, dir)["repodata/repomd.xml"]); date != 0 && !strings.Contains(got, "<revision>"+want+"</revision>") ||
			date == 0 && (strings.Contains(got, "<revision>0</revision>") || strings.Contains(got, "<timestamp>0</timestamp>")) {
			t.Errorf("built at %d it is\n%s", date, got)
		}
	}
}

// TestIndexAgain gives the same bytes, and takes no signature away.
func TestIndexAgain(t *testing.T) {
	k := testKey(t, "ed25519", "")
	for _, f := range []Format{RPM, Deb} {
		dirs := [2]string{repository(t, f, IndexOptions{Signer: k}), repository(t, f, IndexOptions{Signer: k})}
		a, b := tree(t, dirs[0]), tree(t, dirs[1])
		if len(a) < 7 {
			t.Errorf("%s: only %d files", f, len(a))
		}
		for name := range a {
			if !bytes.Equal(a[name], b[name]) {
				t.Errorf("%s: %s has other bytes in another directory", f, name)
			}
		}
		var refused *RefusedError
		if _, err := Index(t.Context(), f, dirs[0], IndexOptions{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "the repository is signed") {
			t.Errorf("%s: without a signature: %v", f, err)
		}
		if !maps.EqualFunc(tree(t, dirs[0]), a, bytes.Equal) {
			t.Errorf("%s: it was refused, and changed", f)
		}
		if _, err := Index(t.Context(), f, t.TempDir(), IndexOptions{}); err != nil {
			t.Errorf("%s: of no packages: %v", f, err)
		}
		if err := os.WriteFile(dirs[0]+"/bad."+string(f), []byte("!<arch>\nbad"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Index(t.Context(), f, dirs[0], IndexOptions{Signer: k}); err == nil || !strings.Contains(err.Error(), "bad."+string(f)+": is cut") {
			t.Errorf("%s: of a damaged package: %v", f, err)
		}
	}
	if _, err := Index(t.Context(), "apk", t.TempDir(), IndexOptions{}); err == nil {
		t.Error("a repository of what is not known")
	}
}

// TestRepodataNames has the digest of each file in its name: a proxy that keeps the
// file of yesterday keeps it under another.
func TestRepodataNames(t *testing.T) {
	n := 0
	for name, content := range tree(t, repository(t, RPM, IndexOptions{})+"/repodata") {
		if sum, _, ok := strings.Cut(name, "-"); ok {
			n++
			if want := fmt.Sprintf("%x", sha256.Sum256(content)); sum != want {
				t.Errorf("%s has the digest %s", name, want)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d files with a digest in their names, want 3", n)
	}
}

// TestPrimaryFiles are those that a package is found by without all file lists.
func TestPrimaryFiles(t *testing.T) {
	info, err := ReadFile(t.Context(), written(t, shop(RPM), Options{}), Limits{HeadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	text := string(info.primary())
	for _, name := range []string{"/etc/shop/shop.conf", "/opt/shop/bin/shop", "/opt/shop/bin/run"} {
		if !strings.Contains(text, "<file>"+name+"</file>") {
			t.Errorf("%s is not in primary.xml", name)
		}
	}
	if strings.Contains(text, "/opt/shop/lib/") {
		t.Errorf("all files are in primary.xml: %s", text)
	}
}

// TestStanza has a package that says of itself where it is, and what its digest is.
func TestStanza(t *testing.T) {
	info := &Info{File: "a.deb", Size: 5, Fields: []Field{{"Package", "a"}, {"Filename", "/other"}, {"SHA256", "0"}, {"size", "1"}, {"Status", "installed"}}}
	want := fmt.Sprintf("Package: a\nFilename: ./a.deb\nSize: 5\nSHA256: %x\n\n", info.SHA256)
	if got := string(info.stanza()); got != want {
		t.Errorf("stanza %q, want %q", got, want)
	}
}

// tree gives the files below dir.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		all[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
