package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come. It is only there to
// fail.
const patience = time.Minute

// exe is the test binary.
var exe = func() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}()

// leavesNothing fails a test after which a descriptor, a goroutine or a child is
// left.
func leavesNothing(tb testing.TB) {
	tb.Helper()
	files, goroutines := openFiles(tb), runtime.NumGoroutine()
	tb.Cleanup(func() {
		if now := openFiles(tb); !slices.Equal(now, files) {
			tb.Errorf("open descriptors: %q, want %q as before", now, files)
		}
		// A goroutine that has told others of its end may still be about to return.
		for deadline := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<20)
				tb.Fatalf("%d goroutines, want %d as before:\n%s", runtime.NumGoroutine(), goroutines, buf[:runtime.Stack(buf, true)])
			}
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
			tb.Errorf("there is a child (wait4: %d, %v)", pid, err)
		}
	})
}

// openFiles lists the descriptors of this process and what they are.
func openFiles(tb testing.TB) []string {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "/proc/") { // that is the directory just read
			out = append(out, e.Name()+" "+target)
		}
	}
	return out
}

// A lab is a System under test. At its end everything that it started is
// killed, and nothing may be left.
type lab struct {
	testing.TB
	*System
	cgroups  *Cgroups
	orphaned chan struct{} // something was reaped that nobody started
	all      []*child
}

// newLab makes a System that adopts or does not.
func newLab(tb testing.TB, adopt bool) *lab {
	tb.Helper()
	l := &lab{TB: tb, orphaned: make(chan struct{}, 1)}
	sys, err := New(adopt, func() { poke(l.orphaned) })
	if err != nil {
		tb.Fatal(err)
	}
	l.System = sys
	tb.Cleanup(l.end)
	return l
}

// poke leaves word in c, once is enough.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *lab) end() {
	l.Helper()
	for _, c := range l.all {
		if !c.ended {
			c.Tree.Kill()
			c.exit()
		}
	}
	for _, c := range l.all {
		c.kill()
		c.silence()
	}
	l.Close()
	if l.adopt {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			l.Error(err)
		}
		EndDescendants()
	}
	if l.cgroups != nil {
		l.cgroups.Close()
		if _, err := os.Stat(l.cgroups.Dir()); err == nil {
			l.Errorf("%s is still there", l.cgroups.Dir())
		}
	}
}

var names int // tests of this package run one after the other

// testName gives a name that no other test of this host uses at the same time.
func testName() string {
	names++
	return fmt.Sprintf("appbundle-proctest%d-%d", os.Getpid(), names)
}

// openCgroups gives what the host offers, or nil where it says why it offers
// nothing.
func openCgroups(tb testing.TB, name string) *Cgroups {
	tb.Helper()
	c, ended, err := OpenCgroups(name)
	if ended != 0 {
		tb.Errorf("OpenCgroups(%q) ended %d processes of nobody", name, ended)
	}
	if err == nil {
		return c
	}
	_, none := ownCgroup()
	if c != nil || none == nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatalf("OpenCgroups(%q) = %v, %v", name, c, err)
	}
	return nil
}

// everyWay runs f with what the host offers, with descendants that are adopted
// and with sessions alone.
func everyWay(t *testing.T, f func(t *testing.T, l *lab)) {
	for _, way := range []struct {
		name           string
		cgroups, adopt bool
	}{{"host", true, true}, {"descendants", false, true}, {"session", false, false}} {
		t.Run(way.name, func(t *testing.T) {
			leavesNothing(t)
			l := newLab(t, way.adopt)
			if way.cgroups {
				l.cgroups = openCgroups(t, testName())
			}
			f(t, l)
		})
	}
}

// A child is a process that performs steps. The lab reads what it and all below
// it print.
type child struct {
	*Process
	lab    *lab
	status chan Status
	ended  bool
	out    *os.File
	lines  *bufio.Scanner
	seen   []string // lines that nobody asked for yet
}

// start starts a child; change may change how.
func (l *lab) start(change func(*Spec), steps ...string) *child {
	l.Helper()
	c, err := l.try(change, steps...)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *lab) try(change func(*Spec), steps ...string) (*child, error) {
	l.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		l.Fatal(err)
	}
	defer w.Close()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		l.Fatal(err)
	}
	c := &child{lab: l, status: make(chan Status, 2), out: r, lines: bufio.NewScanner(r)}
	spec := Spec{
		Path: exe, Argv: append([]string{"prog", "child"}, steps...), Dir: "/",
		Env:   []string{"MARK_A=" + strconv.Itoa(len(l.all)), "MARK_B=x"},
		Stdin: -1, Stdout: int(w.Fd()), Stderr: int(w.Fd()),
		Slot: fmt.Sprint("web.", len(l.all)), Cgroup: l.cgroups, OnExit: func(st Status) { c.status <- st },
	}
	spec.Mark = strings.Join(spec.Env, "\x00")
	if change != nil {
		change(&spec)
	}
	if c.Process, err = l.Start(spec); err != nil {
		r.Close()
		return nil, err
	}
	l.all = append(l.all, c)
	return c, nil
}

// line waits for the first line that starts with prefix, and gives the rest of
// it: what the processes of a tree say comes in any order.
func (c *child) line(prefix string) string {
	c.lab.Helper()
	for i, s := range c.seen {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			c.seen = slices.Delete(c.seen, i, i+1)
			return rest
		}
	}
	for c.lines.Scan() {
		if rest, ok := strings.CutPrefix(c.lines.Text(), prefix); ok {
			return rest
		}
		c.seen = append(c.seen, c.lines.Text())
	}
	c.lab.Fatalf("pid %d says no line %q..., but %q: %v", c.Pid, prefix, c.seen, c.lines.Err())
	panic("unreachable")
}

// want waits for a line.
func (c *child) want(line string) {
	c.lab.Helper()
	if rest := c.line(line); rest != "" {
		c.lab.Fatalf("pid %d says %q, want %q", c.Pid, line+rest, line)
	}
}

// pid waits for a line "LABEL pid=N" and gives N.
func (c *child) pid(label string) int {
	c.lab.Helper()
	text := c.line(label + " pid=")
	n, err := strconv.Atoi(text)
	if err != nil {
		c.lab.Fatal(err)
	}
	return n
}

// exit waits until the child has ended.
func (c *child) exit() Status {
	c.lab.Helper()
	select {
	case st := <-c.status:
		c.ended = true
		return st
	case <-time.After(patience):
		c.lab.Fatalf("pid %d does not end", c.Pid)
		panic("unreachable")
	}
}

// silence waits until nobody holds the child's output any more.
func (c *child) silence() {
	c.lab.Helper()
	if c.out == nil {
		return
	}
	for c.lines.Scan() {
		c.seen = append(c.seen, c.lines.Text())
	}
	if err := c.lines.Err(); err != nil {
		c.lab.Errorf("somebody holds the output of pid %d, which said %q: %v", c.Pid, c.seen, err)
	}
	c.out.Close()
	c.out = nil
	if len(c.status) > 0 {
		c.lab.Errorf("pid %d: OnExit was called twice", c.Pid)
	}
}

// kill kills what is left of the child's tree until it is empty.
func (c *child) kill() {
	c.lab.Helper()
	for deadline := time.Now().Add(patience); !c.Tree.Empty(); runtime.Gosched() {
		c.Tree.Kill()
		if time.Now().After(deadline) {
			c.lab.Fatalf("what pid %d left does not end", c.Pid)
		}
	}
}
