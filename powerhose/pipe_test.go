package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"appbundle/powerhose/internal/wire"
)

// pipeJob is a job for a program, of a master that takes bodies of 100 bytes.
func pipeJob(body string) *Job {
	return &Job{Body: []byte(body), session: &session{welcome: wire.Head{MaxBody: 100}}}
}

// An answer that is too long is an error of its job, and the next one is read from
// where it ends.
func TestPipeLong(t *testing.T) {
	var out []byte
	for _, a := range []struct {
		status wire.Status
		size   int
	}{{wire.Done, 100}, {wire.Done, 101}, {wire.Failed, 1 << 20}, {wire.Done, 3}} {
		var err error
		if out, err = wire.AppendPipeAnswer(out, a.status, bytes.Repeat([]byte{'x'}, a.size)); err != nil {
			t.Fatal(err)
		}
	}
	out = append(out, 0, 0, 0, 1, 0, 'x') // ends too early
	do := Pipe(io.Discard, bytes.NewReader(out), func() { t.Error("the program is ended") })
	for i, want := range []string{
		"", "the result has 101 bytes; the master takes at most 100 (its --max-body)",
		"the text of its error has 1048576 bytes; the master takes at most 100 (its --max-body)", "", "it has ended with a job",
	} {
		_, err := do(t.Context(), pipeJob("x"))
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("answer %d: %v, want %q", i, err, want)
		}
		if left := new(abandoned); errors.As(err, &left) != (i == 4) {
			t.Errorf("answer %d: it ends the worker: %v", i, i != 4)
		}
	}
}

// A program that does not answer is ended 5 s after the caller has gone, and the
// error says what it did, whether it reads its job, answers too much or nothing.
func TestPipeStuck(t *testing.T) {
	for _, before := range []string{"", "\x00\x00", "\x00\xff\x00\x00\x00xxx"} {
		synctest.Test(t, func(t *testing.T) {
			stdout, program := io.Pipe()
			began := time.Now()
			do := Pipe(io.Discard, stdout, func() { program.Close() })
			j := pipeJob("x")
			go func() {
				_, _ = io.WriteString(program, before)
				<-time.After(time.Minute) // the caller's patience
				j.ctx.cancel(context.Canceled)
			}()
			_, err := do(t.Context(), j)
			left := new(abandoned)
			if !errors.As(err, &left) || !strings.HasPrefix(fmt.Sprint(err), "it went on with a job for 5s after its caller had gone, and was killed;") {
				t.Errorf("after %q: %v", before, err)
			}
			if took := time.Since(began); took != time.Minute+pipeGrace {
				t.Errorf("after %q: it was ended after %v", before, took)
			}
		})
	}
}
