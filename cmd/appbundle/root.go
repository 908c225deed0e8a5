package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// globals are the flags that every command has.
type globals struct {
	chdir    string
	runDir   string // see runDirectory
	stateDir string // see stateDirectory
	cacheDir string // see cacheDirectory
	env      func(string) string

	from    string // the working directory before --chdir; "." without it
	started bool   // a command's body has been reached
}

// enter is the first that a command's body does.
func (g *globals) enter() (err error) {
	g.started, g.from = true, "."
	if g.chdir == "" {
		return nil
	}
	if g.from, err = os.Getwd(); err != nil {
		return err
	}
	return os.Chdir(g.chdir)
}

// newRootCmd puts the commands together: here, and nowhere else.
func newRootCmd(g *globals, out *printer) *cobra.Command {
	root := &cobra.Command{
		Use:               "appbundle",
		Short:             "check, lock, archive and run application bundles",
		Long:              rootLong,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              knownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error { return g.enter() },
	}
	root.SetOut(out.answer)
	root.SetErr(out.remarks)
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("appbundle {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&g.chdir, "chdir", "", "work in `DIR` instead of here")
	flags.BoolVar(&out.quiet, "quiet", false, "only answers and errors: no summary, no progress")
	flags.BoolVar(&out.noColor, "no-color", false, "no colours on a terminal (also NO_COLOR)")
	root.AddCommand(
		newInitCmd(out),
		newCheckCmd(out),
		newExplainCmd(out),
		newAddCmd(g, out),
		newRemoveCmd(g, out),
		newLockCmd(g, out),
		newInstallCmd(g, out),
		newWhyCmd(out),
		newTreeCmd(out),
		newExportCmd(out),
		newExternalCmd(g, out),
		newCacheCmd(g, out),
		newBuildCmd(g, out),
		newVerifyCmd(g, out),
		newDiffCmd(out),
		newDeltaCmd(out),
		newUnpackCmd(g, out),
		newSBOMCmd(out),
		newRunCmd(g, out),
		newPowerhoseCmd(g, out),
		newVersionCmd(out),
	)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = knownCommand, func(cmd *cobra.Command, _ []string) error {
				return &usageError{err: fmt.Errorf("too few arguments: usage: %s bash|fish|powershell|zsh", cmd.CommandPath())}
			}
		}
	}
	return root
}

const rootLong = `appbundle checks, locks, archives and runs application bundles.

An application is a directory with three things: dependencies.txt (its
libraries), external-dependencies.txt (what the system has to provide), and
bin/app or bin/app.py (what starts it).

Exit statuses: 0 yes; 1 no (findings, no solution, a refused archive, an app
that gave up); 2 usage; 3 could not look or do; 69 a Powerhose worker that lost its
master; 130 interrupted.`

// knownCommand refuses what is left when no subcommand was found.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := ""
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		meant = fmt.Sprintf("; did you mean %q?", s[0])
	}
	return fmt.Errorf("unknown command %q%s", args[0], meant)
}

// takes refuses a number of arguments other than min to max.
func takes(min, max int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < min:
			return fmt.Errorf("too few arguments: usage: %s", cmd.UseLine())
		case len(args) > max:
			return fmt.Errorf("one argument too many, %q: usage: %s", args[max], cmd.UseLine())
		}
		return nil
	}
}

// dirArg is the last argument, or the working directory.
func dirArg(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[len(args)-1]
}
