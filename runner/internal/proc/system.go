package proc

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A System starts processes and sees them end. Make one with [New]; its methods
// may be called from any goroutine.
type System struct {
	loop  *loop
	adopt bool
	chld  chan os.Signal
	done  chan struct{}

	mu       sync.Mutex // guards the fields below, and fork against reap
	byPid    map[int]*Process
	trees    map[*Tree]struct{}
	slots    map[string]struct{} // of all processes that were ever started
	onOrphan func()
	notify   *NotifySocket // nil where there is none
}

// New makes a System. With adopt the calling process becomes a child subreaper
// and the System reaps every orphan that comes to it; a program that starts
// children by other means (os/exec) must not adopt. orphan, if not nil, is
// called after an orphan was reaped.
func New(adopt bool, orphan func()) (*System, error) {
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	s := &System{loop: l, adopt: adopt, onOrphan: orphan, byPid: map[int]*Process{}, trees: map[*Tree]struct{}{}, slots: map[string]struct{}{}, done: make(chan struct{})}
	if !adopt {
		close(s.done)
		return s, nil
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		l.close()
		return nil, fmt.Errorf("prctl: set child subreaper: %w", err)
	}
	s.chld = make(chan os.Signal, 1)
	signal.Notify(s.chld, unix.SIGCHLD)
	go func() {
		defer close(s.done)
		for range s.chld {
			s.reapOrphans()
		}
	}()
	return s, nil
}

// Close ends the loop. The processes that still live are left alone.
func (s *System) Close() {
	s.loop.close() // first: its answer to an exit ends with a send to chld
	if s.adopt {
		signal.Stop(s.chld)
		close(s.chld)
	}
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.byPid {
		p.end() // its number may be another file's soon
	}
	for t := range s.trees {
		t.unwatch()
	}
	clear(s.byPid)
	clear(s.trees)
}

// reapOrphans reaps whoever is waitable and not ours. A process of ours that
// is waitable hides those behind it: exited calls again once it is reaped.
func (s *System) reapOrphans() {
	reaped := false
	for s.reapOne() {
		reaped = true
	}
	if reaped && s.onOrphan != nil {
		s.onOrphan()
	}
}

func (s *System) reapOne() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid := waitable()
	if pid == 0 || s.byPid[pid] != nil {
		return false
	}
	got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil && got == pid
}

// waitable gives the pid of a child that ended and was not reaped, or 0. The
// pid stands in the union of siginfo_t, 16 bytes in on 64-bit Linux.
func waitable() int {
	var si unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &si, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0
	}
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&si), 16)))
}

// exited is the loop's answer to a readable pidfd.
func (s *System) exited(p *Process) {
	s.mu.Lock()
	notify := s.notify
	s.mu.Unlock()
	if notify != nil {
		notify.drain()
	}
	var ws unix.WaitStatus
	s.mu.Lock()
	got, err := unix.Wait4(p.Pid, &ws, unix.WNOHANG, nil)
	for errors.Is(err, unix.EINTR) {
		got, err = unix.Wait4(p.Pid, &ws, unix.WNOHANG, nil)
	}
	if err == nil && got == 0 {
		s.mu.Unlock()
		return
	}
	delete(s.byPid, p.Pid)
	s.loop.remove(p.key, p.fd)
	p.end()
	s.mu.Unlock()
	st := Status(ws)
	if err != nil { // somebody else in this program took the status
		st = Status(unknownStatus)
	}
	p.onExit(st)
	if s.adopt {
		select {
		case s.chld <- unix.SIGCHLD: // look again: this one may have hidden an orphan
		default:
		}
	}
}

// unknownStatus is what the owner of a process gets whose status was lost: a
// death that is not a success.
const unknownStatus = 255 << 8

// A Status is how a process ended.
type Status unix.WaitStatus

// Success reports whether the process exited with status 0.
func (s Status) Success() bool { return s == 0 }

// Code gives the exit status, or minus the number of the signal.
func (s Status) Code() int {
	if ws := unix.WaitStatus(s); ws.Signaled() {
		return -int(ws.Signal())
	}
	return unix.WaitStatus(s).ExitStatus()
}

func (s Status) String() string {
	if ws := unix.WaitStatus(s); ws.Signaled() {
		return "killed by " + SignalName(ws.Signal())
	}
	return fmt.Sprintf("exit status %d", s.Code())
}

// SignalName gives SIGTERM for 15, and SIGRTMIN+1 for 35.
func SignalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	if sig >= 34 && sig <= 64 {
		return fmt.Sprintf("SIGRTMIN+%d", sig-34)
	}
	return fmt.Sprintf("signal %d", sig)
}
