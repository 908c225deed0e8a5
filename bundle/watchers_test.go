package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/schema"
)

// TestWatchers compares what each application of testdata/watchers is with its
// golden. "ops" and files are as in TestCheck; a line of "env" is "ENV NAME
// VERSION", a distribution installed in ENV; a line of "lock" is a pin; "bind"
// is what run --bind says.
func TestWatchers(t *testing.T) {
	cases, err := filepath.Glob("testdata/watchers/*.txt")
	must(t, err)
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			must(t, err)
			dir := filepath.Join(t.TempDir(), "shop")
			write(t, dir, a, "")
			for _, name := range []string{"ops", "env", "lock", "bind", "want"} {
				must(t, os.RemoveAll(filepath.Join(dir, name)))
			}
			do(t, dir, section(a, "ops"))
			install(t, dir, section(a, "env"))
			app, err := Load(dir)
			must(t, err)
			if spec := strings.TrimSpace(section(a, "bind")); spec != "" {
				app.Config.Sockets, err = Bind(app.Config.Sockets, spec)
				must(t, err)
			}
			got := render(app, lockOf(section(a, "lock")))
			if survey, err := Survey(dir, nil); err != nil || section(a, "bind") == "" && render(survey, lockOf(section(a, "lock"))) != got {
				t.Errorf("Survey (%v) and Load are not the same processes", err)
			}
			if *update {
				rewrite(t, file, a, got)
			} else if want := section(a, "want"); got != want {
				t.Errorf("Watchers:\n%swant:\n%s", got, want)
			}
		})
	}
}

// install makes an environment with distributions in it.
func install(t *testing.T, dir, lines string) {
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		env := filepath.Join(dir, f[0])
		must(t, os.MkdirAll(filepath.Join(env, "bin"), 0o755))
		must(t, os.WriteFile(filepath.Join(env, "bin/python"), nil, 0o755))
		must(t, os.WriteFile(filepath.Join(env, "pyvenv.cfg"), nil, 0o644))
		if len(f) == 3 {
			must(t, os.MkdirAll(filepath.Join(env, "lib/python3.11/site-packages", f[1]+"-"+f[2]+".dist-info"), 0o755))
		}
	}
}

func lockOf(lines string) *schema.Lock {
	if lines == "" {
		return nil
	}
	lock := &schema.Lock{}
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		lock.Packages = append(lock.Packages, schema.Pin{Name: f[0], Version: f[1]})
	}
	return lock
}

// render writes what differs from the defaults.
func render(app *App, lock *schema.Lock) string {
	var b strings.Builder
	watchers, sockets, err := Watchers(app, lock)
	if err != nil {
		fmt.Fprintf(&b, "%v\n", err)
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			fmt.Fprintf(&b, "hint: %s\n", h.Hint())
		}
		return strings.ReplaceAll(b.String(), app.Dir, "DIR")
	}
	for _, w := range watchers {
		fmt.Fprintf(&b, "watcher %s\n", w.Name)
		for _, arg := range w.Cmd {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(arg, loader, "LOADER"))
		}
		renderFields(&b, w, schema.DefaultWatcher(w.Name))
	}
	for _, s := range sockets {
		fmt.Fprintf(&b, "socket %s\n", s.Name)
		renderFields(&b, s, schema.DefaultSocket(s.Name))
	}
	return strings.ReplaceAll(b.String(), app.Dir, "DIR")
}

func renderFields(b *strings.Builder, got, base any) {
	v, d := reflect.ValueOf(got), reflect.ValueOf(base)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "Cmd" || f.Name == "Pos" || f.Name == "CmdPos" {
			continue
		}
		if x := v.Field(i).Interface(); !reflect.DeepEqual(x, d.Field(i).Interface()) {
			if env, ok := x.([]schema.EnvVar); ok {
				for _, e := range env {
					fmt.Fprintf(b, "    Env %s=%s\n", e.Name, e.Value)
				}
				continue
			}
			fmt.Fprintf(b, "    %s %v\n", f.Name, x)
		}
	}
}

func TestBind(t *testing.T) {
	for _, c := range []struct{ spec, want string }{
		{"0.0.0.0:80", "0.0.0.0 80 "},
		{":8080", "0.0.0.0 8080 "},
		{"[::1]:0", "::1 0 "},
		{"localhost:8000", "localhost 8000 "},
		{"unix:app.sock", " 0 app.sock"},
		{"unix:", `"unix:" has no path`},
		{"8000", `"8000" is neither HOST:PORT nor unix:PATH`},
		{"a:b:c", `"a:b:c" is neither HOST:PORT nor unix:PATH`},
		{"a:http", `"a:http": "http" is no port`},
		{"a:65536", `"a:65536": "65536" is no port`},
	} {
		got, err := Bind([]schema.Socket{{Name: "other"}, {Name: "APP", Port: 1, Backlog: 7}}, c.spec)
		if err != nil {
			if err.Error() != c.want {
				t.Errorf("Bind(%q): %v, want %s", c.spec, err, c.want)
			}
			continue
		}
		s := got[1]
		if have := fmt.Sprintf("%s %d %s", s.Host, s.Port, s.Path); have != c.want || s.Backlog != 7 || len(got) != 2 {
			t.Errorf("Bind(%q) = %v, want %s", c.spec, got, c.want)
		}
	}
	if got, err := Bind(nil, "h:1"); err != nil || len(got) != 1 || got[0].Name != "app" || got[0].Backlog != 2048 {
		t.Errorf("Bind(nil) = %v, %v", got, err)
	}
}
