package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newCheckCmd(out *printer) *cobra.Command {
	format, strict := textFormat(), false
	cmd := &cobra.Command{
		Use:   "check [DIR|ARCHIVE]",
		Short: "does this application conform to the standard?",
		Long: `Check reads an app directory or an archive and reports what breaks a rule of
the standard, one finding a line:

  FILE[:LINE[:COL]]: ABnnn message; remedy

"appbundle explain ABnnn" tells what a rule is for. The status is 1 when there
is an error, or with --strict a warning. A finding that [check] in app.ini opts
out of, with a reason, does not count.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				app, err := look(ctx, func() (*bundle.App, error) { return open(dirArg(args)) })
				if err != nil {
					return err
				}
				findings, suppressed := bundle.CheckAll(app)
				return report(out, app, newCheckReport(findings, suppressed), format.value, strict)
			})
		},
	}
	cmd.Flags().Var(format, "format", "of the report: `text|json`")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return cmd
}

// A checkReport is the answer of check in JSON.
type checkReport struct {
	Format     int              `json:"format"`
	Findings   []bundle.Finding `json:"findings"`
	Suppressed []bundle.Finding `json:"suppressed"` // app.ini says that they do not count
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

// report prints the findings; its error is errNo when they mean no.
func report(out *printer, app *bundle.App, r *checkReport, format string, strict bool) error {
	if format == "json" {
		if err := out.json(r); err != nil {
			return err
		}
	} else {
		printFindings(out, r.Findings)
	}
	out.remark("%s", r.summary(app))
	if r.Errors > 0 || strict && r.Warnings > 0 {
		return errNo
	}
	return nil
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
