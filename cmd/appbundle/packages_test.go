package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testCollection lets dnf resolve and install a collection into an empty root beside
// packages of this machine's own files, and runs it there.
func testCollection(t *testing.T, k *kit) {
	root := t.TempDir()
	repo := k.build(t, k.shops[0], "--rpm", "--collection")
	if said, err := k.dnf(t, repo, root, "install", "shop"); err != nil {
		t.Fatalf("dnf install: %v\n%s", err, said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.2"; got != want {
		t.Errorf("GET / = %q, want %q", got, want)
	}
	if said := verify(t, root, "shop", "shop-python3-flask", "shop-filesystem"); said != "" {
		t.Errorf("rpm -V after it ran:\n%s", said)
	}

	// One changed pin is one changed package, and the app's own.
	output(t, k.work, "appbundle", "build", "--rpm", "--collection", "-o", repo, k.shops[1])
	said, err := k.dnf(t, repo, root, "upgrade")
	if err != nil || !strings.Contains(said, "Upgrade  2 Packages") {
		t.Errorf("dnf upgrade: %v\n%s", err, said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.3"; got != want {
		t.Errorf("GET / after the upgrade = %q, want %q", got, want)
	}
	if said, err := k.dnf(t, repo, root, "downgrade", "shop-1.0.0", "shop-python3-flask-3.1.2"); err != nil {
		t.Errorf("dnf downgrade: %v\n%s", err, said)
	}

	// What is missing has a name.
	if err := os.Remove(globOne(t, repo+"/shop-python3-click-*.rpm")); err != nil {
		t.Fatal(err)
	}
	indexRepo(t, repo)
	said, err = k.dnf(t, repo, t.TempDir(), "install", "shop")
	if err == nil || !strings.Contains(said, "nothing provides shop-python3-click = ") {
		t.Errorf("dnf install without click: %v\n%s", err, said)
	}
	if said, err := k.dnf(t, repo, root, "erase", "shop*"); err != nil {
		t.Errorf("dnf erase: %v\n%s", err, said)
	}
	if left, err := filepath.Glob(root + "/opt/*"); err != nil || len(left) > 0 {
		t.Errorf("erased, %v is left, %v", left, err)
	}
}

// testSingle installs two apps side by side, each with a flask of its own: one as one
// package, one as a collection.
func testSingle(t *testing.T, k *kit) {
	root := t.TempDir()
	repo := k.build(t, k.shops[0], "--rpm")
	store := k.app(t, "store", "[app]\nname = store\nversion = 2.0.0\n", "flask==3.0.3\ngunicorn\n", flaskApp)
	output(t, k.work, k.tool, "build", "--rpm", "--collection", "-o", repo, store) // it indexes both
	if said, err := k.dnf(t, repo, root, "install", "shop", "store", "appbundle"); err != nil {
		t.Fatalf("dnf install: %v\n%s", err, said)
	}
	for name, want := range map[string]string{"shop": "flask 3.1.2", "store": "flask 3.0.3"} {
		if got := serve(t, root, name); got != want {
			t.Errorf("GET / of %s = %q, want %q", name, got, want)
		}
	}
	if said := verify(t, root, "-a", "--nouser", "--nogroup"); strings.Contains(said, "/opt/") {
		t.Errorf("rpm -V after they ran:\n%s", said)
	}
	if got := inRoot(t, root, "appbundle", "version"); !strings.HasPrefix(got, "appbundle 0.1.0 ") {
		t.Errorf("appbundle version = %q", got)
	}
	for _, at := range []string{"man/man1/appbundle.1.gz", "man/man1/appbundle-run.1.gz", "bash-completion/completions/appbundle", "zsh/site-functions/_appbundle", "fish/vendor_completions.d/appbundle.fish"} {
		if info, err := os.Stat(filepath.Join(root, "usr/share", at)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", at, info, err)
		}
	}

	// An upgrade keeps what the administrator wrote.
	const edited = "PORT=8000\n"
	write(t, root, "etc/shop/environment", edited, 0o640)
	output(t, k.work, k.tool, "build", "--rpm", "-o", repo, k.shops[1])
	indexRepo(t, repo)
	if said, err := k.dnf(t, repo, root, "upgrade"); err != nil || !strings.Contains(said, "Upgrade  1 Package\n") {
		t.Errorf("dnf upgrade: %v\n%s", err, said)
	}
	if got, err := os.ReadFile(root + "/etc/shop/environment"); err != nil || string(got) != edited {
		t.Errorf("the edited configuration is %q, %v", got, err)
	}
	for name, want := range map[string]string{"shop": "flask 3.1.3", "store": "flask 3.0.3"} {
		if got := serve(t, root, name); got != want {
			t.Errorf("GET / of %s after the upgrade of shop = %q, want %q", name, got, want)
		}
	}
	if said := verify(t, root, "shop"); said != "S.5....T.  c /etc/shop/environment\n" {
		t.Errorf("rpm -V of an edited configuration says %q", said)
	}
}
