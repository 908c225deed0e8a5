package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// How a process ends is told once, as it was.
func TestExit(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		dir := t.TempDir() // for a core
		for _, tt := range []struct{ step, want string }{
			{"exit=0", "exit status 0"}, {"exit=7", "exit status 7"}, {"exit=255", "exit status 255"},
			{"die=KILL", "killed by SIGKILL"}, {"die=TERM", "killed by SIGTERM"}, {"die=ABRT", "killed by SIGABRT"}, {"die=35", "killed by SIGRTMIN+1"},
		} {
			c := l.start(func(s *Spec) { s.Dir = dir }, tt.step)
			if got := c.exit().String(); got != tt.want {
				t.Errorf("%s gives %s, want %s", tt.step, got, tt.want)
			}
			if !c.Tree.Empty() {
				t.Errorf("%s leaves something", tt.step)
			}
			if err := c.Signal(unix.SIGKILL); err != nil {
				t.Errorf("Signal after %s = %v", tt.step, err)
			}
			if err := c.SignalChildren(unix.SIGKILL); err != nil {
				t.Errorf("SignalChildren after %s = %v", tt.step, err)
			}
			c.Tree.Kill()
		}
	})
}

// What cannot be executed is told by Start, with the number of the kernel, and
// leaves nothing.
func TestStartRefused(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		dir := t.TempDir()
		for name, text := range map[string]string{"empty": "", "script": "#!/nowhere/sh\n", "plain": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "plain"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name string
			set  func(*Spec)
			want syscall.Errno
		}{
			{"no program", func(s *Spec) { s.Path = filepath.Join(dir, "none") }, syscall.ENOENT},
			{"no interpreter", func(s *Spec) { s.Path = filepath.Join(dir, "script") }, syscall.ENOENT},
			{"not executable", func(s *Spec) { s.Path = filepath.Join(dir, "plain") }, syscall.EACCES},
			{"a directory", func(s *Spec) { s.Path = dir }, syscall.EACCES},
			{"no format", func(s *Spec) { s.Path = filepath.Join(dir, "empty") }, syscall.ENOEXEC},
			{"no working directory", func(s *Spec) { s.Dir = filepath.Join(dir, "none") }, syscall.ENOENT},
			{"working directory a file", func(s *Spec) { s.Dir = filepath.Join(dir, "plain") }, syscall.ENOTDIR},
			{"too many arguments", func(s *Spec) { s.Argv = append(s.Argv, strings.Repeat("x", 1<<18)) }, syscall.E2BIG},
			{"NUL in an argument", func(s *Spec) { s.Argv = append(s.Argv, "a\x00b") }, syscall.EINVAL},
			{"descriptor that is not open", func(s *Spec) { s.Extra = []int{987} }, syscall.EBADF},
		} {
			if c, err := l.try(tt.set, "hold"); !errors.Is(err, tt.want) {
				t.Errorf("%s: Start = %v, %v, want %v", tt.name, c, err, tt.want)
			}
		}
		if n := len(l.byPid) + len(l.trees); n != 0 {
			t.Errorf("%d processes and trees are known", n)
		}
		if l.cgroups != nil && len(subCgroups(l.cgroups.Dir())) != 0 {
			t.Errorf("%s has %q", l.cgroups.Dir(), subCgroups(l.cgroups.Dir()))
		}
	})
}

// A process has what its Spec says and nothing else.
func TestSpec(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		for _, shim := range []*Shim{nil, {}} {
			c := l.start(func(s *Spec) {
				s.Dir, s.Env, s.Shim = dir, []string{"A=1", "B=\xff"}, shim
				s.Extra = []int{int(r.Fd()), -1, int(w.Fd())}
			}, "show=args", "show=env", "show=cwd", "show=fds", "show=session", "eof")
			c.want(`["prog" "child" "show=args" "show=env" "show=cwd" "show=fds" "show=session" "eof"]`)
			c.want(`["A=1" "B=\xff"]`)
			c.want(dir)
			c.want("[0=/dev/null 1=pipe 2=pipe 3=pipe 4=/dev/null 5=pipe]")
			c.want("true")
			if st := c.exit(); !st.Success() {
				t.Errorf("it ended with %s", st)
			}
		}
	})
}

// The shim sets limits, says which descriptors are sockets, and is then the
// program, with the same pid.
func TestShim(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	limits := []Rlimit{{unix.RLIMIT_NOFILE, 77}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_STACK, 1 << 23}, {unix.RLIMIT_AS, 1 << 40}}
	c := l.start(func(s *Spec) {
		s.Env = []string{"A=1", "LISTEN_FDS=9", "LISTEN_PID=1", "LISTEN_FDNAMES=x"}
		s.Shim = &Shim{Rlimits: limits, FDNames: []string{"web", "db"}}
		s.Extra = []int{-1, -1}
	}, "show=env", "pid=self", "show=limit:7", "show=limit:4", "show=limit:3", "show=limit:9", "show=fds")
	pid := c.Pid
	c.want(fmt.Sprintf(`["A=1" "LISTEN_FDNAMES=web:db" "LISTEN_FDS=2" "LISTEN_PID=%d"]`, pid))
	if got := c.pid("self"); got != pid {
		t.Errorf("its pid is %d, want %d", got, pid)
	}
	for _, want := range []string{"77 77", "0 0", "8388608 8388608", "1099511627776 1099511627776"} {
		c.want(want)
	}
	c.want("[0=/dev/null 1=pipe 2=pipe 3=/dev/null 4=/dev/null]")
	c.exit()
}

// What a shim cannot do is a line and status 127.
func TestShimFails(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	for _, tt := range []struct {
		set  func(*Spec)
		want string
	}{
		{func(s *Spec) { s.Path = "/nowhere/\xff"; s.Shim = &Shim{} }, "appbundle: exec /nowhere/\xff: no such file or directory"},
		{func(s *Spec) { s.Shim = &Shim{Rlimits: []Rlimit{{99, 1}}} }, "appbundle: setrlimit 99 to 1: invalid argument"},
	} {
		c := l.start(tt.set, "hold")
		c.want(tt.want)
		if st := c.exit(); st.Code() != shimExit {
			t.Errorf("%s: it ended with %s", tt.want, st)
		}
	}
}

// Root may start a process as another user, and its groups are that user's;
// another user may not.
func TestCred(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	cred := &syscall.Credential{Uid: 65534, Gid: 65533, Groups: []uint32{65532, 65533}}
	for _, shim := range []*Shim{nil, {Rlimits: []Rlimit{{unix.RLIMIT_CORE, 0}}}} {
		set := func(s *Spec) {
			s.Path, s.Cred, s.Shim = "/bin/sh", cred, shim
			s.Argv = []string{"sh", "-c", "id -u; id -g; id -G"}
		}
		if os.Getuid() != 0 {
			c, err := l.try(set)
			if shim == nil {
				if !errors.Is(err, syscall.EPERM) {
					t.Errorf("Start as another user = %v, want %v", err, syscall.EPERM)
				}
				continue
			}
			c.want("appbundle: setgroups: operation not permitted")
			if st := c.exit(); st.Code() != shimExit {
				t.Errorf("it ended with %s", st)
			}
			continue
		}
		c := l.start(func(s *Spec) { set(s); s.Env = []string{"PATH=/usr/bin:/bin"} })
		c.want("65534")
		c.want("65533")
		groups := strings.Fields(c.line(""))
		if slices.Sort(groups); !slices.Equal(groups, []string{"65532", "65533"}) {
			t.Errorf("groups %q", groups)
		}
		c.exit()
	}
}

// A signal reaches the process, or its children only.
func TestSignal(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	c := l.start(nil, "spawn=wait;trap=SIGUSR1", "trap=SIGUSR2")
	c.want("trapping SIGUSR1")
	if err := c.SignalChildren(unix.SIGUSR1); err != nil {
		t.Error(err)
	}
	c.want("got SIGUSR1")
	c.want("trapping SIGUSR2")
	if err := c.Signal(unix.SIGUSR2); err != nil {
		t.Error(err)
	}
	c.want("got SIGUSR2")
	if st := c.exit(); !st.Success() {
		t.Errorf("it ended with %s", st)
	}
}

// A System that is closed leaves what lives alone, and signals nobody.
func TestClose(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	c := l.start(nil, "pid=main", "trap=SIGUSR1")
	c.pid("main")
	c.want("trapping SIGUSR1")
	l.System.Close()
	other := l.openOther(c.Pid)
	defer unix.Close(other)
	if err := c.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := unix.PidfdSendSignal(other, unix.SIGUSR1, nil, 0); err != nil {
		t.Error(err)
	}
	c.want("got SIGUSR1")
	var ws unix.WaitStatus
	if pid, err := unix.Wait4(c.Pid, &ws, 0, nil); pid != c.Pid || ws != 0 {
		t.Errorf("wait4 = %d, %v, %s", pid, err, Status(ws))
	}
	c.silence()
	l.all = nil
}

// openOther gets the next free descriptor, which was a pidfd of a System.
func (l *lab) openOther(pid int) int {
	l.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		l.Fatal(err)
	}
	return fd
}

// A status that somebody else in the program took is no success.
func TestStolenStatus(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	c := l.start(nil, "pid=main", "hold")
	c.pid("main")
	l.mu.Lock()
	if err := unix.Kill(c.Pid, unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if pid, err := unix.Wait4(c.Pid, nil, 0, nil); pid != c.Pid {
		t.Errorf("wait4 = %d, %v", pid, err)
	}
	l.mu.Unlock()
	if st := c.exit(); st != unknownStatus || st.Success() {
		t.Errorf("it ended with %s", st)
	}
}

// Orphans that end at the same time as processes never take their status, and
// are all reaped.
func TestOrphansTakeNoStatus(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, true)
	const rounds, width = 6, 8
	for range rounds {
		var all []*child
		for i := range width {
			all = append(all, l.start(nil, "spawn=double;exit=1", "spawn=;say=late;exit=2", fmt.Sprintf("exit=%d", 10+i)))
		}
		for i, c := range all {
			if st := c.exit(); st.Code() != 10+i {
				t.Errorf("process %d ended with %s, want %d", i, st, 10+i)
			}
			c.want("late")
			c.silence()
		}
		l.all = nil
	}
	for l.waitable() {
		<-l.orphaned
	}
}

// waitable reports whether there is a child that nobody started.
func (l *lab) waitable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(children(os.Getpid())) > 0
}

// BenchmarkSpawn starts a process and sees it end.
func BenchmarkSpawn(b *testing.B) {
	for _, bb := range []struct {
		name string
		shim *Shim
		cg   bool
	}{{"plain", nil, false}, {"cgroup", nil, true}, {"shim", &Shim{Rlimits: []Rlimit{{unix.RLIMIT_CORE, 0}}}, false}} {
		b.Run(bb.name, func(b *testing.B) {
			l := newLab(b, true)
			if bb.cg {
				l.cgroups = openCgroups(b, testName()) // nil is the plain way once more
			}
			done := make(chan Status, 1)
			spec := Spec{Path: "/bin/true", Argv: []string{"true"}, Dir: "/", Stdin: -1, Stdout: -1, Stderr: -1,
				Slot: "web.1", Shim: bb.shim, Cgroup: l.cgroups, OnExit: func(st Status) { done <- st }}
			for b.Loop() {
				p, err := l.Start(spec)
				if err != nil {
					b.Fatal(err)
				}
				if st := <-done; !st.Success() {
					b.Fatalf("it ended with %s", st)
				}
				if !p.Tree.Empty() {
					b.Fatal("it left something")
				}
			}
		})
	}
}
