package proc

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canCloneIntoCgroup says why no process can be started in a cgroup: Linux before 5.7
// has no CLONE_INTO_CGROUP, and a seccomp filter may keep clone3(2) from us, whose
// flags it cannot see (RestrictNamespaces of systemd.exec(5) does).
func canCloneIntoCgroup() error {
	// A clone into a cgroup that is none: it can only fail, and how tells.
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
	}{flags: unix.CLONE_INTO_CGROUP, exitSignal: uint64(unix.SIGCHLD), cgroup: math.MaxInt32}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	switch {
	case errno == unix.EBADF:
		return nil
	case errno == unix.EINVAL || errno == unix.E2BIG:
		return errors.New("clone3 cannot start a process in one")
	}
	return fmt.Errorf("clone3: %w", errno)
}
