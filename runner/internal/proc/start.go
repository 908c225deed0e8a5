package proc

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Spec says what to start. The caller has resolved everything: there is no
// search in PATH and no default.
type Spec struct {
	Path   string   // of the file to execute
	Argv   []string // from the program's own name on
	Env    []string // complete
	Dir    string   // absolute
	Stdin  int      // descriptors, -1 for /dev/null
	Stdout int
	Stderr int
	Extra  []int // descriptors that become 3, 4, …
	Cred   *syscall.Credential
	Shim   *Shim  // nil where nothing must be done between fork and exec
	Slot   string // WATCHER.WID: the name of its cgroup
	Mark   string // APPBUNDLE_WATCHER=… and _WID=… as they stand in Env, see Tree
	Cgroup *Cgroups
	// OnExit is called once, from the System's loop: it must not block on
	// anything that waits for the loop.
	OnExit func(Status)
}

// A Process is a child that was started by a System.
type Process struct {
	Pid  int
	Tree *Tree

	sys    *System
	fd     int // pidfd; -1 once it was reaped; guarded by sys.mu
	key    uint64
	onExit func(Status)
}

// Start starts a process in a session of its own. An error means that no
// process exists: the program could not be executed.
func (s *System) Start(spec Spec) (*Process, error) {
	pidfd := -1
	attr := &syscall.ProcAttr{Dir: spec.Dir, Env: spec.Env, Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd, Credential: spec.Cred}}
	path, argv := spec.Path, spec.Argv
	if spec.Shim != nil {
		path, argv = spec.Shim.command(spec)
		attr.Sys.Credential = nil // the shim changes the user, after the limits
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	for _, fd := range append([]int{spec.Stdin, spec.Stdout, spec.Stderr}, spec.Extra...) {
		if fd < 0 {
			fd = int(null.Fd())
		}
		attr.Files = append(attr.Files, uintptr(fd))
	}
	tree := &Tree{sys: s, slot: spec.Slot, mark: spec.Mark, born: bootTicks()}
	if spec.Cgroup != nil {
		dir, err := spec.Cgroup.leaf(spec.Slot)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		tree.cgroup, tree.cgroups = dir.Name(), spec.Cgroup
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(dir.Fd())
	}
	return s.fork(path, argv, attr, &pidfd, tree, spec.OnExit)
}

func (s *System) fork(path string, argv []string, attr *syscall.ProcAttr, pidfd *int, tree *Tree, onExit func(Status)) (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		tree.removeCgroup()
		return nil, err
	}
	p := &Process{Pid: pid, Tree: tree, sys: s, fd: *pidfd, onExit: onExit}
	tree.leader = pid
	if p.fd < 0 {
		// Linux before 5.2 has no CLONE_PIDFD. The child cannot have been reaped:
		// only we do that, and we hold the lock.
		if p.fd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil, s.undo(pid, tree, fmt.Errorf("pidfd_open: %w", err))
		}
	}
	if p.key, err = s.loop.add(p.fd, unix.EPOLLIN, func(uint32) { s.exited(p) }); err != nil {
		unix.Close(p.fd)
		return nil, s.undo(pid, tree, err)
	}
	s.byPid[pid] = p
	s.trees[tree], s.slots[tree.slot] = struct{}{}, struct{}{}
	return p, nil
}

// bootTicks is now in the unit of the start times in /proc: hundredths of a
// second since boot (USER_HZ, which is 100 wherever Go runs).
func bootTicks() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano() / 1e7)
}

// undo ends a child that cannot be watched.
func (s *System) undo(pid int, tree *Tree, cause error) error {
	defer tree.removeCgroup()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("%w; and pid %d cannot be killed: %v", cause, pid, err)
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		return fmt.Errorf("%w; and pid %d cannot be reaped: %v", cause, pid, err)
	}
	return cause
}

// end forgets the pidfd; the caller holds the lock.
func (p *Process) end() {
	unix.Close(p.fd)
	p.fd = -1
}

// Signal sends sig to the process, and never to another that got its pid. A
// process that has ended takes no signal: that is no error.
func (p *Process) Signal(sig unix.Signal) error {
	p.sys.mu.Lock()
	defer p.sys.mu.Unlock()
	if p.fd < 0 {
		return nil
	}
	if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("%s to pid %d: %w", SignalName(sig), p.Pid, err)
	}
	return nil
}

// SignalChildren sends sig to the direct children of the process.
func (p *Process) SignalChildren(sig unix.Signal) error {
	p.sys.mu.Lock()
	defer p.sys.mu.Unlock()
	if p.fd < 0 {
		return nil
	}
	var first error
	for _, pid := range children(p.Pid) {
		if err := signalPid(pid, sig); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// signalPid signals a process that is not our child, or no process of ours.
func signalPid(pid int, sig unix.Signal) error {
	if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
		return fmt.Errorf("%s to pid %s: %w", SignalName(sig), strconv.Itoa(pid), err)
	}
	return nil
}
