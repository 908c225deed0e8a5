package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testUnits lets systemd look at what packages of each sandbox install: it verifies
// the unit, and makes the user and the state.
func testUnits(t *testing.T, k *kit) {
	root := t.TempDir()
	write(t, root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
	write(t, root, "etc/group", "root:x:0:\n", 0o644)
	write(t, root, "bin/sh", "#!/bin/sh\n", 0o755)
	write(t, root, "usr/bin/appbundle", "#!/bin/sh\n", 0o755)
	if err := os.MkdirAll(root+"/usr/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, root, "cp", "-R", "--no-preserve=ownership", "/usr/lib/systemd/system", root+"/usr/lib/systemd-of-the-host")
	repo := filepath.Join(k.work, "units")
	sandboxes := []string{"none", "default", "strict"} // each keeps more than the one before
	for _, sandbox := range sandboxes {
		app := filepath.Join(k.work, "unit-"+sandbox)
		write(t, app, "dependencies.txt", "", 0o644)
		write(t, app, "external-dependencies.txt", "", 0o644)
		write(t, app, "bin/app", "#!/bin/sh\n", 0o755)
		write(t, app, "app.ini", "[app]\nname = unit-"+sandbox+"\nversion = 1.0.0\ndescription = Sells 100% of %n \"things\"\n[package]\nsandbox = "+sandbox+"\n", 0o644)
		output(t, k.work, k.tool, "build", "--rpm", "-o", repo+"/", app)
		output(t, root, "sh", "-c", `rpm2cpio "$1" | cpio --quiet -idm`, "sh", globOne(t, repo+"/unit-"+sandbox+"-1.0.0-1.noarch.rpm"))
	}
	output(t, root, "sh", "-c", "cp -R usr/lib/systemd-of-the-host/. usr/lib/systemd/system && mkdir -p etc/systemd/system")

	exposed := regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d+)`)
	last := 10.1
	for _, sandbox := range sandboxes {
		unit := "unit-" + sandbox + ".service"
		said, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "--root="+root, unit).CombinedOutput()
		if err != nil || len(said) > 0 {
			t.Errorf("systemd-analyze verify %s: %v: %s", unit, err, said)
		}
		said, err = exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", "--root="+root, unit).CombinedOutput()
		m := exposed.FindSubmatch(said)
		if err != nil || m == nil {
			t.Fatalf("systemd-analyze security %s: %v: %s", unit, err, said)
		}
		level, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil || level >= last {
			t.Errorf("%s is exposed at %v, and the sandbox before at %v, %v", unit, level, last, err)
		}
		last = level
		t.Logf("%s: %v", unit, level)
	}

	made := asRoot("sh", "-c", `systemd-sysusers --root="$1"; systemd-tmpfiles --create --root="$1"`, "sh", root)
	said, err := exec.Command(made[0], made[1:]...).CombinedOutput()
	if err != nil && os.Getuid() == 0 { // a namespace with one user cannot give a directory to another
		t.Errorf("%v: %s", err, said)
	}
	passwd, err := os.ReadFile(root + "/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, sandbox := range sandboxes {
		name := "unit-" + sandbox
		if !strings.Contains(string(passwd), ":Application "+name+":/var/lib/"+name+":/usr/sbin/nologin\n") {
			t.Errorf("there is no user %s: %s\n%s", name, passwd, said)
		}
		if info, err := os.Stat(root + "/var/lib/" + name); err != nil || !info.IsDir() {
			t.Errorf("the state of %s: %v", name, err)
		} else if owner := output(t, root, "stat", "-c", "%u %a", root+"/var/lib/"+name); os.Getuid() == 0 && !strings.Contains(string(passwd), name+":x:"+strings.TrimSuffix(owner, " 750\n")+":") {
			t.Errorf("the state of %s belongs to %s, and the users are\n%s", name, owner, passwd)
		}
	}
}
