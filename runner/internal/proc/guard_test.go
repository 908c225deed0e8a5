package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A party is a guard, its supervisor, which performs steps, and everything below
// that. Its output ends when the last of them has ended.
type party struct {
	testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
	seen  []string
}

func newParty(tb testing.TB, steps ...string) *party {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	p := &party{TB: tb, cmd: exec.Command(exe, append([]string{"guard"}, steps...)...), lines: bufio.NewScanner(r)}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.ExtraFiles = []*os.File{w} // what a guard has inherited by chance is not handed on
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		r.Close()
	})
	return p
}

// line waits for the first line that starts with prefix, and gives the rest.
func (p *party) line(prefix string) string {
	p.Helper()
	for p.lines.Scan() {
		if rest, ok := strings.CutPrefix(p.lines.Text(), prefix); ok {
			return rest
		}
		p.seen = append(p.seen, p.lines.Text())
	}
	p.Fatalf("no line %q..., but %q: %v", prefix, p.seen, p.lines.Err())
	panic("unreachable")
}

// end waits until the guard has ended, and gives its status; nobody may hold its
// output then.
func (p *party) end() string {
	p.Helper()
	for p.lines.Scan() {
		p.seen = append(p.seen, p.lines.Text())
	}
	if err := p.lines.Err(); err != nil {
		p.Errorf("somebody is left: %v; seen: %q", err, p.seen)
		_ = p.cmd.Process.Kill()
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.Error(err)
	}
	return p.cmd.ProcessState.String()
}

func (p *party) signal(sig unix.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Error(err)
	}
}

// everyLeaf starts one deaf child for each way to hide.
func everyLeaf() (steps []string) {
	for _, way := range hidden {
		steps = append(steps, "spawn="+way+";deaf;say=leaf;hold")
	}
	return steps
}

// When the supervisor has ended, as it likes or not, the guard has ended all
// that was below it, says how it was, and gives its status on.
func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		last   string
		want   string
		status string
	}{
		{"exit=0", "guard: 0 <nil>", "exit status 0"},
		{"exit=7", "guard: 7 <nil>", "exit status 7"},
		{"die=KILL", "guard: 0 the supervisor (pid %d) was killed by SIGKILL; everything below it was ended", "exit status 0"},
	} {
		t.Run(tt.last, func(t *testing.T) {
			leavesNothing(t)
			p := newParty(t, append(everyLeaf(), "show=fds", "pid=supervisor", "trap=SIGUSR1", tt.last)...)
			if got := p.line("["); got != "0=/dev/null 1=pipe 2=pipe]" {
				t.Errorf("the supervisor has inherited %q", got)
			}
			var pid int
			if _, err := fmt.Sscan(p.line("supervisor pid="), &pid); err != nil {
				t.Fatal(err)
			}
			p.line("trapping SIGUSR1")
			for n := strings.Count(strings.Join(p.seen, "\n"), "leaf"); n < len(hidden); n++ {
				p.line("leaf")
			}
			p.signal(unix.SIGUSR1) // it is forwarded
			p.line("got SIGUSR1")
			want := strings.ReplaceAll(tt.want, "%d", fmt.Sprint(pid))
			if rest := p.line(want); rest != "" {
				t.Errorf("the guard says %q after that", rest)
			}
			if got := p.end(); got != tt.status {
				t.Errorf("the guard ended with %s, want %s", got, tt.status)
			}
		})
	}
}

// Each signal that a guard forwards reaches the supervisor, and ends no guard.
func TestGuardForwards(t *testing.T) {
	leavesNothing(t)
	signals := []string{"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"}
	var steps []string
	for _, name := range signals {
		steps = append(steps, "trap="+name)
	}
	p := newParty(t, append(steps, "exit=3")...)
	for _, name := range signals {
		p.line("trapping " + name)
		p.signal(unix.SignalNum(name))
		p.line("got " + name)
	}
	if got := p.end(); got != "exit status 3" {
		t.Errorf("the guard ended with %s", got)
	}
}

// When the guard is killed the supervisor is told.
func TestGuardGone(t *testing.T) {
	leavesNothing(t)
	p := newParty(t, "watch", "exit=5")
	p.line("watching")
	p.signal(unix.SIGKILL)
	p.line("the guard is gone")
	if got := p.end(); got != "signal: killed" {
		t.Errorf("the guard ended with %s", got)
	}
}

// Who is under no guard is told nothing.
func TestNoGuard(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	if Guarded() || !CanShim() {
		t.Errorf("Guarded = %v, CanShim = %v", Guarded(), CanShim())
	}
	if err := l.WatchGuard(func() { t.Error("the guard is gone") }); err != nil {
		t.Error(err)
	}
}

// EndDescendants ends a tree that forks while it is killed, and many at once.
func TestEndDescendants(t *testing.T) {
	leavesNothing(t)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	}()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// Each leaves orphans, one after another, as long as it lives.
	const script = `echo up; n=0; while [ $n -lt 200 ]; do (sleep 1000 & :); n=$((n+1)); done; sleep 1000`
	var cmds []*exec.Cmd
	for range 3 {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 3)); err != nil {
		t.Error(err)
	}
	EndDescendants()
	for _, cmd := range cmds {
		_ = cmd.Process.Release()
	}
	if left := descendants(os.Getpid()); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

// BenchmarkEndDescendants ends 400 processes.
func BenchmarkEndDescendants(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		for range 400 {
			if err := exec.Command("/bin/sleep", "1000").Start(); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		EndDescendants()
	}
}
