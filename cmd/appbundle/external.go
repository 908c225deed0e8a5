package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/resolve/external"
)

// externalOptions are the flags of external.
type externalOptions struct {
	target         string
	install, check bool
	format         *choice
}

func newExternalCmd(g *globals, out *printer) *cobra.Command {
	o := externalOptions{format: textFormat()}
	cmd := &cobra.Command{
		Use:   "external [DIR]",
		Short: "which packages of the system an app needs",
		Long: `External says what a distribution calls the system dependencies of
external-dependencies.txt, one line each:

  NAME -> PACKAGES

The names of the file are hints: a neutral name (openssl, dep:generic/openssl)
or what any distribution calls its package. A name that nobody knows is taken
for the name of a package, with a warning that names its line.

With --check the status is 1 where this host lacks something: a library that
the loader does not find, a program that is not there, a package or its version
that the package database does not have.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runExternal(ctx, g, out, dirArg(args), o)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.target, "for", "", "the packages of `DISTRIBUTION`: "+strings.Join(external.Targets(), ", ")+" (default: this host's)")
	flags.BoolVar(&o.install, "install-command", false, "print the command that installs them")
	flags.BoolVar(&o.check, "check", false, "does this host have them?")
	flags.Var(o.format, "format", "report as `text` or json")
	return cmd
}

func runExternal(ctx context.Context, g *globals, out *printer, dir string, o externalOptions) error {
	if o.install && o.check {
		return &usageError{err: fmt.Errorf("--install-command and --check are two questions")}
	}
	deps, python, err := externalLines(dir)
	if err != nil {
		return err
	}
	target, err := externalTarget(o.target, python)
	if err != nil {
		return err
	}
	r := externalAnswers{target: target}
	r.answers, r.problems = external.For(target, deps)
	if o.check {
		r.missing, err = look(ctx, func() ([]string, error) { return external.Check(r.answers, g.system(ctx, target)) })
		if err != nil {
			return err
		}
	}
	if o.format.value == "json" {
		err = out.json(r.json())
	} else {
		r.print(out, o.install)
	}
	if err == nil && o.check && len(r.lacking()) > 0 {
		return errNo
	}
	return err
}
