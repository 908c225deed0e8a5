package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// The library in its smallest form: three workers, and nothing left of them.
func TestWorkers(t *testing.T) {
	r := Workers(fmt.Sprintf("%q child pid=ready hold", exe), 3)
	r.cfg.Stdout, r.cfg.Stderr = nil, nil
	w := prepare(t, &r.cfg)
	w.Runner = r
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for wid := 1; wid <= 3; wid++ {
		seen[w.pid(fmt.Sprintf("worker.%d | ready", wid))] = true
	}
	if len(seen) != 3 {
		t.Errorf("pids %v, want three", seen)
	}
	if err := r.Start(context.Background()); !errors.Is(err, ErrStarted) {
		t.Errorf("second Start = %v, want ErrStarted", err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("second Stop = %v", err)
	}
}

func TestWorkersRefused(t *testing.T) {
	for _, tt := range []struct{ name, cmd, want string }{
		{"quote", `worker "a`, `a " without its closing one`},
		{"empty", "", `watcher "worker": no command`},
		{"missing", "bin/none", `watcher "worker": bin/none: no such file or directory`},
		{"not in PATH", "surely-no-such-program", `watcher "worker": surely-no-such-program: not found in the child's PATH /nowhere`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Workers(tt.cmd, 2)
			r.cfg.Environ = []string{"PATH=/nowhere"}
			w := prepare(t, &r.cfg)
			w.Runner = r
			err := r.Start(context.Background())
			if err == nil || err.Error() != tt.want {
				t.Errorf("Start of %q = %v, want %s", tt.cmd, err, tt.want)
			}
			if got := r.Wait(); got != err {
				t.Errorf("Wait = %v, want what Start gave: %v", got, err)
			}
		})
	}
}

// A Runner that was never started stops at once, and is used up by it.
func TestStopBeforeStart(t *testing.T) {
	w := newWorld(t, Config{Watchers: []schema.Watcher{script("web", "hold")}})
	if err := w.Stop(); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := w.Start(context.Background()); !errors.Is(err, ErrStarted) {
		t.Errorf("Start after Stop = %v, want ErrStarted", err)
	}
}

// The end of the context is a Stop.
func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	w := newWorld(t, Config{Watchers: []schema.Watcher{script("web", "pid=ready", "hold")}})
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
	w.pid("web.1 | ready")
	cancel()
	if err := w.Wait(); err != nil {
		t.Errorf("Wait = %v", err)
	}
}

// A child's environment is what the standard says and nothing else, in each of
// its four forms.
func TestEnvironment(t *testing.T) {
	dir := hostDir(t)
	run := filepath.Join(dir, "run")
	own := []string{"SECRET=s3cr3t", "TMPDIR=/var/tmp", "PATH=/super/bin", "HOME=/super", "NOTIFY_SOCKET=/run/systemd/notify", "LANG=de_DE"}
	app := []string{"APPBUNDLE_NAME=shop", "APPBUNDLE_VERSION=1.2.3", "APPBUNDLE_WATCHER=web", "APPBUNDLE_WID=1",
		"APPBUNDLE_RUN_DIR=" + run, "NOTIFY_SOCKET=" + run + "/notify.sock", "POWERHOSE_MASTER=" + run + "/powerhose/master.sock", "APPBUNDLE_STATE_DIR=" + dir + "/state"}
	for _, tt := range []struct {
		name         string
		copied, bare bool
		want         []string
	}{
		{"ours", false, false, append([]string{"PATH=/env/bin:/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TMPDIR=/var/tmp", "HOME=" + homeOf(os.Getuid())}, app...)},
		{"copied", true, false, append([]string{"SECRET=s3cr3t", "TMPDIR=/var/tmp", "PATH=/super/bin", "HOME=/super", "LANG=de_DE"}, app...)},
		{"bare", false, true, nil},
		{"bare and copied", true, true, []string{"SECRET=s3cr3t", "TMPDIR=/var/tmp", "PATH=/super/bin", "HOME=/super", "LANG=de_DE"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := script("web", "env", "hold")
			c.CopyEnv, c.BareEnv = tt.copied, tt.bare
			c.Env = []schema.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "$SECRET:${A}:$NONE"}, {Name: "A", Value: "2"}}
			w := start(t, Config{Name: "shop", Version: "1.2.3", EnvDir: "/env", RunDir: run, StateDir: dir + "/state", Environ: own, Watchers: []schema.Watcher{c}})
			var got []string
			for v := ""; v != "end"; v = w.line("web.1 | env ") {
				if v != "" {
					got = append(got, v)
				}
			}
			want := append(slices.Clone(tt.want), "A=2", "B="+schema.ExpandEnv("$SECRET:${A}:$NONE", w.cfg.environ))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("the child's environment is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if want[len(want)-1] == "" || !slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, "B=s3cr3t:") }) {
				t.Errorf("$SECRET was not replaced: %q", got)
			}
		})
	}
}

// A child has the app directory as its working directory, its own stdin and no
// descriptor that was not meant for it.
func TestSurroundings(t *testing.T) {
	dir := hostDir(t)
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	inner := script("inner", "cwd", "hold")
	inner.Dir = "sub"
	w := start(t, Config{Dir: dir, RunDir: filepath.Join(dir, "run"), Watchers: []schema.Watcher{script("web", "cwd", "fds", "hold"), inner}})
	if got, want := w.line("web.1 | cwd="), dir+" argv0="+exe; got != want {
		t.Errorf("cwd is %s, want %s", got, want)
	}
	if got, want := w.line("inner.1 | cwd="), dir+"/sub argv0="+exe; got != want {
		t.Errorf("cwd is %s, want %s", got, want)
	}
	if got := w.line("web.1 | fds="); got != "[]" {
		t.Errorf("the child inherits descriptors %s", got)
	}
}

// A child's stdin is /dev/null, or the supervisor's own where the file says so.
func TestStdin(t *testing.T) {
	f, err := os.Create(filepath.Join(hostDir(t), "in"))
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, f)
	own, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Dup2(own, 0), unix.Close(own)); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Dup2(int(f.Fd()), 0); err != nil {
		t.Fatal(err)
	}
	open := script("open", "stdin", "hold")
	open.CloseStdin = false
	w := start(t, Config{Watchers: []schema.Watcher{script("closed", "stdin", "hold"), open}})
	if got := w.line("closed.1 | stdin="); got != os.DevNull {
		t.Errorf("stdin is %s, want %s", got, os.DevNull)
	}
	if got := w.line("open.1 | stdin="); got != f.Name() {
		t.Errorf("stdin is %s, want the supervisor's: %s", got, f.Name())
	}
}

// A program is found as the standard says, and a relative shebang is one of the
// app directory.
func TestProgram(t *testing.T) {
	dir := hostDir(t)
	write := func(name, body string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/app", "#!/bin/sh\necho app $0 $1\nexec sleep 1000\n", 0o755)
	write("env/bin/tool", "#!/bin/sh\necho tool\nexec sleep 1000\n", 0o755)
	write("env/bin/interp", "#!/bin/sh\necho interp \"$@\"\nexec sleep 1000\n", 0o755)
	write("bin/rel", "#! env/bin/interp -u\n", 0o755)
	write("bin/bad", "#!env/bin/none\n", 0o755)
	write("bin/absolute", "#!/surely/none -x\n", 0o755)
	write("bin/windows", "#!/bin/sh\r\necho app\r\n", 0o755)
	write("bin/plain", "x", 0o644)
	watcher := func(name string, cmd ...string) schema.Watcher {
		c := script(name)
		c.Cmd = cmd
		return c
	}
	w := start(t, Config{Dir: dir, EnvDir: filepath.Join(dir, "env"), Watchers: []schema.Watcher{
		watcher("slash", "bin/app", "one"), watcher("path", "tool"), watcher("rel", "bin/rel", "x"), watcher("sub", "$(circus.working_dir)/bin/app", "$(circus.wid)"),
		watcher("env", "bin/app", "$(circus.env.APPBUNDLE_WATCHER)$(circus.env.NONE)"),
	}})
	w.line("slash.1 | app " + dir + "/bin/app one")
	w.line("path.1 | tool")
	w.line("rel.1 | interp -u " + dir + "/bin/rel x")
	w.line("sub.1 | app " + dir + "/bin/app 1")
	w.line("env.1 | app " + dir + "/bin/app env$(circus.env.NONE)")
	if p, err := w.Program("rel"); err != nil || p.Path != dir+"/bin/rel" || !slices.Contains(p.Env, "APPBUNDLE_WATCHER=rel") || p.Credential != nil {
		t.Errorf("Program = %+v, %v", p, err)
	}
	if _, err := w.Program("none"); err == nil || err.Error() != `there is no watcher "none"` {
		t.Errorf("Program of no watcher: %v", err)
	}
	for _, tt := range []struct {
		cmd  string
		want string
	}{
		{"bin/plain", `watcher "web": bin/plain: permission denied`},
		{"bin", `watcher "web": bin: not found in the child's PATH ` + dir + `/env/bin:/usr/local/bin:/usr/bin:/bin`},
		{"./bin", `watcher "web": ./bin: is a directory`},
		{"bin/bad", `watcher "web": bin/bad: interpreter "env/bin/none": no such file or directory`},
		{"bin/absolute", `watcher "web": bin/absolute: interpreter "/surely/none": no such file or directory`},
		{"bin/windows", `watcher "web": bin/windows: interpreter "/bin/sh\r": no such file or directory`},
		{"$(circus.sockets.web)", `watcher "web": there is no socket "web"`},
	} {
		t.Run(tt.cmd, func(t *testing.T) {
			w := newWorld(t, Config{Dir: dir, EnvDir: filepath.Join(dir, "env"), Watchers: []schema.Watcher{watcher("ok", "tool"), watcher("web", tt.cmd)}})
			err := w.Start(context.Background())
			if err == nil || err.Error() != tt.want {
				t.Errorf("Start of %s = %v, want %s", tt.cmd, err, tt.want)
			}
			if missing := strings.HasSuffix(tt.want, "no such file or directory"); errors.Is(err, fs.ErrNotExist) != missing {
				t.Errorf("%v is fs.ErrNotExist: %v, want %v", err, !missing, missing)
			}
			if _, progErr := w.Program("web"); progErr == nil || progErr.Error() != tt.want {
				t.Errorf("Program = %v, want %s", progErr, tt.want)
			}
			if n := w.count(Spawned); n != 0 {
				t.Errorf("%d processes were started by a start that was refused", n)
			}
		})
	}
}

// The command "appbundle" is the one on the child's PATH, and the program itself
// where there is none; no other command is, and no path.
func TestSelf(t *testing.T) {
	dir := t.TempDir()
	tool := func(name, says string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho "+says+" $*\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self, installed := tool("self", "self"), tool("env/bin/appbundle", "installed")
	watcher := func(name, path string, cmd ...string) schema.Watcher {
		c := script(name)
		c.Cmd, c.Env = cmd, []schema.EnvVar{{Name: "PATH", Value: path}}
		return c
	}
	w := start(t, Config{Dir: dir, Self: self, Watchers: []schema.Watcher{
		watcher("own", "/bin:/usr/bin", "appbundle", "one"), watcher("path", dir+"/env/bin:/bin:/usr/bin", "appbundle", "two"),
	}})
	for name, want := range map[string]string{"own": self, "path": installed} {
		if p, err := w.Program(name); err != nil || p.Path != want {
			t.Fatalf("the program of %s is %q, want %q (%v)", name, p.Path, want, err)
		}
	}
	w.line("own.1 | self one")
	w.line("path.1 | installed two")
	for _, tt := range []struct{ self, cmd, want string }{
		{self, "appbundled", `watcher "web": appbundled: not found in the child's PATH /surely-none`},
		{self, "./appbundle", `watcher "web": ./appbundle: no such file or directory`},
		{"", "appbundle", `watcher "web": appbundle: not found in the child's PATH /surely-none`},
	} {
		w := newWorld(t, Config{Dir: dir, Self: tt.self, Watchers: []schema.Watcher{watcher("web", "/surely-none", tt.cmd)}})
		if err := w.Start(context.Background()); err == nil || err.Error() != tt.want {
			t.Errorf("Start of %s = %v, want %s", tt.cmd, err, tt.want)
		}
	}
}

// A child without PATH is started from where execvp looks then, and stays
// without PATH.
func TestNoPath(t *testing.T) {
	web := schema.DefaultWatcher("web")
	web.Cmd, web.BareEnv = []string{"sh", "-c", "echo up; exec sleep 9999"}, true
	w := start(t, Config{Watchers: []schema.Watcher{web}})
	w.line("web.1 | up")
	p, err := w.Program("web")
	if err != nil || p.Path != "/bin/sh" || len(p.Env) != 0 {
		t.Errorf("Program = %+v, %v, want /bin/sh without an environment", p, err)
	}
	for _, tt := range []struct {
		name string
		env  []schema.EnvVar
		want string
	}{
		{"no PATH", nil, `watcher "web": surely-none: not found in /bin:/usr/bin, where a program is looked for without PATH`},
		{"empty PATH", []schema.EnvVar{{Name: "PATH"}}, `watcher "web": surely-none: not found in the child's PATH `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := web
			bad.Cmd, bad.Env = []string{"surely-none"}, tt.env
			if err := newWorld(t, Config{Watchers: []schema.Watcher{bad}}).Start(context.Background()); err == nil || err.Error() != tt.want {
				t.Errorf("Start = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	two := []schema.Watcher{script("web", "hold"), script("WEB", "hold")}
	neg := pool("web", -1, "hold")
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no name", Config{}, `"" cannot be the name of an application`},
		{"slash", Config{Name: "a/b"}, `"a/b" cannot be the name of an application`},
		{"watcher name", Config{Name: "a", Watchers: []schema.Watcher{script("../x")}}, `"../x" cannot be the name of a watcher`},
		{"twice", Config{Name: "a", Watchers: two}, `two watchers are called "WEB"`},
		{"negative", Config{Name: "a", Watchers: []schema.Watcher{neg}}, `watcher "web": -1 processes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.cfg); err == nil || err.Error() != tt.want {
				t.Errorf("New = %v, want %s", err, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		name   string
		change func(*schema.Watcher)
		want   string
	}{
		{"directory", func(w *schema.Watcher) { w.Dir = "/surely/none" }, `watcher "web": working directory /surely/none: no such file or directory`},
		{"no directory", func(w *schema.Watcher) { w.Dir = exe }, `watcher "web": working directory ` + exe + `: not a directory`},
		{"user", func(w *schema.Watcher) { w.UID = "surely-nobody-here" }, `watcher "web": user: unknown user surely-nobody-here`},
		{"group", func(w *schema.Watcher) { w.GID = "surely-none-here" }, `watcher "web": group: unknown group surely-none-here`},
		{"stdin", func(w *schema.Watcher) { w.StdinSocket = "none" }, `watcher "web": there is no socket "none"`},
		{"limit", func(w *schema.Watcher) { w.Rlimits = []schema.Rlimit{{Name: "patience"}} }, `watcher "web": there is no resource limit "patience"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := script("web", "hold")
			tt.change(&c)
			w := newWorld(t, Config{Watchers: []schema.Watcher{c}})
			if err := w.Start(context.Background()); err == nil || err.Error() != tt.want {
				t.Errorf("Start = %v, want %s", err, tt.want)
			}
		})
	}
}

// A main process that is killed is replaced, and its replacement is left
// alone.
func TestReplace(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{pool("web", 2, "tell=READY=1", "pid=ready", "hold")}
		w := start(t, cfg)
		first, other := w.pid("web.1 | ready"), w.pid("web.2 | ready")
		for range 5 {
			kill(t, first)
			if e := w.event(Died, "web"); e.Pid != first || e.WID != 1 || e.Text != "killed by SIGKILL" {
				t.Fatalf("event %+v, want the death of pid %d in slot 1", e, first)
			}
			next := w.pid("web.1 | ready")
			if next == first {
				t.Fatalf("pid %d twice", first)
			}
			first = next
		}
		for _, pid := range []int{first, other} {
			w.events.await(t, "readiness", func(e Event) bool { return e.Kind == Ready && e.Pid == pid })
		}
		st := w.Status()
		if len(st) != 1 || st[0].Want != 2 || st[0].Leftover != 0 || len(st[0].Processes) != 2 ||
			st[0].Processes[0].Pid != first || st[0].Processes[1].Pid != other || st[0].Processes[0].Phase != "up" {
			t.Errorf("Status = %+v, want pids %d and %d, up", st, first, other)
		}
		if n := w.count(Died) + w.count(Leftover) + w.count(Signaled); n != 0 {
			t.Errorf("%d more deaths; events:\n%s", n, w.events.history())
		}
	})
}

// What a main process leaves behind gets the stop signal, however it hid. One
// that ignores it is killed when its time is up, which is at once here.
func TestLeftovers(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		kinds := []string{"", "setsid", "double", "doublesetsid", "doublesetsidbare"}
		var polite, deaf []string
		for _, k := range kinds {
			polite = append(polite, "spawn="+k+";pid=leaf;hold")
			deaf = append(deaf, "spawn="+k+";deaf;pid=leaf;hold")
		}
		for _, tt := range []struct {
			name  string
			steps []string
			grace time.Duration
		}{{"polite", polite, 10 * patience}, {"deaf", deaf, 0}} {
			t.Run(tt.name, func(t *testing.T) {
				c := script("web", append(append([]string{}, tt.steps...), "pid=main", "trap=SIGUSR1,3")...)
				c.GracefulTimeout, c.Respawn = tt.grace, false
				cfg := cfg
				cfg.Watchers = []schema.Watcher{c}
				w := start(t, cfg)
				main := w.pid("web.1 | main")
				var leaves []int
				for range kinds {
					leaves = append(leaves, w.pid("web.1 | leaf"))
				}
				w.line("web.1 | trapping SIGUSR1")
				if err := unix.Kill(main, unix.SIGUSR1); err != nil {
					t.Fatal(err)
				}
				if e := w.event(Ended, "web"); e.Text != "exit status 3" {
					t.Errorf("event %+v, want the exit with status 3", e)
				}
				if e := w.event(Leftover, "web"); e.Text != fmt.Sprintf("left %d processes behind: they get SIGTERM", len(kinds)) {
					t.Errorf("event %q", e)
				}
				if tt.grace == 0 {
					w.event(Leftover, "web")
				}
				for _, pid := range leaves {
					w.pids.awaitEnd(t, pid)
				}
			})
		}
	})
}

// In the library form, without a run directory and without adoption, what stays
// in the session of its main process is ended too.
func TestLeftoversOfLibrary(t *testing.T) {
	c := script("web", "spawn=;deaf;pid=leaf;hold", "spawn=double;pid=leaf;hold", "pid=main", "hold")
	c.GracefulTimeout = 0
	w := start(t, Config{Watchers: []schema.Watcher{c}})
	main := w.pid("web.1 | main")
	leaves := []int{w.pid("web.1 | leaf"), w.pid("web.1 | leaf")}
	kill(t, main)
	for _, pid := range leaves {
		w.pids.awaitEnd(t, pid)
	}
	w.pid("web.1 | main")
}

// A Stop meets processes that ignore the stop signal, above and below.
func TestStopStubborn(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		c := pool("web", 2, "deaf", "spawn=;deaf;pid=leaf;hold", "spawn=doublesetsid;deaf;pid=leaf;hold", "pid=main", "hold")
		c.GracefulTimeout = 0
		cfg.Watchers = []schema.Watcher{c}
		w := start(t, cfg)
		for wid := 1; wid <= 2; wid++ {
			for _, label := range []string{"main", "leaf", "leaf"} {
				w.pid(fmt.Sprintf("web.%d | %s", wid, label))
			}
		}
		if err := w.Stop(); err != nil {
			t.Errorf("Stop = %v", err)
		}
		w.event(Signaled, "web")
		w.event(Killed, "web")
		if e := w.event(Ended, "web"); e.Text != "killed by SIGKILL" {
			t.Errorf("event %q, want the end by KILL", e)
		}
	})
}

// Kill ends at once what a Stop waits for.
func TestKillDuringStop(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{script("web", "spawn=doublesetsid;deaf;pid=leaf;hold", "deaf", "pid=main", "hold")}
		w := start(t, cfg)
		w.pid("web.1 | leaf")
		w.pid("web.1 | main")
		stopped := make(chan error)
		go func() { stopped <- w.Stop() }()
		w.event(Signaled, "web")
		if err := w.Kill(); err != nil {
			t.Errorf("Kill = %v", err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
}

// Kill ends at once also what was left behind before.
func TestKillLeftovers(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Watchers = []schema.Watcher{script("web", "spawn=doublesetsid;deaf;pid=leaf;hold", "pid=main", "hold")}
		w := start(t, cfg)
		w.pid("web.1 | leaf")
		kill(t, w.pid("web.1 | main"))
		w.event(Leftover, "web")
		w.pid("web.1 | main")
		w.pid("web.1 | leaf")
		if err := w.Kill(); err != nil {
			t.Errorf("Kill = %v", err)
		}
	})
}

// stop_children sends the stop signal to direct children too; without it only
// the main process gets it.
func TestStopChildren(t *testing.T) {
	c := script("web", "spawn=;trap=SIGTERM,0", "pid=main", "trap=SIGINT,0")
	c.StopChildren = true
	d := script("other", "pid=main", "trap=SIGINT,0")
	d.StopSignal = unix.SIGINT
	w := start(t, Config{Watchers: []schema.Watcher{c, d}})
	w.line("web.1 | trapping SIGTERM")
	w.line("other.1 | trapping SIGINT")
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	w.line("web.1 | got SIGTERM")
	w.line("other.1 | got SIGINT")
}

// A command that cannot stay up rests, and in the end the Runner gives up.
func TestGiveUp(t *testing.T) {
	c := pool("web", 1, "exit=1")
	c.Flapping = schema.Flapping{Attempts: 3, Window: time.Hour, RetryIn: 0, MaxRetry: 2}
	quiet := script("later", "hold")
	quiet.Autostart = false
	w := start(t, Config{Watchers: []schema.Watcher{c, quiet}})
	var gaveUp *GaveUpError
	if err := w.Wait(); !errors.As(err, &gaveUp) || err.Error() != `watcher "web" gave up` {
		t.Errorf("Wait = %v, want a GaveUpError", err)
	}
	// Three deaths before each of two rests, and three before giving up.
	if got := []int{w.count(Spawned), w.count(Died), w.count(Resting), w.count(GaveUp)}; !slices.Equal(got, []int{9, 9, 2, 1}) {
		t.Errorf("starts, deaths, rests and giving up = %v, want [9 9 2 1]", got)
	}
}

// Only when no watcher is left does the Runner give up; a slot that gave up
// takes none of its neighbours along.
func TestGiveUpAlone(t *testing.T) {
	bad := pool("bad", 2, "exit=1")
	bad.Flapping = schema.Flapping{Attempts: 1, Window: time.Hour, MaxRetry: 0}
	good := script("good", "pid=ready", "hold")
	w := start(t, Config{Watchers: []schema.Watcher{bad, good}})
	w.event(GaveUp, "bad")
	w.event(GaveUp, "bad")
	w.pid("good.1 | ready")
	if st := w.Status(); st[0].Failed != 2 || len(st[1].Processes) != 1 {
		t.Errorf("Status = %+v, want two failed slots and one that lives", st)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("Stop = %v, want nil: it was asked for", err)
	}
}

// A process that dies young waits for its back-off: with an endless one it is
// not started again, though it is wanted.
func TestBackoff(t *testing.T) {
	c := script("web", "exit=1")
	c.Backoff = schema.Backoff{First: time.Hour, Max: time.Hour}
	w := start(t, Config{Watchers: []schema.Watcher{c, script("good", "pid=ready", "hold")}})
	w.event(Died, "web")
	w.pid("good.1 | ready")
	if err := w.Stop(); err != nil {
		t.Errorf("Stop = %v", err)
	}
	w.event(Stopped, "web")
	if n := w.count(Spawned); n != 2 {
		t.Errorf("%d starts, want 2", n)
	}
}

// What cannot be executed any more is an exec failure, by whatever way: it is
// reported with what is missing and tried again, max_retry times.
func TestExecFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"x bit lost", func(dir string) error { return os.Chmod(dir+"/prog", 0o644) }, "./prog: permission denied"},
		{"gone", func(dir string) error { return os.Remove(dir + "/prog") }, "./prog: no such file or directory"},
		{"interpreter gone", func(dir string) error { return os.Remove(dir + "/sh") }, `./prog: interpreter "DIR/sh": no such file or directory`},
		{"directory gone", func(dir string) error { return os.Remove(dir + "/sub") }, "working directory DIR/sub: no such file or directory"},
		{"no program", noProgram, "./prog: exec format error"},
	} {
		test := func(t *testing.T, cfg Config, shim bool) {
			w, dir := startProgram(t, cfg, func(c *schema.Watcher) {
				if c.MaxRetry = 3; shim {
					c.Rlimits = []schema.Rlimit{{Name: "core", Value: 0}}
				}
			})
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			kill(t, w.event(Spawned, "web").Pid)
			var gaveUp *GaveUpError
			if err := w.Wait(); !errors.As(err, &gaveUp) {
				t.Errorf("Wait = %v, want a GaveUpError", err)
			}
			want := "web.1: spawn: " + strings.ReplaceAll(tt.want, "DIR", dir)
			for range 3 {
				if e := w.event(NotFound, "web"); e.String() != want {
					t.Errorf("event %q, want %q", e, want)
				}
			}
			if n := w.count(NotFound); n != 0 {
				t.Errorf("%d more exec failures, want 3", n)
			}
		}
		t.Run(tt.name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, cfg Config) { test(t, cfg, false) })
			if tt.name != "no program" { // nobody but the kernel finds that
				t.Run("shim", func(t *testing.T) { test(t, Config{}, true) })
			}
		})
	}
}

// What only the exec of the shim finds is a death, and the shim says why.
func TestShimExecFails(t *testing.T) {
	w, dir := startProgram(t, Config{}, func(c *schema.Watcher) {
		c.Rlimits = []schema.Rlimit{{Name: "core", Value: 0}}
		c.Flapping = schema.Flapping{Attempts: 2, Window: time.Hour}
	})
	if err := noProgram(dir); err != nil {
		t.Fatal(err)
	}
	kill(t, w.event(Spawned, "web").Pid)
	w.event(Died, "web")
	if e := w.event(Died, "web"); e.Text != "exit status 127" {
		t.Errorf("event %q", e)
	}
	want := "web.1 | appbundle: exec " + dir + "/prog: exec format error"
	w.err.await(t, "the shim's refusal", func(s string) bool { return s == want })
	w.event(GaveUp, "web")
}

// startProgram starts a watcher of ./prog, a script of an interpreter "sh" in
// dir, with the working directory "sub".
func startProgram(t *testing.T, cfg Config, change func(*schema.Watcher)) (w *world, dir string) {
	t.Helper()
	cfg.Dir = hostDir(t)
	for _, err := range []error{os.Symlink("/bin/sh", cfg.Dir+"/sh"), os.Mkdir(cfg.Dir+"/sub", 0o755),
		rewrite(cfg.Dir+"/prog", "#!"+cfg.Dir+"/sh\necho up\nexec sleep 1000\n")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := script("web")
	c.Cmd, c.Dir = []string{"./prog"}, "sub"
	change(&c)
	cfg.Watchers = []schema.Watcher{c}
	w = start(t, cfg)
	w.line("web.1 | up")
	return w, cfg.Dir
}

func noProgram(dir string) error { return rewrite(dir+"/prog", "\x7fELF\x7f") }

// rewrite makes an executable file in the place of another one, which may be in
// use.
func rewrite(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o755); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Without respawn what ended is not replaced, and that ends nothing.
func TestNoRespawn(t *testing.T) {
	c := script("job", "say=done", "exit=4")
	c.Respawn = false
	w := start(t, Config{Watchers: []schema.Watcher{c}})
	if e := w.event(Ended, "job"); e.Text != "exit status 4" {
		t.Errorf("event %q", e)
	}
	if err := w.Stop(); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if n := w.count(Settled); n != 0 {
		t.Error("what has ended is said to be up")
	}
}

// Everything is up when what runs is up and the rest has done its work; not
// when a process failed instead, nor when there is nothing that runs. Upstairs
// hears that the start is over, unless it ends with an error.
func TestSettled(t *testing.T) {
	work, fail, hold := script("job", "exit=0"), script("job", "exit=3"), script("web", "hold")
	work.Respawn, fail.Respawn, hold.Respawn = false, false, false
	for _, tt := range []struct {
		name     string
		watchers []schema.Watcher
		once     bool
		up       bool
		ready    bool
	}{
		{"none", []schema.Watcher{pool("web", 0, "hold")}, false, false, true},
		{"one and none", []schema.Watcher{hold, pool("db", 0, "hold")}, false, true, true},
		{"one has done its work", []schema.Watcher{work, hold}, false, true, true},
		{"one has failed", []schema.Watcher{fail, hold}, false, false, true},
		{"once, one has done its work", []schema.Watcher{work, hold}, true, true, true},
		{"once, one has failed", []schema.Watcher{fail, hold}, true, false, true},
		{"once, all have done their work", []schema.Watcher{work}, true, false, true},
		{"once, all have failed", []schema.Watcher{fail}, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := hostDir(t)
			path := filepath.Join(dir, "up")
			up, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			closeAtEnd(t, up)
			if err := up.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			w := start(t, Config{RunDir: filepath.Join(dir, "run"), Environ: []string{"NOTIFY_SOCKET=" + path}, noCgroups: true,
				Once: tt.once, Watchers: tt.watchers})
			buf := make([]byte, 4096)
			n, err := up.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(buf[:n]); got == "READY=1" != tt.ready {
				t.Errorf("said %q first", got)
			}
			_ = w.Stop()
			if n := w.count(Settled); n == 1 != tt.up {
				t.Errorf("it was said %d times that every watcher is up", n)
			}
		})
	}
}

// Once starts each process once and ends with the first status that is not 0.
func TestOnce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		statuses []string
		want     string
	}{
		{"all well", []string{"exit=0", "exit=0"}, "<nil>"},
		{"one fails", []string{"exit=0", "exit=3"}, "b.1 ended with exit status 3"},
		{"killed", []string{"die", "exit=0"}, "a.1 ended with killed by SIGKILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var watchers []schema.Watcher
			for i, step := range tt.statuses {
				watchers = append(watchers, pool(string(rune('a'+i)), 2, "say=done", step))
			}
			w := start(t, Config{Once: true, Watchers: watchers})
			if err := w.Wait(); fmt.Sprint(err) != tt.want {
				t.Errorf("Wait = %v, want %s", err, tt.want)
			}
			if n := w.count(Spawned); n != 4 {
				t.Errorf("%d starts, want 4", n)
			}
		})
	}
}

// warmup_delay lies between two starts, priority decides their order, and a
// stop does not wait for starts that are still to come.
func TestOrder(t *testing.T) {
	low, high := pool("low", 3, "pid=ready", "hold"), pool("high", 1, "pid=ready", "hold")
	low.WarmupDelay, high.Priority = time.Hour, 1
	w := start(t, Config{Watchers: []schema.Watcher{low, high}, WarmupDelay: time.Nanosecond})
	if e := w.events.await(t, "start", func(e Event) bool { return e.Kind == Spawned }); e.Watcher != "high" {
		t.Errorf("%q was started first", e.Watcher)
	}
	w.pid("low.1 | ready")
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if n := w.count(Spawned); n != 1 {
		t.Errorf("%d more starts, want 1: the others were an hour away", n)
	}
}

// With a warmup_delay the processes of a pool start one after the other.
func TestWarmup(t *testing.T) {
	const delay = 5 * time.Millisecond
	c := pool("web", 4, "hold")
	c.WarmupDelay = delay
	w := start(t, Config{Watchers: []schema.Watcher{c}})
	var last time.Time
	for wid := 1; wid <= 4; wid++ {
		e := w.event(Spawned, "web")
		if e.WID != wid || e.Time.Sub(last) < delay {
			t.Errorf("start of slot %d, %v after the one before; want slot %d and at least %v", e.WID, e.Time.Sub(last), wid, delay)
		}
		last = e.Time
	}
}

// A stop does not wait for watchers that are still to be started.
func TestStopDuringWarmup(t *testing.T) {
	w := start(t, Config{Watchers: []schema.Watcher{script("first", "hold"), script("second", "hold")}, WarmupDelay: time.Hour})
	w.event(Spawned, "first")
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if n := w.count(Spawned); n != 0 {
		t.Errorf("%d more starts, want none", n)
	}
}

// When all have given up, the error names all.
func TestGiveUpAll(t *testing.T) {
	a, b := script("a", "exit=1"), script("b", "exit=1")
	a.Flapping = schema.Flapping{Attempts: 1, Window: time.Hour}
	b.Flapping = a.Flapping
	w := start(t, Config{Watchers: []schema.Watcher{a, b}})
	if err := w.Wait(); err == nil || err.Error() != `every watcher gave up: ["a" "b"]` {
		t.Errorf("Wait = %v", err)
	}
}
