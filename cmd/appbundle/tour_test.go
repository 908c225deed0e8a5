package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTour runs the five minutes of README.md, line by line, on a Django project
// that knows of nothing: in a plain directory with an empty environment and, as
// root, in a bare Debian that has Python and the released binary, and where all
// that can be written is a home. The packages are those of the configured index.
func TestTour(t *testing.T) {
	t.Parallel()
	d := &document{name: "README.md", path: "../../README.md"}
	d.read(t)
	if n := len(d.tour); n == 0 || n > 6 {
		t.Fatalf("the tour has %d commands, want one to six", n)
	}
	for _, s := range d.tour {
		if !strings.HasPrefix(s.command, "appbundle ") || strings.Contains(s.command, "\n") {
			t.Fatalf("%s:%d: %q: the tour is commands of appbundle alone, a line each", d.name, s.line, s.command)
		}
	}
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		python := filepath.Dir(strings.TrimSpace(output(t, ".", "python3", "-c", "import sys; print(sys.executable)")))
		home := t.TempDir()
		env := tourHome(t, d, home, home, output(t, ".", "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"))
		env[0] += ":" + python + ":/usr/bin:/bin"
		takeTour(t, d, home, append(append([]string{"env", "-i"}, env...), "sh", home+"/tour.sh")...)
	})
	if os.Getuid() != 0 {
		return // neither the owners of a root directory nor the devices of a container are to be had
	}
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		root, err := filepath.Abs("../../out/debian/root")
		if err != nil {
			t.Fatal(err)
		}
		lib := globOne(t, root+"/usr/lib/python3.*") // tools/setup test makes it
		home, bundle := t.TempDir(), t.TempDir()
		env := tourHome(t, d, home, "/home", strings.TrimPrefix(filepath.Base(lib), "python"))
		env[0] += ":/usr/bin:/bin"
		output(t, ".", "chown", "-R", "1000:1000", home)
		config, err := json.Marshal(bareContainer(root, home, env))
		if err != nil {
			t.Fatal(err)
		}
		write(t, bundle, "config.json", string(config), 0o600)
		t.Cleanup(func() { // after its runc is killed: what is in the container does not end with that
			output(t, ".", "runc", "--root", bundle+"/state", "delete", "--force", "tour")
		})
		takeTour(t, d, home, "runc", "--root", bundle+"/state", "run", "--bundle", bundle, "tour")
	})
}

// tourHome makes what a user has: the binary, a project and an index. It gives the
// environment for a home that is seen as the directory seen; PATH is the first.
func tourHome(t *testing.T, d *document, home, seen, python string) []string {
	t.Helper()
	wheels := t.TempDir()
	output(t, ".", serversEnv(t)+"/bin/python", "-m", "pip", "download", "--quiet", "--only-binary=:all:",
		"--python-version", strings.TrimSpace(python), "--dest", wheels, "Django", "gunicorn")
	index := httptest.NewServer(indexOf(wheels))
	t.Cleanup(index.Close)
	if err := os.Mkdir(home+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	releasedBinary(t, home+"/bin")
	for _, f := range testProjects(t)["django"] {
		write(t, home, "shop/"+f.Name, string(f.Data), 0o644)
	}
	script := "exec 2>&1\ncd shop\n"
	for i, s := range d.tour {
		if i == len(d.tour)-1 { // it gets the signals
			script += "exec "
		}
		script += s.command + "\nprintf '" + mark + "%d\\n' $?\n"
	}
	write(t, home, "tour.sh", script, 0o644)
	return []string{"PATH=" + seen + "/bin", "HOME=" + seen, "PIP_INDEX_URL=" + index.URL + "/simple/"}
}

// takeTour runs the script of tourHome by a command and compares each answer with
// the document. The last command serves until it is told to end.
func takeTour(t *testing.T, d *document, home string, command ...string) {
	t.Helper()
	tour := start(t, home, command[0], command[1:]...)
	served := ""
	for i, s := range d.tour {
		from, end := len(tour.seen), mark
		if i == len(d.tour)-1 {
			end = "serving on "
		}
		rest := tour.await(end)
		to := len(tour.seen)
		if end == mark {
			to--
			if rest != "0" {
				t.Errorf("%s:%d: %s: ends with status %s", d.name, s.line, s.command, rest)
			}
		}
		served = rest
		got := ""
		for _, line := range tour.seen[from:to] {
			got += line + "\n"
		}
		if want := strings.Join(d.lines[s.from:s.to], "\n"); !matchesText(got, want) {
			t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", d.name, s.line, s.command, got, want)
		}
	}
	if body := get(t, served); body != "hello\n" {
		t.Errorf("GET %s = %q", served, body)
	}
	if globOne(t, home+"/dist/*") == "" {
		t.Error("there is no archive")
	}
	tour.signal(syscall.SIGTERM)
	if status := tour.wait(); status != 0 {
		t.Errorf("status %d after TERM, want 0:\n%s", status, strings.Join(tour.seen, "\n"))
	}
}

// bareContainer is the configuration of an OCI runtime for the script of tourHome:
// a user without capabilities, a root that is read only, the network of the host
// for the sake of an index on loopback.
func bareContainer(root, home string, env []string) map[string]any {
	type object = map[string]any
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 1000, "gid": 1000}, "noNewPrivileges": true,
			"args": []string{"sh", "/home/tour.sh"}, "env": env, "cwd": "/home",
		},
		"root": object{"path": root, "readonly": true},
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
			{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
			{"destination": "/home", "type": "bind", "source": home, "options": []string{"bind"}},
		},
		"linux": object{"namespaces": []object{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	}
}
