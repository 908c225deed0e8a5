package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A running is a process of the server, and what it says.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // of the standard error
	stdout bytes.Buffer
	told   *net.UnixConn // what it tells its supervisor
	read   sync.WaitGroup
	ended  bool
}

// limit is how long a test waits for what should happen at once.
const limit = 30 * time.Second

// start runs the demo on sockets that it inherits, by their names in turn.
func start(t *testing.T, state string, names string, sockets ...net.Listener) *running {
	t.Helper()
	return startWith(t, state, "", names, sockets...)
}

// startWith runs the demo with the workers of a Powerhose master.
func startWith(t *testing.T, state, master, names string, sockets ...net.Listener) *running {
	t.Helper()
	p := &running{t: t, lines: make(chan string, 1000)}
	dir, err := os.MkdirTemp("", "n") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if p.told, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.told.Close() })
	// The shell gives its number to the server: LISTEN_PID is that of the process.
	p.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec app --demo`)
	p.cmd.Env = append(os.Environ(), "APPBUNDLE_STATE_DIR="+state, "NOTIFY_SOCKET="+filepath.Join(dir, "n"), "DATABASE_URL=", "POWERHOSE_MASTER="+master, "APPBUNDLE_VERSION=1.2.3",
		fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES="+names)
	for _, l := range sockets {
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
	}
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.read.Go(func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	})
	t.Cleanup(func() {
		if !p.ended {
			_ = p.cmd.Process.Kill()
			p.wait()
		}
	})
	return p
}

// hear waits for what the process tells its supervisor.
func (p *running) hear(want string) {
	p.t.Helper()
	_ = p.told.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 64)
	n, err := p.told.Read(b)
	if err != nil || string(b[:n]) != want {
		p.t.Fatalf("it tells %q, %v; want %q", b[:n], err, want)
	}
}

// say waits for a line of the log with a text.
func (p *running) say(want string) string {
	p.t.Helper()
	late := time.After(limit)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("it ended without a line with %s", want)
			}
			if strings.Contains(line, want) {
				return line
			}
		case <-late:
			p.t.Fatalf("there is no line with %s", want)
		}
	}
}

// wait gives the exit status, and what is left of the log.
func (p *running) wait() (int, string) {
	p.ended = true
	var rest strings.Builder
	for line := range p.lines {
		fmt.Fprintln(&rest, line)
	}
	p.read.Wait()
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), rest.String()
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// get makes a request over a connection of its own.
func get(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// token signs in at the demo and gets a token.
func token(t *testing.T, origin, kind, service string) map[string]any {
	t.Helper()
	_, credentials := get(t, origin+"/demo/"+kind+"?name=alice&service="+service)
	scheme := map[string]string{"bearer": "Bearer ", "assertion": "BrowserID "}[kind]
	r, body := get(t, origin+"/1.0/"+strings.Replace(service, "-", "/", 1), "Authorization", scheme+credentials)
	var given map[string]any
	if err := json.Unmarshal([]byte(body), &given); err != nil || r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, body)
	}
	if !strings.HasPrefix(r.Header.Get("X-Demo-Work"), "verify go ") {
		t.Errorf("X-Demo-Work: %q", r.Header.Get("X-Demo-Work"))
	}
	return given
}

// A server on inherited sockets says when it is ready, reads its secrets again at
// HUP, ends at TERM; meanwhile, and until the next one serves, the socket takes
// connections. Users and keys are those from before.
func TestProcess(t *testing.T) {
	state := t.TempDir()
	web, figures := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	origin := "http://" + web.Addr().String()
	p := start(t, state, "web:metrics", web, figures)
	p.hear("READY=1")
	first := token(t, origin, "bearer", "sync-1.5")
	if again := token(t, origin, "assertion", "sync-1.5"); again["uid"] != first["uid"] {
		t.Errorf("uid %v by BrowserID, %v by OAuth", again["uid"], first["uid"])
	}
	token(t, origin, "bearer", "notes-1.0")
	if _, body := get(t, "http://"+figures.Addr().String()+"/metrics"); !strings.Contains(body, `tokenapp_tokens_total{service="sync-1.5",class="ok"} 2`) {
		t.Errorf("the figures are %s", body)
	}
	if _, body := get(t, origin+"/__version__"); !strings.Contains(body, `"version":"1.2.3"`) {
		t.Errorf("__version__ is %s", body)
	}
	if r, _ := get(t, "http://"+figures.Addr().String()+"/"); r.StatusCode != 404 {
		t.Errorf("%d for another path than /metrics", r.StatusCode)
	}

	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.say(`"msg":"the secrets were read"`)
	if err := os.Chmod(filepath.Join(state, "demo", "master"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if line := p.say(`"msg":"the secrets stay as they were"`); !strings.Contains(line, "everybody can read or change it") {
		t.Errorf("the log says %s", line)
	}
	token(t, origin, "bearer", "sync-1.5")
	if err := os.Chmod(filepath.Join(state, "demo", "master"), 0o600); err != nil {
		t.Fatal(err)
	}

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.hear("STOPPING=1")
	if code, rest := p.wait(); code != 0 || !strings.Contains(rest, `"msg":"ended"`) {
		t.Errorf("status %d; the log says %s", code, rest)
	}
	if hello := p.stdout.String(); !strings.Contains(hello, origin+"/demo/\n") || strings.Count(hello, "\n") != 2 {
		t.Errorf("it says %q", hello)
	}

	waiting := make(chan string, 1)
	go func() {
		_, credentials := get(t, origin+"/demo/bearer?name=alice&service=sync-1.5")
		waiting <- credentials
	}()
	next := start(t, state, "web:metrics", web, figures)
	next.hear("READY=1")
	if credentials := <-waiting; strings.Count(credentials, ".") != 2 {
		t.Errorf("who asked between two servers got %q", credentials)
	}
	if again := token(t, origin, "bearer", "sync-1.5"); again["uid"] != first["uid"] {
		t.Errorf("uid %v after the restart, %v before", again["uid"], first["uid"])
	}
}

// The demo lets everybody in, and so nobody from elsewhere may reach it.
func TestDemoOnLoopback(t *testing.T) {
	p := start(t, t.TempDir(), "web", listen(t, "0.0.0.0:0"))
	code, rest := p.wait()
	if code != failed || !strings.Contains(rest, "serves on loopback addresses alone") {
		t.Errorf("status %d, %s", code, rest)
	}
}
