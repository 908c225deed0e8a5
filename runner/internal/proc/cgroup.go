package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroups is the directory of an application in the cgroup v2 hierarchy, with a
// leaf for each of its processes. The hierarchy may be the only one or the
// "unified" one of a hybrid host.
type Cgroups struct {
	dir  string
	lock *os.File // the directory, locked: a directory that nobody holds is stale

	mu   sync.Mutex
	used map[string]bool // leaves of trees that are not forgotten yet
}

// maxCopies is how many supervisors of one name can have a directory at once.
const maxCopies = 100

// OpenCgroups makes <v2 root>/<own path>/NAME, or NAME.2 and so on where a
// supervisor of the same name that lives holds that. What supervisors that died
// left there is ended first: ended says how many processes that were. An error
// says why there is no such directory: the host has no v2 hierarchy, or this
// user may not write there, or processes cannot be started in it.
func OpenCgroups(name string) (c *Cgroups, ended int, err error) {
	base, err := ownCgroup()
	if err != nil {
		return nil, 0, err
	}
	// Permission to make a directory is not yet permission to move a process there.
	if err := unix.Access(filepath.Join(base, "cgroup.procs"), unix.W_OK); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", filepath.Join(base, "cgroup.procs"), err)
	}
	if err := canCloneIntoCgroup(); err != nil {
		return nil, 0, err
	}
	for n := 1; n <= maxCopies; n++ {
		dir := filepath.Join(base, name)
		if n > 1 {
			dir = fmt.Sprintf("%s.%d", dir, n)
		}
		if _, err := os.Stat(dir); c != nil && err != nil {
			return c, ended, nil // nothing stale beyond this one
		}
		got, err := takeCgroup(dir)
		if err != nil {
			return nil, ended, err
		}
		if got == nil {
			continue // somebody lives there
		}
		killed, err := got.clear()
		ended += killed
		if err != nil {
			got.Close()
			return nil, ended, err
		}
		if c == nil {
			c = got
		} else {
			got.Close()
		}
	}
	if c == nil {
		err = fmt.Errorf("%d supervisors are called %s", maxCopies, name)
	}
	return c, ended, err
}

// takeCgroup makes dir and locks it; nil where another process holds it.
func takeCgroup(dir string) (*Cgroups, error) {
	for {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its holder removed it in this moment
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		// The directory that we have locked may have been removed before.
		if have, err := os.Stat(dir); err == nil {
			if locked, err := f.Stat(); err == nil && os.SameFile(have, locked) {
				return &Cgroups{dir: dir, lock: f, used: map[string]bool{}}, nil
			}
		}
		f.Close()
	}
}

// Dir is the directory.
func (c *Cgroups) Dir() string { return c.dir }

// Close removes the directory and its empty leaves; what still lives keeps its
// own. A process that was reaped may be in its leaf for another moment.
func (c *Cgroups) Close() {
	defer c.lock.Close()
	if c.remove() || waitEmpty(c.dir, time.Second) != nil {
		return
	}
	c.remove()
}

func (c *Cgroups) remove() bool { return removeCgroup(c.dir) == nil }

// removeCgroup removes dir and what processes made below it, as a container
// engine or another supervisor does. Where something lives it stays (EBUSY).
func removeCgroup(dir string) error {
	for _, sub := range subCgroups(dir) {
		_ = removeCgroup(sub)
	}
	if err := unix.Rmdir(dir); err != nil {
		return fmt.Errorf("rmdir %s: %w", dir, err)
	}
	return nil
}

// killCgroup ends every process in dir and below it.
func killCgroup(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "cgroup.kill"), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) { // Linux before 5.14
		for _, pid := range cgroupPids(dir) {
			_ = unix.Kill(pid, unix.SIGKILL) // ESRCH: it was quicker
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("1")
	return err
}

// clear ends what lives in the directory and removes its leaves.
func (c *Cgroups) clear() (ended int, err error) {
	if ended = len(cgroupPids(c.dir)); ended > 0 {
		if err := killCgroup(c.dir); err != nil {
			return 0, err
		}
	}
	// Also where nobody is listed: who has just ended is in it for another moment.
	if err := waitEmpty(c.dir, endPatience); err != nil {
		return ended, err
	}
	for _, leaf := range subCgroups(c.dir) {
		if err := removeCgroup(leaf); err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// endPatience is for processes that hang in the kernel: KILL cannot be refused.
const endPatience = 10 * time.Second

// waitEmpty waits until the kernel has taken everything out of dir, at most for
// the time d: it says so by an event on cgroup.events.
func waitEmpty(dir string, d time.Duration) error {
	name := filepath.Join(dir, "cgroup.events")
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	var buf [256]byte
	for deadline := time.Now().Add(d); ; {
		n, err := unix.Pread(fd, buf[:], 0)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if strings.Contains(string(buf[:n]), "populated 0") {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%s: processes in it do not end", dir)
		}
		pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(pfd, int(min(left, 100*time.Millisecond).Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll %s: %w", name, err)
		}
	}
}

func subCgroups(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// leaf makes the directory of a process and opens it. As long as the tree of
// the process before is not forgotten its leaf is SLOT, empty or not, and the
// new one gets SLOT.2, and so on.
func (c *Cgroups) leaf(slot string) (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := 1; ; n++ {
		dir := filepath.Join(c.dir, slot)
		if n > 1 {
			dir = fmt.Sprintf("%s.%d", dir, n)
		}
		if c.used[dir] {
			continue
		}
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) && removeCgroup(dir) == nil {
			err = os.Mkdir(dir, 0o755) // the kernel was not done with it when it was to go
		}
		if errors.Is(err, fs.ErrExist) && n < 100 {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.used[dir] = true
		return os.Open(dir)
	}
}

// drop removes the leaf of a tree that is forgotten. A directory that something
// still lives in stays, and the next start ends it.
func (c *Cgroups) drop(leaf string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.used, leaf)
	_ = removeCgroup(leaf)
}

// cgroupPids lists the processes in dir and below it.
func cgroupPids(dir string) []int {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // removed, or without processes of its own
	out := pidsIn(b)
	for _, sub := range subCgroups(dir) {
		out = append(out, cgroupPids(sub)...)
	}
	return out
}

// ownCgroup gives the directory of the calling process in the v2 hierarchy.
func ownCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	return cgroupDir(string(mounts), string(own))
}

// cgroupDir is ownCgroup for the texts of /proc/self/mountinfo and
// /proc/self/cgroup.
func cgroupDir(mounts, own string) (string, error) {
	path, err := cgroup2Path(own)
	if err != nil {
		return "", err
	}
	err = errors.New("no cgroup v2 hierarchy is mounted")
	for root, mount := range cgroup2Mounts(mounts) {
		if rel, ok := below(root, path); ok {
			return filepath.Join(mount, rel), nil
		}
		err = fmt.Errorf("the cgroup v2 hierarchy at %s does not show our cgroup %s", mount, path)
	}
	return "", err
}

func cgroup2Path(own string) (string, error) {
	for line := range strings.Lines(own) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::/"); ok {
			return "/" + path, nil
		}
	}
	return "", errors.New("/proc/self/cgroup names no cgroup of the v2 hierarchy")
}

// below gives path from root on. A mount may show a part of the hierarchy only,
// from root on, and in a container not the one that we are in. Both begin
// with /.. where they are not below the root of our cgroup namespace.
func below(root, path string) (rel string, ok bool) {
	rel, ok = strings.CutPrefix(strings.TrimSuffix(path, "/")+"/", strings.TrimSuffix(root, "/")+"/")
	return rel, ok && (rel == "" || filepath.IsLocal(rel))
}

// cgroup2Mounts goes through the mounts of the v2 hierarchy in a text in the
// form of proc_pid_mountinfo(5).
func cgroup2Mounts(mounts string) iter.Seq2[string, string] {
	return func(yield func(root, mount string) bool) {
		for line := range strings.Lines(mounts) {
			left, right, ok := strings.Cut(line, " - ")
			fields := strings.Fields(left)
			if ok && len(fields) >= 5 && strings.HasPrefix(right, "cgroup2 ") &&
				!yield(unescapeMount(fields[3]), unescapeMount(fields[4])) {
				return
			}
		}
	}
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
