package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newCheckCmd(out *printer) *cobra.Command {
	format := &choice{value: "text", allowed: []string{"text", "json", "sarif", "junit", "github"}}
	strict, fix := false, false
	cmd := &cobra.Command{
		Use:   "check [DIR|ARCHIVE]",
		Short: "does this application conform to the standard?",
		Long: `Check reads an app directory or an archive and reports what breaks a rule of
the standard, one finding a line:

  FILE[:LINE[:COL]]: ABnnn message; remedy

"appbundle explain ABnnn" tells what a rule is for. The status is 1 when there
is an error, or with --strict a warning. A finding that [check] in app.ini opts
out of, with a reason, does not count.

With --fix it first makes empty files of the standard that are missing, sets
modes (chmod +x, o+r, o-w, and no special bits), and saves scripts with line
feeds; each is told in a line. What needs a decision is left, and reported.

SARIF (2.1.0) is for what collects the findings of tools, JUnit for what shows
tests, and github prints workflow commands. Their paths are relative to the
working directory.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				app, err := look(ctx, func() (*bundle.App, error) { return open(dirArg(args)) })
				if err != nil {
					return err
				}
				var mended []bundle.Mended
				if fix {
					if app, mended, err = mend(ctx, out, app, format.value); err != nil {
						return err
					}
				}
				findings, suppressed := bundle.CheckAll(app)
				r := newCheckReport(findings, suppressed)
				r.Mended = mended
				return report(out, app, r, format.value, strict)
			})
		},
	}
	cmd.Flags().Var(format, "format", "of the report: `text|json|sarif|junit|github`")
	cmd.Flags().BoolVar(&fix, "fix", false, "do what is safe to do, say so, and check again")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return cmd
}

// A checkReport is the answer of check in JSON.
type checkReport struct {
	Format     int              `json:"format"`
	Findings   []bundle.Finding `json:"findings"`
	Suppressed []bundle.Finding `json:"suppressed"`       // app.ini says that they do not count
	Mended     []bundle.Mended  `json:"mended,omitempty"` // by --fix
	Errors     int              `json:"errors"`
	Warnings   int              `json:"warnings"`
}

func newCheckReport(findings, suppressed []bundle.Finding) *checkReport {
	r := &checkReport{Format: 1, Findings: append([]bundle.Finding{}, findings...), Suppressed: append([]bundle.Finding{}, suppressed...)}
	for _, f := range r.Findings {
		if f.Level == bundle.Error {
			r.Errors++
		} else {
			r.Warnings++
		}
	}
	return r
}

// mend does what is safe to do, and reads the application again. What it did is a
// part of the answer, or beside it where the answer is a document without a place for it.
func mend(ctx context.Context, out *printer, app *bundle.App, format string) (*bundle.App, []bundle.Mended, error) {
	did, err := bundle.Mend(ctx, app)
	for _, m := range did {
		switch {
		case format == "text":
			out.print("%s\n", m)
		case format != "json" || err != nil:
			out.warn("%s", m)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	app, err = look(ctx, func() (*bundle.App, error) { return bundle.Load(app.Dir) })
	return app, did, err
}

// report prints the findings; its error is errNo when they mean no.
func report(out *printer, app *bundle.App, r *checkReport, format string, strict bool) error {
	if err := r.print(out, app, format, strict); err != nil {
		return err
	}
	out.remark("%s", r.summary(app))
	if r.Errors > 0 || strict && r.Warnings > 0 {
		return errNo
	}
	return nil
}

// print prints the report in a format.
func (r *checkReport) print(out *printer, app *bundle.App, format string, strict bool) error {
	switch format {
	case "json":
		return out.json(r)
	case "sarif":
		return out.json(r.sarif(fromHere(app)))
	case "junit":
		text, err := r.junit(app, strict)
		out.print("%s", text)
		return err
	case "github":
		out.print("%s", r.github(fromHere(app)))
	default:
		printFindings(out, r.Findings)
	}
	return nil
}

// fromHere is the application directory as seen from the working directory, ""
// where that is not above it: CI shows files by their path in the repository.
func fromHere(app *bundle.App) string {
	if app.Dir == "" {
		return ""
	}
	dir := filepath.ToSlash(relative(app.Dir))
	if !fs.ValidPath(dir) || dir == "." {
		return ""
	}
	return dir
}

// printFindings prints a finding a line, the rule in the colour of its level.
func printFindings(out *printer, findings []bundle.Finding) {
	var b strings.Builder
	for _, f := range findings {
		c := red
		if f.Level == bundle.Warning {
			c = yellow
		}
		b.WriteString(strings.Replace(f.String(), f.Rule, out.paint(c, f.Rule), 1) + "\n")
	}
	out.print("%s", b.String())
}

// summary counts, and tells how the entrypoint has been understood.
func (r *checkReport) summary(app *bundle.App) string {
	s := count(r.Errors, "error") + ", " + count(r.Warnings, "warning")
	if len(r.Findings) == 0 {
		s = app.Name + " " + app.Version + " conforms"
	}
	if n := len(r.Mended); n > 0 {
		s += fmt.Sprintf(", %d mended", n)
	}
	if n := len(r.Suppressed); n > 0 {
		s += fmt.Sprintf(", %d suppressed", n)
	}
	if ep := app.Entrypoint; ep.Path != "" {
		s += fmt.Sprintf("; %s is %s: %s", ep.Path, ep.Interface, ep.How)
	}
	return s
}

// count is "1 error" or "2 errors", "1 entry" or "2 entries".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		noun = stem + "ie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// open reads what path names, a directory or an archive.
func open(path string) (*bundle.App, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return bundle.Load(path)
	}
	return bundle.Open(path)
}
