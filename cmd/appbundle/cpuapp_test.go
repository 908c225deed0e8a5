package main

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"appbundle/powerhose"
)

// TestCPUApp takes examples/cpu-app from its wheel to its end: the workers do
// the work of a route, and while one is killed every request is answered, and
// rightly.
func TestCPUApp(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	copyTree(t, "../../examples/cpu-app", work+"/cpu-app")
	copyTree(t, "../../powerhose/python", work+"/python")
	if err := os.RemoveAll(work + "/cpu-app/wheels"); err != nil { // of make wheel
		t.Fatal(err)
	}
	output(t, work, filepath.Join(serversEnv(t), "bin/python"), "-m", "flit_core.wheel", "--outdir", "cpu-app/wheels", "python")
	output(t, work, "appbundle", "check", "--strict", "cpu-app")
	output(t, work, "appbundle", "lock", "cpu-app")
	output(t, work, "appbundle", "install", "cpu-app")
	output(t, work, "appbundle", "check", "--strict", "cpu-app")

	app := runApp(t, work+"/cpu-app", "--bind", "127.0.0.1:0")
	if body := get(t, app.url+"io"); body != "waited\n" {
		t.Errorf("GET /io = %q", body)
	}
	master := app.after("listens at ")
	if n := jobsDone(t, master); n != 0 {
		t.Fatalf("the workers have done %d jobs before the first one", n)
	}
	want := get(t, app.url+"cpu-direct?a")
	if n := jobsDone(t, master); n != 0 {
		t.Errorf("GET /cpu-direct made %d jobs", n)
	}
	if body := get(t, app.url+"cpu?a"); body != want || len(body) != 65 {
		t.Errorf("GET /cpu = %q, and /cpu-direct %q", body, want)
	}
	if n := jobsDone(t, master); n != 1 {
		t.Errorf("GET /cpu made %d jobs", n)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	answered := make(chan struct{}, 4)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for range cap(answered) {
		wg.Go(func() {
			for first := true; ctx.Err() == nil; first = false {
				if err := ask(client, app.url+"cpu?a", want); err != nil {
					t.Errorf("GET /cpu: %v", err)
				}
				if first {
					answered <- struct{}{}
				}
			}
		})
	}
	for range cap(answered) {
		<-answered
	}
	if err := syscall.Kill(app.pidOf("crypto.1: pid "), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	app.await("crypto.1: pid " + strconv.Itoa(app.started("crypto.1")) + " is up")
	cancel()
	wg.Wait()
	if body := get(t, app.url+"cpu?a"); body != want {
		t.Errorf("GET /cpu = %q, want %q", body, want)
	}
	app.stop()
	if _, err := os.Stat(master); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the master has left its socket: %v", err)
	}
}

// jobsDone is the number of calls that the master at path has answered by results.
func jobsDone(t *testing.T, path string) uint64 {
	t.Helper()
	s, err := powerhose.ReadStatus(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s.Calls.Results
}
