package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"appbundle/rpm"
)

// A kit is what the tests of packages share, made once.
type kit struct {
	work     string
	tool     string    // appbundle as it is released; that of the tests is slow
	platform string    // repository of packages of this machine, and of appbundle
	deb      string    // the Debian package of appbundle
	secret   string    // file of an OpenPGP key
	public   string    // its public half
	shops    [2]string // an app, installed, at 1.0.0 with flask 3.1.2, and in a strict sandbox at 1.1.0 with 3.1.3
}

// TestPackages installs packages with the tools that users have, as root of this
// machine or of a namespace, and runs what is in them.
func TestPackages(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	type test struct {
		name string
		run  func(*testing.T, *kit)
	}
	tests := []test{
		{"collection", testCollection},
		{"single", testSingle},
		{"wheels", testWheels},
		{"apt", testApt},
		{"rpmlint", testRpmlint},
		{"lintian", testLintian},
		{"units", testUnits},
		{"token-app", testTokenApp},
	}
	if os.Getuid() == 0 {
		tests = append(tests, test{"systemd", testSystemd})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, k)
		})
	}
}

// flaskApp tells which flask it has.
const flaskApp = `import flask
application = flask.Flask(__name__)
@application.route('/')
def hi():
    return 'flask ' + __import__('importlib.metadata').metadata.version('flask')
`

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{work: t.TempDir()}
	k.platform = filepath.Join(k.work, "platform")
	if err := os.Mkdir(k.platform, 0o755); err != nil {
		t.Fatal(err)
	}
	k.tool, k.deb = appbundlePackages(t, k.work, k.platform)
	k.secret, k.public = openpgpKey(t, k.work)
	platform(t, k.platform)
	indexRepo(t, k.platform)
	for i, version := range []string{"1.0.0", "1.1.0"} {
		ini := "[app]\nname = shop\nversion = " + version + "\nlicense = MIT\n[package]\nmaintainer = Ann <ann@example.org>\nhomepage = https://shop.example.org\nsandbox = " + []string{"default", "strict"}[i] + "\n"
		k.shops[i] = k.app(t, "shop-"+version, ini, fmt.Sprintf("flask==3.1.%d\ngunicorn\n", i+2), flaskApp)
	}
	return k
}

// openpgpKey makes a key without a passphrase.
func openpgpKey(t *testing.T, dir string) (secret, public string) {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // short: the agent has a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	gpg := func(args ...string) string {
		return output(t, dir, "gpg", append([]string{"--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	}
	gpg("--quick-gen-key", "Shop <shop@example.org>", "rsa2048", "sign", "never")
	write(t, dir, "key.secret", gpg("--armor", "--export-secret-keys"), 0o600)
	write(t, dir, "key.asc", gpg("--armor", "--export"), 0o644)
	output(t, dir, "gpgconf", "--homedir", home, "--kill", "all")
	return filepath.Join(dir, "key.secret"), filepath.Join(dir, "key.asc")
}

// app makes an app directory with its environment.
func (k *kit) app(t *testing.T, name, ini, dependencies, script string) string {
	t.Helper()
	dir := filepath.Join(k.work, name)
	write(t, dir, "dependencies.txt", dependencies, 0o644)
	write(t, dir, "external-dependencies.txt", "git ; sys_platform == 'win32'\n", 0o644)
	write(t, dir, "app.ini", ini, 0o644)
	write(t, dir, "bin/app.py", script, 0o644)
	output(t, k.work, k.tool, "lock", "--python", "/usr/bin/python3.11", dir)
	output(t, k.work, k.tool, "install", "--python", "/usr/bin/python3.11", dir)
	return dir
}

// build makes packages of an app below a new directory of the test, which it gives.
func (k *kit) build(t *testing.T, app string, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	output(t, k.work, k.tool, append(append([]string{"build", "-o", dir + "/"}, flags...), app)...)
	return dir
}

// releasedBinary builds the static binary in dir, as make build does.
func releasedBinary(t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "appbundle")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.version=0.1.0", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return binary
}

// appbundlePackages makes the packages of appbundle itself, as make package does: the
// RPM in repo, the binary and the Debian package in work.
func appbundlePackages(t *testing.T, work, repo string) (binary, deb string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	binary = releasedBinary(t, work)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text := output(t, work, binary, "completion", shell)
		write(t, work, "completions/"+shell, text, 0o644)
	}
	run := exec.Command("go", "run", "./tools/package", "0.1.0", binary, "docs/man", work+"/completions", repo)
	run.Dir, run.Env = root, append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if said, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	deb = filepath.Join(work, "appbundle_0.1.0-1_amd64.deb")
	if err := os.Rename(globOne(t, repo+"/appbundle_*.deb"), deb); err != nil {
		t.Fatal(err)
	}
	return binary, deb
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

// dnf runs dnf on a root, with the repository of the platform and another.
func (k *kit) dnf(t *testing.T, repo, root string, args ...string) (string, error) {
	t.Helper()
	cache := t.TempDir()
	line := append([]string{
		"dnf", "-y", "--installroot=" + root, "--releasever=1", "--forcearch=x86_64", "--disablerepo=*",
		"--repofrompath=kit,file://" + k.platform, "--repofrompath=own,file://" + repo, "--enablerepo=kit", "--enablerepo=own", "--setopt=gpgcheck=0", "--setopt=reposdir=/nonexistent", "--setopt=varsdir=/nonexistent",
		"--setopt=pluginpath=/nonexistent", "--setopt=cachedir=" + cache, "--setopt=logdir=" + cache, "--setopt=install_weak_deps=0",
	}, args...)
	line = asRoot(line...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), rpmHome, "LANG=C.UTF-8")
	said, err := cmd.CombinedOutput()
	return string(said), err
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
	_, end := runInRoot(t, root, "serving on", "--bind", "unix:/run/page.sock", "--run-dir", "/run/a", "--state-dir", "/run/s", "/opt/"+name)
	page := output(t, root, "curl", "-sSL", "--fail", "--unix-socket", root+"/run/page.sock", "http://app/")
	end()
	_ = os.Remove(path.Join(root, "run/page.sock")) // killed, nobody did
	return page
}

// runInRoot runs an app in a root until it says what is wanted. What it gives kills it.
func runInRoot(t *testing.T, root, want string, args ...string) (said *lineWatcher, end func()) {
	t.Helper()
	script := `mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
exec /usr/sbin/chroot "$@"`
	line := asRoot(append([]string{"sh", "-ec", script, "sh", root, "/usr/bin/appbundle", "run"}, args...)...)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	said = &lineWatcher{want: want, found: make(chan struct{})}
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
	case <-time.After(patience):
		_ = cmd.Process.Kill() // of the namespace
		<-ended
		t.Fatalf("run in %s does not say %q:\n%s", root, want, said.text())
	}
	return said, func() {
		if err := cmd.Process.Kill(); err != nil { // of the namespace: all in it end with it
			t.Error(err)
		}
		<-ended
	}
}

// inRoot runs a command in a root, and gives what it says.
func inRoot(t *testing.T, root string, args ...string) string {
	t.Helper()
	line := asRoot(append([]string{"/usr/sbin/chroot", root}, args...)...)
	return output(t, root, line[0], line[1:]...)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
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
