// Command app is the token server.
//
// Without arguments it serves: on the sockets that a supervisor hands over, or at
// the address of the settings. "app admin" has the commands for nodes and users.
//
// TERM and INT end it when the requests that it has are answered; a second one
// ends it at once. HUP makes it read the secrets anew.
//
// The exit status is 0 for yes, 1 for no, 2 for a wrong command line, 3 if
// something could not be done.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"appbundle/examples/token-app/app"
	"appbundle/examples/token-app/settings"
)

// The exit statuses.
const (
	yes    = 0
	no     = 1
	misuse = 2
	failed = 3
)

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	p := &process{
		getenv:  os.Getenv,
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		signals: signals,
		pid:     os.Getpid(),
		now:     time.Now,
	}
	os.Exit(p.run(os.Args[1:]))
}

// A process is what the world is to a command.
type process struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	signals        chan os.Signal
	pid            int
	now            func() time.Time
}

// A usageError is a command line that cannot be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// A noError is an answer that is no, already in words for people.
type noError struct{ error }

const usage = `usage: app [--config FILE] | app --demo
       app [--config FILE] admin COMMAND ...

Without a command the token server runs. With --demo it runs with settings, keys
and an identity provider of its own, on a loopback address. Commands:
`

// run does what the arguments say, and gives the exit status.
func (p *process) run(args []string) int {
	err := p.command(args)
	var wrong *usageError
	var negative noError
	switch {
	case err == nil:
		return yes
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stdout, usage+adminUsage())
		return yes
	case errors.As(err, &wrong):
		fmt.Fprintf(p.stderr, "app: %v\nhint: app --help lists the commands\n", err)
		return misuse
	case errors.As(err, &negative):
		fmt.Fprintf(p.stderr, "app: %v\n", err)
		return no
	}
	fmt.Fprintf(p.stderr, "app: %v\n", err)
	return failed
}

// defaultConfig is the settings file of a bundle, in the directory of the app.
const defaultConfig = "token-app.ini"

func (p *process) command(args []string) error {
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	config := flags.String("config", "", "")
	playing := flags.Bool("demo", false, "")
	if err := flags.Parse(args); err != nil {
		return asUsage(err)
	}
	rest := flags.Args()
	if len(rest) > 0 && rest[0] != "admin" {
		return usagef("unknown command %q", rest[0])
	}
	if *playing {
		if *config != "" || len(rest) > 0 {
			return usagef("--demo has settings of its own, and goes with nothing else")
		}
		if p.getenv("DATABASE_URL") != "" {
			return usagef("--demo has a database of its own; unset DATABASE_URL")
		}
		return p.serveDemo()
	}
	name := cmp.Or(*config, defaultConfig)
	if len(rest) > 0 {
		return p.admin(name, rest[1:])
	}
	cfg, err := p.config(name)
	if err != nil {
		return err
	}
	return p.serveConfig(cfg)
}

func asUsage(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return &usageError{err.Error()}
}

// config reads the settings, and adds what the environment says. A file that is
// wrong is an answer, one that cannot be read is not.
func (p *process) config(name string) (app.Config, error) {
	s, err := settings.Load(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return app.Config{}, err
		}
		return app.Config{}, noError{err}
	}
	state := cmp.Or(s.Server.State, p.state())
	if err := s.Place(state); err != nil {
		return app.Config{}, noError{fmt.Errorf("%s: %w", name, err)}
	}
	return app.Config{
		Settings: s,
		Version:  p.getenv("APPBUNDLE_VERSION"),
		State:    state,
		Database: p.getenv("DATABASE_URL"),
		Master:   p.getenv("POWERHOSE_MASTER"),
		Log:      slog.New(slog.NewJSONHandler(p.stderr, nil)),
	}, nil
}

// state is the directory of what the server keeps, where the settings name none.
func (p *process) state() string {
	for _, name := range []string{"APPBUNDLE_STATE_DIR", "STATE_DIRECTORY"} {
		if dir := p.getenv(name); dir != "" {
			return dir
		}
	}
	if dir := p.getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "token-app")
	}
	if home := p.getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", "token-app")
	}
	return ""
}

// interrupted gives a context that ends at the first signal to end, for short
// commands.
func (p *process) interrupted() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			select {
			case s := <-p.signals:
				if s != syscall.SIGHUP {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}
