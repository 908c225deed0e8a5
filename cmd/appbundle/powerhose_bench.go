package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"appbundle/powerhose"
)

// benchOptions are the flags of powerhose bench.
type benchOptions struct {
	workers  int
	callers  int
	size     bytesFlag
	duration time.Duration
	busy     time.Duration
	separate bool
	master   string
	keys     masterKeys
	format   *choice
}

func newPowerhoseBenchCmd(g *globals, out *printer) *cobra.Command {
	o := benchOptions{size: 100, format: textFormat()}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure jobs a second on this machine",
		Long: `Bench starts workers that answer each job with itself, and gives them jobs from
callers that each have one at a time. The master is in the process of the
callers, or with --separate in one of its own; with --master the callers use one
that is running, with the workers that it has. CPU is that of callers, master and
workers, as far as bench has started them.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.workers < 1 || o.callers < 1 || o.duration <= 0:
				return &usageError{err: fmt.Errorf("--workers, --callers and --duration are more than 0")}
			case o.master == "" && o.keys != (masterKeys{}):
				return &usageError{err: fmt.Errorf("--key and --master-key are for --master tcp://HOST:PORT")}
			case o.busy != 0 && o.master != "":
				return &usageError{err: fmt.Errorf("--busy is for the workers that bench starts, and --master has its own")}
			}
			return interruptible(cmd.Context(), func(ctx context.Context) error { return o.run(ctx, g, out) })
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.workers, "workers", 4, "start `N` workers")
	flags.IntVar(&o.callers, "callers", 64, "let `N` callers wait for their jobs at a time")
	flags.Var(&o.size, "size", "give jobs of `SIZE`")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "measure for `TIME`")
	flags.DurationVar(&o.busy, "busy", 0, "let each job keep a processor busy for `TIME`")
	flags.BoolVar(&o.separate, "separate", false, "start a master in a process of its own")
	flags.StringVar(&o.master, "master", "", "use the master at the socket `PATH`, or tcp://HOST:PORT")
	o.keys.flags(cmd)
	flags.Var(o.format, "format", "report as `text` or json")
	return cmd
}

func (o *benchOptions) run(ctx context.Context, g *globals, out *printer) (err error) {
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var own procs
	defer own.end()
	address, runner := o.master, (*powerhose.JobRunner)(nil)
	if address == "" {
		address = filepath.Join(dir, "m")
	}
	switch {
	case o.master != "" || o.separate:
		if o.separate && o.master == "" {
			if err := own.start("powerhose", "master", "--quiet", "--listen", address); err != nil {
				return err
			}
		}
		var keys *powerhose.Keys
		if keys, err = o.keys.read(g, address); err == nil {
			runner, err = powerhose.ConnectKeys(address, keys)
		}
	default:
		runner, err = powerhose.NewJobRunner(powerhose.MasterConfig{Listen: address})
	}
	if err != nil {
		return err
	}
	defer runner.Close()
	if o.master == "" {
		for i := range o.workers {
			if err := own.start("powerhose", "worker", "--quiet", "--echo", "--busy", o.busy.String(), "--master", address, "--name", fmt.Sprintf("echo-%d", i)); err != nil {
				return err
			}
		}
		if err := o.await(ctx, address); err != nil {
			return err
		}
	}
	r, err := o.measure(ctx, runner)
	if err != nil {
		return err
	}
	own.end()
	r.Master = "embedded"
	if o.master != "" || o.separate {
		r.Master = "separate"
	}
	r.Workers = o.workers
	r.CPU = (own.used + r.CPU) * 1e5 / float64(max(r.Jobs, 1))
	if o.format.value == "json" {
		return out.json(r)
	}
	out.print("%.0f jobs/s of %d bytes, p50 %.3f ms, p99 %.3f ms, %.2f CPU seconds per 100000 jobs (%s master, %s)\n",
		r.Rate, r.Size, r.P50*1e3, r.P99*1e3, r.CPU, r.Master, count(o.callers, "caller"))
	return nil
}

// A benchReport is what bench has measured; times are seconds.
type benchReport struct {
	Format   int     `json:"format"`
	Master   string  `json:"master"` // embedded, separate
	Workers  int     `json:"workers"`
	Callers  int     `json:"callers"`
	Size     int     `json:"size"`
	Duration float64 `json:"duration"`
	Jobs     int     `json:"jobs"`
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	CPU      float64 `json:"cpu"` // per 100,000 jobs
}

// await waits until all workers are there.
func (o *benchOptions) await(ctx context.Context, address string) error {
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s did not register within %v", count(o.workers, "worker"), patience))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, err := powerhose.ReadStatus(ctx, address); err == nil {
			ready := 0
			for _, w := range s.Workers {
				if w.State == "idle" {
					ready++
				}
			}
			if ready == o.workers {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// measure lets the callers call.
func (o *benchOptions) measure(ctx context.Context, runner *powerhose.JobRunner) (*benchReport, error) {
	job := bytes.Repeat([]byte{'x'}, int(o.size))
	took := make([][]time.Duration, o.callers)
	errs := make([]error, o.callers)
	before := cpuSeconds(syscall.RUSAGE_SELF)
	began := time.Now()
	end := began.Add(o.duration)
	var all sync.WaitGroup
	for i := range o.callers {
		all.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
				_, err := runner.Execute(ctx, job, powerhose.Call{})
				if err != nil {
					errs[i] = err
					return
				}
				after := time.Now()
				took[i] = append(took[i], after.Sub(now))
				now = after
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	r := &benchReport{Format: 1, Callers: o.callers, Size: int(o.size), Duration: time.Since(began).Seconds(), CPU: cpuSeconds(syscall.RUSAGE_SELF) - before}
	every := slices.Concat(took...)
	slices.Sort(every)
	r.Jobs = len(every)
	r.Rate = float64(r.Jobs) / r.Duration
	if r.Jobs > 0 {
		r.P50, r.P99 = every[r.Jobs/2].Seconds(), every[r.Jobs*99/100].Seconds()
	}
	return r, nil
}

func cpuSeconds(who int) float64 {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// procs are processes that bench has started.
type procs struct {
	cmds []*exec.Cmd
	used float64 // CPU seconds of those that have ended
}

// start runs this program with other arguments.
func (p *procs) start(args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmds = append(p.cmds, cmd)
	return nil
}

// end ends them, the workers first.
func (p *procs) end() {
	slices.Reverse(p.cmds)
	for _, cmd := range p.cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(programGrace, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		p.used += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	p.cmds = nil
}
