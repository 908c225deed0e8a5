package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostDirs is what a Runner holds of the host's directories.
type hostDirs struct{ lock *os.File }

// A RunningError says that the application runs already.
type RunningError struct {
	Name string
	Pid  int // of the supervisor; 0 where it could not be read
}

func (e *RunningError) Error() string {
	if e.Pid == 0 {
		return fmt.Sprintf("%s is already running", e.Name)
	}
	return fmt.Sprintf("%s is already running, as pid %d", e.Name, e.Pid)
}

// Hint names the way to a second copy.
func (e *RunningError) Hint() string { return "a second copy needs another name: --name NAME" }

// A PlaceError says that a directory of the host cannot be used.
type PlaceError struct {
	What string // "state directory"
	flag string // that names another
	Err  error
}

func (e *PlaceError) Error() string { return e.What + ": " + e.Err.Error() }
func (e *PlaceError) Unwrap() error { return e.Err }

// Hint names the way to another place.
func (e *PlaceError) Hint() string { return "name another directory with " + e.flag }

// openHost makes the directories and takes the lock.
func openHost(cfg Config) (*hostDirs, error) {
	h := &hostDirs{}
	if cfg.StateDir != "" {
		// It may be the children's: see share.
		if err := makeDir(cfg.StateDir, 0o700, os.Getuid() == 0); err != nil {
			return h, &PlaceError{"state directory", "--state-dir", err}
		}
	}
	if cfg.RunDir == "" {
		return h, nil
	}
	if err := makeDir(cfg.RunDir, 0o710, false); err != nil {
		return h, &PlaceError{"run directory", "--run-dir", err}
	}
	name := filepath.Join(cfg.RunDir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return h, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return h, &RunningError{Name: cfg.Name, Pid: pidIn(f)}
		}
		return h, fmt.Errorf("lock %s: %w", name, err)
	}
	h.lock = f
	if err := f.Truncate(0); err != nil {
		return h, err
	}
	// The supervisor's pid, then its parent's: the guard's, if there is one.
	if _, err := fmt.Fprintf(f, "%d\n%d\n", os.Getpid(), os.Getppid()); err != nil {
		return h, err
	}
	return h, nil
}

func pidIn(f *os.File) int {
	var buf [32]byte
	n, err := f.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return 0
	}
	return pid
}

// makeDir makes dir and its parents. One that is there already must be ours,
// or with others somebody's whom we have given it to: below /tmp anybody could
// have made it first, and could put what he likes in the place of our files.
func makeDir(dir string, mode os.FileMode, others bool) error {
	fi, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := makeParents(filepath.Dir(dir)); err != nil {
			return err
		}
		switch err := os.Mkdir(dir, mode); {
		case err == nil:
			if err := os.Chmod(dir, mode); err != nil { // whatever the umask is
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return err
		}
		if fi, err = os.Lstat(dir); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	return ours(dir, fi, others)
}

// makeParents makes what is missing above a directory, for its owner alone
// except for root: what root runs may be looked at.
func makeParents(dir string) error {
	if above, err := os.Stat(filepath.Dir(dir)); err == nil && above.Mode().Perm()&0o002 != 0 {
		if fi, err := os.Lstat(dir); err == nil { // in /tmp a link, too, may be anybody's
			return ours(dir, fi, false)
		}
	}
	fi, err := os.Stat(dir)
	if err == nil {
		if fi.Mode().Perm()&0o002 != 0 && fi.Mode()&os.ModeSticky == 0 {
			return fmt.Errorf("%s: everybody may write there", dir)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	mode := os.FileMode(0o700)
	if os.Getuid() == 0 {
		mode = 0o755
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func ours(dir string, fi os.FileInfo, others bool) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case fi.Mode().Type() != os.ModeDir:
		return fmt.Errorf("%s: not a directory", dir)
	case ok && int(st.Uid) != os.Getuid() && !others:
		return fmt.Errorf("%s: belongs to user %d, not to us", dir, st.Uid)
	case fi.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("%s: everybody may write there", dir)
	}
	return nil
}

// share lets the children of another user reach the run directory and the
// notify socket, and gives them the state directory, where they are all one
// user's. Where they are not, somebody has to decide who may: a process of root
// must not find there what another user has put in its way.
func (r *Runner) share() error {
	var creds []syscall.Credential // one at least if anything is to be shared
	roots := false                 // some watcher is root's, as we are
	for _, w := range r.list() {
		if cred := w.child.cred; cred != nil {
			creds = append(creds, *cred)
		} else {
			roots = true
		}
	}
	if len(creds) == 0 || r.cfg.RunDir == "" {
		return nil
	}
	uid, gid := creds[0].Uid, creds[0].Gid
	r.apart.Store(slices.ContainsFunc(creds, func(c syscall.Credential) bool { return c.Gid != gid }))
	if r.apart.Load() {
		r.report(Event{Kind: Limited, Text: "watchers of several groups: only root's reach " + r.cfg.RunDir})
		return nil
	}
	for _, path := range []string{r.cfg.RunDir, r.notifyPath()} {
		if err := os.Lchown(path, -1, int(gid)); err != nil {
			return err
		}
	}
	if r.cfg.StateDir == "" {
		return nil
	}
	if (roots && uid != 0) || slices.ContainsFunc(creds, func(c syscall.Credential) bool { return c.Uid != uid }) {
		r.report(Event{Kind: Limited, Text: "watchers of several users: none is given " + r.cfg.StateDir})
		return nil
	}
	return os.Lchown(r.cfg.StateDir, int(uid), int(gid))
}

func (r *Runner) notifyPath() string { return filepath.Join(r.cfg.RunDir, "notify.sock") }

// close gives the lock back. The file stays: to remove it would let two
// supervisors hold two locks of one name.
func (h *hostDirs) close() {
	if h != nil && h.lock != nil {
		h.lock.Close()
	}
}
