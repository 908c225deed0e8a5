package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/rpm"
)

// platformDebs are packages of this machine that an empty root needs for a
// Python, a shell, and programs to look at it with.
var platformDebs = strings.Fields(`base-files libc6 libgcc-s1 libstdc++6 dash coreutils libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 libssl3
	zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 libreadline8 libdb5.3 libnsl2 libtirpc3
	libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libcrypt1
	python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3.11`)

// platform makes a package of each of platformDebs, from the files that are
// installed here, with the relations of its native code as they are.
func platform(t *testing.T, dir string) {
	t.Helper()
	for _, name := range platformDebs {
		p := &rpm.Package{
			Format: rpm.RPM, Name: "platform-" + name, EVR: rpm.EVR{Version: "1", Release: "1"}, Arch: "x86_64",
			Summary: name + " of this machine", Description: name + ".", License: "unknown", Maintainer: "test <test@localhost>",
			Time: time.Unix(0, 0),
		}
		seen := map[string]bool{}
		for at := range strings.Lines(output(t, dir, "dpkg", "-L", name)) {
			addHostFile(t, p, merged(strings.TrimSpace(at)), seen)
		}
		switch name {
		case "base-files":
			for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
				p.Files = append(p.Files, rpm.File{Path: "/" + link, Kind: rpm.Symlink, Link: "usr/" + link})
			}
			for _, d := range []string{"/proc", "/dev", "/tmp", "/run", "/var/lib"} {
				if !seen[d] {
					p.Files = append(p.Files, rpm.File{Path: d, Kind: rpm.Directory, Mode: 0o755})
				}
			}
		case "libc6": // what the loader can read
			p.Provides = append(p.Provides, rpm.Relation{Name: "rtld(GNU_HASH)"})
			p.Requires = append(p.Requires, rpm.Relation{Name: "platform-base-files"})
		case "dash":
			p.Provides = append(p.Provides, rpm.Relation{Name: "/bin/sh"})
		case "python3.11":
			p.Provides = append(p.Provides, rpm.Relation{Name: "python(abi)", Op: "=", Version: "3.11"})
			p.Requires = append(p.Requires, rpm.Relation{Name: "/usr/bin/python3.11"})
		case "python3.11-minimal":
			p.Requires = append(p.Requires, rpm.Relation{Name: "platform-libpython3.11-minimal"}, rpm.Relation{Name: "platform-libpython3.11-stdlib"})
		}
		slices.SortFunc(p.Files, func(a, b rpm.File) int { return cmp.Compare(a.Path, b.Path) })
		if _, err := rpm.Write(t.Context(), filepath.Join(dir, p.FileName()), p, rpm.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

// merged gives the path that a path has where /bin and its like are links.
func merged(at string) string {
	for _, top := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if at == top || strings.HasPrefix(at, top+"/") {
			return "/usr" + at
		}
	}
	return at
}

// addHostFile adds a file of this machine, and what it requires and provides where
// it is native code.
func addHostFile(t *testing.T, p *rpm.Package, at string, seen map[string]bool) {
	t.Helper()
	if at == "/." || seen[at] || strings.HasPrefix(at, "/usr/share/doc") || strings.HasPrefix(at, "/usr/share/man") || strings.HasPrefix(at, "/etc/init") {
		return
	}
	info, err := os.Lstat(at)
	if err != nil {
		return // an administrator removed it
	}
	seen[at] = true
	f := rpm.File{Path: at, Mode: 0o644}
	switch {
	case info.IsDir():
		f.Kind, f.Mode = rpm.Directory, 0o755
	case info.Mode()&fs.ModeSymlink != 0:
		f.Kind = rpm.Symlink
		if f.Link, err = os.Readlink(at); err != nil {
			t.Fatal(err)
		}
	case !info.Mode().IsRegular():
		return
	default:
		data, err := os.ReadFile(at)
		if err != nil {
			return // one that only root may read is not needed
		}
		if info.Mode()&0o100 != 0 {
			f.Mode = 0o755
		}
		f.Size, f.SHA256 = int64(len(data)), sha256.Sum256(data)
		f.Open = func() (io.ReadCloser, error) { return os.Open(at) }
		e, err := rpm.ReadELF(at, strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if e != nil {
			for _, r := range e.Requires() {
				p.Requires = append(p.Requires, rpm.Relation{Name: r})
			}
			for _, r := range e.Provides() {
				p.Provides = append(p.Provides, rpm.Relation{Name: r})
			}
		}
	}
	p.Files = append(p.Files, f)
}

// appbundlePackages makes the packages of appbundle itself, as make package does.
func appbundlePackages(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.version=0.1.0", "-o", work+"/appbundle", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text := output(t, work, work+"/appbundle", "completion", shell)
		write(t, work, "completions/"+shell, text, 0o644)
	}
	run := exec.Command("go", "run", "./tools/package", "0.1.0", work+"/appbundle", "docs/man", work+"/completions", dir)
	run.Dir, run.Env = root, append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if said, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// asRoot gives a command line that runs as root: of a namespace where we are none.
func asRoot(args ...string) []string {
	if os.Getuid() == 0 {
		return append([]string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--"}, args...)
	}
	return append([]string{"unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--"}, args...)
}

// rpmHome is the home directory below which Debian's rpm keeps its database: in
// the root that it works on.
const rpmHome = "HOME=/root"

// dnf runs dnf on an empty root with one repository.
func dnf(t *testing.T, repo, root string, args ...string) (string, error) {
	t.Helper()
	cache := t.TempDir()
	line := append([]string{
		"dnf", "-y", "--installroot=" + root, "--releasever=1", "--forcearch=x86_64", "--disablerepo=*", "--repofrompath=kit,file://" + repo,
		"--enablerepo=kit", "--setopt=kit.gpgcheck=0", "--setopt=reposdir=/nonexistent", "--setopt=varsdir=/nonexistent",
		"--setopt=pluginpath=/nonexistent", "--setopt=cachedir=" + cache, "--setopt=logdir=" + cache, "--setopt=install_weak_deps=0",
	}, args...)
	line = asRoot(line...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), rpmHome, "LANG=C.UTF-8")
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// TestCollection builds a collection with the real flask and gunicorn, lets dnf
// resolve and install it into an empty root beside packages of this machine's own
// files, and runs it there.
func TestCollection(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	repo, root, app := work+"/repo", work+"/root", work+"/shop"
	for _, d := range []string{repo, root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, app, "dependencies.txt", "flask==3.1.2\ngunicorn\n", 0o644)
	write(t, app, "external-dependencies.txt", "git ; sys_platform == 'win32'\n", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.0.0\n[package]\nmaintainer = A <a@localhost>\n", 0o644)
	write(t, app, "bin/app.py", "import flask\napplication = flask.Flask(__name__)\n@application.route('/')\ndef hi():\n    return 'flask ' + __import__('importlib.metadata').metadata.version('flask')\n", 0o644)
	output(t, work, "appbundle", "lock", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "install", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "build", "--rpm", "--collection", "-o", repo, app)
	platform(t, repo)
	appbundlePackages(t, repo)
	indexRepo(t, repo)
	if said, err := dnf(t, repo, root, "install", "shop", "appbundle"); err != nil {
		t.Fatalf("dnf install: %v\n%s", err, said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.2"; got != want {
		t.Errorf("GET / = %q, want %q", got, want)
	}
	if said := verify(t, root, "shop", "shop-python3-flask", "shop-filesystem"); said != "" {
		t.Errorf("rpm -V after it ran:\n%s", said)
	}

	// One changed pin is one changed package, and the app's own.
	write(t, app, "dependencies.txt", "flask==3.1.3\ngunicorn\n", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.1.0\n", 0o644)
	output(t, work, "appbundle", "lock", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "install", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "build", "--rpm", "--collection", "-o", repo, app)
	said, err := dnf(t, repo, root, "upgrade")
	if err != nil || !strings.Contains(said, "Upgrade  2 Packages") {
		t.Errorf("dnf upgrade: %v\n%s", err, said)
	}
	if got, want := serve(t, root, "shop"), "flask 3.1.3"; got != want {
		t.Errorf("GET / after the upgrade = %q, want %q", got, want)
	}
	if said, err := dnf(t, repo, root, "downgrade", "shop-1.0.0", "shop-python3-flask-3.1.2"); err != nil {
		t.Errorf("dnf downgrade: %v\n%s", err, said)
	}

	// What is missing has a name.
	if err := os.Remove(globOne(t, repo+"/shop-python3-click-*.rpm")); err != nil {
		t.Fatal(err)
	}
	indexRepo(t, repo)
	said, err = dnf(t, repo, work+"/other", "install", "shop")
	if err == nil || !strings.Contains(said, "nothing provides shop-python3-click = ") {
		t.Errorf("dnf install without click: %v\n%s", err, said)
	}
	if said, err := dnf(t, repo, root, "erase", "shop*"); err != nil {
		t.Errorf("dnf erase: %v\n%s", err, said)
	}
	if left, err := filepath.Glob(root + "/opt/*"); err != nil || len(left) > 0 {
		t.Errorf("erased, %v is left, %v", left, err)
	}
}

func indexRepo(t *testing.T, repo string) {
	t.Helper()
	if _, err := rpm.Index(t.Context(), rpm.RPM, repo, rpm.IndexOptions{}); err != nil {
		t.Fatal(err)
	}
}

func globOne(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// A lineWatcher keeps what was said, and tells when a text was in it.
type lineWatcher struct {
	want  string
	found chan struct{}

	mu   sync.Mutex
	said strings.Builder
	done bool
}

func (w *lineWatcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said.Write(p)
	if !w.done && strings.Contains(w.said.String(), w.want) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}

func (w *lineWatcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

// serve runs the installed app in its root, gets its page, and ends it.
func serve(t *testing.T, root, name string) string {
	t.Helper()
	script := fmt.Sprintf(`mount -t proc proc %[1]s/proc
mount --rbind /dev %[1]s/dev
exec /usr/sbin/chroot %[1]s /usr/bin/appbundle run --bind unix:/run/page.sock --run-dir /run/a --state-dir /run/s /opt/%[2]s`, root, name)
	line := asRoot("sh", "-ec", script)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	said := &lineWatcher{want: "serving on", found: make(chan struct{})}
	cmd.Stderr, cmd.Stdout = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-said.found:
	case err := <-ended:
		t.Fatalf("run in %s: %v\n%s", root, err, said.text())
	}
	page := output(t, root, "curl", "-sS", "--fail", "--unix-socket", root+"/run/page.sock", "http://app/")
	if err := cmd.Process.Kill(); err != nil { // of the namespace: all in it end with it
		t.Fatal(err)
	}
	<-ended
	_ = os.Remove(path.Join(root, "run/page.sock")) // killed, nobody did
	return page
}

// verify asks rpm whether the files of packages are as they were installed.
func verify(t *testing.T, root string, names ...string) string {
	t.Helper()
	line := asRoot(append([]string{"rpm", "--root=" + root, "-V", "--nodeps"}, names...)...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), rpmHome)
	said, _ := cmd.CombinedOutput() // its status counts what it says
	return string(said)
}
