package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
	"appbundle/schema"
)

// A wrapped provider does something before each answer.
type wrapped struct {
	resolve.Provider
	project  func(ctx context.Context, name string) error
	metadata func(ctx context.Context, name string) error
}

func (w *wrapped) Project(ctx context.Context, name string) (*resolve.Project, error) {
	if w.project != nil {
		if err := w.project(ctx, name); err != nil {
			return nil, err
		}
	}
	return w.Provider.Project(ctx, name)
}

func (w *wrapped) Metadata(ctx context.Context, name string, r *resolve.Release, f *resolve.File) (*resolve.Metadata, error) {
	if w.metadata != nil {
		if err := w.metadata(ctx, name); err != nil {
			return nil, err
		}
	}
	return w.Provider.Metadata(ctx, name, r, f)
}

func universe(t testing.TB, text string) *resolvetest.Universe {
	t.Helper()
	u, err := resolvetest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Requests that cannot be answered are errors, not conflicts.
func TestBadRequests(t *testing.T) {
	good := cloudRequest(t, "a")
	tests := []struct {
		name   string
		change func(*resolve.Request)
		want   string
	}{
		{"no target", func(r *resolve.Request) { r.Targets = nil }, "a solution is for one target, not for 0"},
		{"two targets", func(r *resolve.Request) { r.Targets = append(r.Targets, r.Targets...) }, "a solution is for one target, not for 2"},
		{"strategy", func(r *resolve.Request) { r.Strategy = "best" }, `unknown strategy "best"`},
		{"no name", func(r *resolve.Request) {
			r.Requirements = []schema.Package{{Pos: schema.Pos{File: "d.txt", Line: 3}, Text: "https://files.example/x"}}
		}, `d.txt:3: nothing says which project "https://files.example/x" is; write NAME @ in front of it`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := good
			test.change(&req)
			if _, err := resolve.Solve(t.Context(), universe(t, "a 1"), req); err == nil || err.Error() != test.want {
				t.Errorf("Solve = %v, want %s", err, test.want)
			}
		})
	}
	good.Targets = nil
	if _, err := resolve.Lock(t.Context(), universe(t, "a 1"), good); err == nil || err.Error() != "no target is declared" {
		t.Errorf("Lock without targets = %v", err)
	}
}

// An error of the Provider stops the run where the answer is needed, and
// nowhere else.
func TestProviderErrors(t *testing.T) {
	dead := errors.New("index: connection refused")
	fail := func(which string) func(context.Context, string) error {
		return func(_ context.Context, name string) error {
			if name == which {
				return dead
			}
			return nil
		}
	}
	u := universe(t, "a 2 | b\na 1\nb 1 | c\nc 1")
	tests := []struct {
		name string
		p    *wrapped
		line string
		want error
	}{
		{"page", &wrapped{project: fail("b")}, "a", dead},
		{"metadata", &wrapped{metadata: fail("b")}, "a", dead},
		{"looked at ahead only", &wrapped{project: fail("b")}, "a<2", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.p.Provider = u
			if _, err := resolve.Solve(t.Context(), test.p, cloudRequest(t, test.line)); !errors.Is(err, test.want) {
				t.Errorf("Solve = %v, want %v", err, test.want)
			}
		})
	}
}

// A run ends with its context and with its time, and leaves nothing running:
// the bubble would say so.
func TestEnds(t *testing.T) {
	stuck := &wrapped{Provider: universe(t, "a 1"), metadata: func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := resolve.Solve(ctx, stuck, cloudRequest(t, "a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context of a second, Solve = %v", err)
		}
		req := cloudRequest(t, "a")
		req.MaxTime = 3 * time.Second
		_, err := resolve.Solve(t.Context(), stuck, req)
		var limit *resolve.LimitError
		if !errors.As(err, &limit) || err.Error() != "no answer after 3s and 1 versions; most were of a (1)" {
			t.Errorf("with three seconds, Solve = %v", err)
		}
	})
}

// Pages and metadata are asked for at the same time, also those that only the
// likely versions need, and no more at a time than was asked for.
func TestAhead(t *testing.T) {
	var text strings.Builder
	for i := range 8 {
		fmt.Fprintf(&text, "a%d 1 | b%d\nb%d 1\n", i, i, i)
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		slow := func(context.Context, string) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}
		p := &wrapped{Provider: universe(t, text.String()), project: slow, metadata: slow}
		var all []string
		for i := range 8 {
			all = append(all, fmt.Sprintf("a%d", i))
		}
		req := cloudRequest(t, all...)
		begin := time.Now()
		if _, err := resolve.Solve(t.Context(), p, req); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("32 requests of a second took %v", took)
		}
		req.Fetchers, most = 3, 0
		if _, err := resolve.Solve(t.Context(), p, req); err != nil {
			t.Fatal(err)
		}
		if most != 3 {
			t.Errorf("%d requests ran at a time, want 3", most)
		}
	})
}

// A conflict can be told at length: all facts, and the steps.
func TestExplain(t *testing.T) {
	u := universe(t, `
		rest 3.16 | django>=4.2
		rest 3.18 | django>=5.2
		tools 1 | rest>=3.16
		django 3.2
		django 4.2
		django 5.2`)
	_, err := resolve.Solve(t.Context(), u, cloudRequest(t, "tools", "django<4"))
	var no *resolve.ConflictError
	if !errors.As(err, &no) {
		t.Fatal(err)
	}
	const want = `no versions satisfy every requirement (cp311-manylinux_2_28_x86_64)
  dependencies.txt:1: tools
  dependencies.txt:2: django<4
because
  tools 1 requires rest>=3.16
  rest 3.18 requires django>=5.2
  rest 3.16 requires django>=4.2
there is a solution if you
  drop dependencies.txt:1 (tools)
  drop "<4" from dependencies.txt:2, which gives django 5.2
step by step
  because rest 3.18 requires django>=5.2 and rest 3.16 requires django>=4.2, rest 3.16 to 3.18 requires django 4.2 to 5.2
  and because tools 1 requires rest>=3.16, tools 1 requires django 4.2 to 5.2
  and because dependencies.txt:1 says "tools", there must be django 4.2 to 5.2
  and because dependencies.txt:2 says "django<4", there is no solution`
	if got := no.Explain(); got != want {
		t.Errorf("Explain() =\n%s\nwant\n%s", got, want)
	}
	if no.Facts[1].Kind != resolve.Requires || no.Facts[1].Package != "rest" || no.Facts[1].Versions != "3.18" || no.Facts[1].Detail != "django>=5.2" {
		t.Errorf("the second fact is %+v", no.Facts[1])
	}
	if r := no.Remedies[1]; r.Line != 2 || r.Result != "django 5.2" {
		t.Errorf("the second remedy is %+v", r)
	}
}

// A text of a conflict has at most 15 lines, however many lines contradict.
func TestLongConflict(t *testing.T) {
	var text strings.Builder
	var all []string
	for i := range 12 {
		fmt.Fprintf(&text, "a%d 1 | x%d\n", i, i)
		fmt.Fprintf(&text, "x%d 1 | y<%d.5,!=%d\n", i, 13-i, i)
		all = append(all, fmt.Sprintf("a%d", i))
	}
	for i := range 13 {
		fmt.Fprintf(&text, "y %d\n", i)
	}
	_, err := resolve.Solve(t.Context(), universe(t, text.String()), cloudRequest(t, append(all, "y>0")...))
	var no *resolve.ConflictError
	if !errors.As(err, &no) {
		t.Fatalf("Solve = %v", err)
	}
	got := no.Error()
	if n := strings.Count(got, "\n") + 1; n > 15 {
		t.Errorf("%d lines:\n%s", n, got)
	}
	if len(no.Explain()) < len(got) {
		t.Errorf("Explain() is shorter:\n%s", no.Explain())
	}
	t.Log(got)
}
