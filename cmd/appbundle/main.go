// Command appbundle checks, archives and runs application bundles: directories
// that say what they depend on and how they start, as docs/STANDARD.md
// describes them.
//
// Every subcommand is a thin call of a library package: flags in, exit status
// out. A file a subcommand; print.go alone writes and exits, status.go alone
// knows what an exit status means, host.go alone reads the environment.
//
// # Limits
//
// Only lock, install and run --install open network connections. The command
// asks no questions and keeps no settings of its own.
package main

import (
	"context"
	"errors"
	"os"

	"appbundle/runner"
)

func main() {
	runner.Init()
	out := newPrinter(os.Stdout, os.Stderr, os.Getenv)
	out.exit(execute(context.Background(), os.Args[1:], out))
}

// execute runs the command that args name. What goes wrong before its body
// starts is the user's command line.
func execute(ctx context.Context, args []string, out *printer) error {
	g := &globals{env: os.Getenv}
	root := newRootCmd(g, out)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !g.started {
		err = &usageError{err: err}
	}
	var usage *usageError
	if errors.As(err, &usage) && usage.hint == "" {
		usage.hint = cmd.CommandPath() + " --help"
	}
	return err
}
