package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"appbundle/schema"
)

// TestMain makes the test binary all of the processes that a test needs: the
// tests themselves, a guard with its supervisor, and the children.
func TestMain(m *testing.M) {
	Init()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "child":
			perform(os.Args[2:])
			unix.Exit(0) // os.Exit takes a second under the race detector
		case "guard":
			os.Exit(guard(os.Args)) // under the race detector: see newParty
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		l.Close()
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	signal.Stop(c)
	_ = exec.Command("/proc/self/exe", "child").Run()
}

func guard(argv []string) int {
	if Guarded() {
		perform(argv[2:])
		return 0
	}
	status, err := Guard(argv, os.Environ())
	if err != nil {
		fmt.Println("guard:", err)
		return 1
	}
	return status
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
		"say": func(text string) error { fmt.Println(text); return nil },
		"err": func(text string) error { fmt.Fprintln(os.Stderr, text); return nil },
		"raw": func(text string) error { fmt.Print(text); return nil }, // a line that is not ended
		"line": func(text string) error {
			n, err := strconv.Atoi(text)
			fmt.Println(strings.Repeat("x", n))
			return err
		},
		"pid": func(text string) error {
			fmt.Printf("%s pid=%d ppid=%d\n", text, os.Getpid(), os.Getppid())
			return nil
		},
		"exit":  func(text string) error { n, err := strconv.Atoi(text); unix.Exit(n); return err },
		"die":   func(string) error { return unix.Kill(os.Getpid(), unix.SIGKILL) },
		"hold":  func(string) error { return hold() },
		"deaf":  func(string) error { signal.Ignore(unix.SIGTERM); return nil },
		"trap":  trap,
		"await": await,
		"env":   printEnv,
		"id":    printID,
		"cwd":   printDir,
		"comm":  printName,
		"stdin": printStdin,
		"fds":   printDescriptors,
		"limit": printLimit,
		"spawn": spawnChild,
		"tell":  tell,
		"fill":  fill,
		"serve": serve,
		"sock":  printSocket,
		"run":   supervise,
		"bar":   barClone,
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

// trap waits for one of the signals and ends with a status: "SIGTERM,7".
func trap(text string) error {
	name, status, _ := strings.Cut(text, ",")
	n, err := strconv.Atoi(status)
	if err != nil {
		return err
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SignalNum(name))
	fmt.Println("trapping", name)
	fmt.Println("got", unix.SignalName((<-c).(syscall.Signal)))
	unix.Exit(n)
	return nil
}

// await waits for a signal and goes on.
func await(name string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SignalNum(name))
	defer signal.Stop(c)
	fmt.Println("awaiting", name)
	<-c
	return nil
}

func printEnv(string) error {
	for _, v := range os.Environ() {
		fmt.Printf("env %s\n", v)
	}
	fmt.Println("env end")
	return nil
}

func printID(string) error {
	groups, err := os.Getgroups()
	slices.Sort(groups)
	fmt.Printf("uid=%d gid=%d groups=%v\n", os.Getuid(), os.Getgid(), groups)
	return err
}

func printDir(string) error {
	dir, err := os.Getwd()
	fmt.Printf("cwd=%s argv0=%s\n", dir, os.Args[0])
	return err
}

// printName prints the name of the process, which is its main thread's.
func printName(string) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getpid()))
	fmt.Printf("comm=%s", b)
	return err
}

func printStdin(string) error {
	target, err := os.Readlink("/proc/self/fd/0")
	fmt.Printf("stdin=%s\n", target)
	return err
}

// printDescriptors lists what is open from 3 on and survives an exec: what the
// runtime of Go opened does not.
func printDescriptors(string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	var open []string
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if fd >= 3 && err == nil && flags&unix.FD_CLOEXEC == 0 {
			open = append(open, e.Name())
		}
	}
	fmt.Printf("fds=%v\n", open)
	return nil
}

func printLimit(text string) error {
	var l syscall.Rlimit
	n, err := strconv.Atoi(text)
	if err == nil {
		err = syscall.Getrlimit(n, &l)
	}
	fmt.Printf("limit %d=%d/%d\n", n, l.Cur, l.Max)
	return err
}

// spawnChild starts another child: "FLAGS;STEP;STEP". The flags: setsid, bare (no
// environment), double (a process between the two that ends at once).
func spawnChild(text string) error {
	words := strings.Split(text, ";")
	flags, steps := words[0], words[1:]
	args := append([]string{"child"}, steps...)
	wait := false
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

// tell sends a notice, or what "random", "long" and "fds" stand for.
func tell(text string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	body, oob := []byte(strings.ReplaceAll(text, "|", "\n")), []byte(nil)
	switch text {
	case "random":
		body = []byte("\x00\xff=\x80\n\n====\nREADY\n=1\nSTATUS")
	case "long":
		body = []byte("STATUS=" + strings.Repeat("x", 8000))
	case "fds":
		fds := slices.Repeat([]int{0}, 200)
		body, oob = []byte("STATUS=with descriptors"), unix.UnixRights(fds...)
	}
	return unix.Sendmsg(fd, body, oob, &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}, 0)
}

// fill writes n numbered lines to both outputs: "N".
func fill(text string) error {
	n, err := strconv.Atoi(text)
	for i := range n {
		fmt.Fprintf(os.Stdout, "out %d %s\n", i, strings.Repeat("o", i%200))
		fmt.Fprintf(os.Stderr, "err %d %s\n", i, strings.Repeat("e", i%300))
	}
	return err
}

// serve answers each connection on a descriptor with our pid.
func serve(text string) error {
	fd, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(uintptr(fd), "inherited"))
	if err != nil {
		return err
	}
	fmt.Println("serving", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "%d\n", os.Getpid())
		c.Close()
	}
}

// printSocket says what a descriptor is bound to, and whether it blocks.
func printSocket(text string) error {
	fd, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		fmt.Printf("sock %d port=%d nonblock=%v\n", fd, sa.Port, flags&unix.O_NONBLOCK != 0)
	case *unix.SockaddrUnix:
		fmt.Printf("sock %d path=%s nonblock=%v\n", fd, sa.Name, flags&unix.O_NONBLOCK != 0)
	}
	return err
}

// barClone has this process and what it starts get ENOSYS from clone3, as
// RestrictNamespaces of a systemd unit does.
func barClone(string) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_CLONE3},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// A job is what a supervisor in a process of its own is to do.
type job struct {
	Name, RunDir string
	Watchers     []schema.Watcher
	NoCgroups    bool
}

// supervise runs a Runner until a TERM, an INT or a QUIT; its events are lines.
func supervise(text string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	var job job
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	r, err := New(Config{Name: job.Name, RunDir: job.RunDir, Watchers: job.Watchers, noCgroups: job.NoCgroups, Adopt: true,
		Report: func(e Event) { io.WriteString(os.Stdout, string(e.Kind)+" "+e.String()+"\n") }})
	if err != nil {
		return err
	}
	if err := r.Start(context.Background()); err != nil {
		return err
	}
	for {
		select {
		case sig := <-signals:
			fmt.Println("got", unix.SignalName(sig.(syscall.Signal)))
			if slices.Contains([]os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT}, sig) {
				r.askStop()
			}
		case <-r.Done():
			fmt.Println("supervised:", r.Wait())
			return nil
		}
	}
}
