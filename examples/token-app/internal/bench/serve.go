package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"appbundle/examples/token-app/app"
	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/server"
	"appbundle/examples/token-app/settings"
	"appbundle/examples/token-app/store"
)

const nodes = 8

// serve serves until ctx ends: with workers at POWERHOSE_MASTER, where the settings
// want some, and in PostgreSQL where DATABASE_URL is set.
func serve(ctx context.Context, file string, out io.Writer) error {
	s, err := settings.Load(file)
	if err != nil {
		return err
	}
	p, err := idp.Load(host, filepath.Join(filepath.Dir(file), "idp.pem"))
	if err != nil {
		return err
	}
	a, err := app.Open(ctx, app.Config{
		Settings: s, State: s.Server.State, Database: os.Getenv("DATABASE_URL"), Master: os.Getenv("POWERHOSE_MASTER"),
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)), Fetch: issuer{p},
	})
	if err != nil {
		return err
	}
	defer a.Close()
	there, err := a.Store().Nodes(ctx, "")
	if err != nil {
		return err
	}
	for n := len(there); n < nodes; n++ {
		many := int64(1_000_000_000)
		if err := a.Store().AddNode(ctx, "sync-1.5", fmt.Sprintf("https://db%d.bench.example", n), store.NodeSettings{Capacity: &many}); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	d := server.Door{Handler: a.Handler(), MaxConnections: s.Server.MaxConnections, Timeout: s.Server.Timeout, Grace: s.Server.Grace, Broken: a.Metrics().Broken}
	return d.Serve(ctx, l)
}
