package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debianRoot makes a root of what this machine has of Debian: the essential
// packages, apt, systemd and a Python, with what they depend on, their files and
// their entries in dpkg's database.
func debianRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	names := debianClosure(t, "apt", "systemd", "python3.11", "mawk")
	for _, dir := range []string{"proc", "dev", "run", "tmp", "etc/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/dpkg/alternatives"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root+"/tmp", 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{"/.": true, "/": true}
	var list strings.Builder
	for at := range strings.Lines(output(t, root, "dpkg", append([]string{"-L"}, names...)...)) {
		at = merged(strings.TrimSpace(at))
		if !seen[at] && strings.HasPrefix(at, "/") && !slices.ContainsFunc([]string{"doc/", "man/", "locale/", "info/"}, func(d string) bool { return strings.HasPrefix(at, "/usr/share/"+d) }) {
			list.WriteString("." + at + "\n")
		}
		seen[at] = true
	}
	write(t, root, "tmp/list", list.String(), 0o644)
	copied := exec.Command("sh", "-c", `tar -C / --no-recursion --ignore-failed-read -cf - -T "$1/tmp/list" 2>/dev/null | tar -C "$1" --no-same-owner -xf - && cp /usr/share/base-passwd/passwd.master "$1/etc/passwd" && cp /usr/share/base-passwd/group.master "$1/etc/group"`, "sh", root)
	if said, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if err := os.Symlink("mawk", root+"/usr/bin/awk"); err != nil { // apt asks awk about keys
		t.Fatal(err)
	}
	var status strings.Builder
	all, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.SplitSeq(string(all), "\n\n") {
		first, _, _ := strings.Cut(strings.TrimSpace(entry), "\n")
		if name, ok := strings.CutPrefix(first, "Package: "); ok && slices.Contains(names, name) {
			status.WriteString(strings.TrimSpace(entry) + "\n\n")
		}
	}
	write(t, root, "var/lib/dpkg/status", status.String(), 0o644)
	for _, name := range names {
		for _, pattern := range []string{name + ".*", name + ":*"} {
			infos, err := filepath.Glob("/var/lib/dpkg/info/" + pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range infos {
				data, err := os.ReadFile(at)
				if err != nil {
					t.Fatal(err)
				}
				write(t, root, at, string(data), 0o755)
			}
		}
	}
	return root
}

// debianClosure are packages that are installed here, the essential ones, and all
// that those depend on.
func debianClosure(t *testing.T, seeds ...string) []string {
	t.Helper()
	needs, provider := map[string]string{}, map[string]string{}
	names := seeds
	for line := range strings.Lines(output(t, ".", "dpkg-query", "-W", "-f", "${Package}\t${Essential}\t${db:Status-Status}\t${Provides}\t${Pre-Depends},${Depends}\n")) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if f[2] != "installed" {
			continue
		}
		needs[f[0]] = f[4]
		for p := range strings.SplitSeq(f[3], ",") {
			if name, _, _ := strings.Cut(strings.TrimSpace(p), " "); name != "" {
				provider[name] = f[0]
			}
		}
		if f[1] == "yes" {
			names = append(names, f[0])
		}
	}
	for i := 0; i < len(names); i++ {
		for clause := range strings.SplitSeq(needs[names[i]], ",") {
			for alternative := range strings.SplitSeq(clause, "|") {
				name, _, _ := strings.Cut(strings.TrimSpace(alternative), " ")
				name, _, _ = strings.Cut(name, ":")
				if _, ok := needs[name]; !ok {
					name = provider[name]
				}
				if name != "" {
					if !slices.Contains(names, name) {
						names = append(names, name)
					}
					break
				}
			}
		}
	}
	return names
}

// debianDo runs a command in a Debian root, with /proc and what there is of /dev, and gives what it
// says of itself on both streams.
func debianDo(t *testing.T, root, script string) string {
	t.Helper()
	line := asRoot("sh", "-ec", `mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev"
exec /usr/sbin/chroot "$1" /bin/sh -ec "$2"`, "sh", root, script)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "HOME=/root"}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, said)
	}
	return string(said)
}

// testApt installs a signed collection with apt and single packages with dpkg, on a
// system with nothing but Debian: nothing is forced.
func testApt(t *testing.T, k *kit) {
	root := debianRoot(t)
	repo := filepath.Join(root, "repo")
	if err := os.Mkdir(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, k.deb, filepath.Join(repo, filepath.Base(k.deb)))
	output(t, k.work, k.tool, "build", "--deb", "--collection", "--sign", k.secret, "-o", repo, k.shops[0])
	copyFile(t, k.public, filepath.Join(root, "etc/shop.asc"))
	write(t, root, "etc/apt/sources.list", "deb [signed-by=/etc/shop.asc] file:/repo ./\n", 0o644)
	const update = "apt-get -q -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any update 2>&1\n"
	const get = "apt-get -q -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "

	if said := debianDo(t, root, update); strings.Contains(said, "W: ") {
		t.Errorf("apt-get update: %s", said)
	}
	said := debianDo(t, root, get+"install shop")
	if !strings.Contains(said, "11 newly installed, 0 to remove and 0 not upgraded.") || strings.Contains(said, "cannot be authenticated") {
		t.Errorf("apt-get install:\n%s", said)
	}
	if passwd, err := os.ReadFile(root + "/etc/passwd"); err != nil || !strings.Contains(string(passwd), ":Application shop:/var/lib/shop:/usr/sbin/nologin\n") {
		t.Errorf("there is no user shop: %s, %v", passwd, err)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.2"; got != want {
		t.Errorf("GET / = %q, want %q", got, want)
	}
	if said := debianDo(t, root, "dpkg -V appbundle shop $(dpkg-query -W -f '${Package} ' 'shop-*')"); said != "" {
		t.Errorf("dpkg -V after it ran:\n%s", said)
	}

	// An upgrade takes the changed pin, and leaves what the administrator wrote.
	const edited = "PORT=8000\n"
	write(t, root, "etc/shop/environment", edited, 0o640)
	write(t, root, "var/lib/shop/data", "bought", 0o640)
	output(t, k.work, k.tool, "build", "--deb", "--collection", "--sign", k.secret, "-o", repo, k.shops[1])
	said = debianDo(t, root, update+get+"upgrade")
	if !strings.Contains(said, "\n2 upgraded, 0 newly installed") {
		t.Errorf("apt-get upgrade:\n%s", said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.3"; got != want {
		t.Errorf("GET / after the upgrade = %q, want %q", got, want)
	}
	has := func(when string, want map[string]string) {
		t.Helper()
		for at, text := range want {
			if got, err := os.ReadFile(filepath.Join(root, at)); string(got) != text || err != nil && text != "" {
				t.Errorf("%s, /%s is %q, %v", when, at, got, err)
			}
		}
	}
	gone := func(when string, all ...string) {
		t.Helper()
		for _, at := range all {
			if left, err := filepath.Glob(filepath.Join(root, at)); err != nil || len(left) > 0 {
				t.Errorf("%s, there is %q, %v", when, left, err)
			}
		}
	}
	has("upgraded", map[string]string{"etc/shop/environment": edited, "var/lib/shop/data": "bought"})
	debianDo(t, root, get+"remove --autoremove shop")
	gone("removed", "opt/*", "usr/lib/systemd/system/shop.service", "usr/bin/appbundle")
	has("removed", map[string]string{"etc/shop/environment": edited, "var/lib/shop/data": "bought"})
	debianDo(t, root, "dpkg --purge shop")
	gone("purged", "etc/shop", "var/lib/dpkg/info/shop*")
	has("purged", map[string]string{"var/lib/shop/data": "bought"})

	// One package, without a repository.
	single := globOne(t, k.build(t, k.shops[0], "--deb")+"/shop_*.deb")
	copyFile(t, single, root+"/tmp/shop.deb")
	debianDo(t, root, "dpkg -i /repo/appbundle_*.deb /tmp/shop.deb")
	if got, want := serve(t, root, "shop"), "flask 3.1.2"; got != want {
		t.Errorf("GET / of one package = %q, want %q", got, want)
	}
	if said := debianDo(t, root, "dpkg -V shop appbundle"); said != "" {
		t.Errorf("dpkg -V of one package after it ran:\n%s", said)
	}

	// From one package to the collection, and back.
	said = debianDo(t, root, update+get+"install shop")
	if !strings.Contains(said, "\n1 upgraded, 9 newly installed, 0 to remove") {
		t.Errorf("from one package to a collection:\n%s", said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.3"; got != want {
		t.Errorf("GET / of the collection = %q, want %q", got, want)
	}
	if said := debianDo(t, root, "dpkg -V shop $(dpkg-query -W -f '${Package} ' 'shop-*')"); said != "" {
		t.Errorf("dpkg -V of a collection after one package:\n%s", said)
	}
	said = debianDo(t, root, get+"install --allow-downgrades /tmp/shop.deb")
	if !strings.Contains(said, "1 downgraded, 9 to remove") {
		t.Errorf("from a collection to one package:\n%s", said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.2"; got != want {
		t.Errorf("GET / of one package after the collection = %q, want %q", got, want)
	}
	if said := debianDo(t, root, "dpkg -V shop"); said != "" {
		t.Errorf("dpkg -V of one package after the collection:\n%s", said)
	}
	debianDo(t, root, "dpkg --purge shop appbundle")
	gone("purged, one package", "opt/*", "etc/shop", "usr/share/doc/shop")
	has("purged, one package", map[string]string{"var/lib/shop/data": "bought"})
}
