package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appbundle/examples/token-app/store/storetest"
)

func TestMain(m *testing.M) {
	if url, ok := os.LookupEnv("STORE_TEST_CLIENT"); ok {
		client(url)
		return
	}
	status := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "the PostgreSQL server:", err)
		status = 1
	}
	os.Exit(status)
}

// server is the PostgreSQL of all tests, started by the first that needs it.
var server storetest.Postgres

// A lab is an empty database, with a clock.
type lab struct {
	t     testing.TB
	open  func(Config) (*Store, error)
	where string // for OpenSQLite or OpenPostgres
	clock atomic.Int64
}

const day = 24 * time.Hour

func (l *lab) now() time.Time        { return time.UnixMilli(l.clock.Load()) }
func (l *lab) later(d time.Duration) { l.clock.Add(d.Milliseconds()) }

func (l *lab) postgres() bool { return strings.HasPrefix(l.where, "host=") }

// store opens the database, once more perhaps.
func (l *lab) store(cfg Config) *Store {
	l.t.Helper()
	if cfg.Now == nil {
		cfg.Now = l.now
	}
	s, err := l.open(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return s
}

// service is a store with a service and its nodes.
func (l *lab) service(capacity int64, nodes ...string) *Store {
	l.t.Helper()
	s := l.store(Config{})
	if err := s.AddService(l.t.Context(), Service{"sync-1.5", "{node}/1.5/{uid}"}); err != nil {
		l.t.Fatal(err)
	}
	for _, node := range nodes {
		if err := s.AddNode(l.t.Context(), "sync-1.5", node, NodeSettings{Capacity: &capacity}); err != nil {
			l.t.Fatal(err)
		}
	}
	return s
}

var schemas atomic.Int64

func newLab(t testing.TB, database string) *lab {
	t.Helper()
	l := &lab{t: t}
	l.clock.Store(1_700_000_000_000)
	if database == "sqlite" {
		l.where = filepath.Join(t.TempDir(), "users.db")
		l.open = func(cfg Config) (*Store, error) { return OpenSQLite(context.Background(), l.where, cfg) }
		return l
	}
	schema := fmt.Sprintf("t%d", schemas.Add(1))
	url, err := server.Start(schema)
	if err != nil {
		t.Fatal(err)
	}
	l.where = url
	l.open = func(cfg Config) (*Store, error) { return OpenPostgres(context.Background(), url, cfg) }
	admin, err := OpenPostgres(t.Context(), strings.Replace(url, schema, "public", 1), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.writer.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	return l
}

// both runs a test on both databases.
func both(t *testing.T, f func(*testing.T, *lab)) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) { f(t, newLab(t, database)) })
	}
}

// exchange is what has to work.
func exchange(t testing.TB, s *Store, req Request) User {
	t.Helper()
	user, err := s.Exchange(t.Context(), req)
	if err != nil {
		t.Fatalf("Exchange: %v", err)
	}
	return user
}

// sound fails where the records contradict each other or the loads.
func sound(t testing.TB, s *Store) {
	t.Helper()
	drifts, err := s.Recount(context.Background())
	if err != nil || len(drifts) > 0 {
		t.Errorf("loads are not what the records say: %v, %v", drifts, err)
	}
	twins := count(t, s, `SELECT count(*) FROM (SELECT service, email FROM users WHERE replaced_at IS NULL GROUP BY service, email HAVING count(*) > 1) AS t`)
	if twins != 0 {
		t.Errorf("%d users have several live records", twins)
	}
	if s.dialect.lock == "" {
		var text string
		if err := s.reader.QueryRow(`PRAGMA integrity_check`).Scan(&text); err != nil || text != "ok" {
			t.Errorf("integrity_check: %q, %v", text, err)
		}
	}
}

func count(t testing.TB, s *Store, query string, args ...any) (n int64) {
	t.Helper()
	if err := s.writer.QueryRow(s.dialect.text(query), args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// loads are the loads of the nodes, in their order.
func loads(t testing.TB, s *Store) (list []int64) {
	t.Helper()
	nodes, err := s.Nodes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		list = append(list, n.Load)
	}
	return list
}
