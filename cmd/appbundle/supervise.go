package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"appbundle/bundle"
	"appbundle/internal/atomicfile"
	"appbundle/runner"
	"appbundle/schema"
)

// A supervised is an app that is being run.
type supervised struct {
	g    *globals
	out  *printer
	o    runOptions
	dir  string
	name string // of the run: of its directories, its lock and its cgroup
	r    *runner.Runner

	version   string     // that processes see
	reloading sync.Mutex // one at a time

	archive string // the name that the archive has, "" for a directory
	ini     bool   // app.ini was there
}

// supervise runs the app at path until a signal or its own end.
func supervise(g *globals, out *printer, o runOptions, path string) error {
	s := &supervised{g: g, out: out, o: o}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE)
	var err error
	if s.dir, s.archive, err = g.appDirectory(path, o.name); err != nil {
		return err
	}
	if o.install {
		err := interruptible(context.Background(), func(ctx context.Context) error {
			_, err := runInstall(ctx, g, out, s.dir, installOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	p, err := s.processes()
	if err != nil {
		return err
	}
	s.name, s.version, s.ini = s.nameOf(p), p.app.Version, p.app.Entry("app.ini") != nil
	if s.r, err = s.runner(p); err != nil {
		return err
	}
	return s.run(p, signals)
}

// processes are what the directory says now.
type processes struct {
	app        *bundle.App
	watchers   []schema.Watcher
	sockets    []schema.Socket
	supervisor schema.SupervisorSection
}

// processes reads the directory and its configuration.
func (s *supervised) processes() (*processes, error) {
	cfg, err := s.configFile()
	if err != nil {
		return nil, err
	}
	app, err := bundle.Survey(s.dir, cfg)
	if err != nil {
		return nil, err
	}
	if s.o.bind != "" {
		spec, err := absoluteUnix(s.o.bind)
		if err != nil {
			return nil, err
		}
		if app.Config.Sockets, err = bundle.Bind(app.Config.Sockets, spec); err != nil {
			return nil, err
		}
	}
	p := &processes{app: app, supervisor: app.Config.Supervisor}
	if s.isCircus() {
		p.watchers, p.sockets = app.Config.Watchers, app.Config.Sockets
		return p, nil
	}
	if err := currentEnv(context.Background(), app, ""); err != nil {
		return nil, err
	}
	if lock, err := readLock(app); err == nil {
		if why := app.StaleInputs(lock); why != "" {
			s.out.warn("appbundle: %s: %s", lockFile, why)
		}
	}
	if err := presentEnv(app); err != nil {
		return nil, s.typed(err)
	}
	p.watchers, p.sockets, err = bundle.Watchers(app, nil)
	return p, s.typed(err)
}

// runner makes a runner of the processes, and starts nothing.
func (s *supervised) runner(p *processes) (*runner.Runner, error) {
	cfg, err := s.runnerConfig(p)
	if err != nil {
		return nil, err
	}
	r, err := runner.New(cfg)
	if err != nil {
		return nil, err
	}
	return r, s.findServer(p, r)
}

// nameOf is what the user calls it, or what the app calls itself; an archive
// that is silent has its own name, and not that of the directory it runs in.
func (s *supervised) nameOf(p *processes) string {
	return cmp.Or(s.o.name, p.app.Config.App.Name, s.archive, p.app.Name)
}

func (s *supervised) runnerConfig(p *processes) (runner.Config, error) {
	cfg := runner.Config{
		Name: s.name, Version: p.app.Version, Dir: s.dir, Watchers: p.watchers, Sockets: p.sockets,
		WarmupDelay: p.supervisor.WarmupDelay, NoPrefix: s.o.noPrefix, Once: s.o.once, Adopt: true, Report: s.report,
	}
	if len(p.app.Envs) > 0 {
		cfg.EnvDir = inApp(s.dir, p.app.Envs[0].Dir)
	}
	var err error
	if cfg.Self, err = os.Executable(); err != nil {
		return cfg, err
	}
	if cfg.RunDir, err = s.g.runDirectory(s.name); err != nil {
		return cfg, err
	}
	state, err := s.g.stateDirectory(s.name)
	cfg.StateDir = filepath.Join(state, "data") // beside the releases: it may be the app user's
	return cfg, err
}

// run starts the app and answers signals until nothing is left.
func (s *supervised) run(p *processes, signals <-chan os.Signal) error {
	if p.supervisor.Umask >= 0 {
		syscall.Umask(p.supervisor.Umask)
	}
	s.out.remark("appbundle: %s %s: supervisor pid %d, guard pid %d", s.name, p.app.Version, os.Getpid(), os.Getppid())
	if err := s.r.Start(context.Background()); err != nil {
		return err
	}
	if file := p.supervisor.PIDFile; file != "" {
		if err := atomicfile.WriteFile(inApp(s.dir, file), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
			s.out.warn("appbundle: pidfile: %v", err)
		} else {
			defer os.Remove(inApp(s.dir, file))
		}
	}
	asked := false
	for {
		select {
		case <-s.r.Done():
			return s.r.Wait()
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				go s.reload(false)
			case sig == syscall.SIGUSR2:
				go s.reload(true)
			case sig == syscall.SIGUSR1:
			case asked:
				go s.r.Kill()
			default:
				asked = true
				s.out.remark("appbundle: %s: stopping", s.name)
				go s.r.Stop()
			}
		}
	}
}

// reload reads everything again; what is refused changes nothing. All replaces
// also the processes of what did not change: of a new release.
func (s *supervised) reload(all bool) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	before := s.r.Sockets()
	p, err := s.processes()
	if err == nil {
		err = s.sameApp(p, all)
	}
	if err == nil {
		_, err = s.runner(p) // one that cannot be started is none to change to
	}
	if err != nil {
		s.out.warn("appbundle: reload refused: %v", message(err))
		return
	}
	what, done := "reload refused", "configuration read again"
	if all {
		what, done = "rolling restart", "configuration read again, every process replaced"
		err = s.r.Roll(p.app.Version, p.watchers, p.sockets)
	} else {
		err = s.r.Reload(p.watchers, p.sockets)
	}
	if err != nil {
		s.out.warn("appbundle: %s: %v", what, message(err))
		return
	}
	if all {
		s.version = p.app.Version
	}
	s.out.remark("appbundle: %s: %s", s.name, done)
	s.addresses(before)
}

// sameApp refuses what only a new run can change.
func (s *supervised) sameApp(p *processes, all bool) error {
	if s.ini && s.o.config == "" && p.app.Entry("app.ini") == nil {
		return errors.New("app.ini is gone")
	}
	if name := s.nameOf(p); name != s.name {
		return fmt.Errorf("the name is %s now, and %s runs; stop it and run it again", name, s.name)
	}
	if p.app.Version != s.version && !all {
		s.out.warn("appbundle: the version is %s now; processes see %s until USR2, or another run, replaces them", p.app.Version, s.version)
	}
	return nil
}

// loud are the events that --quiet does not silence.
var loud = []runner.EventKind{runner.NotFound, runner.Died, runner.Killed, runner.Resting, runner.GaveUp, runner.Limited}

func (s *supervised) report(e runner.Event) {
	write := s.out.remark
	if slices.Contains(loud, e.Kind) {
		write = s.out.warn
	}
	write("appbundle: %s", e)
	if e.Kind == runner.Settled {
		s.addresses(nil)
	}
}

// addresses says where the app is reached, but for what was said before.
func (s *supervised) addresses(before map[string]string) {
	for name, addr := range s.r.Sockets() {
		_, _, err := net.SplitHostPort(addr)
		switch {
		case before[name] == addr:
		case name != "app":
			s.out.remark("appbundle: socket %s listens on %s", name, addr)
		case err == nil:
			s.out.remark("appbundle: serving on http://%s/", addr)
		default:
			s.out.remark("appbundle: serving on unix:%s", addr)
		}
	}
}

// isCircus says whether --config is in Circus' dialect: by its name.
func (s *supervised) isCircus() bool {
	return strings.HasSuffix(s.o.config, "circus.ini")
}
