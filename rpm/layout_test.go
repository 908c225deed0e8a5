package rpm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/schema"
)

// withFiles adds files to the distribution web of the app of planApp.
func withFiles(t *testing.T, app *bundle.App, files map[string]string) *bundle.App {
	t.Helper()
	site := filepath.Join(app.Dir, install.EnvDir, "lib/python3.11/site-packages")
	record, err := os.OpenFile(filepath.Join(site, "web-1!2.0rc1.dist-info/RECORD"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		at := filepath.Join(site, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := record.WriteString(name + ",,\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := record.Close(); err != nil {
		t.Fatal(err)
	}
	app, err = bundle.Load(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// scriptOfEnv begins as the scripts of an environment do.
const scriptOfEnv = "#!/bin/sh\n" + `'''true' && at=$(realpath "$0") && exec "${at%/*}/python" "$0" "$@"; exit 127 # '''` + "\nimport sys\n"

// elfProgram is native code of this machine, whichever it is.
func elfProgram(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestSystemLayout puts each kind of file that a distribution may bring where the
// system has it, and leaves out what the package manager knows better.
func TestSystemLayout(t *testing.T) {
	app := withFiles(t, planApp(t), map[string]string{
		"web/fast.so":                              elfProgram(t),
		"web-1!2.0rc1.dist-info/INSTALLER":         "appbundle\n",
		"web-1!2.0rc1.dist-info/REQUESTED":         "",
		"web-1!2.0rc1.dist-info/direct_url.json":   "{}",
		"../../../include/site/python3.11/web/w.h": "int w;\n",
		"../../../share/man/man1/web.1":            ".TH\n",
		"../../../bin/webctl":                      scriptOfEnv,
	})
	dists, err := install.Dists(app.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for f, site := range map[Format]string{RPM: "/usr/lib64/python3.11/site-packages", Deb: "/usr/lib/python3/dist-packages"} {
		packages, _, err := Plan(f, Input{App: app, Dists: dists, Collection: true, Layout: System})
		if err != nil {
			t.Fatal(err)
		}
		web, shop := packages[1], packages[2]
		for _, want := range []string{site + "/web/fast.so", site + "/web/__init__.py", site + "/web-1!2.0rc1.dist-info/licenses/LICENSE",
			"/usr/include/python3.11/web/w.h", "/usr/share/man/man1/web.1", "/usr/bin/webctl", "/usr/bin/web"} {
			if fileOf(web, want) == nil {
				t.Errorf("%s: %s has no %s", f, web.Name, want)
			}
		}
		for _, file := range web.Files {
			if name := filepath.Base(file.Path); slices.Contains([]string{"RECORD", "REQUESTED", "direct_url.json"}, name) || strings.HasPrefix(file.Path, "/opt") {
				t.Errorf("%s: %s has %s", f, web.Name, file.Path)
			}
		}
		for _, dir := range []string{"/usr", "/usr/bin", "/usr/share", filepath.Dir(site), site} {
			if fileOf(web, dir) != nil {
				t.Errorf("%s: %s has the directory %s of others", f, web.Name, dir)
			}
		}
		if got, want := content(t, *fileOf(web, site+"/web-1!2.0rc1.dist-info/INSTALLER")), map[Format]string{RPM: "rpm\n", Deb: "dpkg\n"}[f]; got != want {
			t.Errorf("%s: INSTALLER is %q, want %q", f, got, want)
		}
		if got := content(t, *fileOf(web, "/usr/bin/webctl")); !strings.HasPrefix(got, "#!/usr/bin/python3.11\nimport sys\n") {
			t.Errorf("%s: the script is\n%s", f, got)
		}
		env := "/opt/shop/" + install.EnvDir
		stamp, problems := schema.ParseEnvironment("e", []byte(content(t, *fileOf(shop, env+"/installed.json"))))
		if len(problems) > 0 || !slices.Contains(stamp.Site, site) || len(stamp.Packages) != 2 {
			t.Errorf("%s: installed.json: %v, %+v", f, problems, stamp)
		}
		if got := content(t, *fileOf(shop, env+"/pyvenv.cfg")); !strings.Contains(got, "include-system-site-packages = true\n") {
			t.Errorf("%s: pyvenv.cfg is %q", f, got)
		}
		if f == RPM && (web.Arch == "noarch" || packages[0].Arch != "noarch" || shop.Arch != "noarch") {
			t.Errorf("the architectures are %s, %s and %s", packages[0].Arch, web.Arch, shop.Arch)
		}
	}
	if _, _, err := Plan(RPM, Input{App: app, Dists: dists, Layout: System}); !errors.Is(err, ErrWhole) {
		t.Errorf("one package in the layout of the system: %v", err)
	}
}

func fileOf(p *Package, at string) *File {
	i := slices.IndexFunc(p.Files, func(f File) bool { return f.Path == at })
	if i < 0 {
		return nil
	}
	return &p.Files[i]
}

// TestDistVersion has what rpm's own generator made of the same versions.
func TestDistVersion(t *testing.T) {
	for version, want := range map[string]string{
		"2.2.0": "2.2", "1.0": "1", "0.0": "0", "10.0": "10", "1.0.post1": "1^post1", "1.0rc1": "1~rc1", "1.0.dev2": "1~~dev2", "1.0+local": "1", "1!2.0": "1:2",
	} {
		if got, err := distVersion(version); got != want || err != nil {
			t.Errorf("distVersion(%q) = %q, %v, want %q", version, got, err, want)
		}
	}
}
