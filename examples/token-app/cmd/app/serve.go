package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"appbundle/examples/token-app/app"
	"appbundle/examples/token-app/internal/host"
	"appbundle/examples/token-app/server"
)

// openTime is how long the start may wait for a database.
const openTime = 30 * time.Second

// serve runs the server until a signal ends it.
func (p *process) serve(cfg app.Config) error {
	inherited, err := host.Inherited(p.getenv, p.pid)
	if err != nil {
		return err
	}
	defer inherited.Close()
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // they are no children's
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	opening, cancel := context.WithTimeout(ctx, openTime)
	a, err := app.Open(opening, cfg)
	cancel()
	if err != nil {
		return err
	}
	defer a.Close()

	figures := inherited.Take("metrics")
	listeners := inherited.Listeners
	if len(listeners) == 0 {
		l, err := host.Listen(cfg.Settings.Server.Listen)
		if err != nil {
			return err
		}
		defer l.Close()
		listeners = []net.Listener{l}
	}
	if at := cfg.Settings.Server.Metrics; len(figures) == 0 && at != "" && !strings.HasPrefix(at, "/") {
		l, err := host.Listen(at)
		if err != nil {
			return err
		}
		defer l.Close()
		figures = []net.Listener{l}
	}
	var addresses []string
	for _, l := range listeners {
		addresses = append(addresses, l.Addr().String())
	}
	cfg.Log.Info("serving", "listen", addresses)
	host.Notify(p.getenv("NOTIFY_SOCKET"), "READY=1")

	var all sync.WaitGroup
	all.Go(func() { p.watch(ctx, end, a, cfg) })
	if len(figures) > 0 {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", a.Metrics())
		door := &server.Door{Handler: mux, MaxConnections: 16, Timeout: 10 * time.Second, Grace: time.Second}
		all.Go(func() { _ = door.Serve(ctx, figures...) })
	}
	s := cfg.Settings.Server
	door := &server.Door{Handler: a.Handler(), MaxConnections: s.MaxConnections, Timeout: s.Timeout, Grace: s.Grace, Broken: a.Metrics().Broken}
	err = door.Serve(ctx, listeners...)
	end()
	all.Wait()
	cfg.Log.Info("ended")
	return err
}

// watch does what signals say: the first one to end lets the server finish, the
// second does not.
func (p *process) watch(ctx context.Context, end func(), a *app.App, cfg app.Config) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-p.signals:
			if s == syscall.SIGHUP {
				p.reload(ctx, a, cfg)
				continue
			}
			host.Notify(p.getenv("NOTIFY_SOCKET"), "STOPPING=1")
			end()
			go func() {
				for s := range p.signals {
					if s != syscall.SIGHUP {
						os.Exit(failed)
					}
				}
			}()
			return
		}
	}
}

func (p *process) reload(ctx context.Context, a *app.App, cfg app.Config) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if err := a.Reload(ctx); err != nil && !errors.Is(err, context.Canceled) {
		cfg.Log.Error("the secrets stay as they were", "cause", err.Error())
		return
	}
	cfg.Log.Info("the secrets were read")
}
