package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/scaffold"
	"appbundle/schema"
)

func newInitCmd(out *printer) *cobra.Command {
	format, name := textFormat(), ""
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "make the files of the standard for a project",
		Long: `Init makes a conforming application of a project in DIR, or a small one where
there is none: dependencies.txt, external-dependencies.txt, app.ini and the
entrypoint. It reads requirements.txt, pyproject.toml, Procfile, go.mod, and
what makes a project one of Django, Pyramid, Flask, FastAPI or their kin. It asks
nothing and runs nothing of the project; a file that is there is kept. It prints

  FILE: made, or kept
  FILE[:LINE]: what was guessed from this line, or why it is left out

and then what check says of the result. The status is 1 when there is an error
left. All files are written, or none.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runInit(ctx, out, dirArg(args), name, format.value)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `NAME` of the application; the project's, or the directory's, without it")
	cmd.Flags().Var(format, "format", "of the report: `text|json`")
	return cmd
}

// An initReport is the answer of init in JSON.
type initReport struct {
	Format   int              `json:"format"`
	Name     string           `json:"name"`
	Files    []initFile       `json:"files"`
	Guesses  []initGuess      `json:"guesses"`
	Findings []bundle.Finding `json:"findings"`
	Errors   int              `json:"errors"`
	Warnings int              `json:"warnings"`
}

type initFile struct {
	Path string `json:"path"`
	Made bool   `json:"made"`
}

type initGuess struct {
	schema.Pos
	Text string `json:"text"`
}

// runInit makes the files that a project in dir lacks, and checks it.
func runInit(ctx context.Context, out *printer, dir, name, format string) error {
	if name != "" {
		if _, problems := schema.ParseAppINI("app.ini", fmt.Appendf(nil, "[app]\nname = %s\n", name)); len(problems) > 0 {
			return &usageError{err: fmt.Errorf("--name %q: %s", name, problems[0].Msg)}
		}
	}
	plan, err := look(ctx, func() (*scaffold.Plan, error) { return scaffold.Look(dir, name) })
	if err != nil {
		return err
	}
	if err := plan.Write(ctx, dir); err != nil {
		return fmt.Errorf("nothing is made: %w", err)
	}
	r := initReport{Format: 1, Name: plan.Name, Files: []initFile{}, Guesses: []initGuess{}}
	for _, f := range plan.Files {
		r.Files = append(r.Files, initFile{f.Path, !f.Kept})
	}
	for _, g := range plan.Guesses {
		r.Guesses = append(r.Guesses, initGuess{g.Pos, g.Text})
	}
	app, err := look(ctx, func() (*bundle.App, error) { return bundle.Load(dir) })
	if err != nil {
		return err
	}
	checked := newCheckReport(bundle.CheckAll(app))
	r.Findings, r.Errors, r.Warnings = checked.Findings, checked.Errors, checked.Warnings
	if format == "json" {
		if err := out.json(r); err != nil {
			return err
		}
	} else {
		printInit(out, &r)
	}
	out.remark("%s", checked.summary(app))
	if r.Errors > 0 {
		return errNo
	}
	return nil
}

func printInit(out *printer, r *initReport) {
	for _, f := range r.Files {
		state := "kept"
		if f.Made {
			state = "made"
		}
		out.print("%s: %s\n", f.Path, state)
	}
	for _, g := range r.Guesses {
		out.print("%s\n", scaffold.Guess{Pos: g.Pos, Text: g.Text})
	}
	printFindings(out, r.Findings)
}
