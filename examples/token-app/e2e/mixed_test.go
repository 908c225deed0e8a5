package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/powerhose"
)

// python is that of out/servers, which tools/setup test makes.
func python(t *testing.T) string {
	t.Helper()
	at, err := filepath.Abs(project + "/out/servers/bin/python")
	if err == nil {
		_, err = os.Stat(at)
	}
	if err != nil {
		t.Fatalf("%v; tools/setup test makes it", err)
	}
	return at
}

// wheel makes the wheel of powerhose/python in a directory.
func wheel(t *testing.T, dir string) {
	t.Helper()
	source := t.TempDir()
	if err := copySources(project+"/powerhose/python", source); err != nil {
		t.Fatal(err)
	}
	output(t, source, python(t), "-m", "flit_core.wheel", "--outdir", dir, ".")
}

// The variant with workers in Go, C++ and Python is a bundle too. Under one master all
// of them work, and while one of each is killed no answer is wrong or missing.
func TestMixed(t *testing.T) {
	t.Parallel()
	example := filepath.Join(work, "mixed", "examples", "token-app")
	if err := copyProject(filepath.Join(work, "mixed")); err != nil {
		t.Fatal(err)
	}
	if err := copySources("../mixed", example); err != nil {
		t.Fatal(err)
	}
	wheel(t, filepath.Join(example, "wheels"))
	appbundle(t, "lock", example)
	appbundle(t, "install", example)
	appbundle(t, "check", "--strict", example)
	out := filepath.Join(work, "mixed", "out") + "/"
	appbundle(t, "build", "-o", out, example)
	built, err := filepath.Glob(out + "token-app-0.1.0-cp3*.tar.zst")
	if err != nil || len(built) != 1 {
		t.Fatalf("%q, %v", built, err)
	}
	dir := filepath.Join(t.TempDir(), "mixed")
	appbundle(t, "unpack", built[0], dir)

	s := newSite(t, dir)
	l := newLoad(s, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() { l.client(ctx, i%2 == 0) })
	}
	socket := s.after("listens at ")
	allWork(t, s, socket)
	for _, name := range []string{"go.1", "cpp.1", "python.1"} {
		s.kill(name, syscall.SIGKILL)
		allWork(t, s, socket)
	}
	cancel()
	clients.Wait()
	for _, p := range l.problems {
		t.Error(p)
	}
	if len(l.cut) > 0 {
		t.Errorf("%d requests were lost, and no web server was killed", len(l.cut))
	}
	s.stop()
}

// allWork waits until the workers of now have all done something.
func allWork(t *testing.T, s *site, socket string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		pids := map[int]bool{}
		s.mu.Lock()
		for _, name := range []string{"go.1", "cpp.1", "python.1"} {
			pids[s.pids[name]] = true
		}
		s.mu.Unlock()
		status, err := powerhose.ReadStatus(t.Context(), socket)
		if err == nil {
			for _, w := range status.Workers {
				if w.Done > 0 {
					delete(pids, w.PID)
				}
			}
		}
		if err == nil && len(pids) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("of the workers %v have done nothing (%v)", pids, err)
		}
	}
}
