package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra/doc"
)

// docs/man has a page for every command, made of its help, and nothing else; the
// formatter has nothing to say against one.
func TestManPages(t *testing.T) {
	const dir = "../../docs/man"
	made := t.TempDir()
	root := documentedRoot()
	root.DisableAutoGenTag = true // it has the date
	epoch := time.Unix(0, 0)
	header := &doc.GenManHeader{Section: "1", Source: "appbundle", Manual: "appbundle", Date: &epoch}
	if err := doc.GenManTree(root, header, made); err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, path := range glob(t, made+"/*") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(path)] = strings.Replace(string(text), ` "Jan 1970" `, ` "" `, 1)
	}
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for name, text := range pages {
			write(t, dir, name, text, 0o644)
		}
	}
	for _, path := range glob(t, dir+"/*") {
		text, err := os.ReadFile(path)
		name := filepath.Base(path)
		if err != nil || string(text) != pages[name] {
			t.Errorf("%s is not what the command says of itself; run make golden (%v)", path, err)
		}
		delete(pages, name)
		var complaints bytes.Buffer
		groff := exec.Command("groff", "-man", "-ww", "-z", "-Tutf8", path)
		groff.Stderr = &complaints
		if err := groff.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("groff %s: %v\n%s", path, err, &complaints)
		}
	}
	for name := range pages {
		t.Errorf("%s/%s is missing; run make golden", dir, name)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}
