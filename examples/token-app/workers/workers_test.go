package workers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"appbundle/examples/token-app/jobs"
	"appbundle/examples/token-app/jobs/jobstest"
	"appbundle/powerhose"
)

// patience is how long a test waits for what must come; it is only there to fail.
const patience = 2 * time.Minute

var built struct {
	dir  string
	cpp  func() (string, error)
	fast func() (string, error) // for benchmarks
}

// The test binary is the worker in Go where the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv("WORKERS_TEST_GO") != "" {
		os.Exit(goWorker())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wk") // short: sockets are in it
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.dir = dir
	built.cpp = sync.OnceValues(func() (string, error) {
		return compile("checked", "-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
	})
	built.fast = sync.OnceValues(func() (string, error) { return compile("fast", "-O2") })
	return m.Run()
}

func goWorker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	w := powerhose.Worker{Master: os.Getenv("POWERHOSE_MASTER"), Kinds: []string{jobs.Verify, jobs.Mint}}
	if err := w.Serve(ctx, jobs.Work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const include = "../../../powerhose/cpp/include"

// compile makes the worker in C++. A warning is an error.
func compile(name string, flags ...string) (string, error) {
	if err := read("cpp/*", include+"/powerhose/*.hpp"); err != nil {
		return "", err
	}
	program := filepath.Join(built.dir, name)
	args := append([]string{"-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror",
		"-I" + include, "-o", program, "cpp/crypto_worker.cpp"}, flags...)
	out, err := exec.Command("g++", append(args, "-lcryptopp")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("g++: %v\n%s", err, out)
	}
	return program, nil
}

// read reads what other programs will read, so that the go command knows that the
// result depends on it.
func read(patterns ...string) error {
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s: no such file (%v)", pattern, err)
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// languages give the command of a worker, and what its environment has beside the
// master.
var languages = map[string]func(tb testing.TB) (*exec.Cmd, []string){
	"go": func(testing.TB) (*exec.Cmd, []string) {
		return exec.Command("/proc/self/exe"), []string{"WORKERS_TEST_GO=1"}
	},
	"cpp": func(tb testing.TB) (*exec.Cmd, []string) {
		build := built.cpp
		if _, bench := tb.(*testing.B); bench {
			build = built.fast
		}
		program, err := build()
		if err != nil {
			tb.Fatal(err)
		}
		return exec.Command(program), nil
	},
	"python": func(tb testing.TB) (*exec.Cmd, []string) {
		source, err := filepath.Abs("../../../powerhose/python/src")
		if err != nil {
			tb.Fatal(err)
		}
		python, err := filepath.Abs("../../../out/servers/bin/python")
		if err == nil {
			_, err = os.Stat(python)
		}
		if err != nil {
			tb.Fatalf("%v; tools/setup test makes it", err)
		}
		if err := read("python/*.py", source+"/powerhose/*.py"); err != nil {
			tb.Fatal(err)
		}
		return exec.Command(python, "-B", "python/crypto_worker.py"), []string{"PYTHONPATH=" + source}
	},
}

// A lab is a master with workers that are processes.
type lab struct {
	tb     testing.TB
	path   string
	runner *powerhose.JobRunner
}

func newLab(tb testing.TB) *lab {
	tb.Helper()
	dir, err := os.MkdirTemp(built.dir, "")
	if err != nil {
		tb.Fatal(err)
	}
	l := &lab{tb: tb, path: filepath.Join(dir, "m.sock")}
	if l.runner, err = powerhose.NewJobRunner(powerhose.MasterConfig{Listen: l.path, MaxAttempts: 4}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.runner.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// start runs a worker until the end of the test, where it has to end well, unless it
// was killed.
func (l *lab) start(language string) *worker {
	l.tb.Helper()
	cmd, env := languages[language](l.tb)
	w := &worker{cmd: cmd, language: language}
	cmd.Env = append(append(os.Environ(), env...), "POWERHOSE_MASTER="+l.path)
	cmd.Stdout, cmd.Stderr = &w.out, &w.out
	if err := cmd.Start(); err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(func() {
		if w.killed {
			return
		}
		err := cmd.Process.Signal(syscall.SIGTERM)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			l.tb.Errorf("the worker in %s: %v\n%s", language, err, w.out.Bytes())
		}
	})
	return w
}

type worker struct {
	cmd      *exec.Cmd
	language string
	out      bytes.Buffer
	killed   bool
}

func (w *worker) kill(t *testing.T) {
	t.Helper()
	w.killed = true
	if err := w.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = w.cmd.Wait() // says that it was killed
}

// do has a vector's job done, and compares.
func do(ctx context.Context, t *testing.T, execute jobs.Executor, v jobstest.Vector) {
	t.Helper()
	got, err := execute(ctx, v.Kind, v.Job)
	switch {
	case v.Rejected && !errors.Is(err, powerhose.ErrRejected):
		t.Errorf("%s: %x, %v, want that it is rejected", v.Name, got, err)
	case !v.Rejected && (err != nil || !bytes.Equal(got, v.Want)):
		t.Errorf("%s: %x, %v, want %x", v.Name, got, err, v.Want)
	}
}

// Every worker gives the results of every vector.
func TestVectors(t *testing.T) {
	vectors := jobstest.Vectors(t, "..")
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			l := newLab(t)
			l.start(language)
			execute := jobs.Remote(l.runner, patience, patience)
			for _, v := range vectors {
				do(t.Context(), t, execute, v)
			}
			var who atomic.Value
			do(jobs.WithTrace(t.Context(), func(tr jobs.Trace) { who.Store(tr.Worker) }), t, execute, vectors[0])
			if name, _ := who.Load().(string); !strings.HasPrefix(name, language+" ") {
				t.Errorf("the worker says that it is %q", name)
			}
			for _, v := range mutated(t, vectors, 1500) {
				do(t.Context(), t, execute, v)
			}
		})
	}
}

// mutated are vectors with bytes that were changed, taken out or put in, and what the
// package jobs makes of them.
func mutated(t *testing.T, vectors []jobstest.Vector, n int) []jobstest.Vector {
	t.Helper()
	const seed = 20261130
	rng := rand.New(rand.NewPCG(seed, seed))
	var good []jobstest.Vector
	for _, v := range vectors {
		if !v.Rejected && len(v.Job) < 1500 {
			good = append(good, v)
		}
	}
	out := make([]jobstest.Vector, n)
	for i := range out {
		v := good[rng.IntN(len(good))]
		v.Name = fmt.Sprintf("mutation %d of %s", i, v.Name)
		v.Job = bytes.Clone(v.Job)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(v.Job))
			if rng.IntN(2) == 0 {
				at = min(at, rng.IntN(8)) // lengths are at the front
			}
			switch rng.IntN(4) {
			case 0:
				v.Job = slices.Delete(v.Job, at, at+1)
			case 1:
				v.Job = slices.Insert(v.Job, at, byte(rng.IntN(256)))
			default:
				v.Job[at] ^= 1 << rng.IntN(8)
			}
		}
		var err error
		v.Want, err = jobs.Handle(t.Context(), v.Kind, v.Job)
		v.Rejected = err != nil
		out[i] = v
	}
	return out
}

// Workers in all languages serve one master, and one of each is killed meanwhile: no
// answer is wrong, and none is missing.
func TestMixed(t *testing.T) {
	var vectors []jobstest.Vector
	for _, v := range jobstest.Vectors(t, "..") {
		if !strings.Contains(v.Name, "the first") { // there are many of them
			vectors = append(vectors, v)
		}
	}
	l := newLab(t)
	var mortal []*worker
	for language := range languages {
		l.start(language)
		mortal = append(mortal, l.start(language))
	}
	execute := jobs.Remote(l.runner, patience, patience)
	var mu sync.Mutex
	done := map[string]int{}
	ctx := jobs.WithTrace(t.Context(), func(tr jobs.Trace) {
		mu.Lock()
		defer mu.Unlock()
		language, _, _ := strings.Cut(tr.Worker, " ")
		done[language]++
	})
	// all says that every worker has done something.
	all := func() bool {
		n := 0
		for _, w := range l.runner.Master().Status().Workers {
			if w.Done > 0 {
				n++
			}
		}
		return n == 2*len(languages)
	}
	round := func() {
		var wg sync.WaitGroup
		next := make(chan jobstest.Vector)
		for range 8 {
			wg.Go(func() {
				for v := range next {
					do(ctx, t, execute, v)
				}
			})
		}
		for _, v := range vectors {
			next <- v
		}
		close(next)
		wg.Wait()
	}
	for end := time.Now().Add(patience); !all(); { // a worker may take a while to start
		round()
		if time.Now().After(end) {
			t.Fatalf("jobs by language: %v", done)
		}
	}
	if done["go"] == 0 || done["cpp"] == 0 || done["python"] == 0 {
		t.Errorf("jobs by language: %v", done)
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for _, w := range mortal {
			w.kill(t)
		}
	}()
	round()
	<-killed
	round()
}

// One worker of each language: a job's whole way, one caller at a time.
func BenchmarkWorkers(b *testing.B) {
	names := map[string]bool{"verify rs256-2048": true, "verify ds128": true, "verify es256": true, "mint tokenserver-python": true, "mint encrypted worked": true}
	for language := range languages {
		b.Run(language, func(b *testing.B) {
			l := newLab(b)
			l.start(language)
			execute := jobs.Remote(l.runner, patience, patience)
			for _, v := range jobstest.Vectors(b, "..") {
				if !names[v.Name] {
					continue
				}
				b.Run(strings.ReplaceAll(v.Name, " ", "-"), func(b *testing.B) {
					for b.Loop() {
						if _, err := execute(b.Context(), v.Kind, v.Job); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
