package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/internal/fetch"
	"appbundle/powerhose"
	"appbundle/resolve"
	"appbundle/rpm"
	"appbundle/runner"
	"appbundle/schema"
	"appbundle/trust"
)

// errNo is the answer no, of a command that has said why in its answer.
var errNo = errors.New("no")

// errInterrupted is the cause of the end of a command that got a signal.
var errInterrupted = errors.New("interrupted")

// A usageError is a command line that means nothing.
type usageError struct {
	err  error
	hint string // what to type instead; "" is the command's help
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Hint() string  { return e.hint }

// exitCode alone knows what an exit status means.
func exitCode(err error) int {
	var supervisor statusError
	switch {
	case errors.As(err, &supervisor):
		return int(supervisor)
	case err == nil:
		return 0 // yes
	case is[*usageError](err), is[*bundle.UsageError](err):
		return 2 // that means nothing
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return 130
	case is[*powerhose.MasterError](err):
		return 69 // a worker without a master
	case is[*outputError](err):
		return 3 // the answer is not told
	case errors.Is(err, errNo),
		is[*bundle.CheckError](err),
		is[*bundle.RefusedError](err), is[*bundle.SizeError](err), is[*rpm.RefusedError](err), is[*trust.RefusedError](err),
		is[*bundle.ServerError](err),
		is[*bundle.EnvironmentError](err),
		is[*resolve.ConflictError](err), is[*resolve.BuildError](err),
		is[*lockError](err), is[*envError](err), is[*unbuiltError](err), is[*unlockedError](err), is[*absentError](err), is[*install.MismatchError](err),
		errors.Is(err, schema.ErrNotCovered), errors.Is(err, fetch.ErrAltered),
		is[*runner.RunningError](err),
		is[*runner.WatcherError](err),
		is[*runner.GaveUpError](err),
		is[*runner.ExitError](err),
		is[*endedError](err),
		is[*exec.ExitError](err), // the app's own build command said no
		is[schema.Problems](err), is[*schema.Problem](err),
		errors.Is(err, fs.ErrExist): // what must not be there
		return 1 // no
	}
	return 3 // could not look, could not do
}

// is reports whether err is, or wraps, a T.
func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// interruptible runs body with a context that the first INT, TERM or HUP ends,
// and waits for body: it undoes what it has begun. A second signal kills. A
// broken pipe is an error of the write, not the end of the process, for the
// same reason.
func interruptible(ctx context.Context, body func(context.Context) error) error {
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	sig, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(sig, stop)
	err := body(sig)
	if err != nil && sig.Err() != nil && ctx.Err() == nil {
		return errInterrupted
	}
	return err
}

// look runs f, which reads and changes nothing, and does not wait for it when
// ctx ends first: the process is about to exit.
func look[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
