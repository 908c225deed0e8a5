// Command crypto-worker does the crypto of the token server: it serves both kinds of
// jobs for the Powerhose master whose socket POWERHOSE_MASTER names, until it gets
// SIGTERM or SIGINT or the master asks it to end.
//
// Its status is 0 when it was asked to end, 2 where POWERHOSE_MASTER is not set, 69
// when the master is lost, and 3 when it cannot start.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"appbundle/examples/token-app/jobs"
	"appbundle/powerhose"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	master := os.Getenv("POWERHOSE_MASTER")
	if len(args) > 0 || master == "" {
		say("usage: POWERHOSE_MASTER=PATH crypto-worker")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	w := powerhose.Worker{Master: master, Kinds: []string{jobs.Verify, jobs.Mint}, Notify: os.Getenv("NOTIFY_SOCKET"), Log: say}
	return status(w.Serve(ctx, jobs.Work))
}

// status says why the worker ends.
func status(err error) int {
	if err == nil {
		return 0
	}
	say(err.Error())
	if lost := (*powerhose.MasterError)(nil); errors.As(err, &lost) {
		return 69
	}
	return 3
}

func say(line string) { fmt.Fprintln(os.Stderr, "crypto-worker: "+line) }
