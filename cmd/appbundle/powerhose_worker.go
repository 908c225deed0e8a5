package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"appbundle/powerhose"
)

// workerOptions are the flags of powerhose worker.
type workerOptions struct {
	worker powerhose.Worker
	rss    bytesFlag
	echo   bool
	busy   time.Duration
	keys   masterKeys
}

// An endedError says that a worker's program ended, or had to be ended.
type endedError struct {
	program string
	err     error
}

func (e *endedError) Error() string { return fmt.Sprintf("%s: %v", e.program, e.err) }
func (e *endedError) Unwrap() error { return e.err }

func newPowerhoseWorkerCmd(g *globals, out *printer) *cobra.Command {
	var o workerOptions
	cmd := &cobra.Command{
		Use:   "worker EXEC [ARG...]",
		Short: "let a program do jobs that it reads on its standard input",
		Long: `Worker starts a program once, registers with the master, and hands jobs over: to
its standard input the length (4 bytes, big-endian) and the job; from its standard
output a byte (0 a result, 1 an error, 2 not taken), the length and the body, which
the program must flush. With TERM it finishes its job, and gives back what it has
not started. A master on another host is at tcp://HOST:PORT, and is spoken to with
keys. The status is 0 if it was asked to end or has reached a limit, 1 if the program
ended by itself or had to be ended, 3 if it cannot start, and 69 if it has lost its
master, for which it looks again for some 13 s.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.echo && len(args) > 0:
				return errors.New("--echo and a program exclude each other")
			case !o.echo && o.busy != 0:
				return errors.New("--busy is for --echo")
			case !o.echo && len(args) == 0:
				return fmt.Errorf("too few arguments: usage: %s", cmd.UseLine())
			case !inWindow(o.worker.Window):
				return windowError(o.worker.Window)
			}
			for _, kind := range o.worker.Kinds {
				if !kindName.MatchString(kind) {
					return fmt.Errorf("--kind %q: a kind is letters, digits and . _ + -, at most 32; for several give --kind several times", kind)
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.worker.Master, err = g.masterAddress(o.worker.Master, "master"); err != nil {
				return err
			}
			if o.worker.Keys, err = o.keys.read(g, o.worker.Master); err != nil {
				return err
			}
			if isTCP(o.worker.Master) && o.worker.Socket == "" {
				return &usageError{err: errors.New("over TCP give --socket tcp://HOST:PORT, with the address at which the master reaches this worker; port 0 is one that is free")}
			}
			if o.worker.Name == "" {
				o.worker.Name = g.workerName(args)
			}
			o.worker.MaxRSS, o.worker.Notify = int64(o.rss), g.env("NOTIFY_SOCKET")
			o.worker.Log = func(line string) { out.remark("%s", line) }
			ctx, stop := terminated(cmd.Context())
			defer stop()
			if o.echo {
				return o.worker.Serve(ctx, o.answer)
			}
			return runProgram(ctx, &o.worker, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.StringVar(&o.worker.Master, "master", "", "do jobs for the master at the socket `PATH`, or tcp://HOST:PORT (default $POWERHOSE_MASTER)")
	flags.StringVar(&o.worker.Name, "name", "", "register as `NAME` (default WATCHER.WID, or the program and the pid)")
	flags.StringVar(&o.worker.Socket, "socket", "", "listen at the socket `PATH` (default NAME.sock beside the master's), or be reached at tcp://HOST:PORT, where port 0 is a free one")
	flags.StringVar(&o.worker.Listen, "listen", "", "listen at `tcp://HOST:PORT`, from which another address of --socket leads here")
	o.keys.flags(cmd)
	flags.StringArrayVar(&o.worker.Kinds, "kind", nil, "take only jobs of this `KIND`; may be given several times")
	flags.IntVar(&o.worker.Window, "window", 4, "hold `N` jobs, if they are short; 1 to 16")
	flags.IntVar(&o.worker.MaxJobs, "max-jobs", 0, "end after `N` jobs, to be replaced")
	flags.DurationVar(&o.worker.MaxAge, "max-age", 0, "end after `TIME`, or up to a tenth earlier")
	flags.Var(&o.rss, "max-rss", "end when the program has more than `SIZE` of memory")
	flags.BoolVar(&o.echo, "echo", false, "answer each job with itself, to try a master")
	flags.DurationVar(&o.busy, "busy", 0, "with --echo, keep a processor busy for `TIME` before each answer")
	return cmd
}

var kindName = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,32}$`)

// answer is the job of --echo.
func (o *workerOptions) answer(ctx context.Context, j *powerhose.Job) ([]byte, error) {
	if o.busy > 0 {
		for end := time.Now().Add(o.busy); time.Now().Before(end) && ctx.Err() == nil; {
		}
	}
	return j.Body, nil
}

// workerName is the name of a worker that is given none.
func (g *globals) workerName(args []string) string {
	if w, n := g.env("APPBUNDLE_WATCHER"), g.env("APPBUNDLE_WID"); w != "" && n != "" {
		return w + "." + n
	}
	name := "echo"
	if len(args) > 0 {
		name = strings.Map(func(r rune) rune {
			if r < 0x80 && (r == '.' || r == '_' || r == '+' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
				return r
			}
			return '-'
		}, filepath.Base(args[0]))
	}
	return fmt.Sprintf("%.32s-%d", name, os.Getpid())
}

// programGrace is how long a program may take to end after its input has.
const programGrace = 5 * time.Second

// runProgram lets a program do the jobs of a worker.
func runProgram(ctx context.Context, w *powerhose.Worker, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	// The terminal's signals are for us: the program finishes its job.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, jobs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdout.Close()
	cmd.Stdout = jobs
	err = cmd.Start()
	jobs.Close()
	if err != nil {
		if info, e := os.Stat(argv[0]); errors.Is(err, fs.ErrPermission) && e == nil && info.Mode().IsRegular() && info.Mode()&0o111 == 0 {
			err = fmt.Errorf("%s: it is not executable (mode %04o); chmod +x %s", argv[0], info.Mode().Perm(), argv[0])
		}
		return err
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	ended := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		ended <- cmd.Wait()
		stop() // nobody is there any more who could do a job
	}()
	stuck := atomic.Bool{}
	w.Weigh = func() int64 { return powerhose.ResidentBytes(cmd.Process.Pid) }
	err = w.Serve(serving, powerhose.Pipe(stdin, stdout, func() {
		stuck.Store(true)
		kill()
	}))
	asked := ctx.Err() != nil
	early := serving.Err() != nil && !asked
	_ = stdin.Close()
	late := time.AfterFunc(programGrace, kill)
	died := <-ended
	late.Stop()
	kill() // what is left of its group
	var lost *powerhose.MasterError
	switch {
	case errors.As(err, &lost):
		return err
	case err != nil:
		if died != nil && !stuck.Load() {
			err = fmt.Errorf("%w (%w)", err, died)
		}
		return &endedError{argv[0], err}
	case early && died != nil:
		return &endedError{argv[0], fmt.Errorf("it has ended by itself: %w", died)}
	}
	return nil
}
