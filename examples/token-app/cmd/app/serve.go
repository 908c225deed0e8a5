package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"appbundle/examples/token-app/app"
	"appbundle/examples/token-app/demo"
	"appbundle/examples/token-app/internal/host"
	"appbundle/examples/token-app/server"
)

// openTime is how long the start may wait for a database.
const openTime = 30 * time.Second

// A service is what is served: a server, or a demo.
type service interface {
	Handler() http.Handler
	Metrics() *server.Metrics
	Reload(context.Context) error
	Close()
}

// serveConfig serves what settings say.
func (p *process) serveConfig(cfg app.Config) error {
	s := cfg.Settings.Server
	d := door{listen: s.Listen, metrics: s.Metrics, Door: server.Door{MaxConnections: s.MaxConnections, Timeout: s.Timeout, Grace: s.Grace}}
	return p.serve(d, cfg.Log, func(ctx context.Context, _ net.Addr) (service, error) { return app.Open(ctx, cfg) })
}

// serveDemo serves the demo, and says what to do with it.
func (p *process) serveDemo() error {
	log := slog.New(slog.NewJSONHandler(p.stderr, nil))
	return p.serve(door{listen: "127.0.0.1:8000"}, log, func(ctx context.Context, at net.Addr) (service, error) {
		d, err := demo.Open(ctx, demo.Config{Address: at, Version: p.getenv("APPBUNDLE_VERSION"), State: p.state(), Master: p.getenv("POWERHOSE_MASTER"), Log: log})
		if err != nil {
			return nil, err
		}
		fmt.Fprint(p.stdout, d.Hello())
		return d, nil
	})
}

// A door is where requests come in.
type door struct {
	listen  string
	metrics string // HOST:PORT of figures; all else is nothing
	server.Door
}

// serve runs a server until a signal ends it.
func (p *process) serve(d door, log *slog.Logger, open func(context.Context, net.Addr) (service, error)) error {
	inherited, err := host.Inherited(p.getenv, p.pid)
	if err != nil {
		return err
	}
	defer inherited.Close()
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // they are no children's
	}
	figures := inherited.Take("metrics")
	listeners := inherited.Listeners
	if len(listeners) == 0 {
		l, err := host.Listen(d.listen)
		if err != nil {
			return err
		}
		defer l.Close()
		listeners = []net.Listener{l}
	}
	if len(figures) == 0 && d.metrics != "" && !strings.HasPrefix(d.metrics, "/") {
		l, err := host.Listen(d.metrics)
		if err != nil {
			return err
		}
		defer l.Close()
		figures = []net.Listener{l}
	}

	ctx, end := context.WithCancel(context.Background())
	defer end()
	opening, cancel := context.WithTimeout(ctx, openTime)
	s, err := open(opening, listeners[0].Addr())
	cancel()
	if err != nil {
		return err
	}
	defer s.Close()
	var addresses []string
	for _, l := range listeners {
		addresses = append(addresses, l.Addr().String())
	}
	log.Info("serving", "listen", addresses)
	host.Notify(p.getenv("NOTIFY_SOCKET"), "READY=1")

	var all sync.WaitGroup
	all.Go(func() { p.watch(ctx, end, s, log) })
	if len(figures) > 0 {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", s.Metrics())
		admin := &server.Door{Handler: mux, MaxConnections: 16, Timeout: 10 * time.Second, Grace: time.Second}
		all.Go(func() { _ = admin.Serve(ctx, figures...) })
	}
	d.Handler, d.Broken = s.Handler(), s.Metrics().Broken
	err = d.Serve(ctx, listeners...)
	end()
	all.Wait()
	log.Info("ended")
	return err
}

// watch does what signals say: the first one to end lets the server finish, the
// second does not.
func (p *process) watch(ctx context.Context, end func(), s service, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-p.signals:
			if sig == syscall.SIGHUP {
				p.reload(ctx, s, log)
				continue
			}
			host.Notify(p.getenv("NOTIFY_SOCKET"), "STOPPING=1")
			end()
			go func() {
				for sig := range p.signals {
					if sig != syscall.SIGHUP {
						os.Exit(failed)
					}
				}
			}()
			return
		}
	}
}

func (p *process) reload(ctx context.Context, s service, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if err := s.Reload(ctx); err != nil {
		if !errors.Is(err, context.Canceled) {
			log.Error("the secrets stay as they were", "cause", err.Error())
		}
		return
	}
	log.Info("the secrets were read")
}
