package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"appbundle/bundle"
)

// ours are the arguments of conformance/run.py that judge this program.
var ours = []string{"--verify", "appbundle verify", "--digest", "appbundle build --quiet --no-env -o {out} {}", "--", "appbundle", "check", "--format", "json"}

// covered are the rules of conformance/reference.py; it reads no values of app.ini.
const covered = "AB001,AB002,AB003,AB004,AB005,AB006,AB009,AB010,AB011,AB012,AB014"

// judge runs the runner of a copy of conformance/, and gives its status and what it printed.
func judge(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", append([]string{filepath.Join(dir, "run.py")}, args...)...)
	cmd.Env = append(os.Environ(), raceEnv, "PYTHONDONTWRITEBYTECODE=1")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestConformance judges this program by every case.
func TestConformance(t *testing.T) {
	t.Parallel()
	status, out, errs := judge(t, "../../conformance", append([]string{"--format", "json"}, ours...)...)
	var report struct {
		Format, Cases, Passed, Failed int
		LeftOut                       int `json:"left_out"`
		Results                       []struct{ Case, Result, Why string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	for _, r := range report.Results {
		if r.Result != "passed" {
			t.Errorf("%s: %s: %s", r.Case, r.Result, r.Why)
		}
	}
	if status != 0 || report.Format != 1 || report.Cases < 600 || report.Passed != report.Cases || len(report.Results) != report.Cases {
		t.Errorf("status %d, format %d, %d cases, %d passed; %s", status, report.Format, report.Cases, report.Passed, errs)
	}
}

// TestConformanceHasEveryRule wants a case that breaks each rule, and one that looks
// the same and does not.
func TestConformanceHasEveryRule(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../conformance/cases/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	breaks, mended := map[string]bool{}, map[string]bool{}
	wants := regexp.MustCompile(`(?m)^(error|warning) (AB[0-9]{3}) `)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range wants.FindAllSubmatch(text, -1) {
			breaks[string(m[1])+" "+string(m[2])] = true
		}
		if strings.Contains(string(text), "\nconforms\n") {
			mended[strings.ToUpper(filepath.Base(file)[:5])] = true
		}
	}
	for _, r := range bundle.Rules() {
		if !breaks[string(r.Level)+" "+r.ID] {
			t.Errorf("no case of conformance/ breaks %s (%s)", r.ID, r.Level)
		}
		if !mended[r.ID] {
			t.Errorf("no case conformance/cases/rules/%s-…-mended conforms", strings.ToLower(r.ID))
		}
	}
}

// TestConformanceReference judges the checker that was written from the text of the
// standard alone, and the same with a bug in it: one that no case sees would be a case
// that is missing.
func TestConformanceReference(t *testing.T) {
	t.Parallel()
	bugs := []struct{ name, only, old, new string }{
		{"none", "*", "", ""},
		{"the order is that of the characters", "trees/order-beyond-ascii#digest", "listing(top).items(), key=lambda e: os.fsencode(e[0])", "listing(top).items(), key=lambda e: e[0].encode('utf-16-be')"},
		{"everybody's x bit counts", "trees/others-x-bit#digest", "0o100 else", "0o111 else"},
		{"names are escaped", "trees/signs-in-names#digest", "quoted = os.path.join(top, path), json.dumps(path, ensure_ascii=False)", "quoted = os.path.join(top, path), json.dumps(path)"},
		{"directories are no entries", "trees/empty-directory#digest", `lines.append(f"d {quoted}\n")`, "pass"},
		{"links are followed", "trees/links#digest", "elif stat.S_ISLNK(st.st_mode):\n            lines", "elif False:\n            lines"},
		{"nothing is taken back", "trees/ignore-negated#digest", "return not keep", "return True"},
		{"archives are entries", "trees/own-archives#digest", "del found[path]\n        while", "pass\n        while"},
		{"x/.. is x", "rules/link-through-link-mended", "at, there = led", "there = led[1]"},
		{"case counts in names", "rules/ab010-case", ".casefold()", ""},
		{"a directory may have the setuid bit", "rules/setuid-directory", "else 0o4000", "else 0"},
		{"two entrypoints are good", "rules/ab003-two", `find("AB003", there[1])`, "pass"},
		{"a comment may be in a continued line", "dependencies/comment-in-continued-line", `before and re.match(r"[ \t]*#", line)`, "False"},
		{"http needs no hash", "dependencies/http-without-hash", "secure=not hashed", "secure=False"},
		{"and binds nothing", "dependencies/marker-of-several", "(?:and|or)", "or"},
		{"a version needs no operator", "external-dependencies/bare-version-without-parentheses", `named = rf"{name}(?:[ \t]*(?:{SPECIFIERS}`, `named = rf"{name}(?:[ \t]*(?:{SPECIFIERS}|{BARE}`},
		{"keys may be repeated", "app-ini/key-twice", "key not in seen", "True"},
	}
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, part := range []string{"conformance", "docs"} {
				copyTree(t, "../../"+part, filepath.Join(dir, part))
			}
			checker := filepath.Join(dir, "conformance/reference.py")
			text, err := os.ReadFile(checker)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), bug.old); bug.old != "" && n != 1 {
				t.Fatalf("reference.py has %q %d times", bug.old, n)
			}
			if bug.old != "" {
				text = []byte(strings.Replace(string(text), bug.old, bug.new, 1))
			}
			if err := os.WriteFile(checker, text, 0o755); err != nil {
				t.Fatal(err)
			}
			status, out, errs := judge(t, filepath.Join(dir, "conformance"), "--only", bug.only, "--rules", covered, "--skip", "app-ini-values/*",
				"--digest", "python3 -IS "+checker+" digest", "--", "python3", "-IS", checker, "check") // without what a site adds: it takes half of the time
			want := 1
			if bug.old == "" {
				want = 0
			}
			if status != want || want == 1 && out == "" {
				t.Errorf("status %d, want %d\n%s%s", status, want, out, errs)
			}
		})
	}
}

// TestConformanceRunner: the runner judges nobody by what it does not understand, and
// an implementation that says nothing has not passed.
func TestConformanceRunner(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, text string // a file that is added to the cases
		args             []string
		status           int
		says             string
	}{
		{"no command", "", "", nil, 2, "required"},
		{"a command that is not there", "", "", []string{"--", "no-such-command"}, 2, "there is no command no-such-command"},
		{"no case is left", "", "", []string{"--only", "x/*", "--", "true"}, 2, "no case is left"},
		{"a format", "new/a.txtar", "format 2\nconforms\n", []string{"--", "true"}, 2, "new/a: the first directive is not: format 1"},
		{"a directive", "new/a.txtar", "format 1\nexpects AB001\n", []string{"--", "true"}, 2, "new/a: unknown directive expects with 1 words"},
		{"a directive that lacks a word", "new/a.txtar", "format 1\nerror AB001\n", []string{"--", "true"}, 2, "new/a: unknown directive error with 1 words"},
		{"no verdict", "new/a.txtar", "format 1\n", []string{"--", "true"}, 2, "new/a: it has to say"},
		{"two verdicts", "new/a.txtar", "format 1\nconforms\nerror AB001 x\n", []string{"--", "true"}, 2, "new/a: it has to say"},
		{"a key", "new.json", `{"format": 1, "on": "shop", "file": "f", "rule": "AB001", "texts": [{"name": "n", "text": "", "accept": true, "status": 1}]}`, []string{"--", "true"}, 2, "unknown key 'status'"},
		{"a format of texts", "new.json", `{"format": 2, "texts": []}`, []string{"--", "true"}, 2, "new.json: format 2, not 1"},
		{"a verdict that is none", "new.json", `{"format": 1, "archives": [{"name": "n", "accept": "yes", "members": []}]}`, []string{"--", "true"}, 2, "accept is neither true nor false"},
		{"two cases of one name", "dependencies.json.json", `{"format": 1, "on": "shop", "file": "f", "rule": "AB001", "texts": [{"name": "n", "text": "", "accept": true}, {"name": "n", "text": "", "accept": true}]}`, []string{"--", "true"}, 2, "two cases of one name"},
		{"nothing is printed", "", "", []string{"--only", "base/*", "--", "true"}, 1, "base/shop: no report of format 1"},
		{"another format is printed", "", "", []string{"--only", "base/*", "--", "sh", "-c", `echo '{"format": 2, "findings": []}'`}, 1, "base/shop: no report of format 1"},
		{"a status that differs", "", "", []string{"--only", "base/*", "--", "sh", "-c", `echo '{"format": 1, "findings": []}'; exit 1`}, 1, "base/shop: the status is 1, and the report says 0"},
		{"nothing is ever found", "", "", []string{"--only", "rules/ab001-missing", "--", "sh", "-c", `echo '{"format": 1, "findings": []}'`}, 1, "rules/ab001-missing: no error AB001 dependencies.txt, but nothing"},
		{"a finding too many", "", "", []string{"--only", "base/site", "--", "sh", "-c", `echo '{"format": 1, "findings": [{"rule": "AB001", "level": "warning", "file": "a"}]}'`}, 1, "base/site: warning AB001 a is too much"},
		{"another line", "", "", []string{"--only", "dependencies/second-line", "--", "sh", "-c", `echo '{"format": 1, "findings": [{"rule": "AB004", "level": "error", "file": "dependencies.txt", "line": 1}]}'; exit 1`}, 1, "no error AB004 dependencies.txt:2"},
		{"no digest", "", "", []string{"--only", "trees/plain#digest", "--digest", "echo", "--", "appbundle", "check", "--format", "json"}, 1, "trees/plain#digest: the digest is ab1:"},
		{"every archive is good", "", "", []string{"--only", "archives/missing", "--verify", "true", "--", "true"}, 1, "archives/missing: has to be refused"},
		{"no archive is good", "", "", []string{"--only", "archives/good", "--verify", "false", "--", "true"}, 1, "archives/good: has to be accepted"},
		{"what is left out is counted", "", "", []string{"--only", "base/*", "--only", "archives/*", "--", "sh", "-c", `echo '{"format": 1, "findings": []}'`}, 0, "2 passed, 0 failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "conformance")
			copyTree(t, "../../conformance", dir)
			if tt.file != "" {
				file := filepath.Join(dir, "cases", tt.file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			status, out, errs := judge(t, dir, tt.args...)
			if status != tt.status || !strings.Contains(out+errs, tt.says) {
				t.Errorf("status %d, want %d and %q:\n%s%s", status, tt.status, tt.says, out, errs)
			}
		})
	}
}
