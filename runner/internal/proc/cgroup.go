package proc

import (
	"errors"
	"fmt"
	"io/fs"
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
// user may not write there.
func OpenCgroups(name string) (c *Cgroups, ended int, err error) {
	base, err := ownCgroup()
	if err != nil {
		return nil, 0, err
	}
	// Permission to make a directory is not yet permission to move a process there.
	if err := unix.Access(filepath.Join(base, "cgroup.procs"), unix.W_OK); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", filepath.Join(base, "cgroup.procs"), err)
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

func (c *Cgroups) remove() bool {
	for _, leaf := range c.leaves() {
		_ = unix.Rmdir(leaf) // EBUSY: something lives there
	}
	return unix.Rmdir(c.dir) == nil
}

// Kill ends every process in the directory.
func (c *Cgroups) Kill() error {
	return os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
}

// clear ends what lives in the directory and removes its leaves.
func (c *Cgroups) clear() (ended int, err error) {
	for _, leaf := range c.leaves() {
		ended += len(cgroupPids(leaf))
	}
	if ended > 0 {
		if err := c.Kill(); err != nil {
			return 0, err
		}
	}
	// Also where nobody is listed: who has just ended is in it for another moment.
	if err := waitEmpty(c.dir, endPatience); err != nil {
		return ended, err
	}
	for _, leaf := range c.leaves() {
		if err := unix.Rmdir(leaf); err != nil {
			return ended, fmt.Errorf("rmdir %s: %w", leaf, err)
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

func (c *Cgroups) leaves() []string {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(c.dir, e.Name()))
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
		if errors.Is(err, fs.ErrExist) && unix.Rmdir(dir) == nil {
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
	_ = unix.Rmdir(leaf)
}

func cgroupPids(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	return pidsIn(b)
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
	root, mount, ok := cgroup2Mount(mounts)
	if !ok {
		return "", errors.New("no cgroup v2 hierarchy is mounted")
	}
	for line := range strings.Lines(own) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		// In a container the mount may show only the part below root.
		if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) {
			return filepath.Join(mount, rel), nil
		}
		return filepath.Join(mount, path), nil
	}
	return "", errors.New("/proc/self/cgroup names no cgroup of the v2 hierarchy")
}

// cgroup2Mount finds the v2 hierarchy in a text in the form of
// proc_pid_mountinfo(5).
func cgroup2Mount(mounts string) (root, mount string, ok bool) {
	for line := range strings.Lines(mounts) {
		left, right, ok := strings.Cut(line, " - ")
		fields := strings.Fields(left)
		if ok && len(fields) >= 5 && strings.HasPrefix(right, "cgroup2 ") {
			return unescapeMount(fields[3]), unescapeMount(fields[4]), true
		}
	}
	return "", "", false
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
