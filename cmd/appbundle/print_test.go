package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// A reader that goes away ends a command by SIGPIPE, without a word, whether
// the command holds that signal while it works or not.
func TestBrokenPipe(t *testing.T) {
	for _, args := range [][]string{
		{"version"},
		{"--help"},
		{"explain"},
		{"check", t.TempDir()},
	} {
		t.Run(args[0], func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			defer w.Close()
			var stderr bytes.Buffer
			cmd := exec.Command("appbundle", append(args, "--quiet")...)
			cmd.Stdout, cmd.Stderr = w, &stderr
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) {
				t.Fatalf("appbundle %v = %v, want death by SIGPIPE", args, err)
			}
			if ws := exit.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGPIPE {
				t.Errorf("appbundle %v ended with %v, want death by SIGPIPE", args, exit)
			}
			if stderr.Len() > 0 {
				t.Errorf("appbundle %v said %q", args, stderr.String())
			}
		})
	}
}
