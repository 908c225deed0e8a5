package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appbundle/examples/token-app/jobs"
	"appbundle/examples/token-app/jobs/jobstest"
	"appbundle/examples/token-app/signature"
	"appbundle/examples/token-app/token"
	"appbundle/powerhose"
)

const secretA = "7c1f0a5be29d4836a4c8d1e07b62f935" // of these tests alone

func TestHandle(t *testing.T) {
	vectors := jobstest.Vectors(t, "..")
	if len(vectors) < 500 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		got, err := jobs.Handle(t.Context(), v.Kind, v.Job)
		switch {
		case v.Rejected && (!errors.Is(err, powerhose.ErrRejected) || got != nil):
			t.Errorf("%s: %x, %v, want that it is rejected", v.Name, got, err)
		case !v.Rejected && (err != nil || !bytes.Equal(got, v.Want)):
			t.Errorf("%s: %x, %v, want %x", v.Name, got, err, v.Want)
		}
		if err != nil && strings.Count(err.Error(), "jobs: the job is not written as its kind is") != 1 {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	if _, err := jobs.Handle(t.Context(), "burn", nil); !errors.Is(err, powerhose.ErrRejected) || !strings.Contains(err.Error(), `no kind "burn"`) {
		t.Errorf("another kind: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, v := range vectors {
		if v.Kind == jobs.Verify && !v.Rejected {
			if _, err := jobs.Handle(gone, v.Kind, v.Job); !errors.Is(err, context.Canceled) {
				t.Errorf("nobody waits any more: %v", err)
			}
			break
		}
	}
}

// A key that is not allowed is refused before anything is computed with it.
func TestHostileKeysAreNoKeys(t *testing.T) {
	for _, v := range jobstest.Vectors(t, "..") {
		if !strings.Contains(v.Name, "hostile") {
			continue
		}
		cs, err := jobs.DecodeVerify(v.Job)
		if err != nil {
			t.Fatal(err)
		}
		// What is wrong with these is no matter of the key.
		sound := strings.Contains(v.Name, "eddsa-s-plus") || strings.Contains(v.Name, "eddsa-no-point")
		if cs[0].Key.Fits(cs[0].Alg) != sound {
			t.Errorf("%s: the key is taken: %v", v.Name, !sound)
		}
	}
}

// The list of hostile keys is what its program writes.
func TestHostileKeys(t *testing.T) {
	python, err := filepath.Abs("../../../out/servers/bin/python")
	if err == nil {
		_, err = os.Stat(python)
	}
	if err != nil {
		t.Fatalf("%v; tools/setup test makes it", err)
	}
	if _, err := os.ReadFile("testdata/hostile.py"); err != nil { // so that the go command knows of it
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-B", "testdata/hostile.py")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/hostile.json")
	if err != nil || !bytes.Equal(out, want) {
		t.Errorf("testdata/hostile.json is not what hostile.py writes (%v)", err)
	}
}

// checks are good and bad ones with real keys.
func checks(t *testing.T) (good, bad signature.Check) {
	t.Helper()
	for _, v := range jobstest.Vectors(t, "..") {
		if v.Name != "verify es256" && v.Name != "verify es256-flipped" {
			continue
		}
		cs, err := jobs.DecodeVerify(v.Job)
		if err != nil {
			t.Fatal(err)
		}
		if v.Want[0] == 1 {
			good = cs[0]
		} else {
			bad = cs[0]
		}
	}
	return good, bad
}

func TestClientVerify(t *testing.T) {
	good, bad := checks(t)
	misfit := good
	misfit.Alg = signature.RS256
	g, b, m := good, bad, misfit
	for _, tt := range []struct {
		name   string
		checks []signature.Check
		want   string
		asked  int
	}{
		{"none", nil, "[]", 0},
		{"good", []signature.Check{g, g}, "[true true]", 1},
		{"bad", []signature.Check{g, b, g}, "[true false false]", 1},
		{"a key that does not fit", []signature.Check{m, g}, "[false false]", 0},
		{"a key that does not fit after a good one", []signature.Check{g, m, g}, "[true false false]", 1},
		{"six", []signature.Check{g, g, g, g, g, b}, "[true true true true true false]", 2},
		{"six, a bad one early", []signature.Check{g, g, b, g, g, g}, "[true true false false false false]", 1},
		{"four and one that does not fit", []signature.Check{g, g, g, g, m}, "[true true true true false]", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			c := jobs.Client{Execute: func(ctx context.Context, kind string, job []byte) ([]byte, error) {
				asked++
				return jobs.Local(ctx, kind, job)
			}}
			got, err := c.Verify(t.Context(), tt.checks)
			if fmt.Sprint(got) != tt.want || err != nil || asked != tt.asked {
				t.Errorf("Verify = %v, %v with %d jobs, want %s with %d", got, err, asked, tt.want, tt.asked)
			}
		})
	}
}

func request(t testing.TB, f token.Form) *token.Request {
	t.Helper()
	s, err := token.NewSecret(secretA)
	if err != nil {
		t.Fatal(err)
	}
	c := token.Claims{UID: 5, Node: "https://n", Expires: 1700001800}
	salt := token.NewSalt(f)
	payload, err := c.Payload(f, salt)
	if err != nil {
		t.Fatal(err)
	}
	return &token.Request{Form: f, Secret: s, Service: "q-1.0", Payload: payload, Salt: salt}
}

func TestClientMint(t *testing.T) {
	c := jobs.Client{Execute: jobs.Local}
	for _, f := range []token.Form{token.Signed, token.Encrypted} {
		q := request(t, f)
		want, err := token.Mint(q)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Mint(t.Context(), q); err != nil || got != want {
			t.Errorf("Mint of a token that is %v: %v", f, err)
		}
	}
	q := request(t, token.Encrypted)
	q.Service = ""
	if _, err := c.Mint(t.Context(), q); err == nil || !strings.Contains(err.Error(), "for a service") {
		t.Errorf("Mint for no service = %v", err)
	}
	q = request(t, token.Encrypted)
	q.Secret = nil
	if _, err := c.Mint(t.Context(), q); err == nil || !strings.Contains(err.Error(), "no secret") {
		t.Errorf("Mint without a secret = %v", err)
	}
}

// What a worker answers is not believed whatever it is.
func TestClientBelieves(t *testing.T) {
	good, _ := checks(t)
	for _, answer := range []string{"", "\x01", "\x01\x02", "\x00\x01", "\x01\x01\x01", "ok"} {
		c := jobs.Client{Execute: func(context.Context, string, []byte) ([]byte, error) { return []byte(answer), nil }}
		if got, err := c.Verify(t.Context(), []signature.Check{good, good}); err == nil {
			t.Errorf("Verify believes %q: %v", answer, got)
		}
	}
	for _, answer := range []string{"", "\x00\x00\x00\x01t", "\x00\x00\x00\x00\x00\x00\x00\x01k", "\x00\x00\x00\x01t\x00\x00\x00\x00", "\x00\x00\x00\x01t\x00\x00\x00\x01k!", "\xff\xff\xff\xfft"} {
		c := jobs.Client{Execute: func(context.Context, string, []byte) ([]byte, error) { return []byte(answer), nil }}
		if _, err := c.Mint(t.Context(), request(t, token.Signed)); err == nil {
			t.Errorf("Mint believes %q", answer)
		}
	}
	lost := errors.New("lost")
	c := jobs.Client{Execute: func(context.Context, string, []byte) ([]byte, error) { return nil, lost }}
	if _, err := c.Mint(t.Context(), request(t, token.Signed)); err != lost {
		t.Errorf("Mint = %v", err)
	}
	if _, err := c.Verify(t.Context(), []signature.Check{good}); err != lost {
		t.Errorf("Verify = %v", err)
	}
}

func TestEncodeLimits(t *testing.T) {
	good, _ := checks(t)
	five := []signature.Check{good, good, good, good, good}
	long := good
	long.Message = make([]byte, jobs.MaxJob)
	misfit := good
	misfit.Alg = signature.EdDSA
	signed := good
	signed.Signature = make([]byte, 1<<16)
	for _, checks := range [][]signature.Check{nil, five, {long}, {misfit}, {signed}, {{}}} {
		if job, err := jobs.EncodeVerify(checks); err == nil {
			t.Errorf("EncodeVerify of %d checks makes %d bytes", len(checks), len(job))
		}
	}
}

// A master and a worker in this process.
func TestRemote(t *testing.T) {
	dir, err := os.MkdirTemp("", "jobs") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	runner, err := powerhose.NewJobRunner(powerhose.MasterConfig{Listen: filepath.Join(dir, "m.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer runner.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		w := powerhose.Worker{Master: filepath.Join(dir, "m.sock"), Kinds: []string{jobs.Verify, jobs.Mint}}
		done <- w.Serve(ctx, jobs.Work)
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	c := jobs.Client{Execute: jobs.Remote(runner, 20*time.Second, 20*time.Second)}
	good, bad := checks(t)
	var traces []jobs.Trace
	traced := jobs.WithTrace(ctx, func(t jobs.Trace) { traces = append(traces, t) })
	if got, err := c.Verify(traced, []signature.Check{good, bad}); err != nil || fmt.Sprint(got) != "[true false]" {
		t.Errorf("Verify = %v, %v", got, err)
	}
	q := request(t, token.Encrypted)
	want, err := token.Mint(q)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Mint(ctx, q); err != nil || got != want {
		t.Errorf("Mint: %v", err)
	}
	if len(traces) != 1 || traces[0].Kind != jobs.Verify || traces[0].Worker != fmt.Sprint("go ", os.Getpid()) || traces[0].Took <= 0 {
		t.Errorf("traces are %+v", traces)
	}
	if _, err := jobs.Local(traced, jobs.Mint, nil); !errors.Is(err, powerhose.ErrRejected) || len(traces) != 2 || traces[1].Worker != traces[0].Worker {
		t.Errorf("Local = %v; traces are %+v", err, traces)
	}
	if _, err := jobs.Remote(runner, 20*time.Second, 20*time.Second)(ctx, jobs.Mint, []byte{1}); !errors.Is(err, powerhose.ErrRejected) {
		t.Errorf("what is no job: %v", err)
	}
	if _, err := jobs.Remote(runner, time.Second, -1)(ctx, "burn", nil); !errors.Is(err, powerhose.ErrNoWorker) {
		t.Errorf("another kind: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range jobstest.Vectors(f, "..") {
		if v.Kind == jobs.Verify && len(v.Job) < 2000 && !strings.Contains(v.Name, "first") {
			f.Add(v.Job)
		}
	}
	f.Fuzz(func(t *testing.T, job []byte) {
		checks, err := jobs.DecodeVerify(job)
		if err != nil {
			return
		}
		result, err := jobs.Handle(t.Context(), jobs.Verify, job)
		if err != nil || len(result) != len(checks) {
			t.Fatalf("Handle = %x, %v of %d checks", result, err, len(checks))
		}
		// What has keys is written again, and means the same.
		again, err := jobs.EncodeVerify(checks)
		if err != nil {
			return
		}
		same, err := jobs.Handle(t.Context(), jobs.Verify, again)
		if err != nil || !bytes.Equal(same, result) {
			t.Errorf("%x is %x, and written again %x, %v", job, result, same, err)
		}
	})
}

func FuzzMint(f *testing.F) {
	for _, v := range jobstest.Vectors(f, "..") {
		if v.Kind == jobs.Mint && len(v.Job) < 2000 && !strings.Contains(v.Name, "first") {
			f.Add(v.Job)
		}
	}
	f.Fuzz(func(t *testing.T, job []byte) {
		q, err := jobs.DecodeMint(job)
		if err != nil {
			return
		}
		again, err := jobs.EncodeMint(q)
		if err != nil || !bytes.Equal(again, job) {
			t.Fatalf("%x is written again as %x, %v", job, again, err)
		}
		if _, err := jobs.Handle(t.Context(), jobs.Mint, job); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	for _, v := range jobstest.Vectors(b, "..") {
		switch v.Name {
		case "verify rs256-2048", "verify ps256-2048", "verify ds128", "verify ds256", "verify es256", "verify eddsa", "mint tokenserver-python", "mint encrypted worked":
			b.Run(strings.ReplaceAll(v.Name, " ", "-"), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := jobs.Handle(b.Context(), v.Kind, v.Job); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
