package proc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary all of the processes that a test needs: the
// tests themselves, a shim, a guard with its supervisor, and the children.
func TestMain(m *testing.M) {
	Init()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "child":
			perform(os.Args[2:])
			unix.Exit(0) // os.Exit takes a second under the race detector
		case "guard":
			beGuard(os.Args)
		}
	}
	warmUp()
	os.Exit(m.Run())
}

// warmUp makes the runtime open and start what it keeps for ever, so that no
// test takes that for a leak.
func warmUp() {
	// What a shell has left open is no business of our children.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		panic(err)
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	signal.Stop(c)
	_ = exec.Command("/proc/self/exe", "child").Run()
}

func beGuard(argv []string) {
	if Guarded() {
		perform(argv[2:])
		unix.Exit(0)
	}
	status, err := Guard(argv, os.Environ())
	fmt.Println("guard:", status, err)
	unix.Exit(status)
}

// perform does the steps that the words of a child's command line say, each
// VERB or VERB=TEXT. A step that cannot be done ends the child with status 99.
func perform(steps []string) {
	for _, step := range steps {
		verb, text, _ := strings.Cut(step, "=")
		do, ok := verbs[verb]
		if !ok {
			fail(step, errors.New("no such step"))
		}
		if err := do(text); err != nil {
			fail(step, err)
		}
	}
}

func fail(step string, err error) {
	fmt.Printf("step %s: %v\n", step, err)
	unix.Exit(99)
}

var verbs map[string]func(text string) error

func init() {
	verbs = map[string]func(string) error{
		"say":   func(text string) error { fmt.Println(text); return nil },
		"pid":   func(text string) error { fmt.Printf("%s pid=%d\n", text, os.Getpid()); return nil },
		"exit":  func(text string) error { n, err := strconv.Atoi(text); unix.Exit(n); return err },
		"die":   die,
		"hold":  func(string) error { return hold() },
		"deaf":  func(string) error { signal.Ignore(unix.SIGTERM); return nil },
		"trap":  trap,
		"eof":   func(string) error { _, err := io.Copy(io.Discard, os.Stdin); return err },
		"spawn": spawnChild,
		"name":  rename,
		"nest":  nest,
		"show":  show,
		"blast": blast,
		"watch": watchGuard,
		"tell": func(text string) error {
			path, notice, _ := strings.Cut(text, ",")
			return SendNotify(path, notice)
		},
	}
}

// hold waits for ever. A signal whose default is to end the process does so.
func hold() error {
	for {
		if err := unix.Pause(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// die ends by a signal, of which the runtime of Go would make an exit.
func die(name string) error {
	return unix.Exec("/bin/sh", []string{"sh", "-c", "kill -s " + name + " $$"}, nil)
}

// trap says that it got a signal and goes on.
func trap(name string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SignalNum(name))
	defer signal.Stop(c)
	fmt.Println("trapping", name)
	<-c
	fmt.Println("got", name)
	return nil
}

// spawnChild starts another child: "FLAGS;STEP;STEP". The flags: setsid, bare (no
// environment), double (a process between the two that ends at once), wait.
func spawnChild(text string) error {
	words := strings.Split(text, ";")
	flags, steps := words[0], words[1:]
	args := append([]string{"child"}, steps...)
	wait := strings.Contains(flags, "wait")
	if rest, ok := strings.CutPrefix(flags, "double"); ok {
		args, wait = []string{"child", "spawn=" + strings.Join(append([]string{rest}, steps...), ";")}, true
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: strings.Contains(flags, "setsid")}
	if strings.Contains(flags, "bare") {
		cmd.Env = []string{}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if wait {
		return cmd.Wait()
	}
	return nil
}

// rename gives the process another name in /proc/PID/stat.
func rename(name string) error {
	runtime.LockOSThread()
	return os.WriteFile("/proc/self/comm", []byte(name), 0)
}

// nest moves the process into a cgroup below its own.
func nest(name string) error {
	own, err := ownCgroup()
	if err != nil {
		return err
	}
	dir := filepath.Join(own, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0)
}

// show prints what a process finds: "args", "env", "cwd", "limit:N", "id", "fds".
func show(what string) error {
	what, text, _ := strings.Cut(what, ":")
	switch what {
	case "args":
		fmt.Printf("%q\n", os.Args)
	case "env":
		env := os.Environ()
		slices.Sort(env)
		fmt.Printf("%q\n", env)
	case "cwd":
		dir, err := os.Getwd()
		fmt.Println(dir)
		return err
	case "limit":
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		var l syscall.Rlimit
		err = syscall.Getrlimit(n, &l)
		fmt.Println(l.Cur, l.Max)
		return err
	case "id":
		groups, err := os.Getgroups()
		fmt.Println(os.Getuid(), os.Getgid(), groups)
		return err
	case "fds":
		var open []string
		for fd := range 64 {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil && flags&unix.FD_CLOEXEC == 0 {
				target, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
				kind, _, _ := strings.Cut(target, ":")
				open = append(open, fmt.Sprint(fd, "=", kind))
			}
		}
		fmt.Println(open)
	case "session":
		sid, err := unix.Getsid(0)
		fmt.Println(sid == os.Getpid())
		return err
	}
	return nil
}

// blast writes "TOTAL,LINE,CHUNK": lines of LINE bytes, CHUNK bytes at a time,
// TOTAL bytes in all.
func blast(text string) error {
	var total, line, chunk int
	if _, err := fmt.Sscanf(text, "%d,%d,%d", &total, &line, &chunk); err != nil {
		return err
	}
	b := []byte(strings.Repeat(strings.Repeat("x", line-1)+"\n", chunk/line))
	for done := 0; done < total/line*line; {
		rest := b[done%len(b):] // a signal may have cut a write short
		n, err := unix.Write(1, rest[:min(len(rest), total/line*line-done)])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		done += max(n, 0)
	}
	return nil
}

// watchGuard says when the guard has ended.
func watchGuard(string) error {
	sys, err := New(false, nil)
	if err != nil {
		return err
	}
	defer sys.Close()
	gone := make(chan struct{})
	if err := sys.WatchGuard(func() { close(gone) }); err != nil {
		return err
	}
	fmt.Println("watching")
	<-gone
	fmt.Println("the guard is gone")
	return nil
}
