package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// minProgress is how many bytes must come in every Config.Stall.
const minProgress = 1 << 10

// A stallError ends a request that does not get on.
type stallError struct{ after time.Duration }

func (e *stallError) Error() string {
	return fmt.Sprintf("less than %d bytes came in %v", minProgress, e.after)
}

// progress cancels a request that stalls.
type progress struct {
	stall time.Duration
	timer *time.Timer
}

// watch begins to wait for progress.
func watch(stall time.Duration, cancel context.CancelCauseFunc) *progress {
	return &progress{stall, time.AfterFunc(stall, func() { cancel(&stallError{stall}) })}
}

func (p *progress) stop() { p.timer.Stop() }

// begin counts the header of resp as progress, and from now on its body.
func (p *progress) begin(resp *http.Response) {
	p.timer.Reset(p.stall)
	resp.Body = &watchedBody{resp.Body, p, 0}
}

// A watchedBody tells what the connection did from what its reader did.
type watchedBody struct {
	body io.ReadCloser
	p    *progress
	n    int // bytes since the timer was set
}

func (b *watchedBody) Read(buf []byte) (int, error) {
	n, err := b.body.Read(buf)
	if b.n += n; b.n >= minProgress {
		b.n = 0
		b.p.timer.Reset(b.p.stall)
	}
	if err != nil && err != io.EOF {
		err = &transportError{err}
	}
	return n, err
}

func (b *watchedBody) Close() error { return b.body.Close() }
