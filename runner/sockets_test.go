package runner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// tcp gives a socket on a port that the kernel picks.
func tcp(name string) schema.Socket {
	s := schema.DefaultSocket(name)
	s.Host = "127.0.0.1"
	return s
}

// file gives a Unix socket.
func file(name, path string) schema.Socket {
	s := schema.DefaultSocket(name)
	s.Path = path
	return s
}

// ask connects to what serve serves and gives the pid that answers.
func ask(tb testing.TB, network, addr string) int {
	tb.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		tb.Fatalf("dial: %v", err)
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		tb.Fatalf("read: %v", err)
	}
	return number32(strings.TrimSpace(line))
}

// The socket is the supervisor's: while its server is killed and replaced, who
// connects waits, and is never refused.
func TestSocketOutlivesServers(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		cfg.Sockets = []schema.Socket{tcp("other"), tcp("web")}
		cfg.Watchers = []schema.Watcher{script("web", "fds", "serve=$(circus.sockets.web)")}
		w := start(t, cfg)
		if got := w.line("web.1 | fds="); got != "[3]" {
			t.Errorf("the child inherits descriptors %s, want 3 alone", got)
		}
		addr := w.Sockets()["web"]
		seen := map[int]bool{}
		for range 20 {
			w.line("web.1 | serving " + addr)
			pid := ask(t, "tcp", addr)
			seen[pid] = true
			kill(t, pid)
			// Nobody serves now, or somebody else does already.
			if next := ask(t, "tcp", addr); next == pid {
				t.Fatalf("pid %d answers after its death", pid)
			}
		}
		if len(seen) != 20 {
			t.Errorf("%d servers answered, want 20", len(seen))
		}
	})
}

// use_sockets gives every socket from 3 on, in the order of the file, and says
// so as systemd does, whatever the supervisor was told itself. The shim is
// gone: LISTEN_PID is the pid of the program.
func TestUseSockets(t *testing.T) {
	dir := hostDir(t)
	blocking := file("second", filepath.Join(dir, "s.sock"))
	blocking.Blocking = true
	c := script("web", "pid=main", "env", "fds", "sock=3", "sock=4", "hold")
	c.UseSockets, c.CopyEnv = true, true
	w := start(t, Config{Watchers: []schema.Watcher{c, script("none", "fds", "hold")}, Sockets: []schema.Socket{tcp("first"), blocking},
		Environ: []string{"LISTEN_PID=1", "LISTEN_FDS=7", "LISTEN_FDNAMES=x"}})
	pid := w.pid("web.1 | main")
	var listen []string
	for v := ""; v != "end"; v = w.line("web.1 | env ") {
		if strings.HasPrefix(v, "LISTEN_") {
			listen = append(listen, v)
		}
	}
	want := []string{"LISTEN_FDS=2", fmt.Sprintf("LISTEN_PID=%d", pid), "LISTEN_FDNAMES=first:second"}
	if !slices.Equal(listen, want) {
		t.Errorf("the child is told %q, want %q", listen, want)
	}
	if got := w.line("web.1 | fds="); got != "[3 4]" {
		t.Errorf("the child inherits descriptors %s, want [3 4]", got)
	}
	_, port, err := net.SplitHostPort(w.Sockets()["first"])
	if err != nil {
		t.Fatal(err)
	}
	w.line("web.1 | sock 3 port=" + port + " nonblock=true")
	w.line("web.1 | sock 4 path=" + blocking.Path + " nonblock=false")
	if got := w.line("none.1 | fds="); got != "[]" {
		t.Errorf("who asked for no socket inherits descriptors %s", got)
	}
	if e := w.event(Spawned, "web"); e.Pid != pid {
		t.Errorf("started as pid %d, runs as %d", e.Pid, pid)
	}
}

// stdin_socket is descriptor 0, as inetd has it.
func TestStdinSocket(t *testing.T) {
	c := script("web", "fds", "serve=0")
	c.StdinSocket = "WEB"
	w := start(t, Config{Watchers: []schema.Watcher{c}, Sockets: []schema.Socket{tcp("web")}})
	if got := w.line("web.1 | fds="); got != "[]" {
		t.Errorf("the child inherits descriptors %s beside stdin", got)
	}
	w.line("web.1 | serving " + w.Sockets()["web"])
	if pid, want := ask(t, "tcp", w.Sockets()["web"]), w.event(Spawned, "web").Pid; pid != want {
		t.Errorf("pid %d answers, want %d", pid, want)
	}
}

// With so_reuseport each process has a socket of its own at one port.
func TestReusePort(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := probe.Addr().(*net.TCPAddr).Port
	probe.Close()
	s := tcp("web")
	s.Port, s.ReusePort = port, true
	c := pool("web", 3, "serve=$(circus.sockets.web)")
	w := start(t, Config{Watchers: []schema.Watcher{c}, Sockets: []schema.Socket{s}})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	want := map[int]bool{}
	for wid := 1; wid <= 3; wid++ {
		w.line(fmt.Sprintf("web.%d | serving %s", wid, addr))
		want[w.event(Spawned, "web").Pid] = true
	}
	seen := map[int]bool{}
	for deadline := time.Now().Add(patience); len(seen) < 3; {
		pid := ask(t, "tcp", addr)
		if !want[pid] {
			t.Fatalf("pid %d answers, want one of %v", pid, want)
		}
		seen[pid] = true
		if time.Now().After(deadline) {
			t.Fatalf("only %v of %v get connections", seen, want)
		}
	}
	c.StdinSocket = "web"
	r := newWorld(t, Config{Watchers: []schema.Watcher{c}, Sockets: []schema.Socket{s}})
	if err := r.Start(context.Background()); err == nil || err.Error() != `watcher "web": socket "web": so_reuseport and stdin_socket do not go together` {
		t.Errorf("Start = %v", err)
	}
}

// A Unix socket is for its owner and group, unless the file says otherwise,
// whatever the umask of the supervisor is. Its path is the run directory's.
func TestUnixSocketMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	for _, tt := range []struct {
		umask int
		want  os.FileMode
	}{{-1, 0o660}, {0, 0o777}, {0o117, 0o660}, {0o007, 0o770}, {0o177, 0o600}} {
		t.Run(fmt.Sprintf("%#o", tt.umask), func(t *testing.T) {
			run := filepath.Join(hostDir(t), "run")
			s := file("web", "web.sock")
			s.Umask = tt.umask
			w := start(t, Config{RunDir: run, Watchers: []schema.Watcher{script("web", "serve=$(circus.sockets.web)")}, Sockets: []schema.Socket{s}})
			path := filepath.Join(run, "web.sock")
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := fi.Mode().Perm(); got != tt.want {
				t.Errorf("mode %#o, want %#o", got, tt.want)
			}
			if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != os.Getuid() {
				t.Errorf("the socket's file is user %d's, want ours", st.Uid)
			}
			w.line("web.1 | serving " + path)
			ask(t, "unix", path)
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("the socket's file is there after Stop: %v", err)
			}
		})
	}
	if got := unix.Umask(0o077); got != 0o077 {
		t.Errorf("the umask is %#o afterwards, want 077", got)
	}
}

func TestSocketRefused(t *testing.T) {
	dir := hostDir(t)
	live, err := net.Listen("unix", filepath.Join(dir, "live.sock"))
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, live)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, busy)
	taken := tcp("web")
	taken.Port = busy.Addr().(*net.TCPAddr).Port
	long := filepath.Join(dir, strings.Repeat("x", 107-len(dir)))
	for _, tt := range []struct {
		name string
		s    schema.Socket
		want string
	}{
		{"live", file("web", dir+"/live.sock"), fmt.Sprintf(`socket "web": %s/live.sock: somebody listens there`, dir)},
		{"file", file("web", dir+"/file"), fmt.Sprintf(`socket "web": %s/file is there and is no socket`, dir)},
		{"long", file("web", long), `socket "web": path of 108 bytes, at most 107 are possible; choose a shorter path`},
		{"taken", taken, fmt.Sprintf(`socket "web": listen tcp %s: bind: address already in use`, busy.Addr())},
		{"no directory", file("web", dir+"/none/s"), fmt.Sprintf(`socket "web": listen unix %s/none/s: bind: no such file or directory`, dir)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The first one was bound already when the second is refused.
			first := file("first", dir+"/first.sock")
			w := newWorld(t, Config{Watchers: []schema.Watcher{script("web", "hold")}, Sockets: []schema.Socket{first, tt.s}})
			if err := w.Start(context.Background()); err == nil || err.Error() != tt.want {
				t.Errorf("Start = %v, want %s", err, tt.want)
			}
			if _, err := os.Lstat(first.Path); !os.IsNotExist(err) {
				t.Errorf("a refused start leaves %s", first.Path)
			}
		})
	}
	fits := file("web", long[:107])
	w := start(t, Config{Watchers: []schema.Watcher{script("web", "sock=$(circus.sockets.web)", "hold")}, Sockets: []schema.Socket{fits}})
	w.line("web.1 | sock 3 path=" + fits.Path)
	replaced := file("web", dir+"/live.sock")
	replaced.Replace = true
	w = start(t, Config{Watchers: []schema.Watcher{script("web", "serve=$(circus.sockets.web)")}, Sockets: []schema.Socket{replaced}})
	w.line("web.1 | serving")
	if pid, want := ask(t, "unix", replaced.Path), w.event(Spawned, "web").Pid; pid != want {
		t.Errorf("pid %d answers, want %d", pid, want)
	}
}

// Who finds the address of the app taken is told how to choose another one; for
// other sockets only their configuration does that.
func TestAddressInUseHint(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, busy)
	for name, want := range map[string]string{"app": `--bind HOST:PORT chooses another address for the socket "app"`, "db": ""} {
		s := tcp(name)
		s.Port = busy.Addr().(*net.TCPAddr).Port
		err := newWorld(t, Config{Watchers: []schema.Watcher{script("web", "hold")}, Sockets: []schema.Socket{s}}).Start(context.Background())
		var taken *AddressInUseError
		if !errors.As(err, &taken) || taken.Hint() != want || !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("Start with %s = %v, want an AddressInUseError with the hint %q", name, err, want)
		}
	}
}

// What to shorten depends on who chose the path.
func TestLongSocketPath(t *testing.T) {
	dir := hostDir(t)
	run := filepath.Join(dir, strings.Repeat("r", 90-len(dir)-1)) // its notify socket fits
	name := strings.Repeat("x", 20)
	for _, tt := range []struct{ name, run, path, want string }{
		{"below the run directory", run, name, "choose a shorter run directory"},
		{"absolute", run, filepath.Join(run, name), "choose a shorter path"},
		{"below the app directory", "", name + strings.Repeat("x", 100), "choose a shorter path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, Config{Dir: dir, RunDir: tt.run, noCgroups: true, Watchers: []schema.Watcher{script("web", "hold")}, Sockets: []schema.Socket{file("web", tt.path)}})
			if err := w.Start(context.Background()); err == nil || !strings.HasSuffix(err.Error(), " bytes, at most 107 are possible; "+tt.want) {
				t.Errorf("Start = %v, want ... %s", err, tt.want)
			}
		})
	}
}

// The file of a socket that nobody listens on any more is replaced.
func TestStaleSocket(t *testing.T) {
	dir := hostDir(t)
	for _, kind := range []string{"stream", "seqpacket", "dgram"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(dir, kind)
			fd, err := unix.Socket(unix.AF_UNIX, map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET, "dgram": unix.SOCK_DGRAM}[kind]|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			s := file("web", path)
			s.Type = kind
			w := start(t, Config{Watchers: []schema.Watcher{script("web", "sock=$(circus.sockets.web)", "hold")}, Sockets: []schema.Socket{s}})
			w.line("web.1 | sock 3 path=" + path)
		})
	}
}

// Resource limits are the program's, set by the shim before it starts.
func TestLimits(t *testing.T) {
	c := script("web", "limit=7", "limit=4", "limit=3", "hold")
	c.Rlimits = []schema.Rlimit{{Name: "nofile", Value: 200}, {Name: "core", Value: 0}, {Name: "stack", Value: math.MaxUint32}}
	bad := script("bad", "hold")
	bad.Rlimits = []schema.Rlimit{{Name: "NOFILE", Value: math.MaxInt64}}
	bad.Flapping = schema.Flapping{Attempts: 1, Window: time.Hour}
	var hard unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &hard); err != nil {
		t.Fatal(err)
	}
	if hard.Max < math.MaxUint32 { // no more than that may be asked for
		c.Rlimits[2].Value = hard.Max
	}
	w := start(t, Config{Watchers: []schema.Watcher{c, bad}})
	// A program of Go raises its own soft limit of descriptors to the hard one.
	w.line("web.1 | limit 7=200/200")
	w.line("web.1 | limit 4=0/0")
	w.line(fmt.Sprintf("web.1 | limit 3=%d/%d", c.Rlimits[2].Value, c.Rlimits[2].Value))
	w.err.await(t, "the shim's refusal", func(s string) bool {
		return strings.HasPrefix(s, fmt.Sprintf("bad.1 | appbundle: setrlimit RLIMIT_NOFILE to %d: operation not permitted", math.MaxInt64))
	})
	if e := w.event(Died, "bad"); e.Text != "exit status 127" {
		t.Errorf("event %q", e)
	}
	w.event(GaveUp, "bad")
}

// As root a child may be another user's: with its groups, its home and a run
// directory that it can reach. An ordinary user is told that only root may.
func TestUser(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg Config) {
		defer unix.Umask(unix.Umask(0o077))
		dir := filepath.Dir(cfg.RunDir)
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		prog := copyExe(t, dir)
		for _, shim := range []bool{false, true} {
			t.Run(fmt.Sprintf("shim=%v", shim), func(t *testing.T) {
				c := script("web", "id", "env", "tell=READY=1", "hold")
				c.Cmd[0], c.UID = prog, "65534"
				if os.Getuid() != 0 {
					c.UID = "0"
				}
				if shim {
					c.Rlimits = []schema.Rlimit{{Name: "core", Value: 0}}
				}
				cfg := cfg
				cfg.Dir, cfg.StateDir, cfg.Watchers = dir, filepath.Join(dir, "state"), []schema.Watcher{c}
				w := newWorld(t, cfg)
				err := w.Start(context.Background())
				if os.Getuid() != 0 {
					if err == nil || err.Error() != `watcher "web": only root may start a process as user 0, group 0` {
						t.Errorf("Start = %v, want the refusal", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				u, err := lookupUser("65534")
				if err != nil {
					t.Fatal(err)
				}
				w.line(fmt.Sprintf("web.1 | uid=65534 gid=%s groups=[%s]", u.Gid, u.Gid))
				w.line("web.1 | env HOME=" + u.HomeDir)
				w.event(Ready, "web")
				fi, err := os.Stat(cfg.StateDir)
				if err != nil {
					t.Fatal(err)
				}
				if st := fi.Sys().(*syscall.Stat_t); st.Uid != 65534 || fi.Mode().Perm() != 0o700 {
					t.Errorf("the state directory is user %d's with mode %v, want 65534 and 0700", st.Uid, fi.Mode())
				}
			})
		}
	})
}

// Children of two groups cannot both have the run directory: nobody but root
// gets it, and that is said.
func TestTwoGroups(t *testing.T) {
	one, two := script("one", "id", "hold"), script("two", "id", "hold")
	one.GID, two.GID, one.SaysReady = "54321", "54322", true
	run := filepath.Join(hostDir(t), "run")
	w := newWorld(t, Config{RunDir: run, Watchers: []schema.Watcher{one, two}, noCgroups: true})
	err := w.Start(context.Background())
	if os.Getuid() != 0 {
		if want := fmt.Sprintf(`watcher "one": only root may start a process as user %d, group 54321`, os.Getuid()); err == nil || err.Error() != want {
			t.Errorf("Start = %v, want %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	w.line("one.1 | uid=0 gid=54321 ")
	w.line("two.1 | uid=0 gid=54322 ")
	if e := w.event(Limited, ""); e.Text != "watchers of several groups: only root's reach "+run {
		t.Errorf("event %q", e)
	}
	if fi, err := os.Stat(run); err != nil || fi.Sys().(*syscall.Stat_t).Gid != uint32(os.Getgid()) {
		t.Errorf("the run directory was given away: %+v, %v", fi.Sys(), err)
	}
	w.event(Ready, "one") // which cannot say it
}

// The state directory of several users is nobody's but root's, and that is said;
// a watcher without a user is root's.
func TestTwoUsers(t *testing.T) {
	watcher := func(name, uid string) schema.Watcher {
		w := script(name, "hold")
		w.Cmd, w.UID, w.GID = []string{"/bin/sleep", "9999"}, uid, "54321"
		if uid == "" || os.Getuid() != 0 {
			w.GID = ""
		}
		return w
	}
	type test struct {
		name     string
		watchers []schema.Watcher
		owner    uint32
		limited  bool
	}
	group := uint32(54321)
	tests := []test{
		{"one", []schema.Watcher{watcher("a", "54321"), watcher("b", "54321")}, 54321, false},
		{"root's first", []schema.Watcher{watcher("a", ""), watcher("b", "54321")}, 0, true},
		{"root's last", []schema.Watcher{watcher("a", "54321"), watcher("b", "")}, 0, true},
		{"two of one group", []schema.Watcher{watcher("a", "54321"), watcher("b", "54322")}, 0, true},
		{"root's of two groups", []schema.Watcher{watcher("a", "0"), watcher("b", "")}, 0, false},
	}
	if uid := os.Getuid(); uid != 0 { // who has no other users gives nothing away
		group = uint32(os.Getgid())
		tests = []test{{"own", []schema.Watcher{watcher("a", strconv.Itoa(uid)), watcher("b", "")}, uint32(uid), false}}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := hostDir(t)
			state := filepath.Join(dir, "state")
			w := start(t, Config{RunDir: filepath.Join(dir, "run"), StateDir: state, Watchers: tt.watchers, noCgroups: true})
			if fi, err := os.Stat(state); err != nil || fi.Sys().(*syscall.Stat_t).Uid != tt.owner {
				t.Errorf("the state directory is %+v, %v; want that of user %d", fi.Sys(), err, tt.owner)
			}
			if fi, err := os.Stat(w.cfg.RunDir); err != nil || fi.Sys().(*syscall.Stat_t).Gid != group {
				t.Errorf("the run directory is %+v, %v; want it of group %d", fi.Sys(), err, group)
			}
			if tt.limited {
				if e := w.event(Limited, ""); e.Text != "watchers of several users: none is given "+state {
					t.Errorf("event %q", e)
				}
			}
			if n := w.count(Limited); n != 0 {
				t.Errorf("%d things more are limited", n)
			}
		})
	}
}

// A group without a user keeps the user, and a number needs no name.
func TestGroup(t *testing.T) {
	c := script("web", "id", "hold")
	c.GID = "54321"
	w := newWorld(t, Config{Watchers: []schema.Watcher{c}})
	err := w.Start(context.Background())
	if os.Getuid() != 0 {
		want := fmt.Sprintf(`watcher "web": only root may start a process as user %d, group 54321`, os.Getuid())
		if err == nil || err.Error() != want {
			t.Errorf("Start = %v, want %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	w.line("web.1 | uid=0 gid=54321 groups=[")
}

// One's own user and group may be named by everybody.
func TestOwnUser(t *testing.T) {
	c := script("web", "id", "hold")
	c.UID, c.GID = fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid())
	w := start(t, Config{Watchers: []schema.Watcher{c}})
	w.line(fmt.Sprintf("web.1 | uid=%d gid=%d ", os.Getuid(), os.Getgid()))
}
