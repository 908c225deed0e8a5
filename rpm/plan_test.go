package rpm

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/schema"
)

var update = flag.Bool("update", false, "rewrite the wanted texts of testdata")

// planApp is the app of most tests.
func planApp(t *testing.T) *bundle.App {
	t.Helper()
	return planAppOf(t, "3.11", "1.0.post2")
}

// planAppOf writes a directory with an environment of two distributions, of which
// one needs the other, util, at a version, and loads it.
func planAppOf(t *testing.T, python, util string) *bundle.App {
	t.Helper()
	tag := "cp" + strings.ReplaceAll(python, ".", "")
	dir := filepath.Join(t.TempDir(), "shop")
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	put("dependencies.txt", "web\n", 0o644)
	put("external-dependencies.txt", "", 0o644)
	put("app.ini", "[app]\nname = shop\nversion = 1.2.0-rc.1\ndescription = A shop 100% ours.\nlicense = MIT\n[package]\nsandbox = strict\nrelease = 3\n", 0o644)
	put("bin/app", "#!/bin/sh\n", 0o755)
	lock := "lock-version = \"1.0\"\ncreated-by = \"appbundle\"\n"
	env := &schema.Environment{Format: schema.EnvironmentFormat, Python: tag, Platform: "linux_x86_64"}
	for _, d := range [][3]string{{"util", util, ""}, {"web", "1!2.0rc1", "dependencies = [{ name = \"util\" }]\n"}} {
		file := d[0] + "-" + d[1] + "-py3-none-any.whl"
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(file)))
		lock += fmt.Sprintf("[[packages]]\nname = %q\nversion = %q\n%swheels = [{ name = %q, url = \"https://index.test/%s\", hashes = { sha256 = %q } }]\n", d[0], d[1], d[2], file, file, sum)
		env.Packages = append(env.Packages, schema.InstalledPackage{Name: d[0], Version: d[1], File: file, SHA256: sum})
		site := ".appbundle/env/lib/python" + python + "/site-packages/"
		info := site + d[0] + "-" + d[1] + ".dist-info/"
		put(site+d[0]+"/__init__.py", "", 0o644)
		code := d[0] + "/__pycache__/__init__." + strings.Replace(tag, "cp", "cpython-", 1) + ".pyc"
		put(site+code, "byte code", 0o444)
		put(info+"licenses/LICENSE", "MIT", 0o644)
		put(".appbundle/env/bin/"+d[0], "#!/bin/sh\n", 0o755)
		hash := func(text string) string {
			h := sha256.Sum256([]byte(text))
			return "sha256=" + base64.RawURLEncoding.EncodeToString(h[:])
		}
		put(info+"RECORD", fmt.Sprintf("%[1]s/__init__.py,%[3]s,0\n%[6]s,,\n%[2]s/licenses/LICENSE,%[4]s,3\n../../../bin/%[1]s,%[5]s,10\n%[2]s/RECORD,,\n",
			d[0], filepath.Base(strings.TrimSuffix(info, "/")), hash(""), hash("MIT"), hash("#!/bin/sh\n"), code), 0o644)
	}
	stamp, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(".appbundle/env/installed.json", string(stamp), 0o644)
	put(".appbundle/env/pyvenv.cfg", "implementation = CPython\n", 0o644)
	put("pylock.toml", lock, 0o644)
	app, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found := bundle.Check(app); bundle.HasErrors(found) {
		t.Fatalf("the app of the test has %v", found)
	}
	return app
}

// TestPlan compares every file, relation and script of each plan with testdata.
func TestPlan(t *testing.T) {
	app := planApp(t)
	dists, err := install.Dists(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{RPM, Deb} {
		for _, kind := range []string{"", "-collection", "-system"} {
			name := string(f) + kind
			in := Input{Collection: kind != ""}
			if kind == "-system" {
				in.Layout = System
			}
			t.Run(name, func(t *testing.T) {
				in.App, in.Dists, in.External = app, dists, []Relation{{Name: "git"}}
				in.Compiled = []install.Compiled{{Path: "bin/__pycache__/x.cpython-311.pyc", Data: []byte("code")}}
				packages, warnings, err := Plan(f, in)
				if err != nil || len(warnings) > 0 != (in.Layout == System) {
					t.Fatalf("Plan: %v, %q", err, warnings)
				}
				var b strings.Builder
				for _, p := range packages {
					dump(t, &b, p)
				}
				golden := "testdata/plan-" + name + ".txt"
				if *update {
					if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if b.String() != string(want) {
					t.Errorf("%s: run with -update and review the diff; got\n%s", golden, b.String())
				}
				for _, p := range packages {
					if _, err := Write(context.Background(), filepath.Join(t.TempDir(), p.FileName()), p, Options{}); err != nil {
						t.Errorf("%s: %v", p.FileName(), err)
					}
				}
			})
		}
	}
}

// TestPlanUser has a user that the host has already: none is made, and everything is its.
func TestPlanUser(t *testing.T) {
	app := planApp(t)
	app.Config.Package.User, app.Config.Package.Group = "www", "web"
	packages, _, err := Plan(RPM, Input{App: app})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	dump(t, &b, packages[len(packages)-1])
	for _, want := range []string{"\tUser=www\n\tGroup=web\n", "\td /var/lib/shop 0750 www web -\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "/usr/lib/sysusers.d/shop.conf \n") {
		t.Errorf("the user is made:\n%s", &b)
	}
}

// content reads what a file of a plan has.
func content(t *testing.T, f File) string {
	t.Helper()
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dump writes what a package is to be as text, and the content of what the plan
// wrote itself.
func dump(t *testing.T, b *strings.Builder, p *Package) {
	t.Helper()
	fmt.Fprintf(b, "== %s\nsummary %s\nlicense %s\n", p.FileName(), p.Summary, p.License)
	for _, list := range []struct {
		name string
		all  []Relation
	}{{"requires", p.Requires}, {"provides", p.Provides}, {"conflicts", p.Conflicts}, {"replaces", p.Replaces}} {
		for _, r := range list.all {
			fmt.Fprintf(b, "%s %s\n", list.name, r)
		}
	}
	for _, f := range p.Files {
		fmt.Fprintf(b, "%v %04o %s %s\n", f.Kind, f.Mode, f.Path, f.Link)
		if written := strings.HasPrefix(f.Path, "/usr/") || strings.HasPrefix(f.Path, "/etc/"); written && f.Open != nil && path.Ext(f.Path) != ".pyc" && path.Ext(f.Path) != ".gz" {
			for line := range strings.Lines(content(t, f)) {
				fmt.Fprintf(b, "\t%s", line)
			}
		}
	}
	for _, s := range [][2]string{{"post-install", p.Scripts.PostInstall}, {"pre-remove", p.Scripts.PreRemove}, {"post-remove", p.Scripts.PostRemove}, {"post-transaction", p.Scripts.PostTransaction}} {
		if s[1] != "" {
			fmt.Fprintf(b, "%s\n", s[0])
		}
		for line := range strings.Lines(s[1]) {
			fmt.Fprintf(b, "\t%s", line)
		}
	}
}

// TestPlanUnit has in its unit what app.ini asks of the host: patience, and a port
// below 1024.
func TestPlanUnit(t *testing.T) {
	app := planApp(t)
	slow := schema.DefaultWatcher("slow")
	slow.GracefulTimeout = 90500 * time.Millisecond
	for _, tt := range []struct {
		port    int
		sandbox string
		want    []string
		not     string
	}{
		{8080, "strict", []string{"TimeoutStopSec=121\n", "CapabilityBoundingSet=\n"}, "AmbientCapabilities"},
		{80, "strict", []string{"CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"}, "CapabilityBoundingSet=\n"},
		{443, "none", []string{"AmbientCapabilities=CAP_NET_BIND_SERVICE\n"}, "CapabilityBoundingSet"},
	} {
		app.Config.Watchers, app.Config.Sockets = []schema.Watcher{slow}, []schema.Socket{{Name: "web", Port: tt.port}}
		app.Config.Package.Sandbox = tt.sandbox
		packages, _, err := Plan(RPM, Input{App: app})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range packages[0].Files {
			if f.Path != "/usr/lib/systemd/system/shop.service" {
				continue
			}
			unit := content(t, f)
			for _, want := range tt.want {
				if !strings.Contains(unit, want) {
					t.Errorf("port %d, %s: %q is not in\n%s", tt.port, tt.sandbox, want, unit)
				}
			}
			if strings.Contains(unit, tt.not) {
				t.Errorf("port %d, %s: %q is in\n%s", tt.port, tt.sandbox, tt.not, unit)
			}
		}
	}
}

// TestPlanSaysWhereThePythonIs has an environment of a Python that demands it: what the
// directory says of this host is not packed.
func TestPlanSaysWhereThePythonIs(t *testing.T) {
	app := planApp(t)
	cfg := filepath.Join(app.Dir, install.EnvDir, "pyvenv.cfg")
	if err := os.WriteFile(cfg, []byte("home = /root/pythons/bin\nimplementation = CPython\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	app, err := bundle.Load(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	packages, _, err := Plan(RPM, Input{App: app})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range packages[0].Files {
		if f.Path == "/opt/shop/.appbundle/env/pyvenv.cfg" {
			if got, want := content(t, f), "home = /usr/bin\n"; !strings.HasPrefix(got, want) {
				t.Errorf("pyvenv.cfg has %q, want %q first", got, want)
			}
			return
		}
	}
	t.Error("there is no pyvenv.cfg")
}
