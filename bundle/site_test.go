package bundle

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"appbundle/schema"
)

// TestSystemSite has an environment without packages, which says where in the system
// they are: versions come from there, and programs from PATH.
func TestSystemSite(t *testing.T) {
	dir, site := t.TempDir(), t.TempDir()
	stamp, err := (&schema.Environment{Format: 1, Python: "cp311", Platform: "linux_x86_64", Site: []string{site}}).Encode()
	must(t, err)
	for name, text := range map[string]string{
		"dependencies.txt": "uwsgi\n", "external-dependencies.txt": "", "bin/app.py": "application = None\n",
		envFile: string(stamp), envDir + "/bin/python": "", envDir + "/lib/python3.11/site-packages/gunicorn-1.dist-info/METADATA": "",
	} {
		at := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		must(t, os.WriteFile(at, []byte(text), 0o755))
	}
	must(t, os.Mkdir(filepath.Join(site, "uWSGI-2.0.28.dist-info"), 0o755))
	app, err := Survey(dir, nil)
	must(t, err)
	env := app.Envs[0]
	if len(env.Dists) != 1 || env.Dists["uwsgi"] != "2.0.28" || !slices.Equal(env.Site, []string{site}) {
		t.Errorf("the environment has %v in %q", env.Dists, env.Site)
	}
	l, err := app.Launch(nil)
	must(t, err)
	if l.argv[0] != "uwsgi" || slices.Contains(l.argv, "-H") {
		t.Errorf("it runs %q", l.argv)
	}
}
