package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Callers who come while one writes share the next transaction.
func TestCallersShareTransactions(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://a", "https://b")
		s.lead <- struct{}{} // somebody writes
		const callers = 50
		var wait sync.WaitGroup
		for n := range callers {
			wait.Go(func() {
				if _, err := s.Exchange(t.Context(), newUser(n)); err != nil {
					t.Error(err)
				}
			})
		}
		for len(s.queue) < callers {
			<-time.After(time.Millisecond)
		}
		s.batch(t.Context())
		if n := count(t, s, `SELECT count(*) FROM users`); n != callers {
			t.Errorf("one transaction made %d of %d users", n, callers)
		}
		if l.postgres() {
			if n := count(t, s, `SELECT count(DISTINCT xmin::text) FROM users`); n != 1 {
				t.Errorf("it took %d transactions", n)
			}
		}
		<-s.lead
		wait.Wait()
		sound(t, s)
	})
}

// What one of them asks cannot be written; the others get their answer.
func TestOneOfABatchFails(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://a")
		// A stand-in for a disk that fails: no row of this user is possible.
		for _, text := range failing(s) {
			if _, err := s.writer.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		s.lead <- struct{}{}
		var wait sync.WaitGroup
		errs := make([]error, 10)
		for n := range errs {
			wait.Go(func() {
				_, errs[n] = s.Exchange(t.Context(), newUser(n))
			})
		}
		for len(s.queue) < len(errs) {
			<-time.After(time.Millisecond)
		}
		<-s.lead
		wait.Wait()
		for n, err := range errs {
			if fails := n == 4; (err != nil) != fails {
				t.Errorf("user %d: %v", n, err)
			}
		}
		if err := errs[4]; err != nil && strings.Contains(err.Error(), "user4") {
			t.Errorf("the error shows who it is: %v", err)
		}
		if got := loads(t, s); got[0] != 9 {
			t.Errorf("load is %d, want 9", got[0])
		}
		sound(t, s)
	})
}

// failing makes a row of user4 impossible.
func failing(s *Store) []string {
	if s.dialect.lock == "" {
		return []string{`CREATE TRIGGER fail BEFORE INSERT ON users WHEN NEW.email LIKE 'user4@%' BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END`}
	}
	return []string{
		`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is gone'; END $$`,
		`CREATE TRIGGER fail BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.email LIKE 'user4@%') EXECUTE FUNCTION fail()`,
	}
}

// Who does not wait any more is not written for.
func TestCallerLeaves(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://a")
		s.lead <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := s.Exchange(ctx, newUser(1))
			left <- err
		}()
		for len(s.queue) < 1 {
			<-time.After(time.Millisecond)
		}
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left is told %v", err)
		}
		<-s.lead
		exchange(t, s, newUser(2))
		if n := count(t, s, `SELECT count(*) FROM users`); n != 1 {
			t.Errorf("%d users, want the one who waited", n)
		}
		if _, err := s.Exchange(ctx, newUser(3)); !errors.Is(err, context.Canceled) {
			t.Errorf("who comes too late is told %v", err)
		}
	})
}

// A writer that does not come back is an error, and not for ever.
func TestTimeout(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		l.service(1000, "https://a")
		s := l.store(Config{Timeout: 50 * time.Millisecond})
		other := l.store(Config{})
		id, err := other.service(t.Context(), "sync-1.5")
		if err != nil {
			t.Fatal(err)
		}
		err = other.update(t.Context(), []int64{id}, func(ctx context.Context, _ *tx) error {
			_, err := s.Exchange(ctx, newUser(1))
			if err == nil || !strings.HasPrefix(err.Error(), `store: service "sync-1.5": `) {
				t.Errorf("while somebody else writes: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, other, newUser(1))
	})
}

// A server that was restarted is there again, without an error for those who come.
func TestConnectionsEnd(t *testing.T) {
	l := newLab(t, "postgres")
	s := l.service(1000, "https://a")
	exchange(t, s, newUser(1))
	other := l.store(Config{})
	if _, err := other.writer.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		exchange(t, s, newUser(n))
	}
	sound(t, s)
}

// No verb of fmt, and no error, shows who somebody is.
func TestHidden(t *testing.T) {
	u := User{Email: "canary@example.com", ClientState: "caca"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{u, &u, u.Email, u.ClientState, Old{Email: u.Email, ClientState: u.ClientState}, Request{Email: u.Email, ClientState: u.ClientState}} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "canary") || strings.Contains(text, "caca") || strings.Contains(text, "63616e617279") {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
	}
	if u.Email.LogValue().String() != "hidden" || u.ClientState.LogValue().String() != "hidden" {
		t.Error("slog shows it")
	}
}
