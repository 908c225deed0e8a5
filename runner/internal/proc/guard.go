package proc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// supervisorName is argv[0] of a supervisor that a guard started; its descriptor
// 3 is then the read end of a pipe that the guard holds.
const supervisorName = "appbundle-supervisor"

// guardFD is the descriptor of that pipe.
const guardFD = 3

// shimExit is the status of a shim that could not execute its program.
const shimExit = 127

var guarded bool

// Init must be the first call of a main function whose program uses guards or
// shims. In a shim it does not return.
func Init() {
	switch os.Args[0] {
	case shimName:
		err := shim(os.Args)
		fmt.Fprintf(os.Stderr, "appbundle: %v\n", err)
		os.Exit(shimExit)
	case supervisorName:
		guarded = true
		unix.CloseOnExec(guardFD)
		// It was executed as /proc/self/exe, and that is what ps, top and pgrep
		// call it. This names the main thread, whichever thread writes it; the
		// kernel keeps 15 bytes.
		_ = os.WriteFile("/proc/self/comm", []byte(supervisorName), 0) // a name is all that it is
	}
	ready = true
}

// ready says that Init was called: without it our binary cannot be a shim.
var ready bool

// CanShim reports whether Init was called.
func CanShim() bool { return ready }

// Guarded reports whether the calling process is a supervisor under a guard.
func Guarded() bool { return guarded }

// WatchGuard calls gone once when the guard has ended.
func (s *System) WatchGuard(gone func()) error {
	if !guarded {
		return nil
	}
	_, err := s.loop.add(guardFD, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLONESHOT, func(uint32) { gone() })
	return err
}

// Guard runs the calling program once more, with the same arguments, as the
// supervisor, and stays as its parent. It forwards TERM, INT, HUP, QUIT, USR1
// and USR2. When the supervisor has ended, by whatever cause, everything below it
// is ended. The result is the supervisor's exit status; an error says that it
// could not be started, or what ended it.
//
// The supervisor is in a process group of its own, so that a Ctrl-C reaches it
// once, from here.
func Guard(argv, env []string) (status int, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("prctl: set child subreaper: %w", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	pid, link, err := startSupervisor(argv, env)
	if err != nil {
		return 0, err
	}
	defer unix.Close(link)
	ended := make(chan unix.WaitStatus, 1)
	go func() { ended <- reapUntil(pid) }()
	for {
		select {
		case sig := <-signals:
			// The pid is not reused before reapUntil has sent its status.
			_ = unix.Kill(pid, sig.(unix.Signal))
		case ws := <-ended:
			EndDescendants()
			if ws.Signaled() {
				return 0, fmt.Errorf("the supervisor (pid %d) was %s; everything below it was ended", pid, Status(ws))
			}
			return ws.ExitStatus(), nil
		}
	}
}

func startSupervisor(argv, env []string) (pid, link int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(fds[0])
	// What we have inherited by chance is not for the supervisor's children.
	// Linux before 5.11 cannot do that.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	pid, err = syscall.ForkExec("/proc/self/exe", append([]string{supervisorName}, argv[1:]...), &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{0, 1, 2, uintptr(fds[0])},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		unix.Close(fds[1])
		return 0, 0, fmt.Errorf("start the supervisor: %w", err)
	}
	return pid, fds[1], nil
}

// reapUntil reaps every child until it was pid.
func reapUntil(pid int) unix.WaitStatus {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		if got == pid || (err != nil && !errors.Is(err, unix.EINTR)) {
			return ws
		}
	}
}

// EndDescendants kills everything below the calling process, which must be a
// child subreaper, until nothing is left. Whoever starts a process while its
// parent dies hands it to us: the next round finds it.
func EndDescendants() {
	for {
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL) // ESRCH: it was quicker
		}
		// One at least, and all that have ended: to read the tree anew for each of
		// many would take for ever.
		pid, err := unix.Wait4(-1, nil, 0, nil)
		for pid > 0 {
			pid, err = unix.Wait4(-1, nil, unix.WNOHANG, nil)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // ECHILD: nobody is left
		}
	}
}
