// Command bench is what tools/bench measures the token server with: credentials,
// made before the time runs, the server, and those who send them.
//
//	bench make DIR USERS        keys, settings and credentials in DIR
//	bench serve SETTINGS        the server, on a port that it prints
//	bench load ADDRESS FILE N   sends the first N credentials of a file
//
// The server is the app behind the door of cmd/app, with logs on stderr. It differs
// in where the key of the issuer comes from: it is beside the settings, as no host
// on the internet has it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: bench make DIR USERS | serve SETTINGS | load [flags] ADDRESS FILE N")

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	command, args := args[0], args[1:]
	switch {
	case command == "make" && len(args) == 2:
		users, err := strconv.Atoi(args[1])
		if err != nil || users < perCertificate {
			return fmt.Errorf("%q is no number of at least %d users", args[1], perCertificate)
		}
		return write(args[0], users)
	case command == "serve" && len(args) == 1:
		return serve(ctx, args[0], out)
	case command == "load":
		return load(ctx, args, out)
	}
	return errUsage
}

// load reads the command line of a load, and writes what became of it as JSON.
func load(ctx context.Context, args []string, out io.Writer) error {
	var l sender
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.IntVar(&l.callers, "callers", 16, "connections, each with one request at a time")
	flags.Float64Var(&l.rate, "rate", 0, "requests a second, at fixed times; 0 is one after another")
	flags.IntVar(&l.want, "want", 200, "the status that every answer has to have")
	flags.Func("pid", "a process whose CPU is counted; may be repeated", func(s string) error {
		pid, err := strconv.Atoi(s)
		l.pids = append(l.pids, pid)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 3 {
		return errUsage
	}
	count, err := strconv.Atoi(flags.Arg(2))
	if err != nil || count < 1 || l.callers < 1 {
		return errUsage
	}
	if l.requests, err = requests(flags.Arg(1), count); err != nil {
		return err
	}
	l.address = flags.Arg(0)
	return l.report(ctx, out)
}
