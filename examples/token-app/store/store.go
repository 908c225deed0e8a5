// Package store knows the users of a token server: on which node each is, with
// which keys, and since when. It has one interface and two databases: SQLite, a
// file of this host, and PostgreSQL.
//
// A user is an identity of a service. [Store.Exchange] brings a user's claims in:
// it refuses what is older than what is known, gives new users to the node with
// the smallest number of them, and says what holds now. Everything is judged
// before anything is written, and written in one transaction.
//
// # Records
//
// A user has one live record, with a uid. New keys or another node make a new
// record, with a new uid, and the old one is replaced: it stays until the data
// behind it are purged, and counts on its node until then, because the node
// still has the data. A retired user has no live record, and no claim is new
// enough to make one.
//
// # Concurrency
//
// Any number of goroutines and of processes may use one database. There is one
// writer at a time for a service, in all of them together: SQLite has one for the file,
// PostgreSQL an advisory lock for each service. Loads and limits are
// exact for that reason. Callers that come at the same time share a transaction,
// so that they wait for the disk once.
//
// What a caller was told is on the disk: also after the power failed, where the
// disk keeps its word.
//
// # Limits
//
// Identities, node addresses and issuers have at most 255 bytes, client states 32, names of
// services 30. What is longer is refused; nothing is shortened. Letter case and
// spelling of an identity are the caller's to decide.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// A Config says how a store works. The zero value is good for a server.
type Config struct {
	Now     func() time.Time // nil means time.Now
	Timeout time.Duration    // of a transaction that callers share; 0 means 10s
	Readers int              // connections for reading; 0 means 4
	Release int              // per cent of its capacity that a node opens at once; 0 means 10
}

// retired is the generation that no claim reaches.
const retired = math.MaxInt64

// ErrUnknownService says that there is no service of this name.
var ErrUnknownService = errors.New("there is no such service")

// ErrUnknownNode says that the service has no such node.
var ErrUnknownNode = errors.New("there is no such node")

// ErrNoNode says that no node takes a user: each is full, downed or backed off.
var ErrNoNode = errors.New("no node has room for a user")

// A Store is an open database.
type Store struct {
	cfg      Config
	dialect  dialect
	writer   *database
	reader   *database
	queue    chan *pending
	lead     chan struct{} // held by who writes
	mu       sync.RWMutex
	services map[string]int64 // what was found so far; a service is never removed
}

// open makes a Store of connections, and brings the schema up to date.
func open(ctx context.Context, cfg Config, d dialect, writer, reader *sql.DB) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Release == 0 {
		cfg.Release = 10
	}
	writer.SetMaxOpenConns(1)
	reader.SetMaxOpenConns(readers(cfg))
	reader.SetMaxIdleConns(readers(cfg))
	s := &Store{
		cfg:      cfg,
		dialect:  d,
		writer:   &database{DB: writer, dialect: d},
		reader:   &database{DB: reader, dialect: d},
		queue:    make(chan *pending, maxBatch),
		lead:     make(chan struct{}, 1),
		services: map[string]int64{},
	}
	err := migrate(ctx, writer, d, migrations)
	if err == nil {
		err = s.writer.prepare(ctx, append(reading, writing...))
	}
	if err == nil {
		err = s.reader.prepare(ctx, reading)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("store: %w", oneLine{err})
	}
	return s, nil
}

func readers(cfg Config) int {
	if cfg.Readers == 0 {
		return 4
	}
	return cfg.Readers
}

// Close ends all connections. Calls that are under way fail.
func (s *Store) Close() error {
	return errors.Join(s.reader.DB.Close(), s.writer.DB.Close())
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int64
	if err := s.reader.row(ctx, ping).Scan(&one); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

var ping = read(`SELECT 1`)

// now is the time as it is stored.
func (s *Store) now() int64 { return s.cfg.Now().UnixMilli() }

// A Service is a kind of node: "sync-1.5". Pattern makes the address that a
// client uses of {node}, {uid} and {service}.
type Service struct {
	Name    string
	Pattern string
}

var (
	selectService  = read(`SELECT id FROM services WHERE service = $1`)
	selectServices = read(`SELECT service, pattern FROM services ORDER BY service`)
	upsertService  = write(`INSERT INTO services (service, pattern) VALUES ($1, $2)
		ON CONFLICT (service) DO UPDATE SET pattern = excluded.pattern WHERE services.pattern <> excluded.pattern`)
)

// AddService adds a service, or gives the one of this name another pattern.
func (s *Store) AddService(ctx context.Context, service Service) error {
	err := checkLength("the name", service.Name, 1, 30)
	if err == nil {
		err = checkLength("the pattern", service.Pattern, 1, 255)
	}
	if err == nil {
		err = s.update(ctx, nil, func(ctx context.Context, t *tx) error {
			_, err := t.exec(ctx, upsertService, service.Name, service.Pattern)
			return err
		})
	}
	return wrap(err, "service %q", service.Name)
}

// Services lists the services in the order of their names.
func (s *Store) Services(ctx context.Context) ([]Service, error) {
	list, err := collect(ctx, s.reader, func(row scanner) (v Service, err error) {
		err = row.Scan(&v.Name, &v.Pattern)
		return v, err
	}, selectServices)
	return list, wrap(err, "services")
}

// service is the number of a service.
func (s *Store) service(ctx context.Context, name string) (int64, error) {
	s.mu.RLock()
	id, ok := s.services[name]
	s.mu.RUnlock()
	if ok {
		return id, nil
	}
	err := s.reader.row(ctx, selectService, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, ErrUnknownService
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.services[name] = id
	s.mu.Unlock()
	return id, nil
}
