package bundle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFileSizeLimit builds and unpacks under a limit of the size of files,
// which ends writes in the middle as a full disk does, for one limit after the
// other until both succeed. Every user can run it.
func TestFileSizeLimit(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	richApp(t, dir)
	archive := ""
	for n := 0; ; n = n*2 + 1 {
		out := t.TempDir()
		if err := child("build", dir, out, n); err == nil {
			archive = filepath.Join(out, "shop-1.0.0-any.tar.zst")
			break
		} else if !strings.Contains(err.Error(), "file too large") {
			t.Fatalf("build with %d bytes: %v", n, err)
		}
		onlyThere(t, out)
	}
	for n := 0; ; n = n*2 + 1 {
		out := t.TempDir()
		err := child("unpack", archive, out+"/x", n)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "file too large") {
			t.Fatalf("unpack with %d bytes: %v", n, err)
		}
		onlyThere(t, out)
	}
}

// child runs one of the functions of TestMain.
func child(what, dir, out string, limit int) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"BUNDLE_TEST_CHILD=" + what, "BUNDLE_TEST_DIR=" + dir, "BUNDLE_TEST_OUT=" + out, fmt.Sprintf("BUNDLE_TEST_FSIZE=%d", limit)}
	text, err := cmd.CombinedOutput()
	if err != nil {
		return errors.New(string(text))
	}
	return nil
}

// TestFullDisk builds and unpacks on a tmpfs that is too small, for one size
// after the other until both succeed. Only root can mount one; what another
// user can see of a full disk is in TestFileSizeLimit.
func TestFullDisk(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "shop")
	richApp(t, dir)
	app, err := Load(dir)
	must(t, err)
	res, err := Build(t.Context(), app, BuildOptions{Output: base})
	must(t, err)
	disk := filepath.Join(base, "disk")
	must(t, os.Mkdir(disk, 0o755))
	err = syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4k")
	if errors.Is(err, syscall.EPERM) {
		return
	}
	must(t, err)
	defer func() { must(t, syscall.Unmount(disk, 0)) }()
	works := map[string]func() (made string, err error){
		"build": func() (string, error) {
			res, err := Build(t.Context(), app, BuildOptions{Output: disk})
			if err != nil {
				return "", err
			}
			return res.Path, nil
		},
		"unpack": func() (string, error) {
			return disk + "/x", Unpack(t.Context(), res.Path, disk+"/x", UnpackOptions{})
		},
	}
	for name, work := range works {
		for kib := 4; ; kib *= 2 {
			must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", kib)))
			made, err := work()
			if err == nil {
				must(t, os.RemoveAll(made))
				break
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("%s with %d KiB: %v", name, kib, err)
			}
			onlyThere(t, disk)
		}
		must(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=4k"))
	}
}
