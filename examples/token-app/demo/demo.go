// Package demo is the token server with everything that it needs, to look at: an
// identity provider that lets everybody in, two nodes that are names alone, secrets
// and a database in a directory, and a page that shows what happens.
//
// It serves on loopback addresses only, and a server that is no demo refuses its
// secrets and its provider.
package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"appbundle/examples/token-app/app"
	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/jobs"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/store"
	"appbundle/examples/token-app/token"
)

// host is that of the identity provider, which is in no DNS.
const host = app.DemoHost

// nodes of each service.
var nodes = []string{"https://db1.demo.example", "https://db2.demo.example"}

//go:embed demo.ini page
var files embed.FS

// A Demo is a token server of its own.
type Demo struct {
	*app.App
	origin string
	idp    *idp.Provider
	forms  map[string]token.Form // of services
	opener func(service, node string) (*token.Opener, error)
}

// Config says where a demo is.
type Config struct {
	Address net.Addr // at which it is served
	Version string   // of the application
	State   string   // directory of what it keeps
	Master  string   // address of a Powerhose master, or empty
	Log     *slog.Logger
}

// Open makes what is not there yet, and the server.
func Open(ctx context.Context, cfg Config) (*Demo, error) {
	at, ok := cfg.Address.(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return nil, fmt.Errorf("the demo lets everybody in, and serves on loopback addresses alone; %s is none", cfg.Address)
	}
	if cfg.State == "" {
		return nil, errors.New("the demo keeps keys and a database, and there is no directory for them; set APPBUNDLE_STATE_DIR")
	}
	dir := filepath.Join(cfg.State, "demo")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"master", "metrics"} {
		if err := secret(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	d := &Demo{origin: "http://" + at.String(), forms: map[string]token.Form{}}
	var err error
	if d.idp, err = idp.Load(host, filepath.Join(dir, "idp.pem")); err != nil {
		return nil, err
	}
	text, err := files.ReadFile("demo.ini")
	if err != nil {
		return nil, err
	}
	workers := "here"
	if cfg.Master != "" {
		workers = "powerhose"
	}
	filled := strings.NewReplacer("ORIGIN", d.origin, "WORKERS", workers).Replace(string(text))
	s, err := settings.Parse(filepath.Join(dir, "demo.ini"), []byte(filled))
	if err != nil {
		return nil, err
	}
	d.App, err = app.Open(ctx, app.Config{Settings: s, Version: cfg.Version, State: dir, Master: cfg.Master, Log: cfg.Log, Fetch: here{d.idp}, Demo: true})
	if err != nil {
		return nil, err
	}
	if err := d.furnish(ctx, s, filepath.Join(dir, "master")); err != nil {
		d.Close()
		return nil, err
	}
	d.routes()
	return d, nil
}

// secret makes a file with one, if there is none. It has its name when it is whole:
// of two servers that start at once, both read what one of them made.
func secret(name string) error {
	if _, err := os.Lstat(name); err == nil {
		return nil
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b)                                                   // it never fails
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is linked, or of no use
	_, err = fmt.Fprintln(f, app.DemoSecret+hex.EncodeToString(b))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(f.Name(), name)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// furnish adds the nodes, and says how tokens for them are opened.
func (d *Demo) furnish(ctx context.Context, s *settings.Settings, master string) error {
	capacity := int64(10_000)
	for _, svc := range s.Services {
		name := svc.App + "-" + svc.Version
		form, err := token.ParseForm(svc.Token)
		if err != nil {
			return err
		}
		d.forms[name] = form
		have := map[string]bool{}
		list, err := d.Store().Nodes(ctx, name)
		if err != nil {
			return err
		}
		for _, n := range list {
			have[n.Address] = true
		}
		for _, n := range nodes {
			if have[n] {
				continue
			}
			if err := d.Store().AddNode(ctx, name, n, store.NodeSettings{Capacity: &capacity}); err != nil {
				return err
			}
		}
	}
	masters, err := token.LoadSecrets(master)
	if err != nil {
		return err
	}
	secrets, err := token.NewDerivedSecrets(masters...)
	if err != nil {
		return err
	}
	d.opener = func(service, node string) (*token.Opener, error) {
		of, err := secrets.Of(node)
		return &token.Opener{Secrets: of, Service: service}, err
	}
	return nil
}

// Hello is what to do with the demo, for who started it.
func (d *Demo) Hello() string {
	return fmt.Sprintf("a page to sign in:  %s/demo/\na token by curl:    curl -H \"Authorization: Bearer $(curl -s '%[1]s/demo/bearer?name=alice&service=sync-1.5')\" %[1]s/1.0/sync/1.5\n", d.origin)
}

func (d *Demo) routes() {
	for name, kind := range map[string]string{"page.html": "text/html; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "page.css": "text/css; charset=utf-8"} {
		text, err := files.ReadFile("page/" + name)
		if err != nil {
			panic(err) // it is in the program
		}
		pattern := "GET /demo/" + name
		if name == "page.html" {
			pattern = "GET /demo/{$}"
		}
		d.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			w.Header().Set("Referrer-Policy", "no-referrer")
			_, _ = w.Write(text)
		}))
	}
	d.Handle("GET /demo/bearer", http.HandlerFunc(d.bearer))
	d.Handle("GET /demo/assertion", http.HandlerFunc(d.assertion))
	d.Handle("POST /demo/open", http.HandlerFunc(d.open))
}

var userName = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

// who reads the name of the user who signs in, and the service.
func (d *Demo) who(w http.ResponseWriter, r *http.Request) (name, service string, ok bool) {
	name, service = r.FormValue("name"), r.FormValue("service")
	if _, known := d.forms[service]; !known || !userName.MatchString(name) {
		http.Error(w, "name is a word of small letters and digits, and service one of the demo's", http.StatusBadRequest)
		return "", "", false
	}
	return name, service, true
}

// bearer signs a user in, and gives an access token.
func (d *Demo) bearer(w http.ResponseWriter, r *http.Request) {
	name, service, ok := d.who(w, r)
	if !ok {
		return
	}
	now := time.Now().Unix()
	scope, _, _ := strings.Cut(service, "-")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, d.idp.Token(nil, idp.Claims{
		"iss": d.idp.Issuer(), "sub": name, "aud": d.origin, "client_id": "demo", "jti": rand.Text(), "iat": now, "exp": now + 300, "scope": scope,
	}))
}

// assertion signs a user in, and gives an assertion of BrowserID.
func (d *Demo) assertion(w http.ResponseWriter, r *http.Request) {
	name, _, ok := d.who(w, r)
	if !ok {
		return
	}
	now := time.Now()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, d.idp.Assertion(
		idp.Claims{"iss": d.idp.Host(), "iat": now.UnixMilli(), "exp": now.Add(time.Hour).UnixMilli(), "principal": idp.Claims{"email": name + "@" + d.idp.Host()}},
		idp.Claims{"aud": d.origin, "exp": now.Add(2 * time.Minute).UnixMilli()},
	))
}

// open opens a token as its node does, and shows what is in it.
func (d *Demo) open(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Service, Token string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 32<<10)).Decode(&asked)
	if err != nil {
		http.Error(w, "a JSON object with service and token is wanted", http.StatusBadRequest)
		return
	}
	for _, n := range nodes {
		o, err := d.opener(asked.Service, n)
		if err != nil {
			break
		}
		opened, err := o.Open(asked.Token, time.Now())
		if err != nil {
			continue
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"node": n, "form": opened.Form.String(), "payload": json.RawMessage(opened.Payload)})
		return
	}
	http.Error(w, "no node of the demo opens this token", http.StatusBadRequest)
}

// workHeader says which worker did what of a request, in how long: "verify go 12
// 0.412" for each job, with commas between.
const workHeader = "X-Demo-Work"

// Handler is the HTTP interface, whose answers say who did the work.
func (d *Demo) Handler() http.Handler {
	next := d.App.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &traced{ResponseWriter: w}
		next.ServeHTTP(t, r.WithContext(jobs.WithTrace(r.Context(), t.note)))
	})
}

// traced writes who did the work in front of an answer.
type traced struct {
	http.ResponseWriter
	mu   sync.Mutex
	work []string
}

func (t *traced) note(j jobs.Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	worker := j.Worker
	if worker == "" {
		worker = "worker"
	}
	t.work = append(t.work, j.Kind+" "+worker+" "+strconv.FormatFloat(float64(j.Took.Microseconds())/1000, 'f', 3, 64))
}

func (t *traced) WriteHeader(code int) {
	t.mu.Lock()
	if len(t.work) > 0 {
		t.Header().Set(workHeader, strings.Join(t.work, ", "))
	}
	t.mu.Unlock()
	t.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (t *traced) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// here fetches from the provider in this process.
type here struct{ idp *idp.Provider }

// Get asks the provider, if it is its host's address.
func (h here) Get(ctx context.Context, address string, limit int64) (guarded.Answer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host != host {
		return guarded.Answer{}, errors.New("the demo reaches nobody but its own provider")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return guarded.Answer{}, err
	}
	w := &page{header: http.Header{}}
	h.idp.ServeHTTP(w, r)
	if w.code >= 300 || int64(w.Len()) > limit {
		return guarded.Answer{}, errors.New("the provider of the demo has no such document")
	}
	return guarded.Answer{Body: w.Bytes(), MaxAge: -1}, nil
}

// Post reaches nobody.
func (h here) Post(context.Context, string, url.Values, *url.Userinfo, int64) (guarded.Answer, error) {
	return guarded.Answer{}, errors.New("the demo asks nobody")
}

// A page is an answer in memory.
type page struct {
	bytes.Buffer
	header http.Header
	code   int
}

func (p *page) Header() http.Header  { return p.header }
func (p *page) WriteHeader(code int) { p.code = code }
