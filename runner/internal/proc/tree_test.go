package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ways of a process to hide from what started it: setsid, a parent that has
// ended, no environment.
var hidden = []string{"", "double", "setsid", "setsidbare", "doublesetsid", "doublesetsidbare"}

// findable says whether a tree of the lab finds such a one: in its cgroup,
// below its process while that lives, in its session, and, where orphans are
// adopted, by its environment or as the only slot there is.
func (l *lab) findable(way string, mainLives bool) bool {
	return l.cgroups != nil || l.adopt || !strings.Contains(way, "setsid") || mainLives && !strings.Contains(way, "double")
}

// leaves are the steps that start a child for each way to hide, and how many
// those are. Each ends at a TERM, or with deaf does not.
func (l *lab) leaves(mainLives bool, deaf string) (steps []string, n int) {
	for _, way := range hidden {
		if l.findable(way, mainLives) {
			steps = append(steps, "spawn="+way+";"+deaf+"pid=leaf;hold")
		}
	}
	return steps, len(steps)
}

// A tree is killed whole, however deaf and hidden it is: nobody holds its output
// any more.
func TestTreeKill(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		steps, n := l.leaves(true, "deaf;")
		c := l.start(nil, append(steps, "deaf", "hold")...)
		for range n {
			c.pid("leaf")
		}
		if c.Tree.Empty() {
			t.Error("the tree is empty")
		}
		c.Tree.Kill()
		if got := c.exit().String(); got != "killed by SIGKILL" {
			t.Errorf("the process ended with %s", got)
		}
		c.awaitEmpty()
		c.silence()
		l.all = nil
	})
}

// What a process leaves behind is counted, signalled, and seen to end, by the
// tree or by the System. A tree that is empty is forgotten.
func TestLeftBehind(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		steps, n := l.leaves(false, "")
		c := l.start(nil, append(steps, "trap=SIGUSR1", "exit=3")...)
		pids := map[int]bool{}
		for range n {
			pids[c.pid("leaf")] = true
		}
		c.want("trapping SIGUSR1")
		if err := c.Signal(unix.SIGUSR1); err != nil {
			t.Error(err)
		}
		c.want("got SIGUSR1")
		if st := c.exit(); st.Code() != 3 {
			t.Errorf("the process ended with %s", st)
		}
		if c.Tree.Exact() != (l.cgroups != nil) {
			t.Errorf("Exact = %v", c.Tree.Exact())
		}
		c.Tree.sys.mu.Lock()
		rest := c.Tree.rest()
		c.Tree.sys.mu.Unlock()
		if len(rest) != n || slices.ContainsFunc(rest, func(pid int) bool { return !pids[pid] }) {
			t.Errorf("left are %v, want %v", rest, pids)
		}
		if got := c.Tree.Signal(0); got != n {
			t.Errorf("Signal reaches %d, want %d", got, n)
		}
		if c.Tree.Empty() {
			t.Error("the tree is empty")
		}
		c.Tree.Signal(unix.SIGTERM)
		c.awaitEmpty()
		c.silence()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.trees) != 0 {
			t.Errorf("%d trees are known", len(l.trees))
		}
		l.all = nil
	})
}

// awaitEmpty waits until the tree is empty, by the callback that its way has;
// sessions have none.
func (c *child) awaitEmpty() {
	c.lab.Helper()
	changed := c.lab.orphaned
	if c.Tree.Exact() {
		changed = make(chan struct{}, 1)
		if err := c.Tree.Notify(func() { poke(changed) }); err != nil {
			c.lab.Fatal(err)
		}
	}
	deadline := time.After(patience)
	for !c.Tree.Empty() {
		if !c.Tree.Exact() && !c.lab.adopt {
			c.silence() // they hold its output
			c.kill()
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.lab.Fatal("the tree does not become empty")
		}
	}
}

// Of two processes that left orphans, and where there are no cgroups, each gets
// those that carry its session or its environment; what hides belongs to nobody.
func TestOrigin(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, true)
	ways := []string{"double", "doublebare", "doublesetsid", "doublesetsidbare"}
	var steps []string
	for _, way := range ways {
		steps = append(steps, "spawn="+way+";pid=leaf;hold")
	}
	a, b := l.start(nil, append(steps, "hold")...), l.start(nil, append(steps, "hold")...)
	for _, c := range []*child{a, b} {
		var leaves []int
		for range ways {
			leaves = append(leaves, c.pid("leaf"))
		}
		for _, pid := range leaves {
			l.mu.Lock()
			got := l.origin(pid)
			l.mu.Unlock()
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil {
				t.Fatal(err)
			}
			sid, err := unix.Getsid(pid)
			if err != nil {
				t.Fatal(err)
			}
			want := c.Tree
			if len(env) == 0 && sid != c.Pid {
				want = nil
			}
			if got != want {
				t.Errorf("an orphan of pid %d, in session %d with %q, is of %p, want %p", c.Pid, sid, env, got, want)
			}
		}
		if err := c.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		c.exit()
		if n := c.Tree.Signal(unix.SIGKILL); n != 3 {
			t.Errorf("%d were left behind, want 3", n)
		}
	}
	EndDescendants() // and those of nobody, as the supervisor does
	for _, c := range []*child{a, b} {
		c.awaitEmpty()
		c.silence()
	}
	l.all = nil
}

// Whatever its name is, a process is read right.
func TestStrangeNames(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, true)
	for _, name := range []string{"a) Z 1 2 3", "((((", "a\nb", " ", "\xff) R 0 0"} {
		c := l.start(nil, "name="+name, "spawn=double;name="+name+";pid=leaf;hold", "pid=main", "hold")
		leaf, pid := c.pid("leaf"), c.pid("main")
		l.mu.Lock()
		got := c.Tree.rest()
		st, ok := readStat(pid)
		l.mu.Unlock()
		if !ok || st.ppid != os.Getpid() || st.session != pid || !slices.Equal(got, []int{leaf}) {
			t.Errorf("%q: %+v, %v, left behind %v, want %d", name, st, ok, got, leaf)
		}
		c.Tree.Kill()
		c.exit()
	}
}

// A process that makes cgroups below its own does not hide there, and they go
// with its own: the lab looks. Where there is none to make it in it says so.
func TestNestedCgroup(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		if l.cgroups == nil {
			own, err := ownCgroup()
			if err == nil && unix.Access(own, unix.W_OK) == nil {
				return // it could: it would be ours to clean up
			}
			c := l.start(nil, "nest=x", "hold")
			c.line("step nest=x: ")
			if st := c.exit(); st.Code() != 99 {
				t.Errorf("it ended with %s", st)
			}
			return
		}
		c := l.start(nil, "spawn=doublesetsidbare;nest=a;nest=b;deaf;pid=leaf;hold", "pid=main", "hold")
		leaf := c.pid("leaf")
		c.pid("main")
		if err := c.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
		c.exit()
		if c.Tree.Empty() {
			t.Error("the tree is empty: it does not see below its cgroup")
		}
		if n := c.Tree.Signal(unix.SIGTERM); n != 1 {
			t.Errorf("Signal reaches %d, want pid %d", n, leaf)
		}
		c.Tree.Kill()
		c.awaitEmpty()
	})
}

// The processes of a slot have a leaf each, SLOT, SLOT.2 and so on, until
// their tree is forgotten. Without cgroups there are none.
func TestLeaves(t *testing.T) {
	everyWay(t, func(t *testing.T, l *lab) {
		slot := func(s *Spec) { s.Slot = "web.1" }
		leaf := func(c *child) string {
			if l.cgroups == nil {
				return c.Tree.cgroup
			}
			rel, err := filepath.Rel(l.cgroups.Dir(), c.Tree.cgroup)
			if err != nil {
				t.Error(err)
			}
			return rel
		}
		a, b := l.start(slot, "exit=0"), l.start(slot, "exit=0")
		a.exit()
		b.exit()
		want := []string{"web.1", "web.1.2"}
		if l.cgroups == nil {
			want = []string{"", ""}
		}
		if got := []string{leaf(a), leaf(b)}; !slices.Equal(got, want) {
			t.Errorf("the leaves are %q, want %q", got, want)
		}
		if !a.Tree.Empty() {
			t.Error("something is left")
		}
		c := l.start(slot, "exit=0")
		c.exit()
		if got := leaf(c); got != want[0] {
			t.Errorf("the next leaf is %q, want %q", got, want[0])
		}
	})
}

// What a supervisor that died left is ended by the next one of its name; one
// that lives keeps its own. Who may not make a cgroup is told why.
func TestStaleCgroups(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, true)
	name := testName()
	first := openCgroups(t, name)
	if first == nil {
		for range 2 {
			if c, ended, err := OpenCgroups(name); c != nil || ended != 0 || err == nil {
				t.Errorf("OpenCgroups = %v, %d, %v", c, ended, err)
			}
		}
		return
	}
	second := openCgroups(t, name)
	if second == nil || second.Dir() != first.Dir()+".2" {
		t.Fatalf("the second directory is %v, want %s.2", second, first.Dir())
	}
	var left []*child
	for _, cg := range []*Cgroups{first, second} {
		c := l.start(func(s *Spec) { s.Cgroup = cg }, "spawn=setsid;nest=x;deaf;pid=leaf;hold", "deaf", "pid=main", "hold")
		c.pid("leaf")
		c.pid("main")
		left = append(left, c)
		cg.lock.Close() // as its end does
	}
	third, ended, err := OpenCgroups(name)
	if err != nil || ended != 4 || third.Dir() != first.Dir() {
		t.Fatalf("OpenCgroups = %v, %d, %v, want %s and 4 processes", third, ended, err, first.Dir())
	}
	for _, c := range left {
		if got := c.exit().String(); got != "killed by SIGKILL" {
			t.Errorf("it ended with %s", got)
		}
		c.Tree.Empty()
		c.silence()
	}
	l.all = nil
	third.Close()
	second.remove() // was cleared, and is nobody's
	if dirs, err := filepath.Glob(first.Dir() + "*"); len(dirs) != 0 {
		t.Errorf("left are %q, %v", dirs, err)
	}
}

// A directory that was removed in the moment it was locked is not taken, nor is
// one that another holds.
func TestTakeCgroup(t *testing.T) {
	leavesNothing(t)
	dir := filepath.Join(t.TempDir(), "app") // flock and mkdir are the same everywhere
	first, err := takeCgroup(dir)
	if err != nil || first == nil {
		t.Fatalf("takeCgroup = %v, %v", first, err)
	}
	if second, err := takeCgroup(dir); second != nil || err != nil {
		t.Errorf("a second takeCgroup = %v, %v, want none", second, err)
	}
	first.lock.Close()
	third, err := takeCgroup(dir)
	if err != nil || third == nil {
		t.Fatalf("takeCgroup of one that nobody holds = %v, %v", third, err)
	}
	third.lock.Close()
	if c, err := takeCgroup(filepath.Join(dir, "a", "b")); c != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("takeCgroup without a parent = %v, %v", c, err)
	}
	if err := waitEmpty(dir, time.Second); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("waitEmpty of what is no cgroup = %v", err)
	}
}

// Without cgroup.kill, as before Linux 5.14, each process is killed.
func TestKillWithoutFile(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	c, d := l.start(nil, "pid=main", "hold"), l.start(nil, "pid=main", "hold")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{"cgroup.procs": c.pid("main"), "sub/cgroup.procs": d.pid("main")} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "0\n%d\n", pid), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := killCgroup(dir); err != nil {
		t.Error(err)
	}
	for _, c := range []*child{c, d} {
		if got := c.exit().String(); got != "killed by SIGKILL" {
			t.Errorf("it ended with %s", got)
		}
	}
}

// Who is of a session or below a process is found also by reading all of /proc,
// as where the kernel has no list of children.
func TestScan(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	c := l.start(nil, "spawn=;pid=leaf;hold", "spawn=setsid;pid=leaf;hold", "pid=main", "hold")
	leaves := []int{c.pid("leaf"), c.pid("leaf")}
	pid := c.pid("main")
	slices.Sort(leaves)
	scanned := slices.Sorted(scan(func(st stat) bool { return st.ppid == pid }))
	if listed := slices.Sorted(slices.Values(children(pid))); !slices.Equal(scanned, leaves) || !slices.Equal(listed, leaves) {
		t.Errorf("the children of %d are %v by their parent and %v by the list, want %v", pid, scanned, listed, leaves)
	}
	if got := sessionOf(pid); len(got) != 1 || !slices.Contains(leaves, got[0]) {
		t.Errorf("sessionOf = %v, want one of %v", got, leaves)
	}
	for range scan(func(stat) bool { return true }) {
		break // nobody needs to read it all
	}
	if got := children(1 << 30); got != nil {
		t.Errorf("children of a pid that cannot be: %v", got)
	}
}
