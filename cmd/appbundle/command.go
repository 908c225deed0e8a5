package main

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// commandGrace is how long a build command that was asked to end may take.
const commandGrace = 5 * time.Second

// runCommand runs the build command of an app in dir: without a shell, with
// nothing on its standard input, and its output on our standard error. It
// runs in a process group of its own, which is asked to end with ctx; nothing
// of the group outlives that.
func runCommand(ctx context.Context, out *printer, argv []string, dir string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = out.remarks, out.remarks
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	if ctx.Err() != nil {
		if cmd.Process != nil {
			// Whoever did not listen; there may be nobody left.
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		return context.Cause(ctx)
	}
	return err
}
