package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"appbundle/powerhose"
)

func newPowerhoseCmd(g *globals, out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "powerhose",
		Short: "give jobs to workers: a master, a worker, and what they are doing",
		Long: `Powerhose hands byte strings to worker processes in any language, and gives back
what they return. The parts are watchers of an app.ini, or are started by hand.
The master is found at the socket that POWERHOSE_MASTER names, which appbundle
run sets for every process.`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{err: fmt.Errorf("too few arguments: usage: %s master|worker|status|bench|keygen", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newPowerhoseMasterCmd(g, out), newPowerhoseWorkerCmd(g, out), newPowerhoseStatusCmd(g, out), newPowerhoseBenchCmd(g, out), newPowerhoseKeygenCmd(out))
	for _, sub := range cmd.Commands() {
		sub.Flags().SortFlags = false
	}
	return cmd
}

// masterAddress is the socket that a flag or the environment names.
func (g *globals) masterAddress(flag, name string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if address := g.env("POWERHOSE_MASTER"); address != "" {
		return address, nil
	}
	return "", &usageError{err: fmt.Errorf("where is the master? use --%s PATH, or set POWERHOSE_MASTER", name)}
}

func newPowerhoseMasterCmd(g *globals, out *printer) *cobra.Command {
	var cfg powerhose.MasterConfig
	body := bytesFlag(16 << 20)
	var users []uint
	var keys listenKeys
	cmd := &cobra.Command{
		Use:   "master",
		Short: "give the jobs of several processes to workers",
		Long: `Master listens for workers and callers, in the foreground. With TERM or INT it
takes no new calls, serves those that it has, and ends; a second one kills. With
--tcp it listens for other hosts too, for those whose public keys --allow names;
with HUP it reads these files again, and closes who is not in them any more.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := takes(0, 0)(cmd, args); err != nil {
				return err
			}
			switch {
			case !inWindow(cfg.Window):
				return windowError(cfg.Window)
			case cfg.MaxAttempts < 1 || cfg.Tries < 1 || cfg.MaxWaiting < 1 || cfg.MaxWorkers < 1:
				return errors.New("--attempts, --tries, --max-waiting and --max-workers are more than 0")
			case cfg.Deadline <= 0 || cfg.BusyWait <= 0 || cfg.Grace <= 0 || cfg.DrainTime <= 0 || cfg.Period <= 0:
				return errors.New("--deadline, --busy-wait, --grace, --drain and --ping are more than 0")
			case body < 1:
				return errors.New("--max-body is more than 0")
			}
			return keys.check()
		},
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Listen, err = g.masterAddress(cfg.Listen, "listen"); err != nil {
				return err
			}
			cfg.MaxBody, cfg.Notify = int64(body), g.env("NOTIFY_SOCKET")
			cfg.Log = func(line string) { out.remark("%s", line) }
			for _, u := range users {
				cfg.Admit = append(cfg.Admit, uint32(min(u, math.MaxUint32)))
			}
			if err := keys.apply(&cfg); err != nil {
				return err
			}
			return runMaster(cmd.Context(), out, cfg, keys.read)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Listen, "listen", "", "listen at the socket `PATH` (default $POWERHOSE_MASTER)")
	keys.flags(cmd)
	flags.IntVar(&cfg.Window, "window", 4, "let a worker hold `N` jobs, if they are short; 1 to 16")
	flags.IntVar(&cfg.MaxAttempts, "attempts", 2, "start a job that may be repeated `N` times at most")
	flags.DurationVar(&cfg.Deadline, "deadline", 30*time.Second, "the `TIME` that a call has which names none")
	flags.DurationVar(&cfg.BusyWait, "busy-wait", time.Second, "the `TIME` that such a call waits for a worker")
	flags.DurationVar(&cfg.Grace, "grace", 5*time.Second, "close a worker `TIME` after the deadline of its job")
	flags.DurationVar(&cfg.DrainTime, "drain", 30*time.Second, "end `TIME` after TERM, whatever runs")
	flags.DurationVar(&cfg.Period, "ping", 5*time.Second, "let idle workers ping each `TIME`")
	flags.IntVar(&cfg.Tries, "tries", 3, "give an idle worker up after `N` times without a ping")
	flags.Var(&body, "max-body", "take jobs and results of at most `SIZE`")
	flags.IntVar(&cfg.MaxWaiting, "max-waiting", 1024, "let `N` calls wait for a worker")
	flags.IntVar(&cfg.MaxWorkers, "max-workers", 1024, "admit `N` workers")
	flags.UintSliceVar(&users, "admit", nil, "admit workers and callers of the user `UID` too")
	return cmd
}

// inWindow reports whether a worker can hold so many jobs.
func inWindow(n int) bool { return n >= 1 && n <= 16 }

func windowError(n int) error { return fmt.Errorf("--window %d: it can be 1 to 16", n) }

// terminated is a context that TERM or INT ends; the next one kills.
func terminated(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// runMaster runs a master, whose keys over TCP are read again with HUP.
func runMaster(ctx context.Context, out *printer, cfg powerhose.MasterConfig, keys func() (*powerhose.Keys, error)) error {
	ctx, stop := terminated(ctx)
	defer stop()
	hup := make(chan os.Signal, 1)
	if cfg.TCP != "" {
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
	}
	m, err := powerhose.NewMaster(cfg)
	if err != nil {
		return err
	}
	out.remark("listens at %s", m.Address())
	if cfg.TCP != "" {
		out.remark("listens at %s with the key %s", m.TCPAddress(), cfg.Keys.Public())
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-hup:
			now, err := keys()
			if err == nil {
				err = m.Readmit(now)
			}
			if err != nil {
				out.remark("the keys are what they were: %v", err)
				continue
			}
			out.remark("the keys are read again")
		}
	}
	out.remark("ends when the calls that it has are answered")
	return m.Drain(context.Background())
}

func newPowerhoseStatusCmd(g *globals, out *printer) *cobra.Command {
	address := ""
	format := &choice{value: "text", allowed: []string{"text", "json", "prometheus"}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "print what a master is doing, and its workers",
		Long: `Status asks a master, of a process of its own or embedded in a caller, which
workers it has, what they are doing, and what its calls came to.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if address, err = g.masterAddress(address, "master"); err != nil {
				return err
			}
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				s, err := powerhose.ReadStatus(ctx, address)
				if err != nil {
					return err
				}
				switch format.value {
				case "json":
					return out.json(s)
				case "prometheus":
					var b strings.Builder
					err := s.WritePrometheus(&b)
					out.print("%s", b.String())
					return err
				}
				printStatus(out, s)
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&address, "master", "", "ask the master at the socket `PATH` (default $POWERHOSE_MASTER)")
	flags.Var(format, "format", "report as `text`, json or prometheus")
	return cmd
}

func printStatus(out *printer, s *powerhose.Status) {
	c, e := &s.Calls, &s.Events
	out.print("master   %s (pid %d), %s for %s\n", s.Address, s.PID, s.State, seconds(s.Uptime).Round(time.Second))
	if s.TCP != "" {
		out.print("tcp      %s\n", s.TCP)
	}
	out.print("calls    %d: %d results, %d errors, %d busy, %d without worker, %d timeouts, %d lost, %d cancelled\n",
		c.Total, c.Results, c.Errors, c.Busy+c.QueueFull, c.NoWorker, c.Timeouts, c.Lost, c.Cancelled)
	out.print("now      %d running, %d waiting, %s\n", s.Running, s.Waiting, count(s.Callers, "caller"))
	out.print("workers  %d; so far %d registered, %d refused, %d gone, %d closed\n", len(s.Workers), e.Registered, e.Refused, e.Gone, e.Closed)
	for _, w := range s.Workers {
		now := ""
		if w.Running > 0 {
			now = fmt.Sprintf(", %s in its job", seconds(w.Running).Round(time.Millisecond))
		}
		if len(w.Kinds) > 0 {
			now += ", takes " + strings.Join(w.Kinds, ", ")
		}
		if w.Address != "" {
			now += fmt.Sprintf(", from %s with key %s…", w.Address, w.Key)
		}
		out.print("  %-20s pid %-8d %-8s %d done, %s each%s\n", w.Name, w.PID, w.State, w.Done, seconds(w.Average).Round(time.Microsecond), now)
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// bytesFlag is a number of bytes with K, M or G behind it.
type bytesFlag int64

func (b *bytesFlag) String() string {
	n := int64(*b)
	for _, unit := range []string{"G", "M", "K"} {
		if u := factors[unit]; n >= u && n%u == 0 {
			return strconv.FormatInt(n/u, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

func (b *bytesFlag) Type() string { return "size" }

var factors = map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

func (b *bytesFlag) Set(s string) error {
	digits := strings.TrimRight(s, "KMG")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := factors[s[len(digits):]]
	if err != nil || !ok || n < 0 || n > math.MaxInt64/unit {
		return errors.New("it is no size like 500000, 64M or 1G")
	}
	*b = bytesFlag(n * unit)
	return nil
}
