package powerhose

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"appbundle/powerhose/internal/wire"
)

const (
	// pipeGrace is how long a program may go on with a job for which nobody waits.
	pipeGrace = 5 * time.Second
	// pipeMemory is how many bytes a worker keeps of a job, and of an answer.
	pipeMemory = 64 << 10
)

// Pipe makes a handler of a program that reads jobs from its standard input and
// writes answers to its standard output, as docs/POWERHOSE.md says in "Workers on
// standard input". A program that ends or writes what is no answer has lost its
// job; with that the worker ends. The program is ended by end when it goes on with
// a job for 5 s after its caller has gone. An answer that is longer than the master
// takes is the error of its job, and is read to its end without being kept.
func Pipe(stdin io.Writer, stdout io.Reader, end func()) Handler {
	in := bufio.NewReaderSize(stdout, 64<<10)
	var out, answer []byte
	var stuck atomic.Bool
	overdue := time.AfterFunc(time.Hour, func() {
		stuck.Store(true)
		end()
	})
	overdue.Stop()
	lost := func(err error) error {
		if stuck.Load() {
			err = fmt.Errorf("it went on with a job for %v after its caller had gone, and was killed; does it flush its answers?", pipeGrace)
		}
		return Abandon(err)
	}
	return func(_ context.Context, j *Job) ([]byte, error) {
		var err error
		if out, err = wire.AppendPipeJob(out[:0], j.Body); err != nil {
			return nil, err
		}
		j.ctx.whenCancelled(func() { overdue.Reset(pipeGrace) })
		defer overdue.Stop()
		if _, err := stdin.Write(out); err != nil {
			return nil, lost(fmt.Errorf("it does not read its job: %w", callError(err)))
		}
		limit := int(j.session.welcome.MaxBody)
		status, body, err := wire.ReadPipeAnswer(in, limit, answer[:0])
		long := new(wire.PipeTooLongError)
		if errors.As(err, &long) {
			_, err = io.CopyN(io.Discard, in, long.Size)
			if err == nil {
				what := "result"
				if status != wire.Done {
					what = "text of its error"
				}
				return nil, tooLong(what, long.Size, limit)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, lost(errors.New("it has ended with a job"))
		case err != nil:
			return nil, lost(fmt.Errorf("it is broken: %w", err))
		}
		if cap(body) <= pipeMemory {
			answer = body
		}
		if cap(out) > pipeMemory {
			out = nil
		}
		switch status {
		case wire.Failed:
			return nil, &Error{Text: string(body), plain: true}
		case wire.Refuse:
			return nil, &Error{Text: string(body), plain: true, reason: ErrRejected}
		}
		return body, nil
	}
}
