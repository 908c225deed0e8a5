package proc

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A Tree is a process and whatever it started. It outlives the process: what
// is left then is ended through Signal and Kill until Empty says so.
type Tree struct {
	sys     *System
	leader  int      // pid of the process, which leads its session
	cgroup  string   // directory, or "" where there is none
	cgroups *Cgroups // that it is one of
	slot    string
	mark    string
	born    uint64 // clock ticks since boot when its process was started
	key     uint64 // of the watch on cgroup.events
	events  int    // its descriptor, 0 for none
}

// Exact reports whether membership is known exactly, by a cgroup.
func (t *Tree) Exact() bool { return t.cgroup != "" }

// Signal sends sig to everything of the tree but the process itself, and gives
// the number of processes that it was sent to. It is meant for after the
// process has ended.
func (t *Tree) Signal(sig unix.Signal) int {
	t.sys.mu.Lock()
	defer t.sys.mu.Unlock()
	pids := t.rest()
	for _, pid := range pids {
		// A process that has ended meanwhile, or that changed its user, is looked
		// at again by Empty.
		_ = unix.Kill(pid, sig)
	}
	return len(pids)
}

// Kill ends the tree at once, the process included if it lives.
func (t *Tree) Kill() {
	t.sys.mu.Lock()
	defer t.sys.mu.Unlock()
	if t.cgroup != "" && killCgroup(t.cgroup) == nil {
		return
	}
	pids := t.rest()
	if p := t.sys.byPid[t.leader]; p != nil && p.Tree == t {
		pids = append(pids, descendants(t.leader)...)
		_ = unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0) // ESRCH: it has ended
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// Empty reports whether nothing but the process itself is left, or was. A
// tree that is empty after its process ended is forgotten.
func (t *Tree) Empty() bool {
	t.sys.mu.Lock()
	defer t.sys.mu.Unlock()
	if len(t.rest()) > 0 {
		return false
	}
	if p := t.sys.byPid[t.leader]; p != nil && p.Tree == t {
		return true
	}
	t.unwatch()
	delete(t.sys.trees, t)
	t.removeCgroup()
	return true
}

// unwatch ends what Notify began; the caller holds the lock.
func (t *Tree) unwatch() {
	if t.events != 0 {
		t.sys.loop.remove(t.key, t.events)
		unix.Close(t.events)
		t.events = 0
	}
}

// Notify calls f from the System's loop when the tree may have become empty. It
// works where the tree has a cgroup; elsewhere the System's orphan callback
// says the same of all trees.
func (t *Tree) Notify(f func()) error {
	if t.cgroup == "" || t.events != 0 {
		return nil
	}
	fd, err := unix.Open(filepath.Join(t.cgroup, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Join(t.cgroup, "cgroup.events"), err)
	}
	key, err := t.sys.loop.add(fd, unix.EPOLLPRI|unix.EPOLLET, func(uint32) { f() })
	if err != nil {
		unix.Close(fd)
		return err
	}
	t.sys.mu.Lock()
	defer t.sys.mu.Unlock()
	t.key, t.events = key, fd
	return nil
}

func (t *Tree) removeCgroup() {
	if t.cgroup != "" {
		t.cgroups.drop(t.cgroup)
	}
}

// rest lists the living members but the process itself.
func (t *Tree) rest() []int {
	if t.cgroup != "" {
		p := t.sys.byPid[t.leader]
		return slices.DeleteFunc(cgroupPids(t.cgroup), func(pid int) bool { return p != nil && p.Tree == t && pid == t.leader })
	}
	if t.sys.adopt {
		return t.orphans()
	}
	return sessionOf(t.leader)
}

// orphans lists what t left behind: those of our own children that nobody
// started here and that t is the origin of, and their descendants.
func (t *Tree) orphans() []int {
	var out []int
	for _, pid := range children(os.Getpid()) {
		if t.sys.byPid[pid] != nil || t.sys.origin(pid) != t {
			continue
		}
		out = append(out, pid)
		out = append(out, descendants(pid)...)
	}
	return out
}

// origin says which tree an orphan comes from, or nil where nothing tells: its
// session does for most, its environment for one that called setsid, and where
// there was never more than one slot, that slot. Of several trees of one slot
// (the old process' rest and the new process) its age decides.
func (s *System) origin(pid int) *Tree {
	st, ok := readStat(pid)
	if !ok || st.dead() {
		return nil
	}
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)) // unreadable: another user's, or gone
	var all, marked []*Tree
	for t := range s.trees {
		if st.session == t.leader {
			return t
		}
		if t.mark != "" && hasVars(env, t.mark) {
			marked = append(marked, t)
		}
		all = append(all, t)
	}
	switch {
	case len(marked) > 0:
		return youngestBefore(marked, st.born)
	case len(s.slots) == 1:
		return youngestBefore(all, st.born)
	}
	return nil
}

// youngestBefore gives the tree that was the newest one at the time born.
func youngestBefore(trees []*Tree, born uint64) *Tree {
	var best *Tree
	for _, t := range trees {
		if t.born <= born && (best == nil || t.born > best.born) {
			best = t
		}
	}
	return best
}

// hasVars reports whether the NUL-separated environment env has every one of
// the NUL-separated variables in mark.
func hasVars(env []byte, mark string) bool {
	have := bytes.Split(env, []byte{0})
	for v := range strings.SplitSeq(mark, "\x00") {
		if !slices.ContainsFunc(have, func(b []byte) bool { return string(b) == v }) {
			return false
		}
	}
	return true
}

// descendants lists the living processes below pid. A tree that forks while it
// is read is not caught by one reading: who kills it looks again.
func descendants(pid int) []int {
	var out []int
	for todo := children(pid); len(todo) > 0; todo = todo[1:] {
		if !slices.Contains(out, todo[0]) {
			out = append(out, todo[0])
			todo = append(todo, children(todo[0])...)
		}
	}
	return out
}

// children lists the children of all threads of pid.
func children(pid int) []int {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []int
	for _, task := range tasks {
		b, err := os.ReadFile(filepath.Join(dir, task.Name(), "children"))
		if err != nil && !hasChildrenFiles() {
			return slices.Collect(scan(func(st stat) bool { return st.ppid == pid }))
		}
		out = append(out, pidsIn(b)...)
	}
	return out
}

// hasChildrenFiles reports whether the kernel was built with PROC_CHILDREN.
var hasChildrenFiles = sync.OnceValue(func() bool {
	_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	return err == nil
})

// pidsIn reads a list of pids. In one of a cgroup a process of another pid
// namespace is a 0, which kill(2) takes for our own process group.
func pidsIn(b []byte) []int {
	var out []int
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			out = append(out, pid)
		}
	}
	return out
}

// sessionOf lists the processes of a session other than its leader.
func sessionOf(leader int) []int {
	all := slices.Collect(scan(func(st stat) bool { return st.session == leader && !st.dead() }))
	return slices.DeleteFunc(all, func(pid int) bool { return pid == leader })
}

// scan goes through all processes of the host.
func scan(want func(stat) bool) iter.Seq[int] {
	return func(yield func(int) bool) {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return
		}
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil {
				continue
			}
			if st, ok := readStat(pid); ok && want(st) && !yield(pid) {
				return
			}
		}
	}
}

type stat struct {
	state                  byte
	ppid, session, threads int
	born                   uint64 // clock ticks since boot
}

// dead reports whether only the status is left. A process whose first thread
// has ended is a zombie already while others run.
func (s stat) dead() bool { return s.state == 'Z' && s.threads <= 1 }

func readStat(pid int) (stat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	return parseStat(b)
}

// parseStat reads /proc/PID/stat. The command name in it may hold anything, so
// the fields are counted from its last parenthesis (proc_pid_stat(5)).
func parseStat(b []byte) (stat, bool) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 {
		return stat{}, false
	}
	ppid, err1 := strconv.Atoi(f[1])
	session, err2 := strconv.Atoi(f[3])
	threads, err3 := strconv.Atoi(f[17])
	born, err4 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return stat{}, false
	}
	return stat{state: f[0][0], ppid: ppid, session: session, threads: threads, born: born}, true
}
