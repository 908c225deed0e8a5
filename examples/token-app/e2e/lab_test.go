package e2e

import (
	"bufio"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/node"
	"appbundle/examples/token-app/node/nodetest"
	"appbundle/examples/token-app/token"
)

// attempt runs the tool, and gives what it says on standard output and its status.
func attempt(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := exec.Command(got(t, tool), args...).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return string(out), 0
	}
	return string(out), exit.ExitCode()
}

const (
	origin = "https://token.example.org"
	host   = "idp.example.com"
	scope  = "storage"
	// The secrets are of these tests alone.
	master  = "8a1e6f0c35d97b24c6e8f1a03b5d7c92e4f6a8b0c1d3e5f7092b4d6f81a3c5e7"
	metrics = "1f3d5b79e8c6a4028f6d4b2910e7c5a3f1d9b7e5c3a18f6d4b2091e7c5a3f1d9"
)

// services are those that are served, with the forms of their tokens.
var services = map[string]token.Form{"sync-1.5": token.Signed, "notes-1.0": token.Encrypted}

// A site is a bundle that runs, with an identity provider and nodes around it.
type site struct {
	*supervised
	dir, state string
	url        string
	idp        *idp.Provider
}

// newSite runs the bundle in a directory, with settings that believe a provider of
// the test. Two nodes, which are real ones, take users of each service.
func newSite(t *testing.T, dir string, flags ...string) *site {
	t.Helper()
	place, err := os.MkdirTemp(work, "s") // short
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, state: filepath.Join(place, "state")}
	if s.idp, err = provider(); err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewTLSServer(s.idp)
	t.Cleanup(keys.Close)
	at := strings.TrimPrefix(keys.URL, "https://")
	write(t, filepath.Join(dir, "roots.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys.Certificate().Raw})), 0o644)
	var text strings.Builder
	fmt.Fprintf(&text, "[server]\norigin = %s\n[oauth:idp]\nissuer = https://%s\njwks = https://%s/jwks\naudiences = %s\n", origin, host, at, origin)
	fmt.Fprintf(&text, "[network]\nprivate_hosts = %s\nroots = roots.pem\n[limits]\nper_address = 0\n", at)
	text.WriteString("[secrets]\nmaster = state:secrets/master\nmetrics = state:secrets/metrics\n")
	// However slow the machine is, nobody is sent away.
	fmt.Fprintf(&text, "[crypto]\nworkers = powerhose\nwait = %[1]s\ndeadline = %[1]s\n", patience/8)
	for name, form := range services {
		fmt.Fprintf(&text, "[service:%s]\npattern = {node}/1.5/{uid}\nscope = %s\ntoken = %s\n", name, scope, form)
	}
	write(t, filepath.Join(dir, "token-app.ini"), text.String(), 0o644)
	write(t, filepath.Join(s.state, "data/secrets/master"), master+"\n", 0o600)
	write(t, filepath.Join(s.state, "data/secrets/metrics"), metrics+"\n", 0o600)

	run := filepath.Join(place, "run")
	args := append([]string{"run", "--bind", "127.0.0.1:0", "--run-dir", run, "--state-dir", s.state}, flags...)
	s.supervised = supervise(t, got(t, tool), append(args, dir)...)
	s.url = strings.TrimSuffix(s.after("serving on "), "/")
	for name := range services {
		for range 2 {
			s.admin(t, "nodes", "add", name, newNode(t, name), "--capacity", "100000", "--available", "100000")
		}
	}
	return s
}

// provider signs for everybody; its keys take long to make.
var provider = sync.OnceValues(func() (*idp.Provider, error) { return idp.New(host) })

// newNode is a storage node, which opens tokens and knows their keys.
func newNode(t *testing.T, service string) string {
	t.Helper()
	secrets, err := token.NewDerivedSecrets(master)
	if err != nil {
		t.Fatal(err)
	}
	var n http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	if n, err = nodetest.New(node.Config{URL: srv.URL, Secrets: secrets, Service: service, Forms: []token.Form{services[service]}}); err != nil {
		t.Fatal(err)
	}
	return srv.URL
}

// admin runs bin/app admin beside the server.
func (s *site) admin(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("bin/app", append([]string{"admin"}, args...)...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "APPBUNDLE_STATE_DIR="+s.state+"/data", "DATABASE_URL=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bin/app admin %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// bearer signs an access token.
func (s *site) bearer(subject string) string {
	now := time.Now().Unix()
	credentials := s.idp.Token(nil, idp.Claims{"iss": s.idp.Issuer(), "aud": origin, "sub": subject, "client_id": "e2e", "jti": subject, "iat": now, "exp": now + 900, "scope": scope})
	private.add(credentials[strings.LastIndexByte(credentials, '.')+1:])
	return credentials
}

// private is what no process may ever say: the secrets, and the signatures of what
// clients have shown.
var private = privates{all: []string{master, metrics}}

type privates struct {
	mu  sync.Mutex
	all []string
}

func (p *privates) add(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, text)
}

// said gives the line that has something private in it, "" for none.
func (p *privates) said(lines []string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.Join(lines, "\n")
	for _, secret := range p.all {
		if at := strings.Index(text, secret); at >= 0 {
			return text[strings.LastIndexByte(text[:at], '\n')+1:][:at+len(secret)-strings.LastIndexByte(text[:at], '\n')-1]
		}
	}
	return ""
}

// supervised is a bundle under appbundle run, and what is known of its processes.
type supervised struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed at the next line
	lines   []string
	pids    map[string]int // of "app.1", the newest
	up      map[string]bool
}

var processLine = regexp.MustCompile(`^appbundle: (\S+\.\d+): pid (\d+) (started|is up)$`)

// supervise runs the tool until the end of the test, and waits until all is up.
func supervise(t *testing.T, name string, args ...string) *supervised {
	t.Helper()
	s := &supervised{t: t, cmd: exec.Command(name, args...), done: make(chan struct{}), changed: make(chan struct{}), pids: map[string]int{}, up: map[string]bool{}}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = work, w, w
	s.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=", "DATABASE_URL=")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // of make, and of what it runs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var read sync.WaitGroup
	read.Go(func() { s.read(r) })
	go func() {
		_ = s.cmd.Wait() // its status is in ProcessState
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // they may have ended; all below them end with them
		<-s.done
		read.Wait()
		r.Close()
		if line := private.said(s.lines); line != "" {
			t.Errorf("something private was said: %s", line)
		}
	})
	s.after("every watcher is up")
	return s
}

func (s *supervised) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		s.mu.Lock()
		s.lines = append(s.lines, sc.Text())
		if m := processLine.FindStringSubmatch(sc.Text()); m != nil {
			pid, err := strconv.Atoi(m[2])
			if err != nil {
				s.t.Error(err)
			}
			s.pids[m[1]], s.up[m[1]] = pid, m[3] == "is up"
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

// await waits until something holds, which is asked under the lock.
func (s *supervised) await(what string, holds func() bool) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		text := strings.Join(s.lines[max(0, len(s.lines)-60):], "\n")
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			s.t.Fatalf("no %s:\n%s", what, text)
		case <-s.done:
			s.mu.Lock()
			ok := holds()
			s.mu.Unlock()
			if !ok {
				s.t.Fatalf("it ended without %s:\n%s", what, text)
			}
			return
		}
	}
}

// after gives what follows a text in the first line that has it.
func (s *supervised) after(text string) (rest string) {
	s.t.Helper()
	s.await(text, func() bool {
		for _, line := range s.lines {
			if _, after, ok := strings.Cut(line, text); ok {
				rest = after
				return true
			}
		}
		return false
	})
	return rest
}

// kill sends a signal to a process that is up, and waits until another is started.
func (s *supervised) kill(name string, sig syscall.Signal) {
	s.t.Helper()
	var pid int
	s.await(name+" that is up", func() bool {
		pid = s.pids[name]
		return s.up[name]
	})
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatalf("kill %s: %v", name, err)
	}
	s.await("other "+name, func() bool { return s.pids[name] != pid })
}

// refusals are the lines of the web servers about what they could not do, and those
// of the supervisor.
func (s *supervised) refusals() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, line := range s.lines {
		if strings.Contains(line, `"status":50`) || strings.Contains(line, `"level":"ERROR"`) || !strings.HasPrefix(line, "app.") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// stop ends it as who operates it does.
func (s *supervised) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(patience):
	}
	if status := s.cmd.ProcessState.ExitCode(); status != 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.t.Errorf("status %d after TERM:\n%s", status, strings.Join(s.lines, "\n"))
	}
}
