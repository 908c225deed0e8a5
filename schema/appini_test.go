package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// dumpConfig shows what differs from the defaults.
func dumpConfig(c *Config) string {
	var b strings.Builder
	show := func(name string, v, def any) {
		x, y := fields(v), fields(def)
		for _, k := range sortedKeys(x) {
			if x[k] != y[k] {
				fmt.Fprintf(&b, "%s %s=%s\n", name, k, x[k])
			}
		}
	}
	app, build, sup := c.App, c.Build, c.Supervisor
	app.Pos, build.Pos, sup.Pos = Pos{}, Pos{}, Pos{}
	show("app", app, AppSection{})
	show("build", build, BuildSection{})
	show("supervisor", sup, SupervisorSection{Umask: -1})
	for _, o := range c.OptOuts {
		fmt.Fprintf(&b, "check %s %s %q %q\n", o.Pos, o.Rule, o.Glob, o.Reason)
	}
	for _, w := range c.Watchers {
		fmt.Fprintf(&b, "watcher %s %s\n", w.Name, w.Pos)
		show("  ", w, DefaultWatcher(w.Name))
	}
	for _, s := range c.Sockets {
		fmt.Fprintf(&b, "socket %s %s\n", s.Name, s.Pos)
		show("  ", s, DefaultSocket(s.Name))
	}
	return b.String()
}

func fields(v any) map[string]string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		panic(err)
	}
	out := map[string]string{}
	for k, x := range raw {
		out[k] = string(x)
	}
	return out
}

func TestAppINI(t *testing.T) {
	for _, c := range readCases(t, "appini.txt") {
		t.Run(c.name, func(t *testing.T) {
			cfg, ps := ParseAppINI("app.ini", []byte(c.in))
			got := ps.Error()
			if len(ps) == 0 {
				got = strings.TrimRight(dumpConfig(cfg), "\n")
			}
			if got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// Each key of the table decodes the value that its row in the test gives, and
// is kept apart from the others.
func TestEveryKeyDecodes(t *testing.T) {
	values := map[string]string{
		"app.name": "a", "app.version": "1.2.3", "app.description": "d", "app.license": "MIT", "app.interface": "wsgi",
		"app.server": "uwsgi", "app.python": "3.12", "build.command": "make all", "build.outputs": "bin/*", "build.targets": "linux_x86_64", "package.user": "u", "package.group": "g", "package.sandbox": "strict", "package.rolling": "yes", "package.release": "2", "package.maintainer": "m", "package.homepage": "https://h.example",
		"supervisor.umask": "022", "supervisor.warmup_delay": "1", "supervisor.pidfile": "p",
		"watcher.cmd": "c", "watcher.args": "-x", "watcher.working_dir": "d", "watcher.uid": "u", "watcher.gid": "7",
		"watcher.copy_env": "on", "watcher.numprocesses": "3", "watcher.warmup_delay": "0.5", "watcher.autostart": "no",
		"watcher.singleton": "yes", "watcher.respawn": "off", "watcher.max_retry": "-1", "watcher.graceful_timeout": "2",
		"watcher.stop_signal": "INT", "watcher.stop_children": "1", "watcher.priority": "-4",
		"watcher.use_sockets": "true", "watcher.stdin_socket": "s", "watcher.close_child_stdin": "false",
		"watcher.close_child_stdout": "true", "watcher.close_child_stderr": "true", "watcher.rlimit_NAME": "10",
		"watcher.flapping.attempts": "9", "watcher.flapping.window": "9", "watcher.flapping.retry_in": "9",
		"watcher.flapping.max_retry": "9", "watcher.backoff.first": "1", "watcher.backoff.max": "9",
		"socket.host": "::1", "socket.port": "80", "socket.path": "p", "socket.family": "AF_INET6", "socket.type": "SOCK_DGRAM",
		"socket.backlog": "1", "socket.replace": "1", "socket.umask": "0117", "socket.so_reuseport": "1", "socket.blocking": "1",
		"check.ABNNN": "tests/*.pem: of no use",
	}
	for _, k := range Keys() {
		if k.Doc == "" {
			t.Errorf("%s.%s has no documentation", k.Section, k.Name)
		}
		value, ok := values[k.Section+"."+k.Name]
		if !ok {
			t.Errorf("%s.%s has no value in this test", k.Section, k.Name)
			continue
		}
		name := strings.NewReplacer("NAME", "nofile", "NNN", "013").Replace(k.Name)
		spec := findKey(k.Section, name)
		fresh := func() *target {
			w := DefaultWatcher("w")
			return &target{cfg: &Config{}, watcher: &w, socket: &socketKeys{Socket: DefaultSocket("s")}}
		}
		dump := func(t *target) string {
			return fmt.Sprintf("%#v %#v %#v %q", *t.cfg, *t.watcher, *t.socket, t.args)
		}
		got := fresh()
		if f := spec.decode(got, &INIKey{Name: name, Value: value}); f != nil {
			t.Errorf("%s.%s = %s: %s", k.Section, name, value, f.msg)
		} else if dump(got) == dump(fresh()) {
			t.Errorf("%s.%s = %s changes nothing", k.Section, name, value)
		}
	}
	if len(values) != len(Keys()) {
		t.Errorf("%d values for %d keys", len(values), len(Keys()))
	}
}

func TestWatcherOver(t *testing.T) {
	cfg, ps := ParseAppINI("app.ini", []byte(`[watcher:app]
numprocesses = 4
backoff.first = 1
rlimit_nofile = 10
[env]
A = 1
`))
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	base := DefaultWatcher("app")
	base.Cmd, base.GracefulTimeout = []string{"gunicorn"}, time.Minute
	base.Rlimits = []Rlimit{{"core", 0}}
	base.Env = []EnvVar{{Name: "A", Value: "0"}, {Name: "B", Value: "2"}}
	w := cfg.Watchers[0].Over(base)
	if w.NumProcesses != 4 || w.Backoff.First != time.Second || w.Cmd[0] != "gunicorn" || w.GracefulTimeout != time.Minute {
		t.Errorf("Over = %+v", w)
	}
	if len(w.Rlimits) != 2 || len(base.Rlimits) != 1 || w.Env[0].Value != "1" || len(w.Env) != 2 || base.Env[0].Value != "0" {
		t.Errorf("Over = %+v, base %+v", w, base)
	}
	if !w.Has("numprocesses") || w.Has("respawn") || w.KeyPos("numprocesses").Line != 2 || w.KeyPos("respawn").Line != 1 {
		t.Errorf("keys %v", w.keys)
	}
}

func FuzzAppINI(f *testing.F) {
	for _, c := range readCases(f, "appini.txt") {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, ps := ParseAppINI("f", data)
		positionsInside(t, "f", data, ps)
		if len(ps) > 0 {
			return
		}
		for i := range cfg.Watchers {
			w := &cfg.Watchers[i]
			if w.Cmd == nil && !strings.EqualFold(w.Name, "app") {
				t.Errorf("watcher %q without a command and without a problem", w.Name)
			}
			w.Expand(Vars{WID: 1})
		}
	})
}
