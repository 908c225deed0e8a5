package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowWSGI waits at its import until somebody writes into a FIFO.
const slowWSGI = `import os
print("LOADING", flush=True)
open("gate").read()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["NOTIFY_SOCKET"].encode()]
`

// slowASGI is imported at once, and waits before it says that it has started.
const slowASGI = `import os
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("LOADING", flush=True)
        open("gate").read()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": os.environ["NOTIFY_SOCKET"].encode()})
`

// gunicornHooks are a user's own; theirs run beside ours.
const gunicornHooks = `
def post_fork(arbiter, worker): print("HOOK post_fork", flush=True)
def post_worker_init(worker): print("HOOK post_worker_init", flush=True)
`

var (
	appIsUp    = regexp.MustCompile(`app\.1: pid \d+ is up`)
	besideIsUp = regexp.MustCompile(`beside\.1: pid \d+ is up`)
)

// besides adds a watcher that is up when it has settled: when it is, so would be
// whoever is not asked whether it has loaded.
func besides(t *testing.T, dir string) {
	t.Helper()
	write(t, dir, "app.ini", "[watcher:beside]\ncmd = sleep 1000\n", 0o644)
}

// awaitBeside waits until beside is up, and checks that the app is not.
func (r *running) awaitBeside() {
	r.t.Helper()
	for !besideIsUp.MatchString(strings.Join(r.seen, "\n")) {
		r.await("beside.1: pid ")
	}
	if found := appIsUp.FindString(strings.Join(r.seen, "\n")); found != "" {
		r.t.Errorf("%q, and it has loaded nothing:\n%s", found, strings.Join(r.seen, "\n"))
	}
}

// TestUpWhenLoaded starts apps that take as long to load as the test likes: none
// is up before, and neither is the run of it.
func TestUpWhenLoaded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, server, script, conf string }{
		{"gunicorn", "gunicorn", slowWSGI, gunicornHooks},
		{"gunicorn threads", "gunicorn", slowWSGI, gunicornHooks + "threads = 2\n"},
		{"gunicorn preload", "gunicorn", slowWSGI, gunicornHooks + "preload_app = True\n"},
		{"gunicorn asgi", "gunicorn", slowASGI, gunicornHooks},
		{"waitress", "waitress", slowWSGI, ""},
		{"pyuwsgi", "pyuwsgi", slowWSGI, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := pythonApp(t, "bin/app.py", tt.script, tt.server)
			besides(t, dir)
			if tt.conf != "" {
				write(t, dir, "gunicorn.conf.py", tt.conf, 0o644)
			}
			gate := dir + "/gate"
			if err := syscall.Mkfifo(gate, 0o600); err != nil {
				t.Fatal(err)
			}
			up, address := listenNotify(t)
			host := t.TempDir()
			r := &running{process: start(t, dir, "env", "NOTIFY_SOCKET="+address, "appbundle", "run",
				"--run-dir", host+"/run", "--state-dir", host+"/state", "--bind", "127.0.0.1:0", dir)}
			r.await("app.1 | LOADING")
			r.awaitBeside()
			if err := notify(address, "nothing was said before this"); err != nil {
				t.Fatal(err)
			}
			if f, err := os.OpenFile(gate, os.O_WRONLY, 0); err != nil {
				t.Fatal(err)
			} else if err := f.Close(); err != nil { // who reads sees the end
				t.Fatal(err)
			}
			r.await("every watcher is up")
			r.url = r.await("serving on ")
			if got := up(); got != "nothing was said before this" {
				t.Errorf("run said %q before the app was loaded", got)
			}
			if got := up(); got != "READY=1" {
				t.Errorf("run said %q, want READY=1", got)
			}
			if got := get(t, r.url); got != host+"/run/notify.sock" {
				t.Errorf("the app sees NOTIFY_SOCKET %q", got)
			}
			for strings.Count(strings.Join(r.seen, "\n"), "app.1 | HOOK post_") < strings.Count(tt.conf, "HOOK") {
				r.await("app.1 | HOOK post_")
			}
			r.stop()
		})
	}
}

// listenNotify makes a service manager's notify socket, and a function that
// gives the next notice.
func listenNotify(t *testing.T) (next func() string, address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ab") // a short path: a socket's may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address = filepath.Join(dir, "up")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() string {
		t.Helper()
		buf := make([]byte, 4096)
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}, address
}

func notify(address, text string) error {
	c, err := net.Dial("unixgram", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(text))
	return err
}

// TestNeverUp starts an app whose workers end while they load it, and whose
// arbiter makes new ones for ever: it never comes up.
func TestNeverUp(t *testing.T) {
	t.Parallel()
	dir := pythonApp(t, "bin/app.py", "print('LOADING', flush=True)\nraise SystemExit\n", "gunicorn")
	besides(t, dir)
	host := t.TempDir()
	r := &running{process: start(t, dir, "appbundle", "run", "--run-dir", host+"/run", "--state-dir", host+"/state", dir)}
	r.await("app.1 | LOADING")
	r.await("app.1 | LOADING")
	r.awaitBeside()
	r.stop()
}

// TestRollOfABrokenRelease rolls to a release that cannot be imported, under
// load: it takes one process, the others serve on, and a release that mends it
// replaces them all.
func TestRollOfABrokenRelease(t *testing.T) {
	t.Parallel()
	dir := pythonApp(t, "bin/app.py", wsgiScript, "gunicorn")
	write(t, dir, "app.ini", "[watcher:app]\nnumprocesses = 2\n", 0o644)
	app := runApp(t, dir, "--bind", "127.0.0.1:0")
	want := get(t, app.url)
	second := app.pidOf("app.2: pid ")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	answers := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := ask(client, app.url, want); err != nil {
				t.Error(err)
			}
			answers++
		}
	})
	release := func(script string) {
		t.Helper()
		write(t, dir, "bin/new", script, 0o644)
		if err := os.Rename(dir+"/bin/new", dir+"/bin/app.py"); err != nil {
			t.Fatal(err)
		}
		app.signal(syscall.SIGUSR2)
	}
	release("import nosuchmodule\n")
	app.awaitAll("No module named 'nosuchmodule'", "appbundle: rolling restart: app.1 does not come up; 1 processes of before go on")
	release("print('MENDED', flush=True)\n" + wsgiScript)
	app.awaitAll("app.1 | MENDED", "app.2 | MENDED", "every process replaced")
	cancel()
	wg.Wait()
	if answers == 0 {
		t.Error("nobody was answered")
	}
	gets := "app.2: pid " + strconv.Itoa(second) + " gets SIGTERM"
	refused, told := -1, -1
	for i, line := range app.seen {
		switch {
		case strings.Contains(line, "does not come up"):
			refused = i
		case strings.Contains(line, gets):
			told = i
		}
	}
	if told < refused {
		t.Errorf("the second process was told to end by the release that is broken:\n%s", strings.Join(app.seen, "\n"))
	}
	app.stop()
}
