package rpm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/bundle"
	"appbundle/schema"
)

// TestScripts runs the scripts as package managers call them, on a host where systemd
// runs and in an image of one, and compares what systemctl is told.
func TestScripts(t *testing.T) {
	for _, tt := range []struct {
		format  Format
		script  string // of which step
		args    string
		after   string // the argument of the script after installation, which ran before
		rolling bool
		idle    bool // the unit is not active
		image   bool // systemd is there and does not run
		want    string
	}{
		{format: RPM, script: "postinstall", args: "1", want: "--no-reload preset shop.service; daemon-reload"},
		{format: RPM, script: "postinstall", args: "2", want: "daemon-reload"},
		{format: RPM, script: "preremove", args: "1", want: ""},
		{format: RPM, script: "preremove", args: "0", want: "disable --now shop.service"},
		{format: RPM, script: "postremove", args: "0", want: "daemon-reload"},
		{format: RPM, script: "postremove", args: "1", want: "daemon-reload"},
		{format: RPM, script: "posttransaction", after: "1", want: ""},
		{format: RPM, script: "posttransaction", after: "2", want: "daemon-reload; try-restart shop.service"},
		{format: RPM, script: "posttransaction", after: "3", args: "0", want: "daemon-reload; try-restart shop.service"},
		{format: RPM, script: "posttransaction", after: "2", image: true, want: ""},
		{format: RPM, script: "posttransaction", after: "2", rolling: true, want: "daemon-reload; is-active --quiet shop.service; kill --kill-who=main --signal=USR2 shop.service"},
		{format: RPM, script: "posttransaction", after: "2", rolling: true, idle: true, want: "daemon-reload; is-active --quiet shop.service"},
		{format: RPM, script: "postinstall", args: "1", image: true, want: "--no-reload preset shop.service"},
		{format: RPM, script: "preremove", args: "0", image: true, want: "--no-reload disable shop.service"},
		{format: RPM, script: "postremove", args: "1", image: true, want: ""},
		{format: Deb, script: "postinstall", args: "configure", image: true, want: "--no-reload preset shop.service"},
		{format: Deb, script: "postinstall", args: "configure 1.0-1", image: true, want: ""},
		{format: Deb, script: "preremove", args: "remove", image: true, want: "--no-reload disable shop.service"},
		{format: Deb, script: "postinstall", args: "configure", want: "daemon-reload; --no-reload preset shop.service"},
		{format: Deb, script: "postinstall", args: "configure 1.0-1", want: "daemon-reload; try-restart shop.service"},
		{format: Deb, script: "postinstall", args: "configure 1.0-1", rolling: true, want: "daemon-reload; is-active --quiet shop.service; kill --kill-who=main --signal=USR2 shop.service"},
		{format: Deb, script: "postinstall", args: "configure 1.0-1", rolling: true, idle: true, want: "daemon-reload; is-active --quiet shop.service"},
		{format: Deb, script: "postinstall", args: "abort-upgrade", want: ""},
		{format: Deb, script: "preremove", args: "upgrade 1.1-1", want: ""},
		{format: Deb, script: "preremove", args: "remove", want: "disable --now shop.service"},
		{format: Deb, script: "postremove", args: "remove", want: "daemon-reload"},
	} {
		p := &planner{format: tt.format, app: &bundle.App{Name: "shop", Config: &schema.Config{}}}
		p.app.Config.Package.Rolling = tt.rolling
		s := p.scripts()
		text := map[string]string{"postinstall": s.PostInstall, "preremove": s.PreRemove, "postremove": s.PostRemove, "posttransaction": s.PostTransaction}[tt.script]
		dir := t.TempDir()
		if tt.after != "" {
			callsOf(t, dir, s.PostInstall, []string{tt.after}, tt.idle, tt.image)
		}
		if got := callsOf(t, dir, text, strings.Fields(tt.args), tt.idle, tt.image); got != tt.want {
			t.Errorf("%+v: systemctl gets %q", tt, got)
		}
		if left, err := filepath.Glob(dir + "/run/*"); err != nil || len(left) > 0 && tt.script == "posttransaction" {
			t.Errorf("%+v: %q is left, %v", tt, left, err)
		}
	}
}

// callsOf runs a script that has to succeed, with a systemctl that writes what it
// is told. In dir is what the script has of the host.
func callsOf(t *testing.T, dir, script string, args []string, idle, image bool) string {
	t.Helper()
	rm, err := exec.LookPath("rm")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/run", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(rm, dir+"/rm"); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	if err := os.Remove(dir + "/calls"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	status := "0"
	if idle {
		status = "3"
	}
	fake := "#!/bin/sh\nprintf '%s; ' \"$*\" >>" + dir + "/calls\ntest \"$1\" != is-active || exit " + status + "\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	const booted = "test -d /run/systemd/system" // sd_booted(3)
	if !strings.Contains(script, booted) {
		t.Fatalf("the script does not ask whether systemd runs:\n%s", script)
	}
	runs := "true"
	if image {
		runs = "false"
	}
	script = strings.NewReplacer(booted, runs, "/run/appbundle-", dir+"/run/appbundle-").Replace(script)
	cmd := exec.Command("/bin/sh", append([]string{"-e", "-c", script, "script"}, args...)...)
	cmd.Env = []string{"PATH=" + dir + ":/nonexistent"}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, said, script)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(calls), "; ")
}
