package main

import (
	"bufio"
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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come; it is only there to fail.
const patience = 60 * time.Second

// serversEnv is the virtual environment with the real servers, made by
// tools/setup test.
func serversEnv(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../out/servers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bin/python")); err != nil {
		t.Fatalf("%v; tools/setup test makes it", err)
	}
	return dir
}

// A process is a command whose lines of output a test reads.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	seen  []string
	done  chan struct{}
	err   error
}

// start starts a command; it is killed at the end of the test if it still lives.
func start(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), lines: make(chan string, 10000), done: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, w, w
	p.cmd.Env = append(os.Environ(), raceEnv, "NOTIFY_SOCKET=")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(p.lines)
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			p.lines <- sc.Text()
		}
		r.Close()
	}()
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
	})
	return p
}

// await gives what follows text in the first line that has it.
func (p *process) await(text string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("ended without %q:\n%s", text, strings.Join(p.seen, "\n"))
			}
			p.seen = append(p.seen, line)
			if _, rest, ok := strings.Cut(line, text); ok {
				return rest
			}
		case <-timeout:
			p.t.Fatalf("no %q in\n%s", text, strings.Join(p.seen, "\n"))
		}
	}
}

// awaitAll waits for lines with each of texts, in any order.
func (p *process) awaitAll(texts ...string) {
	p.t.Helper()
	from := len(p.seen)
	for _, text := range texts {
		if !slices.ContainsFunc(p.seen[from:], func(line string) bool { return strings.Contains(line, text) }) {
			p.await(text)
		}
	}
}

func (p *process) signal(sig syscall.Signal) {
	// The process may have ended already; what is then left of it the caller sees.
	_ = p.cmd.Process.Signal(sig)
}

// wait gives the exit status, -1 for a death by a signal.
func (p *process) wait() int {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines: // or the pipe fills up
			if ok {
				p.seen = append(p.seen, line)
				continue
			}
			p.lines = nil
		case <-p.done:
			return p.cmd.ProcessState.ExitCode()
		case <-timeout:
			p.t.Fatalf("does not end:\n%s", strings.Join(p.seen, "\n"))
		}
	}
}

// A running is an app under appbundle run.
type running struct {
	*process
	url        string // with a slash at its end; "" where nothing was bound
	supervisor int
}

// runApp runs the app in dir and waits until it is up.
func runApp(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	host := t.TempDir()
	argv := append([]string{"run", "--run-dir", host + "/run", "--state-dir", host + "/state"}, args...)
	r := &running{process: start(t, t.TempDir(), "appbundle", append(argv, dir)...)}
	rest := r.await(": supervisor pid ")
	pid, _, _ := strings.Cut(rest, ",")
	var err error
	if r.supervisor, err = strconv.Atoi(pid); err != nil {
		t.Fatal(err)
	}
	r.await("every watcher is up")
	if slices.Contains(args, "--bind") {
		r.url = r.await("serving on ")
	}
	return r
}

// stop ends the app as an operator does, and checks that it ends well.
func (r *running) stop() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	if status := r.wait(); status != 0 {
		r.t.Errorf("status %d after TERM, want 0:\n%s", status, strings.Join(r.seen, "\n"))
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET %s: status %d, %v\n%s", url, resp.StatusCode, err, body)
	}
	return string(body)
}

const wsgiScript = `import os, sys
def application(environ, start_response):
    text = " ".join([os.getcwd(), sys.path[0], __name__, os.path.basename(__file__)])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
`

const asgiScript = `import os, sys
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    text = " ".join([os.getcwd(), sys.path[0], __name__, os.path.basename(__file__)])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})
`

// pythonApp writes an app of one script, served by server, and gives its
// directory.
func pythonApp(t *testing.T, entrypoint, script, server string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, "dependencies.txt", server+"\n", 0o644)
	write(t, dir, "external-dependencies.txt", "", 0o644)
	write(t, dir, entrypoint, script, 0o644)
	if err := os.Symlink(serversEnv(t), filepath.Join(dir, ".venv")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
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

// TestServers serves one script under every server, with the suffix and without.
func TestServers(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, server, script string }{
		{"gunicorn", "gunicorn", wsgiScript},
		{"waitress", "waitress", wsgiScript},
		{"pyuwsgi", "pyuwsgi", wsgiScript},
		{"uvicorn", "uvicorn", asgiScript},
		{"hypercorn", "hypercorn", asgiScript},
		{"gunicorn-asgi", "gunicorn", asgiScript},
		{"hypercorn-wsgi", "hypercorn", wsgiScript},
	}
	for _, tt := range tests {
		for _, entrypoint := range []string{"bin/app.py", "bin/app"} {
			t.Run(tt.name+" "+filepath.Base(entrypoint), func(t *testing.T) {
				t.Parallel()
				dir := pythonApp(t, entrypoint, tt.script, tt.server)
				app := runApp(t, dir, "--bind", "127.0.0.1:0")
				words := strings.Fields(get(t, app.url))
				if len(words) != 4 || words[0] != dir || filepath.Clean(words[1]) != dir+"/bin" || words[3] != filepath.Base(entrypoint) {
					t.Errorf("working directory, sys.path[0], name and file are %q, want %s and %s/bin", words, dir, dir)
				}
				app.stop()
				if found, err := filepath.Glob(dir + "/bin/*"); err != nil || len(found) > 2 {
					t.Errorf("bin has %q, %v: something was written there", found, err)
				}
			})
		}
	}
}

// TestKillUnderLoad kills gunicorn's master again and again under load: no
// connection is refused and every answer is right. What was in flight and reset
// is counted and shown.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	dir := pythonApp(t, "bin/app.py", wsgiScript, "gunicorn")
	app := runApp(t, dir, "--bind", "127.0.0.1:0")
	want := get(t, app.url)
	var (
		mu              sync.Mutex
		answers, resets int
		wg              sync.WaitGroup
	)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithCancel(t.Context())
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := ask(client, app.url, want)
				mu.Lock()
				switch {
				case err == nil:
					answers++
				case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errWrongBody):
					t.Errorf("%v", err)
				default:
					resets++
				}
				mu.Unlock()
			}
		})
	}
	pid := app.pidOf("app.1: pid ")
	for range 4 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		pid = app.started("app.1")
		app.await("app.1: pid " + strconv.Itoa(pid) + " is up")
	}
	cancel()
	wg.Wait()
	t.Logf("%d answers, %d reset in flight", answers, resets)
	if answers == 0 {
		t.Error("nobody was answered")
	}
	app.stop()
}

var errWrongBody = errors.New("wrong body")

func ask(client *http.Client, url, want string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != want {
		err = fmt.Errorf("%w: %q", errWrongBody, body)
	}
	return err
}

// after gives what stood behind text in a line that was seen.
func (r *running) after(text string) string {
	r.t.Helper()
	for _, line := range r.seen {
		if _, rest, ok := strings.Cut(line, text); ok {
			return rest
		}
	}
	r.t.Fatalf("no %q in\n%s", text, strings.Join(r.seen, "\n"))
	return ""
}

// pidOf gives the pid that stood behind text in a line that was seen.
func (r *running) pidOf(text string) int {
	r.t.Helper()
	return firstNumber(r.t, r.after(text))
}

// started waits for the next start of a process and gives its pid.
func (r *running) started(process string) int {
	r.t.Helper()
	for {
		rest := r.await(process + ": pid ")
		if strings.HasSuffix(rest, " started") {
			return firstNumber(r.t, rest)
		}
	}
}

func firstNumber(t *testing.T, text string) int {
	t.Helper()
	word, _, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// family is an app whose process starts what a supervisor has to find: a child,
// one in a session of its own, one that was orphaned before it began, and one
// that has emptied its environment besides. Each prints its pid.
const family = `#!/bin/sh
sh -c 'echo "member $$"; exec sleep 1000' &
setsid sh -c 'echo "member $$"; trap "" TERM; while :; do sleep 1000; done' &
(setsid sh -c 'echo "member $$"; exec sleep 1000' &)
(env -i setsid sh -c 'echo "member $$"; trap "" TERM; exec sleep 1000' &)
echo "member $$"
wait
`

func runFamily(t *testing.T) (*running, []int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "family")
	write(t, dir, "dependencies.txt", "", 0o644)
	write(t, dir, "external-dependencies.txt", "", 0o644)
	write(t, dir, "bin/app", family, 0o755)
	write(t, dir, "app.ini", "[watcher:app]\ngraceful_timeout = 1\n", 0o644)
	host := t.TempDir()
	r := &running{process: start(t, dir, "appbundle", "run", "--run-dir", host+"/run", "--state-dir", host+"/state", dir)}
	r.supervisor = firstNumber(t, strings.ReplaceAll(r.await(": supervisor pid "), ",", " "))
	var fds []int
	for range 5 {
		pid := firstNumber(t, r.await("app.1 | member "))
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		fds = append(fds, fd)
	}
	return r, fds
}

// gone waits until every process behind fds has ended.
func gone(t *testing.T, fds []int) {
	t.Helper()
	for i, fd := range fds {
		n, err := 0, error(unix.EINTR)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		}
		if n != 1 || err != nil {
			t.Errorf("process %d of the family is left (%v)", i, err)
		}
	}
}

// TestNothingIsLeft ends an app in every way there is.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	t.Run("TERM", func(t *testing.T) {
		t.Parallel()
		r, fds := runFamily(t)
		r.stop()
		gone(t, fds)
	})
	t.Run("INT twice", func(t *testing.T) {
		t.Parallel()
		r, fds := runFamily(t)
		r.signal(syscall.SIGINT)
		r.await("stopping")
		r.signal(syscall.SIGINT)
		if status := r.wait(); status != 0 {
			t.Errorf("status %d, want 0", status)
		}
		gone(t, fds)
	})
	t.Run("KILL of the supervisor", func(t *testing.T) {
		t.Parallel()
		r, fds := runFamily(t)
		if err := syscall.Kill(r.supervisor, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if status := r.wait(); status != 3 {
			t.Errorf("status %d, want 3", status)
		}
		gone(t, fds)
	})
	t.Run("KILL of the guard", func(t *testing.T) {
		t.Parallel()
		r, fds := runFamily(t)
		supervisor, err := unix.PidfdOpen(r.supervisor, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(supervisor)
		r.signal(syscall.SIGKILL)
		gone(t, append(fds, supervisor))
	})
}

// TestPlainGunicorn serves the same directory as anybody would without us.
func TestPlainGunicorn(t *testing.T) {
	t.Parallel()
	dir := pythonApp(t, "bin/app.py", wsgiScript, "gunicorn")
	p := start(t, dir+"/bin", serversEnv(t)+"/bin/gunicorn", "-b", "127.0.0.1:0", "app:application")
	url, _, _ := strings.Cut(p.await("Listening at: "), " ")
	if got := get(t, url); !strings.HasSuffix(got, " app app.py") {
		t.Errorf("GET / = %q", got)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

const apacheConf = `ServerRoot "%[1]s"
PidFile "%[1]s/pid"
Mutex file:%[1]s
ServerName localhost
Listen 127.0.0.1:%[2]d
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
WSGISocketPrefix "%[1]s/wsgi"
WSGIScriptAlias / "%[3]s"
<Directory />
Require all granted
</Directory>
`

// TestModWSGI serves an entrypoint without a suffix under run and under Apache.
func TestModWSGI(t *testing.T) {
	t.Parallel()
	dir := pythonApp(t, "bin/app", wsgiScript, "gunicorn")
	app := runApp(t, dir, "--bind", "127.0.0.1:0")
	if got := get(t, app.url); !strings.HasPrefix(got, dir+" "+dir+"/bin ") {
		t.Errorf("under run: GET / = %q", got)
	}
	app.stop()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	root := t.TempDir()
	write(t, root, "apache.conf", fmt.Sprintf(apacheConf, root, port, dir+"/bin/app"), 0o644)
	p := start(t, root, "/usr/sbin/apache2", "-f", root+"/apache.conf", "-DFOREGROUND")
	p.await("resuming normal operations")
	if got := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); !strings.HasSuffix(got, " app") {
		t.Errorf("under Apache: GET / = %q", got)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

// TestSecondRun refuses a second copy, and names the first.
func TestSecondRun(t *testing.T) {
	t.Parallel()
	dir := pythonApp(t, "bin/app.py", wsgiScript, "waitress")
	host := t.TempDir()
	args := []string{"run", "--run-dir", host + "/run", "--state-dir", host + "/state", "--bind", "127.0.0.1:0", dir}
	first := start(t, dir, "appbundle", args...)
	pid := firstNumber(t, strings.ReplaceAll(first.await(": supervisor pid "), ",", " "))
	first.await("every watcher is up")
	second := start(t, dir, "appbundle", args...)
	second.await(fmt.Sprintf("appbundle: shop is already running, as pid %d", pid))
	if status := second.wait(); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	first.signal(syscall.SIGTERM)
	if status := first.wait(); status != 0 {
		t.Errorf("status %d, want 0", status)
	}
}

// TestReload changes app.ini under a running app: what did not change keeps its
// process.
func TestReload(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pair")
	write(t, dir, "dependencies.txt", "", 0o644)
	write(t, dir, "external-dependencies.txt", "", 0o644)
	write(t, dir, "bin/app", "#!/bin/sh\necho \"value $VALUE\"\nexec sleep 1000\n", 0o755)
	ini := func(value string) string {
		return "[watcher:app]\nnumprocesses = 2\n[watcher:other]\ncmd = bin/app\n[env:other]\nVALUE = " + value + "\n"
	}
	write(t, dir, "app.ini", ini("one"), 0o644)
	r := runApp(t, dir, "--no-prefix")
	kept := r.pidOf("app.1: pid ")
	changed := r.pidOf("other.1: pid ")
	write(t, dir, "app.ini", ini("two"), 0o644)
	r.signal(syscall.SIGHUP)
	r.awaitAll("value two", "configuration read again")
	write(t, dir, "app.ini", "[watcher:app]\nnumproceses = 2\n", 0o644)
	r.signal(syscall.SIGHUP)
	r.await(`app.ini:2: [watcher:app]: unknown key "numproceses"; did you mean "numprocesses"?`)
	// What only a new run can change, and a file that is being replaced.
	write(t, dir, "app.ini", "[app]\nname = other\n", 0o644)
	r.signal(syscall.SIGHUP)
	r.await("reload refused: the name is other now, and pair runs; stop it and run it again")
	if err := os.Remove(dir + "/app.ini"); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	r.await("reload refused: app.ini is gone")
	write(t, dir, "app.ini", "[app]\nversion = 2.0.0\n"+ini("two")+"[socket:web]\nport = 0\n", 0o644)
	r.signal(syscall.SIGHUP)
	r.awaitAll("the version is 2.0.0 now; processes see 0.0.0 until USR2, or another run, replaces them", "socket web listens on 127.0.0.1:")
	for _, pid := range []int{kept, changed} {
		if err := syscall.Kill(pid, 0); (err == nil) != (pid == kept) {
			t.Errorf("process %d, kept is %d: %v", pid, kept, err)
		}
	}
	// A new release replaces them all.
	write(t, dir, "bin/app", "#!/bin/sh\necho \"release $APPBUNDLE_VERSION\"\nexec sleep 1000\n", 0o755)
	r.signal(syscall.SIGUSR2)
	r.awaitAll("app.1: pid ", "app.2: pid ", "release 2.0.0", "every process replaced")
	if err := syscall.Kill(kept, 0); err == nil {
		t.Errorf("process %d was not replaced", kept)
	}
	r.stop()
}

// TestOnce runs each process once: the status is theirs.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		script string
		want   int
		says   string
	}{
		{"echo done", 0, "app.1 | done"},
		{"exit 7", 1, "appbundle: app.1 ended with exit status 7"},
	} {
		dir := filepath.Join(t.TempDir(), "job")
		write(t, dir, "dependencies.txt", "", 0o644)
		write(t, dir, "external-dependencies.txt", "", 0o644)
		write(t, dir, "bin/app", "#!/bin/sh\n"+tt.script+"\n", 0o755)
		host := t.TempDir()
		p := start(t, dir, "appbundle", "run", "--once", "--run-dir", host+"/run", "--state-dir", host+"/state")
		p.await(tt.says)
		if status := p.wait(); status != tt.want {
			t.Errorf("%q: status %d, want %d", tt.script, status, tt.want)
		}
	}
}

// TestCircusINI runs what Circus would, in its dialect, and says what it does not
// honour.
func TestCircusINI(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "old")
	write(t, dir, "dependencies.txt", "", 0o644)
	write(t, dir, "external-dependencies.txt", "", 0o644)
	write(t, dir, "bin/app", "#!/bin/sh\n", 0o755)
	write(t, dir, "circus.ini", `[circus]
endpoint = tcp://127.0.0.1:5555
[watcher:Web]
cmd = /usr/bin/env
args = -u X /bin/sh -c "echo env: $COLOUR $APPBUNDLE_NAME end; exec /bin/sleep 1000"
max_age = 3600
[env:Web]
COLOUR = blue
`, 0o644)
	r := runApp(t, dir, "--config", dir+"/circus.ini")
	found := strings.Join(r.seen, "\n")
	for _, want := range []string{"circus.ini:2: ", "circus.ini:6: ", "Web.1 | env: blue end"} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q in\n%s", want, found)
		}
	}
	r.stop()
}

// TestReadOnlyCopy takes the example to another host: archive, unpack under a
// path with spaces, make the environment with the commands that unpack prints,
// take every write permission away, run.
func TestReadOnlyCopy(t *testing.T) {
	work := t.TempDir()
	archive, dir := work+"/app.tar.zst", work+"/another host/the app"
	if err := os.Mkdir(work+"/another host", 0o755); err != nil {
		t.Fatal(err)
	}
	copyTree(t, "../../examples/wsgi-app", work+"/wsgi-app")
	output(t, work, "appbundle", "build", "-o", archive, "wsgi-app")
	printed := output(t, work, "appbundle", "unpack", archive, dir)
	t.Log(printed)
	output(t, work, "sh", "-ec", printed)
	output(t, work, "chmod", "-R", "a-w", dir)
	t.Cleanup(func() { output(t, work, "chmod", "-R", "u+w", dir) })
	app := runApp(t, dir, "--bind", "127.0.0.1:0")
	if body := get(t, app.url); !strings.Contains(body, `"name":"wsgi-app"`) {
		t.Errorf("GET / = %s", body)
	}
	app.stop()
}

// TestRunArchive runs an archive: it is unpacked into the state directory, once.
func TestRunArchive(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	dir := work + "/job"
	write(t, dir, "dependencies.txt", "", 0o644)
	write(t, dir, "external-dependencies.txt", "", 0o644)
	write(t, dir, "app.ini", "[app]\nversion = 1.0.0\n", 0o644) // the archive has the name
	var releases []string
	for _, text := range []string{"one", "two", "three", "four", "four"} {
		write(t, dir, "bin/app", "#!/bin/sh\necho "+text+" $APPBUNDLE_NAME $(pwd)\n", 0o755)
		output(t, work, "appbundle", "build", "-o", work+"/job.tar.zst", dir)
		p := start(t, work, "appbundle", "run", "--once", "--run-dir", work+"/run", "--state-dir", work+"/state", work+"/job.tar.zst")
		place := p.await("app.1 | " + text + " job ")
		if status := p.wait(); status != 0 {
			t.Errorf("%s: status %d, want 0", text, status)
		}
		if len(releases) == 0 || releases[len(releases)-1] != place {
			releases = append(releases, place)
		}
	}
	left, err := filepath.Glob(work + "/state/releases/*")
	if err != nil || len(releases) != 4 || len(left) != 3 || slices.Contains(left, releases[0]) {
		t.Errorf("ran in %q; %q are left, want the newest three (%v)", releases, left, err)
	}
}

// TestReleaseAsUser runs an archive as another user where root runs the test: that
// user executes the release and writes its data, and owns nothing else.
func TestReleaseAsUser(t *testing.T) {
	t.Parallel()
	uid, work := os.Getuid(), t.TempDir()
	if uid == 0 {
		uid = 65534
	}
	for _, dir := range []string{filepath.Dir(work), work} { // the test's own are closed to others
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := work + "/job"
	write(t, dir, "dependencies.txt", "", 0o644)
	write(t, dir, "external-dependencies.txt", "sh\n", 0o644)
	write(t, dir, "app.ini", fmt.Sprintf("[app]\nversion = 1.0.0\n[watcher:app]\nuid = %d\n", uid), 0o644)
	write(t, dir, "bin/app", "#!/bin/sh\n: >$APPBUNDLE_STATE_DIR/made && echo user $(id -u)\n", 0o755)
	output(t, work, "appbundle", "build", "-o", work+"/job.tar.zst", dir)
	p := start(t, work, "appbundle", "run", "--once", "--run-dir", work+"/run", "--state-dir", work+"/state", work+"/job.tar.zst")
	p.await("app.1 | user " + strconv.Itoa(uid))
	if status := p.wait(); status != 0 {
		t.Errorf("status %d, want 0", status)
	}
	for path, want := range map[string]int{"state": os.Getuid(), "state/releases": os.Getuid(), "state/data": uid, "state/data/made": uid} {
		fi, err := os.Stat(filepath.Join(work, path))
		if err != nil || int(fi.Sys().(*syscall.Stat_t).Uid) != want || fi.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s: %v, %v; want it to be of user %d, and written by nobody else", path, fi, err, want)
		}
	}
}

// output runs a command to its end and gives its standard output. Relative paths
// of the project are from the package's directory.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	for i, a := range args {
		if strings.HasPrefix(a, "../../") {
			abs, err := filepath.Abs(a)
			if err != nil {
				t.Fatal(err)
			}
			args[i] = abs
		}
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), raceEnv)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}
