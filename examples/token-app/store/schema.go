package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
)

//go:embed migrations/*.sql
var files embed.FS

// migrations are the steps of the schema, in order. A step that was released is
// never changed: what it did is in databases.
var migrations = func() []string {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	var list []string
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it was found in the program itself
		}
		list = append(list, string(text))
	}
	return list
}()

// migrate takes the steps that the database does not have yet, in one
// transaction. Of several programs that start at once one takes them; the others
// wait.
func migrate(ctx context.Context, db *sql.DB, d dialect, steps []string) error {
	inner, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: d.isolation()})
	if err != nil {
		return err
	}
	defer inner.Rollback()
	if d.lock != "" {
		if _, err := inner.ExecContext(ctx, d.lock, 0); err != nil { // services count from 1
			return err
		}
	}
	has, err := schemaVersion(ctx, inner, d)
	if err != nil {
		return fmt.Errorf("version of the schema: %w", err)
	}
	if has > len(steps) {
		return fmt.Errorf("the database has schema %d, this program knows %d at most: run the newer program that made it", has, len(steps))
	}
	if has == len(steps) {
		return nil
	}
	for i, step := range steps[has:] {
		if _, err := inner.ExecContext(ctx, d.text(step)); err != nil {
			return fmt.Errorf("migration %d: %w", has+i+1, err)
		}
	}
	if _, err := inner.ExecContext(ctx, d.text(`UPDATE schema_version SET version = $1`), len(steps)); err != nil {
		return err
	}
	return inner.Commit()
}

// schemaVersion is the number of steps that the database has. A new one gets the
// table that says so.
func schemaVersion(ctx context.Context, inner *sql.Tx, d dialect) (int, error) {
	var known int
	if err := inner.QueryRowContext(ctx, d.version).Scan(&known); err != nil {
		return 0, err
	}
	if known == 0 {
		for _, text := range []string{
			`CREATE TABLE schema_version (version BIGINT NOT NULL)`,
			`INSERT INTO schema_version (version) VALUES (0)`,
		} {
			if _, err := inner.ExecContext(ctx, text); err != nil {
				return 0, err
			}
		}
		return 0, nil
	}
	var version int
	err := inner.QueryRowContext(ctx, `SELECT version FROM schema_version`).Scan(&version)
	return version, err
}
