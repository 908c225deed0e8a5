package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A dialect is where the two databases differ.
type dialect struct {
	identity string // the type of a column that numbers its rows
	question bool   // placeholders are ?1, not $1
	lock     string // makes the transaction the only one for the service $1; "" where it is the only one anyway
	version  string // whether there is a table schema_version, as 0 or 1
	sequence string // sets what numbers the users behind the last of them; "" where that is so anyway
}

// reading and writing are the statements of the package. Each is prepared when a store
// is opened: a connection that a transaction has taken cannot wait for another one.
var reading, writing []string

func read(text string) string {
	reading = append(reading, text)
	return text
}

func write(text string) string {
	writing = append(writing, text)
	return text
}

var placeholder = regexp.MustCompile(`\$([0-9]+)`)

func (d dialect) text(query string) string {
	query = strings.ReplaceAll(query, "{{identity}}", d.identity)
	if d.question {
		query = placeholder.ReplaceAllString(query, "?$1")
	}
	return query
}

// value is the n-th placeholder of a statement that has each once. SQLite looks for a
// number in a list of all of them, and for a bare one nowhere.
func (d dialect) value(n int) string {
	if d.question {
		return "?"
	}
	return "$" + strconv.Itoa(n)
}

// A database is a pool of connections with its statements.
type database struct {
	*sql.DB
	dialect    dialect
	statements map[string]*sql.Stmt
}

func (d *database) prepare(ctx context.Context, texts []string) error {
	d.statements = map[string]*sql.Stmt{}
	for _, text := range texts {
		stmt, err := d.PrepareContext(ctx, d.dialect.text(text))
		if err != nil {
			return err
		}
		d.statements[text] = stmt
	}
	return nil
}

func (d *database) row(ctx context.Context, text string, args ...any) *sql.Row {
	return d.statements[text].QueryRowContext(ctx, args...)
}

func (d *database) rows(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return d.statements[text].QueryContext(ctx, args...)
}

// A tx is a transaction, and the only one that changes the services it is for.
type tx struct {
	*sql.Tx
	s *Store
}

func (t *tx) row(ctx context.Context, text string, args ...any) *sql.Row {
	return t.StmtContext(ctx, t.s.writer.statements[text]).QueryRowContext(ctx, args...)
}

func (t *tx) rows(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return t.StmtContext(ctx, t.s.writer.statements[text]).QueryContext(ctx, args...)
}

// exec gives the number of rows that it changed.
func (t *tx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	result, err := t.StmtContext(ctx, t.s.writer.statements[text]).ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// A querier is a database or a transaction.
type querier interface {
	row(ctx context.Context, text string, args ...any) *sql.Row
	rows(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// update runs f in a transaction that no other one of these services runs beside.
func (s *Store) update(ctx context.Context, services []int64, f func(context.Context, *tx) error) error {
	select {
	case s.lead <- struct{}{}:
		defer func() { <-s.lead }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.transaction(ctx, services, f)
}

// transaction is update for who holds s.lead.
func (s *Store) transaction(ctx context.Context, services []int64, f func(context.Context, *tx) error) error {
	inner, err := s.writer.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.isolation()})
	if err != nil {
		return err
	}
	defer inner.Rollback()
	t := &tx{inner, s}
	if s.dialect.lock != "" {
		// In one order everywhere, so that nobody waits in a circle.
		for _, id := range slices.Compact(slices.Sorted(slices.Values(services))) {
			if _, err := inner.ExecContext(ctx, s.dialect.lock, id); err != nil {
				return err
			}
		}
	}
	if err := f(ctx, t); err != nil {
		return err
	}
	return inner.Commit()
}

// isolation is what the locks need: behind a lock, a statement sees what was
// committed before it was given.
func (d dialect) isolation() sql.IsolationLevel {
	if d.lock == "" {
		return sql.LevelDefault
	}
	return sql.LevelReadCommitted
}

// all are the numbers of all services.
func (s *Store) all(ctx context.Context) ([]int64, error) {
	return collect(ctx, s.reader, func(row scanner) (id int64, err error) {
		err = row.Scan(&id)
		return id, err
	}, selectServiceIDs)
}

var selectServiceIDs = read(`SELECT id FROM services ORDER BY id`)

// A scanner is a row.
type scanner interface{ Scan(dest ...any) error }

// collect reads what a query gives, one row after another.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.rows(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// wrap says what an error is about. What a caller acts on stays as it is.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %s: %w", fmt.Sprintf(format, args...), oneLine{err})
}

// oneLine is an error on one line: pgx has one for each address that it tried.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// checkLength refuses text that the databases would store in different ways.
func checkLength(what, text string, least, most int) error {
	switch {
	case len(text) < least:
		return fmt.Errorf("%s is empty", what)
	case len(text) > most:
		return fmt.Errorf("%s has %d bytes; at most %d are possible", what, len(text), most)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s has control characters, or is not UTF-8", what)
	}
	return nil
}

// bit is a truth as both databases store it.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func isNone(err error) bool { return errors.Is(err, sql.ErrNoRows) }
