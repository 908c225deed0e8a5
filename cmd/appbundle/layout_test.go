package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemLayout unpacks a collection in the layout of the system, and runs the app
// with the Python of this machine, which sees the packages in its own directory: in
// a namespace where that is theirs.
func TestSystemLayout(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	app, repo, root := work+"/shop", work+"/repo", work+"/root"
	write(t, app, "dependencies.txt", "gunicorn==23.0.0\nmarkupsafe==3.0.2\n", 0o644)
	write(t, app, "external-dependencies.txt", "", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.0.0\n", 0o644)
	write(t, app, "bin/app.py", "import markupsafe\n\ndef application(environ, start):\n    start('200 OK', [])\n    return [markupsafe.__file__.encode()]\n", 0o644)
	output(t, work, "appbundle", "lock", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "install", "--python", "/usr/bin/python3.11", app)
	output(t, work, "appbundle", "build", "--deb", "--collection", "--layout", "system", "-o", repo, app)
	debs, err := filepath.Glob(repo + "/*.deb")
	if err != nil || len(debs) != 4 {
		t.Fatalf("%q, %v", debs, err)
	}
	for _, deb := range debs {
		output(t, work, "dpkg-deb", "-x", deb, root)
	}

	inside := func(command string) *exec.Cmd {
		line := asRoot("sh", "-ec", fmt.Sprintf("mount -t proc proc /proc\nmount --bind %[1]s/opt /opt\nmount --bind %[1]s/usr/lib/python3/dist-packages /usr/lib/python3/dist-packages\n%[2]s", root, command))
		return exec.CommandContext(t.Context(), line[0], line[1:]...)
	}
	if said, err := inside("exec " + root + "/usr/bin/gunicorn --version").CombinedOutput(); err != nil || !strings.Contains(string(said), "23.0.0") {
		t.Errorf("the script of gunicorn: %v\n%s", err, said)
	}
	run := fmt.Sprintf("exec appbundle run --bind unix:%[1]s/page.sock --run-dir %[1]s/run --state-dir %[1]s/state /opt/shop", work)
	cmd := inside(run)
	said := &lineWatcher{want: "serving on", found: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-said.found:
	case err := <-ended:
		t.Fatalf("run: %v\n%s", err, said.text())
	}
	page := output(t, work, "curl", "-sS", "--fail", "--unix-socket", work+"/page.sock", "http://app/")
	if err := cmd.Process.Kill(); err != nil { // of the namespace: all in it end with it
		t.Fatal(err)
	}
	<-ended
	if want := "/usr/lib/python3/dist-packages/markupsafe/__init__.py"; page != want {
		t.Errorf("GET / = %q, want %q", page, want)
	}

	// Another version than the locked one is not run with, and neither is none.
	site := root + "/usr/lib/python3/dist-packages"
	for _, change := range []struct{ to, want string }{
		{site + "/markupsafe-2.1.0.dist-info", "markupsafe 3.0.2 is not in /usr/lib/python3/dist-packages, which has 2.1.0\n"},
		{site + "/other-1.dist-info", "markupsafe 3.0.2 is not in /usr/lib/python3/dist-packages\n"},
	} {
		if err := os.Rename(globOne(t, site+"/[Mm]arkup[Ss]afe-*.dist-info"), change.to); err != nil {
			t.Fatal(err)
		}
		said, err := inside(run).CombinedOutput()
		if err == nil || !strings.Contains(string(said), change.want) || !strings.Contains(string(said), "hint: install python3-markupsafe of version 3.0.2 with the package manager") {
			t.Errorf("run: %v\n%s", err, said)
		}
	}

	// What has no packages of its own is not packed.
	packed, err := exec.Command("appbundle", "build", "-o", work+"/x.tar.zst", root+"/opt/shop").CombinedOutput()
	if err == nil || !strings.Contains(string(packed), "has its packages in the system") {
		t.Errorf("build: %v\n%s", err, packed)
	}
}
