package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"appbundle/powerhose"
)

// appbundle is the command, built once.
var appbundle = sync.OnceValues(func() (string, error) {
	program := filepath.Join(built.dir, "appbundle")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "appbundle/cmd/appbundle").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return program, nil
})

// runBundle runs an app whose watchers are a master and a worker in each
// language. It gives the path of the master.
func runBundle(t *testing.T) (address string) {
	t.Helper()
	read(t, "../../cmd/appbundle/*.go", "../../runner/*.go", "../../runner/internal/*/*.go")
	command, err := appbundle()
	if err != nil {
		t.Fatal(err)
	}
	dir := scratch(t)
	app, run := filepath.Join(dir, "app"), filepath.Join(dir, "r")
	files := map[string]string{
		"dependencies.txt": "", "external-dependencies.txt": "",
		"bin/app": "exec '" + command + "' powerhose master",
	}
	ini := "[watcher:app]\n"
	for _, l := range languages {
		files["bin/"+l.name] = "NAME=" + l.name + " exec " + l.quoted(t)
		ini += "\n[watcher:" + l.name + "]\ncmd = bin/" + l.name + "\n"
	}
	files["app.ini"] = ini
	for name, text := range files {
		path := filepath.Join(app, name)
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "bin/") {
			text, mode = "#!/bin/sh\n"+text+"\n", 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	supervisor := start(t, []string{command, "run", "--run-dir", run, "--state-dir", filepath.Join(dir, "s"), app})
	t.Cleanup(func() {
		supervisor.signal(syscall.SIGTERM)
		if got := supervisor.status(); got != 0 {
			t.Errorf("appbundle run: status %d, want 0", got)
		}
	})
	supervisor.awaits("every watcher is up")
	return filepath.Join(run, "powerhose", "master.sock")
}

// web is a gunicorn with the web app of testdata, and a client for it.
func web(t *testing.T, address string, args, env []string) *http.Client {
	t.Helper()
	read(t, "testdata/*.py", "../python/src/powerhose/*")
	path := filepath.Join(scratch(t), "w")
	source, err := filepath.Abs("../python/src")
	if err != nil {
		t.Fatal(err)
	}
	argv := append([]string{python(t), "-W", "ignore", "-m", "gunicorn", "-b", "unix:" + path, "--chdir", "testdata", "--no-control-socket",
		"--graceful-timeout", "1", "--timeout", "300"}, args...)
	p := start(t, append(argv, "web:application"), append(env, "POWERHOSE_MASTER="+address, "PYTHONPATH="+source, "PYTHONPYCACHEPREFIX="+built.dir)...)
	t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		if got := p.status(); got != 0 {
			t.Errorf("gunicorn %q: status %d, want 0", args, got)
		}
	})
	p.awaits("Listening at")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	return &http.Client{Transport: transport, Timeout: patience}
}

// Workers in three languages beside each other under the supervisor are killed
// again and again, while callers of every kind ask: each gets the right answer,
// but for jobs that may not be repeated, of which a death costs one at most.
func TestBundle(t *testing.T) {
	const kills, between = 9, 40
	address := runBundle(t)
	status := func() *powerhose.Status {
		s, err := powerhose.ReadStatus(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	until(t, "three workers", func() bool { return len(status().Workers) == len(languages) })

	stop := filepath.Join(scratch(t), "stop")
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var total, lost atomic.Int64
	counts := map[string]*atomic.Int64{}
	// ask makes calls until the end. A job that is lost is an error only where
	// it may be repeated.
	ask := func(name string, repeatable bool, call func(job []byte) ([]byte, error)) {
		n := new(atomic.Int64)
		counts[name] = n
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				job := fmt.Appendf(nil, "nap 2 %s \x00 %d", name, i)
				out, err := call(job)
				switch {
				case err == nil && bytes.Equal(out, job):
					n.Add(1)
					total.Add(1)
				case errors.Is(err, powerhose.ErrWorkerLost) && !repeatable:
					lost.Add(1)
				default:
					t.Errorf("%s: %q has %q, %v", name, job, out, err)
					return
				}
			}
		})
	}
	runner, err := powerhose.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer runner.Close()
	for name, repeatable := range map[string]bool{"go": false, "go-repeatable": true} {
		ask(name, repeatable, func(job []byte) ([]byte, error) {
			return runner.Execute(t.Context(), job, powerhose.Call{Deadline: patience, BusyWait: patience, Repeatable: repeatable})
		})
	}
	for name, client := range map[string]*http.Client{
		"gevent":  web(t, address, []string{"-k", "gevent", "-w", "1"}, nil),
		"preload": web(t, address, []string{"--preload", "-w", "2"}, []string{"PRELOADED=1"}),
	} {
		for i := range 2 {
			ask(fmt.Sprint(name, "-", i), true, func(job []byte) ([]byte, error) {
				resp, err := client.Post("http://app/", "application/octet-stream", bytes.NewReader(job))
				if err != nil {
					return nil, err
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					return nil, errors.New(resp.Status)
				}
				return io.ReadAll(resp.Body)
			})
		}
	}
	source, err := filepath.Abs("../python/src")
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string]*proc{}
	for _, kind := range []string{"plain", "asyncio"} {
		scripts[kind] = start(t, []string{python(t), "testdata/callers.py", kind, stop},
			"POWERHOSE_MASTER="+address, "PYTHONPATH="+source, "PYTHONPYCACHEPREFIX="+built.dir)
	}
	answers := func() int64 {
		n := total.Load()
		for _, p := range scripts {
			n += int64(strings.Count(p.said(), "answer\n"))
		}
		return n
	}

	// An interpreter may need longer to start than all the deaths take.
	until(t, "an answer for every caller", func() bool {
		for _, n := range counts {
			if n.Load() == 0 {
				return t.Failed()
			}
		}
		for _, p := range scripts {
			if !strings.Contains(p.said(), "answer\n") {
				return t.Failed()
			}
		}
		return true
	})

	for k := range kills {
		name := languages[k%len(languages)].name
		n := answers() + between
		until(t, fmt.Sprintf("%d answers, and some of the worker in %s", between, name), func() bool {
			if answers() < n || t.Failed() {
				return t.Failed()
			}
			workers := status().Workers
			i := slices.IndexFunc(workers, func(w powerhose.WorkerStatus) bool { return w.Name == name && w.Done > 0 })
			return i >= 0 && syscall.Kill(workers[i].PID, syscall.SIGKILL) == nil
		})
	}
	n := answers() + between
	until(t, "answers after the last death", func() bool { return answers() >= n || t.Failed() })
	cancel()
	touch(t, stop)
	all.Wait()
	for kind, p := range scripts {
		if got := p.status(); got != 0 {
			t.Errorf("the caller %s: status %d, want 0:\n%s", kind, got, p.said())
		}
		lost.Add(int64(strings.Count(p.said(), "lost\n")))
		counts[kind] = new(atomic.Int64)
		counts[kind].Store(int64(strings.Count(p.said(), "answer\n")))
	}
	for name, n := range counts {
		t.Logf("%s: %d answers", name, n.Load())
	}
	t.Logf("%d of %d jobs were lost with %d workers", lost.Load(), answers()+lost.Load(), kills)
	if lost.Load() > kills {
		t.Errorf("%d jobs were lost with %d workers", lost.Load(), kills)
	}
}
