package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command line of the documents works as it is printed. A block marked
// ```console is a session: "$ " begins a command, "> " continues it, the rest
// is what it prints, where "…" stands for any text of a line and, alone, for
// any lines. A block marked ```sh is commands that have to succeed; it is left
// out only when the line before it is an HTML comment "not run: REASON". The
// session below the comment "TestTour runs it" is that test's.
//
// The blocks of a document are one session in a directory of its own, which
// has a copy of the examples. A document of an example begins in the example.
func TestDocs(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var docs []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/schemas/*.md", "conformance/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, found...)
	}
	if len(docs) < 3 {
		t.Fatalf("found the documents %q; there are more", docs)
	}
	for _, doc := range docs {
		rel, err := filepath.Rel(root, doc)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(rel, func(t *testing.T) {
			t.Parallel()
			d := &document{name: rel, path: doc}
			d.read(t)
			if len(d.steps) == 0 {
				return
			}
			work := t.TempDir()
			copyTree(t, filepath.Join(root, "examples"), filepath.Join(work, "examples"))
			dir := work
			if strings.HasPrefix(rel, "examples"+string(filepath.Separator)) {
				dir = filepath.Join(work, filepath.Dir(rel))
			}
			d.run(t, dir)
			if *update {
				d.write(t)
			}
		})
	}
}

// A document is the lines of a file and the commands among them.
type document struct {
	name, path string
	lines      []string
	steps      []*step
	tour       []*step // what TestTour runs
}

// A step is one command, or one block of commands, and what it prints.
type step struct {
	line     int // from 1, of the command
	command  string
	session  bool // output counts
	from, to int  // lines[from:to] is the output
	got      string
}

var notRun = regexp.MustCompile(`^<!-- not run: \S.* -->$`)

const tourMark = "<!-- TestTour runs it -->"

// read finds the steps.
func (d *document) read(t *testing.T) {
	text, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	d.lines = strings.Split(string(text), "\n")
	for i := 0; i < len(d.lines); i++ {
		lang, fence := strings.CutPrefix(d.lines[i], "```")
		if !fence {
			continue
		}
		begin := i + 1
		for i++; i < len(d.lines) && d.lines[i] != "```"; i++ {
		}
		if i == len(d.lines) {
			t.Fatalf("%s:%d: the block has no end", d.name, begin)
		}
		left := begin >= 2 && notRun.MatchString(d.lines[begin-2])
		switch {
		case lang == "console" && begin >= 2 && d.lines[begin-2] == tourMark:
			d.tour = append(d.tour, d.session(t, begin, i)...)
		case lang == "console":
			d.steps = append(d.steps, d.session(t, begin, i)...)
		case lang == "sh" && !left:
			d.steps = append(d.steps, &step{line: begin + 1, command: strings.Join(d.lines[begin:i], "\n")})
		case lang == "bash", lang == "shell":
			t.Errorf("%s:%d: call it sh or console: those are run by this test", d.name, begin)
		}
	}
}

// session finds the commands of lines[from:to].
func (d *document) session(t *testing.T, from, to int) []*step {
	var steps []*step
	var s *step
	for i := from; i < to; i++ {
		command, begins := strings.CutPrefix(d.lines[i], "$ ")
		more, continues := strings.CutPrefix(d.lines[i], "> ")
		switch {
		case begins:
			s = &step{line: i + 1, command: command, session: true, from: i + 1, to: i + 1}
			steps = append(steps, s)
		case s == nil:
			t.Fatalf("%s:%d: a session begins with a command", d.name, i+1)
		case continues && s.to == i && s.from == i:
			s.command += "\n" + more
			s.from, s.to = i+1, i+1
		default:
			s.to = i + 1
		}
	}
	return steps
}

// mark separates the steps in the shell's output; no command prints it.
const mark = "\x1e"

// run executes the steps in one shell and compares.
func (d *document) run(t *testing.T, dir string) {
	var script strings.Builder
	script.WriteString("exec 2>&1\n")
	for _, s := range d.steps {
		fmt.Fprintf(&script, "%s\nprintf '%s%%d%s' $?\n", s.command, mark, mark)
	}
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(script.String())
	cmd.Env = append(os.Environ(), raceEnv, "NO_COLOR=1", "PYTHONDONTWRITEBYTECODE=1")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: the shell: %v", d.name, err)
	}
	parts := strings.Split(out.String(), mark) // output, status, output, status, …, ""
	for i, s := range d.steps {
		if 2*i+1 >= len(parts) {
			t.Fatalf("%s:%d: the shell ended before this command; its output is\n%s", d.name, s.line, out.String())
		}
		s.got = parts[2*i]
		status := parts[2*i+1]
		if !s.session && status != "0" {
			t.Errorf("%s:%d: ends with status %s:\n%s", d.name, s.line, status, s.got)
		}
		want := strings.Join(d.lines[s.from:s.to], "\n")
		if s.session && !*update && !matchesText(s.got, want) {
			t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", d.name, s.line, s.command, s.got, want)
		}
	}
}

// matchesText compares what was printed with what the document shows.
func matchesText(got, want string) bool {
	var expr strings.Builder
	expr.WriteString(`^`)
	for line := range strings.Lines(want + "\n") {
		if line == "…\n" {
			expr.WriteString(`(?:.*\n)*`)
			continue
		}
		expr.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*`))
	}
	expr.WriteString(`$`)
	if want == "" {
		return got == ""
	}
	return regexp.MustCompile(expr.String()).MatchString(got)
}

// write puts what was printed into the document, where it differs.
func (d *document) write(t *testing.T) {
	for _, s := range slices.Backward(d.steps) {
		if !s.session || matchesText(s.got, strings.Join(d.lines[s.from:s.to], "\n")) {
			continue
		}
		var printed []string
		if s.got != "" {
			printed = strings.Split(strings.TrimSuffix(s.got, "\n"), "\n")
		}
		d.lines = slices.Concat(d.lines[:s.from], printed, d.lines[s.to:])
	}
	if err := os.WriteFile(d.path, []byte(strings.Join(d.lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies what git would, more or less: no environments.
func copyTree(t *testing.T, from, to string) {
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case e.Name() == ".venv" || e.Name() == "__pycache__" || e.Name() == ".appbundle":
			return fs.SkipDir
		case e.Name() == "pylock.toml": // make run wrote it
			return nil
		case e.IsDir():
			return os.MkdirAll(target, 0o777)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMatchesText(t *testing.T) {
	tests := []struct {
		got, want string
		ok        bool
	}{
		{"", "", true},
		{"a\n", "a", true},
		{"a\n", "", false},
		{"a\nb\n", "a", false},
		{"a 12 b\n", "a … b", true},
		{"a 1\n2 b\n", "a … b", false},
		{"a\nb\nc\n", "a\n…\nc", true},
		{"a\nc\n", "a\n…\nc", true},
		{"a.b\n", "a.b", true},
		{"axb\n", "a.b", false},
	}
	for _, tt := range tests {
		if got := matchesText(tt.got, tt.want); got != tt.ok {
			t.Errorf("matchesText(%q, %q) = %v, want %v", tt.got, tt.want, got, tt.ok)
		}
	}
}

// documentedRoot is the command with all that is in its help.
func documentedRoot() *cobra.Command {
	out := &printer{answer: &answerWriter{w: &bytes.Buffer{}}, remarks: &bytes.Buffer{}}
	root := newRootCmd(&globals{env: func(string) string { return "" }}, out)
	root.InitDefaultVersionFlag()
	root.InitDefaultHelpCmd()
	return root
}

// docs/COMMANDS.md is the help of every command, as it is.
func TestCommandPages(t *testing.T) {
	const name = "../../docs/COMMANDS.md"
	var b strings.Builder
	b.WriteString("# Commands\n\nThe help of every command, written by `make golden`.\n")
	var page func(cmd *cobra.Command)
	page = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd.HasParent() {
			return
		}
		cmd.InitDefaultHelpFlag()
		long := cmd.Long
		if long == "" {
			long = cmd.Short + "."
		}
		fmt.Fprintf(&b, "\n## %s\n\n```text\n%s\n\n%s```\n", cmd.CommandPath(), long, cmd.UsageString())
		for _, sub := range cmd.Commands() {
			if cmd.Name() != "completion" {
				page(sub)
			}
		}
	}
	page(documentedRoot())
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != b.String() {
		t.Errorf("%s is not what the commands say of themselves; run make golden", name)
	}
}
