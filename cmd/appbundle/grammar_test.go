package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGrammar compares the ABNF of the standard, read by a parser of ABNF, with the
// texts of conformance/; a grammar that says more or less than the cases is found.
func TestGrammar(t *testing.T) {
	t.Parallel()
	python := filepath.Join(serversEnv(t), "bin/python")
	tests := []struct{ name, old, new, says string }{
		{"as it is", "", "", "0 differences"},
		{"a rule that is not there", "dependency   = module", "dependency   = modul", "modul"},
		{"git without a commit", `"@" 40LHEX [`, `[ "@" 40LHEX ] [`, "dependencies/git-branch: fits the production dependency"},
		{"ranges without a caret", ` / "~>" / "^" ) *WSP`, ` / "~>" ) *WSP`, "dependencies/go: does not fit the production dependency"},
		{"digests in capitals", `%s"ab1:" 64LHEX`, `%s"ab1:" 64HEXDIG`, "an upper-case digest: fits the production digest"},
		{"versions without parentheses", `"(" *WSP ( specifiers / bare-version ) *WSP ")"`, `( specifiers / bare-version )`, "external-dependencies/version: does not fit the production external"},
		{"sections of any name", `%s"app" / %s"build"`, `1*ALPHA / %s"build"`, "app-ini/capital-section: fits"},
		{"no line feed at the end of the list", `1*( entry-line LF )`, `1*( entry-line [ LF ] )`, "a list without its end: fits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, part := range []string{"conformance", "docs"} {
				copyTree(t, "../../"+part, filepath.Join(dir, part))
			}
			standard := filepath.Join(dir, "docs/STANDARD.md")
			text, err := os.ReadFile(standard)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), tt.old); tt.old != "" && n != 1 {
				t.Fatalf("STANDARD.md has %q %d times", tt.old, n)
			}
			if tt.old != "" {
				text = []byte(strings.Replace(string(text), tt.old, tt.new, 1))
			}
			if err := os.WriteFile(standard, text, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), python, filepath.Join(dir, "conformance/grammar.py"))
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
			said, err := cmd.CombinedOutput()
			if (err == nil) != (tt.old == "") || !strings.Contains(string(said), tt.says) {
				t.Errorf("%v, want %q:\n%s", err, tt.says, said)
			}
		})
	}
}
