package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sumsApp computes with compiled code: that of numpy and pandas, with the libraries
// that their wheels carry.
const sumsApp = `import numpy, pandas
def application(env, start):
    start("200 OK", [("Content-Type", "text/plain")])
    roots = numpy.linalg.solve(numpy.array([[2.0, 0], [0, 4]]), [2, 8])
    return [b"sum %d" % pandas.Series(roots).sum()]
`

// radicaleApp serves Radicale, with its data in the state directory.
const radicaleApp = `import os
from radicale import config
from radicale.app import Application

configuration = config.load()
configuration.update({"storage": {"filesystem_folder": os.environ["APPBUNDLE_STATE_DIR"]}}, "app", privileged=True)
application = Application(configuration)
`

// testWheels installs real projects, each as one package and as a collection.
func testWheels(t *testing.T, k *kit) {
	root, repo := t.TempDir(), filepath.Join(t.TempDir(), "repo")
	tests := []struct{ name, dependencies, script, want string }{
		{"calendar", "Radicale\ngunicorn\n", radicaleApp, "<title>Radicale Web Interface</title>"},
		{"sums", "numpy\npandas\ngunicorn\n", sumsApp, "sum 3"},
	}
	var names []string
	for _, tt := range tests {
		ini := "[app]\nversion = 1.0.0\nname = " + tt.name
		app := k.app(t, tt.name, ini+"\n", tt.dependencies, tt.script)
		output(t, k.work, k.tool, "build", "--rpm", "-o", repo+"/", app)
		write(t, app, "app.ini", ini+"-parts\n", 0o644)
		output(t, k.work, k.tool, "build", "--rpm", "--collection", "-o", repo, app)
		names = append(names, tt.name, tt.name+"-parts")
	}
	requireNothingVendored(t, repo, filepath.Join(k.work, "sums"))
	if said, err := k.dnf(t, repo, root, append([]string{"install"}, names...)...); err != nil {
		t.Fatalf("dnf install: %v\n%s", err, said)
	}
	for _, tt := range tests {
		for _, name := range []string{tt.name, tt.name + "-parts"} {
			if got := serve(t, root, name); !strings.Contains(got, tt.want) {
				t.Errorf("GET / of %s = %.200q, want %q", name, got, tt.want)
			}
		}
	}
	if said := verify(t, root, "-a", "--nouser", "--nogroup"); strings.Contains(said, "/opt/") {
		t.Errorf("rpm -V after they ran:\n%s", said)
	}
}

// requireNothingVendored looks for the libraries that wheels carry in what packages
// require and provide: they are found beside who needs them, and are nobody else's.
func requireNothingVendored(t *testing.T, repo, app string) {
	t.Helper()
	vendored, err := filepath.Glob(app + "/.appbundle/env/lib/python3.11/site-packages/*.libs/*.so*")
	if err != nil || len(vendored) == 0 {
		t.Fatalf("no wheel carries a library: %v", err)
	}
	packages, err := filepath.Glob(repo + "/sums*.rpm")
	if err != nil || len(packages) < 6 {
		t.Fatalf("%q, %v", packages, err)
	}
	for _, p := range packages {
		said, err := exec.Command("rpm", "-qp", "--requires", "--provides", p).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range vendored {
			if strings.Contains(string(said), filepath.Base(at)) {
				t.Errorf("%s requires or provides %s:\n%s", filepath.Base(p), filepath.Base(at), said)
			}
		}
		if strings.Contains(filepath.Base(p), "numpy") && !strings.Contains(string(said), "libc.so.6(GLIBC_2.17)(64bit)\n") {
			t.Errorf("%s does not require the library of the system:\n%s", filepath.Base(p), said)
		}
	}
}
