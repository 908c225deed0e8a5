package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

var sqlite = dialect{
	identity: "INTEGER PRIMARY KEY AUTOINCREMENT",
	question: true,
	version:  `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'`,
}

// OpenSQLite opens the database in a file of a directory that is there, and makes
// it where there is none, for its owner alone. A file that others may read is
// refused.
func OpenSQLite(ctx context.Context, path string, cfg Config) (*Store, error) {
	// The journal's mode cannot be set by two at once: SQLite would not wait. The
	// lock is on the directory, and goes with its descriptor.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("store: %s: lock: %w", dir.Name(), err)
	}
	if err := makeFile(path); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	// FULL, not NORMAL: with NORMAL the last commits go with a power failure, and
	// what was answered is in them.
	writer, err := sql.Open("sqlite", sqliteName(path, "&_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=foreign_keys(on)"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	reader, err := sql.Open("sqlite", sqliteName(path, "&_pragma=query_only(on)"))
	if err != nil {
		writer.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	return open(ctx, cfg, sqlite, writer, reader)
}

func sqliteName(path, options string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(5000)" + options
}

// makeFile makes an empty file, which is an empty database. SQLite gives the
// files beside it the same mode.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s: others may read it (mode %04o); chmod 600 %s", path, mode, path)
	}
	return nil
}
