package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"appbundle/examples/token-app/jobs"
	"appbundle/powerhose"
)

// The test binary is the command where the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("CRYPTO_WORKER_TEST") != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func command(master string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "CRYPTO_WORKER_TEST=1", "POWERHOSE_MASTER="+master)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestUsage(t *testing.T) {
	for _, cmd := range []*exec.Cmd{command(""), command("/nowhere/m.sock", "-x")} {
		cmd.Stderr = nil
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || string(exit.Stderr) != "crypto-worker: usage: POWERHOSE_MASTER=PATH crypto-worker\n" || len(out) > 0 {
			t.Errorf("%v %q", err, out)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{fmt.Errorf("x: %w", &powerhose.MasterError{Address: "m", Err: errors.New("gone")}), 69},
		{errors.New("no socket"), 3},
	} {
		if got := status(tt.err); got != tt.want {
			t.Errorf("status(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

// It serves both kinds, and ends with 0 after SIGTERM.
func TestServe(t *testing.T) {
	dir, err := os.MkdirTemp("", "cw") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	runner, err := powerhose.NewJobRunner(powerhose.MasterConfig{Listen: filepath.Join(dir, "m.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer runner.Close()
	worker := command(filepath.Join(dir, "m.sock"))
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	execute := jobs.Remote(runner, time.Minute, time.Minute)
	for _, kind := range []string{jobs.Verify, jobs.Mint} {
		if _, err := execute(context.Background(), kind, nil); !errors.Is(err, powerhose.ErrRejected) {
			t.Errorf("%s: %v, want that the worker rejects it", kind, err)
		}
	}
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := worker.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
