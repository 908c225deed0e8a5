package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// serversPage gives the blocks of docs/SERVERS.md in that language.
func serversPage(t *testing.T, language string, want int) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/SERVERS.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```\n").FindAllSubmatch(page, -1) {
		blocks = append(blocks, string(m[1]))
	}
	if len(blocks) != want {
		t.Fatalf("docs/SERVERS.md has %d blocks of %s, want %d", len(blocks), language, want)
	}
	return blocks
}

// placed replaces what the page says by what the test has; all of it must be there.
func placed(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("no %q in\n%s", pairs[i], text)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// forwarded answers with what the proxy said; it works only with the environment of the
// application.
const forwarded = `from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def index():
    return "%s|%s|%s" % (
        request.host, request.headers.get("X-Forwarded-For"), request.headers.get("X-Forwarded-Proto"))
`

// forwardedApp makes an installed application of a Flask project.
func forwardedApp(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, "shop/__init__.py", "", 0o644)
	write(t, dir, "shop/web.py", forwarded, 0o644)
	output(t, dir, "appbundle", "init")
	output(t, dir, "appbundle", "lock", "--platform", "host")
	output(t, dir, "appbundle", "install")
	return dir
}

const nginxConf = `daemon off;
%s
pid %[2]s/pid;
error_log stderr notice;
events {}
http {
access_log off;
client_body_temp_path %[2]s/body;
proxy_temp_path %[2]s/proxy;
fastcgi_temp_path %[2]s/fastcgi;
uwsgi_temp_path %[2]s/uwsgi;
scgi_temp_path %[2]s/scgi;
%[3]s
}
`

// TestNginx serves an application behind nginx as docs/SERVERS.md has it: what
// the proxy says arrives, and while all processes are replaced no request fails.
func TestNginx(t *testing.T) {
	t.Parallel()
	blocks := serversPage(t, "nginx", 2)
	ini := serversPage(t, "ini", 1)[0]
	dir := forwardedApp(t)
	upstream, server, _ := strings.Cut(blocks[0], "}\n")
	made := output(t, dir, "cat", "app.ini")
	for _, kind := range []string{"unix", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			root := t.TempDir()
			text, args := made, []string{"--bind", "127.0.0.1:0"}
			if kind == "unix" {
				text, args = made+"\n"+ini, nil
			}
			write(t, dir, "app.ini", text, 0o644)
			served := runApp(t, dir, args...)
			var conf string
			if kind == "tcp" {
				conf = placed(t, blocks[1], "127.0.0.1:8000", strings.Trim(strings.TrimPrefix(served.url, "http://"), "/"))
			} else {
				at := served.await("serving on ")
				conf = placed(t, upstream+"}\n", "unix:/run/appbundle/shop/app.sock", "unix:"+strings.TrimPrefix(at, "unix:"))
			}
			conf += placed(t, server, "listen 80;", "listen unix:"+root+"/n;")
			user := ""
			if os.Getuid() == 0 { // its workers may not enter the directory of a test otherwise
				user = "user root;"
			}
			write(t, root, "nginx.conf", fmt.Sprintf(nginxConf, user, root, conf), 0o644)
			nginx := start(t, root, "/usr/sbin/nginx", "-p", root, "-e", "stderr", "-c", root+"/nginx.conf")
			nginx.await("start worker process ")
			client := &http.Client{Timeout: patience, Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", root+"/n")
				},
			}}
			ask := func() error {
				r, err := http.NewRequestWithContext(t.Context(), "GET", "http://shop.test/", nil)
				if err != nil {
					return err
				}
				r.Header.Set("X-Forwarded-Proto", "gopher")
				resp, err := client.Do(r)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if got := string(body); err != nil || got != "shop.test|unix:|http" {
					return fmt.Errorf("status %d, %q, %v", resp.StatusCode, got, err)
				}
				return nil
			}
			if err := ask(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					for ctx.Err() == nil {
						if err := ask(); err != nil {
							t.Errorf("while processes are replaced: %v", err)
							return
						}
					}
				})
			}
			served.signal(syscall.SIGUSR2)
			served.await("every process replaced")
			cancel()
			wg.Wait()
			nginx.signal(syscall.SIGTERM)
			nginx.wait()
			served.stop()
		})
	}
}

const apachePage = `ServerRoot "%[1]s"
PidFile "%[1]s/pid"
Mutex file:%[1]s
ServerName localhost
Listen 127.0.0.1:%[2]d
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
WSGISocketPrefix "%[1]s/wsgi"
%[3]s
`

// TestApachePage serves an application under Apache as docs/SERVERS.md has it, in
// the environment of the application.
func TestApachePage(t *testing.T) {
	t.Parallel()
	conf := serversPage(t, "apache", 1)[0]
	dir := forwardedApp(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	root, user := t.TempDir(), ""
	if os.Getuid() == 0 { // which Apache does not serve as
		user = "User daemon\nGroup daemon\n"
		for _, at := range []string{root, filepath.Dir(root), filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
			if err := os.Chmod(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, root, "apache.conf", fmt.Sprintf(apachePage, root, port, user+placed(t, conf, "/srv/shop", dir)), 0o644)
	p := start(t, root, "/usr/sbin/apache2", "-f", root+"/apache.conf", "-DFOREGROUND")
	p.await("resuming normal operations")
	if got, want := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)), fmt.Sprintf("127.0.0.1:%d|None|None", port); got != want {
		t.Errorf("GET / = %q, want %q", got, want)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}
