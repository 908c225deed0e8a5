package host

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childEnv makes the test binary a process that was handed sockets.
const childEnv = "HOST_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// child says what it was handed, and answers one connection at each socket.
func child() int {
	if os.Getenv("LISTEN_PID") == "self" {
		os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	}
	s, err := Inherited(os.Getenv, os.Getpid())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, name := range []string{"app", "metrics"} {
		for _, l := range s.Take(name) {
			nc, err := l.Accept()
			if err != nil {
				fmt.Println(err)
				return 1
			}
			fmt.Fprint(nc, "this is ", name)
			nc.Close()
		}
	}
	fmt.Println(len(s.Listeners), "left")
	return 0
}

// A process takes the sockets that are for it, whatever their kind, and knows
// them by their names.
func TestInherited(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	var files []*os.File
	for _, l := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), unix.(*net.UnixListener), tcp.(*net.TCPListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", "LISTEN_FDS=3", "LISTEN_PID=self", "LISTEN_FDNAMES=app:metrics:other")
	cmd.ExtraFiles = files
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, at := range [][3]string{{"tcp", tcp.Addr().String(), "this is app"}, {"unix", path, "this is metrics"}} {
		nc, err := net.Dial(at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		got, _ := io.ReadAll(nc)
		nc.Close()
		if string(got) != at[2] {
			t.Errorf("%s says %q, want %q", at[1], got, at[2])
		}
	}
	if err := cmd.Wait(); err != nil || out.String() != "1 left\n" {
		t.Errorf("%v, %q, want 1 left", err, &out)
	}
}

func TestInheritedErrors(t *testing.T) {
	pipe, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	for _, tt := range []struct{ fds, pid, want string }{
		{"1", "1", "0 left"},
		{"1", "", "0 left"},
		{"x", "self", `LISTEN_FDS="x" is not a number from 0 to 64`},
		{"65", "self", `LISTEN_FDS="65" is not a number from 0 to 64`},
		{"1", "self", "descriptor 3, which LISTEN_FDS hands over, is not a socket that listens: "},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=1", "LISTEN_FDS="+tt.fds, "LISTEN_PID="+tt.pid, "LISTEN_FDNAMES=app")
		cmd.ExtraFiles = []*os.File{pipe}
		out, _ := cmd.Output()
		if !strings.HasPrefix(string(out), tt.want) {
			t.Errorf("LISTEN_FDS=%s LISTEN_PID=%s: %q, want %q", tt.fds, tt.pid, out, tt.want)
		}
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	first, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil || err.Error() != path+": somebody listens there already" {
		t.Errorf("a second listener: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	again, err := Listen("unix:" + path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	again.Close()

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil || err.Error() != path+": there is a file that is no socket; remove it" {
		t.Errorf("a file: %v", err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 108))
	if _, err := Listen("unix:" + long); err == nil || !strings.Contains(err.Error(), "107 bytes at most") {
		t.Errorf("a long path: %v", err)
	}
	tcp, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp.Close()
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	Notify("", "READY=1") // nobody
	Notify(path, "READY=1")
	b := make([]byte, 64)
	n, err := nc.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
}
