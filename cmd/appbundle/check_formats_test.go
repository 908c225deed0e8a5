package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xeipuuv/gojsonschema"

	sarif "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// oddApp makes an app below dir with a warning in a file whose name needs quoting
// everywhere, an error on a line, and a finding that does not count.
func oddApp(t *testing.T, dir string) {
	t.Helper()
	app := filepath.Join(dir, "my shop")
	write(t, app, "dependencies.txt", "flask\n-e .\n", 0o644)
	write(t, app, "external-dependencies.txt", "", 0o644)
	write(t, app, "app.ini", "[app]\nname = shop\nversion = 1.0.0\ninterface = exec\n[check]\nAB013 = *.pem: it opens <nothing>\n", 0o644)
	write(t, app, "bin/app", "#!/bin/sh\n", 0o755)
	write(t, app, "test.pem", "-----BEGIN PRIVATE KEY-----\n", 0o644)
	write(t, app, "ab: 1,0% <ü>.sqlite3", "SQLite format 3\x00", 0o644)
}

// checkAs runs check in dir and gives what it answered.
func checkAs(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "appbundle", append([]string{"check", "--quiet"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), raceEnv)
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("check %v: %v", args, err)
	}
	return out
}

// The report in SARIF is what its official schema describes, to the last member,
// and names files as the repository does.
func TestCheckSARIF(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	oddApp(t, dir)
	text := checkAs(t, dir, "--format", "sarif", "my shop")
	valid, err := gojsonschema.Validate(gojsonschema.NewStringLoader(sarifSchema(t)), gojsonschema.NewBytesLoader(text))
	if err != nil || !valid.Valid() {
		t.Fatalf("%v %v\n%s", err, valid, text)
	}
	log, err := sarif.FromBytes(text)
	if err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	var lines []string
	for _, r := range run.Results {
		at := r.Locations[0].PhysicalLocation
		line := *run.Tool.Driver.Rules[r.RuleIndex].ID + " " + r.Level + " " + *at.ArtifactLocation.URI
		if *r.RuleID != *run.Tool.Driver.Rules[r.RuleIndex].ID {
			t.Errorf("%s has the index of %s", *r.RuleID, line)
		}
		if at.Region != nil {
			line += " line"
		}
		for _, s := range r.Suppressions {
			line += " suppressed: " + *s.Justification
		}
		lines = append(lines, line)
	}
	if got, want := strings.Join(lines, "\n"), `AB004 error my%20shop/dependencies.txt line
AB031 warning my%20shop/ab:%201,0%25%20%3C%C3%BC%3E.sqlite3
AB013 error my%20shop/test.pem suppressed: it opens <nothing>`; got != want {
		t.Errorf("results:\n%s\nwant:\n%s", got, want)
	}
}

// sarifSchema is the official schema, which the source of go-sarif has as a constant
// of its own.
func sarifSchema(t *testing.T) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "pkg/report/v210/sarif/schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, "`{") {
			text = strings.Trim(lit.Value, "`")
		}
		return true
	})
	if !strings.Contains(text, "errata01/os/schemas/sarif-schema-2.1.0.json") {
		t.Fatal("go-sarif has no schema")
	}
	return text
}

// The report in JUnit's format says the same to a reader that others wrote.
func TestCheckJUnit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	oddApp(t, dir)
	const reader = `
import sys, junitparser
for suite in junitparser.JUnitXml.fromstring(sys.stdin.read()):
    print(suite.name, suite.tests - len([c for c in suite if c.is_passed]), suite.failures, suite.errors, suite.skipped)
    for case in suite:
        for r in case.result:
            print(type(r).__name__, case.classname, case.name, '|', r.message)
        if case.system_out:
            print(case.system_out)
`
	read := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), filepath.Join(serversEnv(t), "bin/python"), "-I", "-c", reader)
		cmd.Stdin = strings.NewReader(string(checkAs(t, dir, append(args, "--format", "junit", "my shop")...)))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	const (
		database = "ab: 1,0% <ü>.sqlite3: is a database of SQLite"
		remedy   = "; name it in .appbundleignore, and keep data in APPBUNDLE_STATE_DIR\n"
		skipped  = "Skipped appbundle.AB013 test.pem: is a private key | it opens <nothing>\n"
	)
	got := read()
	if !strings.HasPrefix(got, "appbundle check shop 2 1 0 1\nFailure appbundle.AB004 dependencies.txt:2") || !strings.HasSuffix(got, "\nab: 1,0% <ü>.sqlite3: AB031 is a database of SQLite"+remedy+skipped) {
		t.Errorf("junitparser reads\n%s", got)
	}
	strict := read("--strict")
	if !strings.HasPrefix(strict, "appbundle check shop 3 2 0 1\n") || !strings.HasSuffix(strict, "\nFailure appbundle.AB031 "+database+" | is a database of SQLite"+remedy+skipped) {
		t.Errorf("with --strict junitparser reads\n%s", strict)
	}
}
