package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if url, ok := os.LookupEnv("STORE_TEST_CLIENT"); ok {
		client(url)
		return
	}
	status := m.Run()
	if err := server.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "the PostgreSQL server:", err)
		status = 1
	}
	os.Exit(status)
}

// server is the PostgreSQL of all tests, started by the first that needs it.
var server postgresServer

type postgresServer struct {
	once  sync.Once
	err   error
	dir   string
	cmd   *exec.Cmd
	ready chan struct{} // gets a value each time that the server takes connections
	ended chan error
}

// start gives the address of a schema without tables.
func (p *postgresServer) start(schema string) (string, error) {
	p.once.Do(func() { p.err = p.run() })
	return fmt.Sprintf("host=%s port=5432 user=token dbname=postgres search_path=%s", p.dir, schema), p.err
}

func (p *postgresServer) run() (err error) {
	if p.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		if attr.Credential, err = ordinaryUser(); err != nil {
			return err
		}
		if err := os.Chown(p.dir, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return err
		}
	}
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return err
	}
	data := filepath.Join(p.dir, "data")
	cmd := p.command(attr, initdb, "-D", data, "-U", "token", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	program, err := postgresProgram("postgres")
	if err != nil {
		return err
	}
	p.cmd = p.command(attr, program, "-D", data, "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_wal_size=4GB")
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	p.ready, p.ended = make(chan struct{}, 100), make(chan error, 1)
	started := make(chan error)
	go func() {
		// The signal of Pdeathsig comes when the thread ends that started the process.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.watch(log)
		p.ended <- p.cmd.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}
	return p.wait()
}

// watch reads the server's log.
func (p *postgresServer) watch(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			p.ready <- struct{}{}
		}
	}
}

// wait waits until the server takes connections.
func (p *postgresServer) wait() error {
	select {
	case <-p.ready:
		return nil
	case err := <-p.ended:
		p.ended <- err
		return fmt.Errorf("the server ended: %v", err)
	case <-time.After(time.Minute):
		return errors.New("the server is not ready after a minute")
	}
}

func (p *postgresServer) command(attr *syscall.SysProcAttr, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = p.dir, []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}, attr
	return cmd
}

func (p *postgresServer) stop() error {
	if p.dir == "" {
		return nil
	}
	var err error
	if p.ended != nil {
		err = p.cmd.Process.Signal(syscall.SIGINT)
		if err == nil {
			err = <-p.ended
		}
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

func ordinaryUser() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// postgresProgram finds a program of the server, which Debian keeps off PATH.
func postgresProgram(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) > 0 {
		slices.Sort(found)
		return found[len(found)-1], err
	}
	return exec.LookPath(name)
}

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
	url, err := server.start(schema)
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
