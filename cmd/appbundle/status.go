package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// errNo is the answer no, of a command that has said why in its answer.
var errNo = errors.New("no")

// errInterrupted is the cause of the end of a command that got a signal.
var errInterrupted = errors.New("interrupted")

// A usageError is a command line that means nothing.
type usageError struct {
	err     error
	command string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) Hint() string  { return e.command + " --help" }

// exitCode alone knows what an exit status means.
func exitCode(err error) int {
	var (
		usage  *usageError
		output *outputError
	)
	switch {
	case err == nil:
		return 0 // yes
	case errors.As(err, &usage):
		return 2
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return 130
	case errors.As(err, &output):
		return 3 // could not say
	case errors.Is(err, errNo):
		return 1 // no
	}
	return 3 // could not look, could not do
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
