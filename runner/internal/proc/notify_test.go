package proc

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever a child sends, what arrives is a notice with the pid of who sent it,
// or nothing, and no descriptor of it stays open.
func TestNotify(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	path := filepath.Join(socketDir(t), "n")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // one that was left there
		t.Fatal(err)
	}
	got := make(chan Notice, 16)
	n, err := l.ListenNotify(path, 0o620, func(n Notice) { got <- n })
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode() != os.ModeSocket|0o620 {
		t.Errorf("the socket is %v, %v", fi.Mode(), err)
	}
	files := openFiles(t)
	longest := "STATUS=" + strings.Repeat("x", maxNotify-len("STATUS="))
	for _, tt := range []struct {
		name, text string
		rights     int
		want       map[string]string // nil for no notice
	}{
		{"ready", "READY=1\nSTATUS=up", 0, map[string]string{"READY": "1", "STATUS": "up"}},
		{"nothing", "", 0, map[string]string{}},
		{"no text", "\x00\xff=\x80\n\n==", 0, map[string]string{"\x00\xff": "\x80"}},
		{"as long as may be", longest, 0, map[string]string{"STATUS": longest[len("STATUS="):]}},
		{"too long", longest + "x", 0, nil},
		{"a descriptor", "FDSTORE=1", 1, map[string]string{"FDSTORE": "1"}},
		{"as many descriptors as fit", "A=1", 16, map[string]string{"A": "1"}},
		{"more than fit", "A=2", 253, map[string]string{"A": "2"}},
		{"too long, with descriptors", longest + "x", 3, nil},
	} {
		sendNotice(t, path, []byte(tt.text), tt.rights)
		sendNotice(t, path, []byte("END=1"), 0)
		if tt.want != nil {
			if n := <-got; n.Pid != os.Getpid() || !maps.Equal(n.Vars, tt.want) {
				t.Errorf("%s: it is by pid %d and says %.80q, want %.80q", tt.name, n.Pid, n.Vars, tt.want)
			}
		}
		if n := <-got; n.Vars["END"] != "1" {
			t.Errorf("%s: a notice came that says %.80q", tt.name, n.Vars)
		}
	}
	if now := openFiles(t); !slices.Equal(now, files) {
		t.Errorf("open descriptors: %q, want %q as before", now, files)
	}
	n.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := SendNotify(path, "READY=1"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("SendNotify = %v", err)
	}
}

func sendNotice(tb testing.TB, path string, text []byte, rights int) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(fd)
	var oob []byte
	if rights > 0 {
		oob = unix.UnixRights(slices.Repeat([]int{0}, rights)...)
	}
	if err := unix.Sendmsg(fd, text, oob, &unix.SockaddrUnix{Name: path}, 0); err != nil {
		tb.Fatal(err)
	}
}

// What a process has said is heard before its exit, also when that is seen at
// the same time: here both wait until the process has ended.
func TestNotifyBeforeExit(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	path := filepath.Join(socketDir(t), "n")
	type heard struct {
		leader int
		vars   map[string]string
	}
	got := make(chan heard, 16)
	n, err := l.ListenNotify(path, 0o600, func(n Notice) { got <- heard{l.Leader(n.Pid), n.Vars} })
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	held := make(chan struct{})
	l.loop.call(func() { <-held })
	c := l.start(nil, "tell="+path+",READY=1", "tell="+path+",STATUS=busy", "tell="+path+",STOPPING=1", "exit=0")
	if err := unix.Waitid(unix.P_PID, c.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Error(err)
	}
	close(held)
	c.exit()
	for _, name := range []string{"READY", "STATUS", "STOPPING"} {
		if h := <-got; h.leader != c.Pid || h.vars[name] == "" {
			t.Errorf("of process %d is heard: %q; want %s of pid %d", h.leader, h.vars, name, c.Pid)
		}
	}
}

func TestNotifyRefused(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	dir := socketDir(t)
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "n"): "none/n: no such file or directory",
		full:                            "full: directory not empty",
		filepath.Join(dir, strings.Repeat("x", 107)): "at most 107 are possible; choose a shorter run directory",
	} {
		if n, err := l.ListenNotify(path, 0o600, nil); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("ListenNotify(%s) = %v, %v, want ...%s", path, n, err, want)
		}
	}
}

// SendNotify knows paths and abstract names.
func TestSendNotify(t *testing.T) {
	leavesNothing(t)
	for _, name := range []string{filepath.Join(socketDir(t), "n"), "@" + testName()} {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
		if err := SendNotify(name, "READY=1\nSTATUS=up"); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 100)
		if n, err := unix.Read(fd, buf); err != nil || !bytes.Equal(buf[:n], []byte("READY=1\nSTATUS=up")) {
			t.Errorf("%s: got %q, %v", name, buf[:n], err)
		}
		unix.Close(fd)
		if err := SendNotify(name, "READY=1"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: SendNotify to nobody = %v", name, err)
		}
	}
}

// Who is below a process of ours is that process', whoever else is nobody's.
func TestLeader(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		c := l.start(nil, "spawn=setsid;pid=leaf;hold", "pid=main", "hold")
		pid, leaf := c.pid("main"), c.pid("leaf")
		for _, below := range []int{pid, leaf} {
			if got := l.Leader(below); got != pid {
				t.Errorf("Leader(%d) = %d, want %d", below, got, pid)
			}
		}
		for _, other := range []int{0, 1, os.Getpid(), os.Getppid(), 1 << 30} {
			if got := l.Leader(other); got != 0 {
				t.Errorf("Leader(%d) = %d, want none", other, got)
			}
		}
		c.Tree.Kill()
		c.exit()
		for _, gone := range []int{pid, leaf} {
			if got := l.Leader(gone); got != 0 {
				t.Errorf("after the end of %d Leader(%d) = %d", pid, gone, got)
			}
		}
	})
}
