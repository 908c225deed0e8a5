package demo

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"appbundle/examples/token-app/jobs"
	"appbundle/powerhose"
)

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000}

func open(t *testing.T, cfg Config) *Demo {
	t.Helper()
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func ask(t *testing.T, d *Demo, method, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(text)
}

// What the page does works, with both kinds of credentials and forms of tokens.
func TestPage(t *testing.T) {
	d := open(t, Config{Address: loopback, State: t.TempDir()})
	for _, service := range []string{"sync-1.5", "notes-1.0"} {
		for kind, scheme := range map[string]string{"bearer": "Bearer ", "assertion": "BrowserID "} {
			_, credentials := ask(t, d, "GET", "/demo/"+kind+"?name=alice&service="+service, "")
			r, body := ask(t, d, "GET", "/1.0/"+strings.Replace(service, "-", "/", 1), "", "Authorization", scheme+credentials)
			var given struct{ ID string }
			if err := json.Unmarshal([]byte(body), &given); err != nil || r.StatusCode != 200 {
				t.Fatalf("%s %s: %d %s", service, kind, r.StatusCode, body)
			}
			if work := r.Header.Get(workHeader); !regexp.MustCompile(`^verify go \d+ \d+\.\d{3}, mint go \d+ \d+\.\d{3}$`).MatchString(work) {
				t.Errorf("%s: %q", workHeader, work)
			}
			asked, _ := json.Marshal(map[string]string{"service": service, "token": given.ID})
			r, body = ask(t, d, "POST", "/demo/open", string(asked))
			var opened struct {
				Node, Form string
				Payload    struct {
					Node   string
					FxaUID string `json:"fxa_uid"`
				}
			}
			if err := json.Unmarshal([]byte(body), &opened); err != nil || r.StatusCode != 200 {
				t.Fatalf("open: %d %s", r.StatusCode, body)
			}
			want := map[string]string{"sync-1.5": "signed", "notes-1.0": "encrypted"}[service]
			if opened.Form != want || opened.Node != opened.Payload.Node || opened.Payload.FxaUID != "alice" {
				t.Errorf("opened: %+v", opened)
			}
		}
	}
}

// The page loads nothing from elsewhere, and is told that it must not.
func TestPageAlone(t *testing.T) {
	d := open(t, Config{Address: loopback, State: t.TempDir()})
	r, _ := ask(t, d, "GET", "/demo/", "")
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := r.Header.Get("Content-Security-Policy"); got != policy || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%v", r.Header)
	}
	for _, path := range []string{"/demo/", "/demo/page.js", "/demo/page.css"} {
		r, body := ask(t, d, "GET", path, "")
		if r.StatusCode != 200 || strings.Contains(body, "//") && path != "/demo/page.js" || regexp.MustCompile(`https?:|innerHTML| style=| on[a-z]+=`).MatchString(body) {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
}

// What is asked for wrongly is refused, and so are tokens of others.
func TestRefused(t *testing.T) {
	d := open(t, Config{Address: loopback, State: t.TempDir()})
	for _, tt := range []struct{ method, target, body string }{
		{"GET", "/demo/bearer?name=Alice&service=sync-1.5", ""},
		{"GET", "/demo/bearer?name=alice@x&service=sync-1.5", ""},
		{"GET", "/demo/assertion?name=alice&service=none", ""},
		{"POST", "/demo/open", "junk"},
		{"POST", "/demo/open", `{"service":"sync-1.5","token":"junk"}`},
	} {
		if r, body := ask(t, d, tt.method, tt.target, tt.body); r.StatusCode != 400 {
			t.Errorf("%s: %d %s", tt.target, r.StatusCode, body)
		}
	}
	for _, address := range []string{"https://idp.example.com/jwks", "https://idp.demo.example/none", "::"} {
		if got, err := (here{d.idp}).Get(t.Context(), address, 1<<20); err == nil {
			t.Errorf("%s is %s", address, got.Body)
		}
	}
	if _, err := (here{d.idp}).Post(t.Context(), "https://idp.demo.example/", url.Values{}, nil, 1); err == nil {
		t.Error("somebody is asked")
	}
}

// Secrets and keys are made once, for their owner; a demo is on loopback.
func TestOpen(t *testing.T) {
	state := t.TempDir()
	first := open(t, Config{Address: loopback, State: state})
	first.Close()
	read := func() string {
		var all strings.Builder
		for _, name := range []string{"master", "metrics", "idp.pem"} {
			file := filepath.Join(state, "demo", name)
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("%s: %v, %v", name, info.Mode(), err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		return all.String()
	}
	before := read()
	open(t, Config{Address: loopback, State: state})
	if read() != before {
		t.Error("they are made anew")
	}
	for _, cfg := range []Config{
		{Address: &net.TCPAddr{IP: net.IPv4zero, Port: 1}, State: state},
		{Address: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, State: state},
		{Address: &net.UnixAddr{Name: "x"}, State: state},
		{Address: loopback},
	} {
		if d, err := Open(t.Context(), cfg); err == nil {
			d.Close()
			t.Errorf("%v is served", cfg)
		}
	}
}

// Where there is a master its workers do the work, and the answer names them.
func TestWorkers(t *testing.T) {
	dir, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	master, err := powerhose.NewMaster(powerhose.MasterConfig{Listen: filepath.Join(dir, "m.sock")})
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		w := powerhose.Worker{Master: master.Address(), Name: "w", Kinds: []string{jobs.Verify, jobs.Mint}}
		ended <- w.Serve(ctx, func(ctx context.Context, j *powerhose.Job) ([]byte, error) {
			j.Progress([]byte("cobol 7"))
			return jobs.Handle(ctx, j.Kind, j.Body)
		})
	}()
	d := open(t, Config{Address: loopback, State: t.TempDir(), Master: master.Address()})
	_, credentials := ask(t, d, "GET", "/demo/bearer?name=alice&service=sync-1.5", "")
	r, body := ask(t, d, "GET", "/1.0/sync/1.5", "", "Authorization", "Bearer "+credentials)
	if work := r.Header.Get(workHeader); !strings.HasPrefix(work, "verify cobol 7 ") || !strings.Contains(work, "mint cobol 7 ") {
		t.Errorf("%d %s; %s: %q", r.StatusCode, body, workHeader, work)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
