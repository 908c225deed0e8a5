package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Servers that start at the same moment make the schema once.
func TestStartAtOnce(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		stores := make([]*Store, 8)
		var wait sync.WaitGroup
		for i := range stores {
			wait.Go(func() {
				var err error
				if stores[i], err = l.open(Config{}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for _, s := range stores {
			if s == nil {
				continue
			}
			if n := count(t, s, `SELECT sum(version) FROM schema_version`); n != int64(len(migrations)) {
				t.Errorf("version %d, want %d", n, len(migrations))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// To open a file waits for whoever holds its directory.
func TestSQLiteOpensAlone(t *testing.T) {
	l := newLab(t, "sqlite")
	dir, err := os.Open(filepath.Dir(l.where))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		s, err := l.open(Config{})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	waits := fmt.Sprintf("-> FLOCK  ADVISORY  WRITE %d ", os.Getpid())
	for {
		select {
		case err := <-opened:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(locks), waits) {
			break
		}
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// Steps are taken once, in order, and all or none of those that are due.
func TestMigrate(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.store(Config{})
		ctx := t.Context()
		steps := append(append([]string{}, migrations...), `CREATE TABLE more (n BIGINT); INSERT INTO more VALUES (1)`)
		for range 2 {
			if err := migrate(ctx, s.writer.DB, s.dialect, steps); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, s, `SELECT count(*) FROM more`); n != 1 {
			t.Errorf("the step was taken %d times", n)
		}
		bad := append(steps, `INSERT INTO more VALUES (2)`, `INSERT INTO nowhere VALUES (1)`)
		err := migrate(ctx, s.writer.DB, s.dialect, bad)
		if want := fmt.Sprintf("migration %d: ", len(bad)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("a step that fails: %v, want %s…", err, want)
		}
		if n := count(t, s, `SELECT count(*) FROM more`); n != 1 {
			t.Errorf("half of what was due is done")
		}
		_, err = l.open(Config{})
		want := fmt.Sprintf("store: the database has schema %d, this program knows %d at most: run the newer program that made it", len(steps), len(migrations))
		if err == nil || err.Error() != want {
			t.Errorf("a newer schema: %v, want %s", err, want)
		}
	})
}

// SQLite, which knows nothing of how many rows there are, finds users by the
// index that is meant, and sorts none of them.
func TestSQLitePlans(t *testing.T) {
	s := newLab(t, "sqlite").store(Config{})
	for text, want := range map[string]string{
		selectLive:     "users_live (email=? AND service=?)",
		selectReplaced: "users_replaced (email=? AND service=?)",
		selectOldState: "users_replaced (email=? AND service=?)",
		selectRest:     "users_replaced (email=? AND service=?)",
		selectOld:      "users_purge (replaced_at>? AND replaced_at<?)",
		unassignNode:   "users_node (nodeid=?)",
		leaveNode:      "users_node (nodeid=?)",
	} {
		args := make([]any, 1+strings.Count(text, "$2")+strings.Count(text, "$3")+strings.Count(text, "$4"))
		rows, err := s.reader.Query("EXPLAIN QUERY PLAN "+s.dialect.text(text), args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var ignored any
			var step string
			if err := rows.Scan(&ignored, &ignored, &ignored, &step); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, step)
		}
		rows.Close()
		all := strings.Join(plan, "; ")
		if !strings.Contains(all, want) || strings.Contains(all, "SCAN u") || text == selectOld && strings.Contains(all, "TEMP B-TREE") {
			t.Errorf("%s\nis done by %s, want %s", text, all, want)
		}
	}
}

// The files of SQLite are their owner's alone, and a file that others can read is
// refused.
func TestSQLiteFiles(t *testing.T) {
	for _, name := range []string{"users.db", "a b%20?x=1#y.db"} {
		path := filepath.Join(t.TempDir(), name)
		s, err := OpenSQLite(t.Context(), path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(path + suffix)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: %v, %v, want mode 0600", name+suffix, info, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
			t.Errorf("after Close there are %v, %v", files, err)
		}
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		_, err = OpenSQLite(t.Context(), path, Config{})
		if want := fmt.Sprintf("store: %s: others may read it (mode 0640); chmod 600 %s", path, path); err == nil || err.Error() != want {
			t.Errorf("OpenSQLite: %v, want %s", err, want)
		}
	}
	_, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "none", "users.db"), Config{})
	if err == nil || !strings.Contains(err.Error(), "none: no such file or directory") {
		t.Errorf("without a directory: %v", err)
	}
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSQLite(t.Context(), path, Config{}); err == nil || !strings.Contains(err.Error(), "file is not a database") {
		t.Errorf("a file of something else: %v", err)
	}
}

// SQLite's writer waits for the disk; its readers cannot write.
func TestSQLiteSettings(t *testing.T) {
	s := newLab(t, "sqlite").store(Config{})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
		var got string
		if err := s.writer.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s of the writer is %q, %v, want %q", pragma, got, err, want)
		}
	}
	if _, err := s.reader.Exec(`DELETE FROM users`); err == nil {
		t.Error("a reader can write")
	}
}

// An address of a server that is wrong, or has nobody behind it, is not shown
// with its password.
func TestPostgresAddress(t *testing.T) {
	for _, url := range []string{
		"postgres://u:canary@127.0.0.1:1/db?connect_timeout=5",
		"postgres://u:canary@[::1/db",
		"postgres://u:canary@127.0.0.1:99999999/db",
		"host=/nowhere user=u password=canary",
		"host=x password='canary",
		"canary",
	} {
		s, err := OpenPostgres(context.Background(), url, Config{})
		if err == nil {
			s.Close()
			t.Errorf("%s is taken", url)
		} else if strings.Contains(err.Error(), "canary") || !strings.HasPrefix(err.Error(), "store: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
