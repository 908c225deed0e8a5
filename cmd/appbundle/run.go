package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/runner"
	"appbundle/schema/pep508"
)

// runOptions are the flags of run.
type runOptions struct {
	config   string
	bind     string
	name     string
	noPrefix bool
	once     bool
	install  bool
}

func newRunCmd(g *globals, out *printer) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [DIR|ARCHIVE]",
		Short: "run the app and its workers under an embedded supervisor",
		Long: `Run starts the processes of an app and keeps them alive, in the foreground,
until it gets TERM or INT; a second one kills at once. HUP reads the
configuration again and restarts only what changed.

An archive is verified and unpacked into the state directory first, once. Run
never touches the network: where the environment is missing, or is not what the
lock says, it names the commands that make it. With --install it makes it.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return &usageError{err: err}
			}
			if !runner.Guarded() {
				return stayAsGuard(g)
			}
			return supervise(g, out, o, dirArg(args))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.config, "config", "", "read `FILE` instead of app.ini; a circus.ini in its own dialect")
	flags.StringVar(&o.bind, "bind", "", "let the socket \"app\" listen on `HOST:PORT` or unix:PATH")
	flags.StringVar(&o.name, "name", "", "run under another `NAME`, beside a first copy")
	flags.BoolVar(&o.noPrefix, "no-prefix", false, "pass output on without \"WATCHER.WID | \"")
	flags.BoolVar(&o.once, "once", false, "start each process once, and end when all have ended")
	flags.BoolVar(&o.install, "install", false, "make the environment of the lock first, as appbundle install does")
	flags.StringVar(&g.runDir, "run-dir", "", "keep sockets and the lock in `DIR`")
	flags.StringVar(&g.stateDir, "state-dir", "", "keep what survives a restart in `DIR`")
	flags.StringVar(&g.cacheDir, "cache-dir", "", "keep what --install fetched in `DIR`")
	return cmd
}

// check refuses flags that mean nothing.
func (o *runOptions) check(cmd *cobra.Command) error {
	if f := cmd.Flags().Lookup("name"); f.Changed && !pep508.ValidName(o.name) {
		return fmt.Errorf("--name: %q is no name; use letters and digits, with - between them", o.name)
	}
	o.name = pep508.NormalizeName(o.name)
	if cmd.Flags().Lookup("bind").Changed {
		if _, err := bundle.Bind(nil, o.bind); err != nil {
			return fmt.Errorf("--bind: %w", err)
		}
	}
	return nil
}

// stayAsGuard runs this command line again, as the supervisor, and hands its
// status on.
func stayAsGuard(g *globals) error {
	if err := os.Chdir(g.from); err != nil { // --chdir is for the supervisor
		return err
	}
	status, err := runner.Guard(os.Args, os.Environ())
	if err != nil {
		return err
	}
	if status != 0 {
		return statusError(status)
	}
	return nil
}

// A statusError is the exit status of a supervisor, which has said why.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }
