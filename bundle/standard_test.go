package bundle

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appbundle/schema"
)

func standard(t *testing.T) string {
	data, err := os.ReadFile("../docs/STANDARD.md")
	must(t, err)
	return string(data)
}

// TestRulesAreInTheStandard compares the section of each rule with the table: its
// heading, then what it demands, and then reason, example and remedy.
func TestRulesAreInTheStandard(t *testing.T) {
	var got, want []string
	_, text, _ := strings.Cut(standard(t), "\n## Rules\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, section := range strings.Split(text, "\n### ")[1:] {
		parts := strings.Split(strings.TrimSpace(section), "\n\n")
		if n := len(parts); n < 5 || slices.ContainsFunc(parts[1:n-3], func(s string) bool { return s == "" || s[0] == '*' }) {
			t.Errorf("want a heading, what it demands, why, an example and the remedy:\n%s", section)
			continue
		}
		got = append(got, strings.Join(append(parts[:1], parts[len(parts)-3:]...), "\n"))
	}
	for _, r := range Rules() {
		want = append(want, fmt.Sprintf("%s (%s): %s\n*Why*: %s.\n*Example*: %s.\n*Remedy*: %s.", r.ID, r.Level, r.Title, r.Why, r.Example, r.Fix))
		broken, right, _ := strings.Cut(r.Example, " → ")
		if r.Fix == "" || r.Why == "" || broken == "" || right == "" {
			t.Errorf("%s has no remedy, reason or example", r.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("STANDARD.md:\n%s\nrules:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.IsSorted(got) {
		t.Error("the rules are not in the order of their numbers")
	}
}

// TestKeysAreInTheStandard compares the table of keys with what is decoded.
func TestKeysAreInTheStandard(t *testing.T) {
	var want []string
	for _, k := range schema.Keys() {
		want = append(want, fmt.Sprintf("| `[%s]` | `%s` | %s |", k.Section, k.Name, k.Doc))
	}
	var got []string
	for line := range strings.Lines(standard(t)) {
		if strings.HasPrefix(line, "| `[") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("STANDARD.md:\n%s\nkeys:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDigestExample makes the directory of the example and compares lines and
// digest with the text, whose commands are run by a test of the documents.
func TestDigestExample(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, "mkdir bin\ntouch dependencies.txt\nlink bin/app start")
	must(t, os.WriteFile(filepath.Join(dir, "bin/app"), []byte("#!/bin/sh\nexec nc\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "external-dependencies.txt"), []byte("netcat\n"), 0o640))
	app, err := Load(dir)
	must(t, err)
	var lines []string
	for _, e := range app.Manifest("test").Entries {
		lines = append(lines, schema.DigestLine(e))
	}
	text := standard(t)
	if want := "<<'END'\n> " + strings.Join(lines, "\n> ") + "\n> END\n"; !strings.Contains(text, want) {
		t.Errorf("STANDARD.md has not the lines\n%s", want)
	}
	hex := strings.TrimPrefix(app.Digest(), schema.DigestPrefix)
	if want := "\n" + hex + "  -\n"; !strings.Contains(text, want) {
		t.Errorf("STANDARD.md does not say:%s", want)
	}
}

// TestCompressorIsTheLinkedOne keeps the manifest honest.
func TestCompressorIsTheLinkedOne(t *testing.T) {
	data, err := os.ReadFile("../go.mod")
	must(t, err)
	for kind, part := range map[ArchiveType]string{TarZst: "/zstd ", TarGz: "/gzip ", Zip: "/flate "} {
		module, rest, _ := strings.Cut(kind.compressor(), part)
		version, _, _ := strings.Cut(rest, ",")
		if !strings.Contains(string(data), module+" "+version) {
			t.Errorf("go.mod has not %s %s", module, version)
		}
	}
}
