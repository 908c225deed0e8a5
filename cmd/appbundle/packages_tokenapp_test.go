package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"appbundle/rpm"
)

// testTokenApp builds examples/token-app into an RPM, has dnf install it into an empty
// root, and runs it there: the server with secrets that an operator made, and the demo,
// whose line for curl gives a token.
func testTokenApp(t *testing.T, k *kit) {
	tree := filepath.Join(k.work, "token-app-tree")
	for _, part := range []string{"powerhose", "internal", "examples/token-app"} {
		copyTree(t, "../../"+part, filepath.Join(tree, part))
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		copyFile(t, "../../"+file, filepath.Join(tree, file))
	}
	if err := os.RemoveAll(filepath.Join(tree, "examples/token-app/bin")); err != nil { // of make run
		t.Fatal(err)
	}
	repo := k.build(t, filepath.Join(tree, "examples/token-app"), "--rpm")
	certificates := &rpm.Package{
		Format: rpm.RPM, Name: "ca-certificates", EVR: rpm.EVR{Version: "1", Release: "1"}, Arch: "noarch",
		Summary: "nobody", Description: "Nobody.", License: "unknown", Maintainer: "test <test@localhost>", Time: time.Unix(0, 0),
	}
	if _, err := rpm.Write(t.Context(), filepath.Join(repo, certificates.FileName()), certificates, rpm.Options{}); err != nil {
		t.Fatal(err)
	}
	indexRepo(t, repo)
	root := t.TempDir()
	if said, err := k.dnf(t, repo, root, "install", "token-app"); err != nil {
		t.Fatalf("dnf install: %v\n%s", err, said)
	}
	for _, name := range []string{"master", "metrics"} {
		write(t, root, "run/s/data/secrets/"+name, fmt.Sprintf("%x\n", rand.Text()), 0o600)
	}
	if got := serve(t, root, "token-app"); !strings.Contains(got, `"services":{"sync":["1.5"]}`) {
		t.Errorf("GET / = %s", got)
	}

	said, end := runInRoot(t, root, "a token by curl: ", "--config", "/opt/token-app/demo.ini", "--bind", "127.0.0.1:0", "--run-dir", "/run/d", "--state-dir", "/run/t", "/opt/token-app")
	defer end()
	line := regexp.MustCompile(`a token by curl: +(curl .*)`).FindStringSubmatch(said.text())
	if line == nil {
		t.Fatalf("the demo prints no curl line:\n%s", said.text())
	}
	out, err := exec.Command("sh", "-c", line[1]).Output()
	var given struct{ ID, Key string }
	if err != nil || json.Unmarshal(out, &given) != nil || given.ID == "" || given.Key == "" {
		t.Errorf("%s\n%s (%v)", line[1], out, err)
	}
	if said := verify(t, root, "token-app"); said != "" {
		t.Errorf("rpm -V after it ran:\n%s", said)
	}
}
