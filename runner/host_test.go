package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// The directories are made with their parents, whatever the umask is; the lock
// names the supervisor and its parent.
func TestDirs(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		t.Run(fmt.Sprintf("%#o", umask), func(t *testing.T) {
			dir := hostDir(t)
			defer unix.Umask(unix.Umask(umask))
			run, state := filepath.Join(dir, "a", "b", "run"), filepath.Join(dir, "c", "state")
			w := start(t, Config{RunDir: run, StateDir: state, Watchers: []schema.Watcher{script("web", "pid=ready", "hold")}})
			w.pid("web.1 | ready")
			parents := os.FileMode(0o700)
			if os.Getuid() == 0 {
				parents = 0o755 &^ os.FileMode(umask)
			}
			for path, want := range map[string]os.FileMode{
				run: os.ModeDir | 0o710, state: os.ModeDir | 0o700, filepath.Dir(run): os.ModeDir | parents, filepath.Dir(state): os.ModeDir | parents,
				run + "/notify.sock": os.ModeSocket | 0o660, run + "/lock": 0o640 &^ os.FileMode(umask),
			} {
				if fi, err := os.Lstat(path); err != nil || fi.Mode() != want {
					t.Errorf("%s is %v, %v; want %v", path, fi.Mode(), err, want)
				}
			}
			b, err := os.ReadFile(run + "/lock")
			if want := fmt.Sprintf("%d\n%d\n", os.Getpid(), os.Getppid()); err != nil || string(b) != want {
				t.Errorf("the lock holds %q, %v; want %q", b, err, want)
			}
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(run + "/notify.sock"); !os.IsNotExist(err) {
				t.Errorf("notify.sock after Stop: %v", err)
			}
		})
	}
}

// A directory that somebody else can write to is refused, and so is what is
// none. Nothing is made of it.
func TestDirRefused(t *testing.T) {
	dir := hostDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{"sound": 0o710, "open": 0o777, "sticky": os.ModeSticky | 0o777} {
		if err := os.Mkdir(path(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "sound", "dangling": "none"} {
		if err := os.Symlink(target, path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(path("shared"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path("shared"), os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path("sound"), path("shared/link")); err != nil {
		t.Fatal(err)
	}
	// Another user's: for root one that it gave away, for others root's own.
	others, owner := "/", 0
	if os.Getuid() == 0 {
		if others, owner = path("others"), 65534; os.Mkdir(others, 0o700) != nil || os.Chown(others, owner, owner) != nil {
			t.Fatal("no directory of another user")
		}
	}
	parent := path("open") // where everybody may put another directory in the place of ours
	for _, tt := range []struct{ name, dir, want string }{
		{"link", path("link"), path("link") + ": not a directory"},
		{"dangling", path("dangling"), path("dangling") + ": not a directory"},
		{"file", path("file"), path("file") + ": not a directory"},
		{"below a file", path("file/run"), "lstat " + path("file/run") + ": not a directory"},
		{"writable", path("open"), path("open") + ": everybody may write there"},
		{"sticky", path("sticky"), path("sticky") + ": everybody may write there"},
		{"others", others, fmt.Sprintf("%s: belongs to user %d, not to us", others, owner)},
		{"parent", parent + "/run", parent + ": everybody may write there"},
		{"parent's link", path("shared/link/run"), path("shared/link") + ": not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, Config{RunDir: tt.dir, Watchers: []schema.Watcher{script("web", "hold")}})
			if err := w.Start(context.Background()); err == nil || err.Error() != "run directory: "+tt.want {
				t.Errorf("Start with the run directory %s = %v, want %s", tt.dir, err, tt.want)
			}
			if tt.name == "others" && os.Getuid() == 0 {
				return // root gives the state directory away itself
			}
			w = newWorld(t, Config{RunDir: path("sound"), StateDir: tt.dir, Watchers: []schema.Watcher{script("web", "hold")}})
			if err := w.Start(context.Background()); err == nil || err.Error() != "state directory: "+tt.want {
				t.Errorf("Start with the state directory %s = %v, want %s", tt.dir, err, tt.want)
			}
			if entries, err := os.ReadDir(path("sound")); err != nil || len(entries) > 0 {
				t.Errorf("a refused start left %v, %v", entries, err)
			}
		})
	}
}

// The paths of our own sockets have to fit as well.
func TestLongRunDir(t *testing.T) {
	dir := hostDir(t)
	fits := filepath.Join(dir, strings.Repeat("x", 107-len("/notify.sock")-len(dir)-1))
	w := start(t, Config{RunDir: fits, Watchers: []schema.Watcher{script("web", "tell=READY=1", "hold")}})
	w.event(Ready, "web")
	w = newWorld(t, Config{RunDir: fits + "x", Watchers: []schema.Watcher{script("web", "hold")}})
	want := fits + "x/notify.sock: a socket path of 108 bytes, at most 107 are possible; choose a shorter run directory"
	if err := w.Start(context.Background()); err == nil || err.Error() != want {
		t.Errorf("Start = %v, want %s", err, want)
	}
}

// A second supervisor in the same place is refused with the pid of the first,
// which does not notice.
func TestRunning(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Name, cfg.Watchers = testName(), []schema.Watcher{script("web", "tell=READY=1", "pid=ready", "hold")}
		first := start(t, cfg)
		pid := first.pid("web.1 | ready")
		first.event(Spawned, "web")
		refused := func(name, want string, pid int) {
			t.Run(name, func(t *testing.T) {
				var running *RunningError
				err := newWorld(t, cfg).Start(context.Background())
				if !errors.As(err, &running) || err.Error() != want || running.Pid != pid {
					t.Fatalf("second Start = %v, want %s", err, want)
				}
				if got := running.Hint(); got != "a second copy needs another name: --name NAME" {
					t.Errorf("hint %q", got)
				}
			})
		}
		refused("pid", fmt.Sprintf("%s is already running, as pid %d", cfg.Name, os.Getpid()), os.Getpid())
		if err := os.WriteFile(cfg.RunDir+"/lock", []byte("half a line"), 0o640); err != nil {
			t.Fatal(err)
		}
		refused("no pid", cfg.Name+" is already running", 0)
		kill(t, pid) // its replacement finds the notify socket in its place
		first.pid("web.1 | ready")
		if err := first.Stop(); err != nil {
			t.Error(err)
		}
		start(t, cfg).pid("web.1 | ready")
	})
}

// The lock is no way to write to another file.
func TestLockIsLink(t *testing.T) {
	dir := hostDir(t)
	run, victim := filepath.Join(dir, "run"), filepath.Join(dir, "victim")
	if err := os.Mkdir(run, 0o710); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, run+"/lock"); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Config{RunDir: run, Watchers: []schema.Watcher{script("web", "hold")}})
	if err := w.Start(context.Background()); !errors.Is(err, unix.ELOOP) {
		t.Errorf("Start = %v, want ELOOP", err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("the file behind the link holds %q, %v", b, err)
	}
}

// Two supervisors of one name in two places do not know of each other: the end
// of one ends nothing of the other.
func TestTwoOfOneName(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Name, cfg.Watchers = testName(), []schema.Watcher{script("web", "pid=ready", "hold")}
		one := start(t, cfg)
		pid := one.pid("web.1 | ready")
		cfg.RunDir, cfg.Adopt = filepath.Join(hostDir(t), "run"), false // a process adopts once
		two := start(t, cfg)
		two.pid("web.1 | ready")
		if err := two.Stop(); err != nil {
			t.Error(err)
		}
		if got := one.pidsOf("web"); len(got) != 1 || got[0] != pid {
			t.Errorf("pids %v, want %d as before", got, pid)
		}
	})
}
