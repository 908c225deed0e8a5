package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"appbundle/examples/token-app/signature"
	"appbundle/examples/token-app/token"
	"appbundle/powerhose"
)

// Handle does a job of a kind. Errors wrap [powerhose.ErrRejected]: they say
// nothing of what is in the job.
func Handle(ctx context.Context, kind string, job []byte) ([]byte, error) {
	switch kind {
	case Verify:
		checks, err := DecodeVerify(job)
		if err != nil {
			return nil, rejected(err)
		}
		good, err := signature.Local(ctx, checks)
		if err != nil {
			return nil, err
		}
		return encodeBools(good), nil
	case Mint:
		q, err := DecodeMint(job)
		if err != nil {
			return nil, rejected(err)
		}
		m, err := token.Mint(q)
		if err != nil {
			return nil, rejected(err)
		}
		return encodeMinted(m), nil
	}
	return nil, rejected(fmt.Errorf("jobs: there is no kind %.32q", kind))
}

func rejected(err error) error { return fmt.Errorf("%w: %w", powerhose.ErrRejected, err) }

// Work is the handler of a worker in Go. To who wants to know it says which worker
// it is.
func Work(ctx context.Context, job *powerhose.Job) ([]byte, error) {
	job.Progress(self)
	return Handle(ctx, job.Kind, job.Body)
}

var self = fmt.Appendf(nil, "go %d", os.Getpid())

// An Executor has a job of a kind done.
type Executor func(ctx context.Context, kind string, job []byte) ([]byte, error)

// Local does a job where it is called.
func Local(ctx context.Context, kind string, job []byte) ([]byte, error) {
	start := time.Now()
	out, err := Handle(ctx, kind, job)
	if trace := traceOf(ctx); trace != nil {
		trace(Trace{Kind: kind, Worker: string(self), Took: time.Since(start)})
	}
	return out, err
}

// Remote gives jobs to workers of a master: each has to be done within the
// deadline, and waits for a worker that is free for the time given at most. A job
// whose worker is lost is done by another one.
func Remote(r *powerhose.JobRunner, deadline, busyWait time.Duration) Executor {
	return func(ctx context.Context, kind string, job []byte) ([]byte, error) {
		call := powerhose.Call{Deadline: deadline, BusyWait: busyWait, Kind: kind, Repeatable: true}
		trace := traceOf(ctx)
		if trace == nil {
			return r.Execute(ctx, job, call)
		}
		var worker atomic.Pointer[string]
		call.Progress = func(b []byte) {
			s := string(b[:min(len(b), 64)])
			worker.Store(&s)
		}
		start := time.Now()
		out, err := r.Execute(ctx, job, call)
		t := Trace{Kind: kind, Took: time.Since(start)}
		if w := worker.Load(); w != nil {
			t.Worker = *w
		}
		trace(t)
		return out, err
	}
}

// A Trace is who did a job.
type Trace struct {
	Kind   string
	Worker string        // its language and process, such as "cpp 4711"; empty if it did not say
	Took   time.Duration // with the way there and back
}

type traceKey struct{}

// WithTrace gives a context with which f is told who did each job.
func WithTrace(ctx context.Context, f func(Trace)) context.Context {
	return context.WithValue(ctx, traceKey{}, f)
}

func traceOf(ctx context.Context) func(Trace) {
	f, _ := ctx.Value(traceKey{}).(func(Trace))
	return f
}

// A Client asks what jobs answer.
type Client struct {
	Execute Executor
}

// Verify is a [signature.Verifier]. What no worker would be asked, a check whose key
// is not for its algorithm, is not good.
func (c Client) Verify(ctx context.Context, checks []signature.Check) ([]bool, error) {
	good := make([]bool, 0, len(checks))
	for len(good) < len(checks) {
		some := checks[len(good):min(len(good)+MaxChecks, len(checks))]
		for i, check := range some {
			if !check.Key.Fits(check.Alg) {
				some = some[:i]
				break
			}
		}
		if len(some) > 0 {
			answer, err := c.verify(ctx, some)
			if err != nil {
				return nil, err
			}
			good = append(good, answer...)
		}
		if len(some) == 0 || !good[len(good)-1] {
			break
		}
	}
	return append(good, make([]bool, len(checks)-len(good))...), nil
}

func (c Client) verify(ctx context.Context, checks []signature.Check) ([]bool, error) {
	job, err := EncodeVerify(checks)
	if err != nil {
		return nil, err
	}
	result, err := c.Execute(ctx, Verify, job)
	if err != nil {
		return nil, err
	}
	return decodeBools(result, len(checks))
}

// Mint has a token made.
func (c Client) Mint(ctx context.Context, q *token.Request) (token.Minted, error) {
	if q.Secret == nil {
		return token.Minted{}, errors.New("jobs: there is no secret to mint with")
	}
	job, err := EncodeMint(q)
	if err != nil {
		return token.Minted{}, err
	}
	result, err := c.Execute(ctx, Mint, job)
	if err != nil {
		return token.Minted{}, err
	}
	return decodeMinted(result)
}
