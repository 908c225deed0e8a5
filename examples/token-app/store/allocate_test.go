package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var newUsers = flag.Int("store.users", 1200, "new users of TestLoads")

// newUser is the n-th user who was never seen.
func newUser(n int) Request {
	return Request{Service: "sync-1.5", Email: Email(fmt.Sprintf("user%d@example.com", n)), AllowNew: true}
}

// New users come from 64 callers through two stores; half way a node is downed.
// Whatever the order, the loads are equal, and each user has one record.
func TestLoads(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		var nodes []string
		for i := range 8 {
			nodes = append(nodes, fmt.Sprintf("https://db%d.example.com", i))
		}
		stores := []*Store{l.service(int64(*newUsers), nodes...), l.store(Config{})}
		start := time.Now()
		var next atomic.Int64
		half := func(until int64) {
			var wait sync.WaitGroup
			for caller := range 64 {
				wait.Go(func() {
					for n := next.Add(1); n <= until; n = next.Add(1) {
						if _, err := stores[caller%2].Exchange(t.Context(), newUser(int(n))); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			next.Store(until)
		}
		total := int64(*newUsers)
		half(total / 2)
		equal(t, loads(t, stores[0]), total/2)
		if err := stores[1].UpdateNode(t.Context(), "sync-1.5", nodes[3], NodeSettings{Downed: new(true)}); err != nil {
			t.Fatal(err)
		}
		half(total)
		after := loads(t, stores[0])
		if after[3] != total/16 && after[3] != total/16+1 {
			t.Errorf("the downed node has %d users, want those of the first half", after[3])
		}
		equal(t, slices.Delete(slices.Clone(after), 3, 4), total-after[3])
		t.Logf("%d users in %v", total, time.Since(start))
		if n := count(t, stores[0], `SELECT count(DISTINCT email) FROM users`); n != total {
			t.Errorf("%d users have records, want %d", n, total)
		}
		sound(t, stores[0])
	})
}

// equal fails unless total users are on the nodes, as many on each.
func equal(t *testing.T, loads []int64, total int64) {
	t.Helper()
	var sum int64
	for _, load := range loads {
		sum += load
	}
	if sum != total || slices.Max(loads)-slices.Min(loads) > 1 {
		t.Errorf("loads are %v, want %d in all and as many everywhere", loads, total)
	}
}

// Two servers and many callers do not fill a node over its capacity.
func TestCapacityIsExact(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		stores := []*Store{l.service(13, "https://a", "https://b"), l.store(Config{})}
		var wait sync.WaitGroup
		var got, full atomic.Int64
		for n := range 40 {
			wait.Go(func() {
				switch _, err := stores[n%2].Exchange(t.Context(), newUser(n)); {
				case err == nil:
					got.Add(1)
				case errors.Is(err, ErrNoNode):
					full.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if got.Load() != 26 || full.Load() != 14 || !slices.Equal(loads(t, stores[0]), []int64{13, 13}) {
			t.Errorf("%d users got a node, %d did not, loads are %v; want 26, 14, [13 13]", got.Load(), full.Load(), loads(t, stores[0]))
		}
		sound(t, stores[0])
	})
}

// Who waits for another server's transaction chooses a node after it: PostgreSQL
// by itself would choose before, and then wait for that node.
func TestPostgresChoosesBehindTheLock(t *testing.T) {
	l := newLab(t, "postgres")
	s, other := l.service(100, "https://a", "https://b"), l.store(Config{})
	id, err := s.service(t.Context(), "sync-1.5")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	err = s.update(t.Context(), []int64{id}, func(ctx context.Context, tx *tx) error {
		if _, err := tx.exchange(ctx, id, newUser(1)); err != nil {
			return err
		}
		go func() {
			_, err := other.Exchange(ctx, newUser(2))
			done <- err
		}()
		for {
			var waiting int
			if err := s.reader.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`).Scan(&waiting); err != nil || waiting > 0 {
				return err
			}
		}
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if got, want := loads(t, s), []int64{1, 1}; !slices.Equal(got, want) {
		t.Errorf("loads are %v, want %v", got, want)
	}
	sound(t, s)
}

// A node opens a tenth of its capacity at a time, when nothing else is open.
func TestRelease(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(25, "https://a")
		if err := s.AddNode(t.Context(), "sync-1.5", "https://b", NodeSettings{Capacity: new(int64(5)), Available: new(int64(0))}); err != nil {
			t.Fatal(err)
		}
		available := func() (list []int64) {
			nodes, err := s.Nodes(t.Context(), "sync-1.5")
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				list = append(list, n.Available)
			}
			return list
		}
		for n, want := range [][]int64{
			{3, 0}, {2, 0}, {1, 0}, {0, 0}, // all on the first, though the other one is empty
			{3, 0}, {2, 0}, {1, 0}, {0, 0}, // both open: 3 and 1; the empty one is first
		} {
			if got := available(); !slices.Equal(got, want) {
				t.Fatalf("after %d users %v are available, want %v", n, got, want)
			}
			exchange(t, s, newUser(n))
		}
		if got, want := loads(t, s), []int64{6, 2}; !slices.Equal(got, want) {
			t.Errorf("loads are %v, want %v", got, want)
		}
	})
}

// A node that is downed or backed off gets nobody, and is not opened either.
func TestClosedNodes(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		for name, closed := range map[string]NodeSettings{"downed": {Downed: new(true)}, "backoff": {Backoff: new(true)}} {
			s := l.service(100)
			node := "https://" + name
			if err := s.AddNode(t.Context(), "sync-1.5", node, NodeSettings{Capacity: new(int64(100)), Available: new(int64(0)), Downed: closed.Downed, Backoff: closed.Backoff}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Exchange(t.Context(), newUser(1))
			nodes, listErr := s.Nodes(t.Context(), "")
			if !errors.Is(err, ErrNoNode) || listErr != nil || nodes[len(nodes)-1].Available != 0 {
				t.Errorf("%s: %v, %v, %+v", name, err, listErr, nodes)
			}
			if err := s.UpdateNode(t.Context(), "sync-1.5", node, NodeSettings{Available: new(int64(7))}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Exchange(t.Context(), newUser(1)); !errors.Is(err, ErrNoNode) {
				t.Errorf("%s, with room: %v", name, err)
			}
		}
	})
}

// Capacity 1 and load 0 are numbers like others.
func TestSmallNodes(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1, "https://a", "https://b", "https://c")
		for n, want := range []string{"https://a", "https://b", "https://c"} {
			if got := exchange(t, s, newUser(n)).Node; got != want {
				t.Errorf("user %d is on %s, want %s", n, got, want)
			}
		}
		if _, err := s.Exchange(t.Context(), newUser(3)); !errors.Is(err, ErrNoNode) {
			t.Errorf("the fourth user: %v", err)
		}
	})
}

// A user with new keys has two records on the node until the old one is purged.
func TestLoadOfKeyChanges(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(10, "https://a", "https://b")
		req := newUser(1)
		for i := range int64(4) {
			req.Generation, req.KeysChangedAt, req.ClientState = i+1, i+1, ClientState(fmt.Sprintf("%02x", i))
			exchange(t, s, req)
			l.later(time.Second)
		}
		if got, want := loads(t, s), []int64{4, 0}; !slices.Equal(got, want) {
			t.Errorf("loads are %v, want %v", got, want)
		}
		sound(t, s)
		l.later(2 * day)
		if _, err := s.Purge(t.Context(), Purge{Service: "sync-1.5"}, func(context.Context, Old) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got, want := loads(t, s), []int64{1, 0}; !slices.Equal(got, want) {
			t.Errorf("after the purge loads are %v, want %v", got, want)
		}
		sound(t, s)
	})
}

// A full node keeps its users when their keys change.
func TestKeyChangeOnFullNode(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1, "https://a")
		req := newUser(1)
		first := exchange(t, s, req)
		req.Generation, req.ClientState = 1, "aa"
		second := exchange(t, s, req)
		if second.UID == first.UID || second.Node != first.Node || second.FirstSeen != first.FirstSeen {
			t.Errorf("new keys: %+v after %+v", second, first)
		}
		if got := loads(t, s); got[0] != 2 {
			t.Errorf("load is %d, want 2", got[0])
		}
		sound(t, s)
	})
}

// An issuer brings as many users as it may, whoever counts.
func TestCapOfIssuer(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		stores := []*Store{l.service(1000, "https://a"), l.store(Config{})}
		var wait sync.WaitGroup
		var got, refused atomic.Int64
		for n := range 30 {
			wait.Go(func() {
				req := newUser(n)
				req.Issuer, req.Limits = "evil.example.com", Limits{Cap: 20}
				_, err := stores[n%2].Exchange(t.Context(), req)
				var limit *LimitError
				switch {
				case err == nil:
					got.Add(1)
				case errors.As(err, &limit) && limit.RetryAfter == 0:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if got.Load() != 20 || refused.Load() != 10 || loads(t, stores[0])[0] != 20 {
			t.Errorf("%d came in, %d did not, load %v; want 20 and 10", got.Load(), refused.Load(), loads(t, stores[0]))
		}
		s := stores[0]
		other := newUser(100)
		other.Issuer, other.Limits = "good.example.com", Limits{Cap: 20}
		exchange(t, s, other)

		// Users who are known are not new, with new keys either; and who is purged does not count.
		known, _, err := s.User(t.Context(), "sync-1.5", Email(anyEmail(t, s, "evil.example.com")))
		if err != nil {
			t.Fatal(err)
		}
		again := Request{Service: "sync-1.5", Email: known.Email, Generation: 5, ClientState: "aa", Issuer: "evil.example.com", Limits: Limits{Cap: 20}, AllowNew: true}
		exchange(t, s, again)
		l.later(2 * day)
		purge(t, s)
		more := newUser(101)
		more.Issuer, more.Limits = "evil.example.com", Limits{Cap: 20}
		if _, err := s.Exchange(t.Context(), more); err == nil {
			t.Error("to purge old keys made room for a new user")
		}
		if _, err := s.Retire(t.Context(), known.Email); err != nil {
			t.Fatal(err)
		}
		l.later(2 * day)
		purge(t, s)
		exchange(t, s, more)
		if n := count(t, s, `SELECT users FROM issuers WHERE issuer = 'evil.example.com'`); n != 20 {
			t.Errorf("the issuer has %d users, want 20", n)
		}
		if n, err := s.RetireIssuer(t.Context(), "evil.example.com"); n != 20 || err != nil {
			t.Errorf("RetireIssuer = %d, %v, want 20", n, err)
		}
		if n, err := s.RetireIssuer(t.Context(), "evil.example.com"); n != 0 || err != nil {
			t.Errorf("RetireIssuer again = %d, %v", n, err)
		}
		if n, err := s.CountUsers(t.Context(), "", l.now()); n != 1 || err != nil {
			t.Errorf("CountUsers = %d, %v, want that of the other issuer", n, err)
		}
		sound(t, s)
	})
}

func anyEmail(t *testing.T, s *Store, issuer string) (email string) {
	if err := s.reader.QueryRow(s.dialect.text(`SELECT email FROM users WHERE issuer = $1 LIMIT 1`), issuer).Scan(&email); err != nil {
		t.Fatal(err)
	}
	return email
}

func purge(t *testing.T, s *Store) {
	t.Helper()
	done, err := s.Purge(t.Context(), Purge{Service: "sync-1.5"}, func(context.Context, Old) error { return nil })
	if err != nil || done.Removed == 0 || done.Failed != 0 {
		t.Fatalf("Purge = %+v, %v", done, err)
	}
}

// Six new users an hour: six at once, and then one every ten minutes.
func TestRateOfIssuer(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://a")
		n := 0
		bring := func() time.Duration {
			n++
			req := newUser(n)
			req.Issuer, req.Limits = "i", Limits{Rate: 6}
			_, err := s.Exchange(t.Context(), req)
			var limit *LimitError
			if errors.As(err, &limit) {
				return limit.RetryAfter
			}
			if err != nil {
				t.Fatal(err)
			}
			return 0
		}
		for i := range 6 {
			if wait := bring(); wait != 0 {
				t.Fatalf("user %d of 6 has to wait %v", i+1, wait)
			}
		}
		for _, tt := range []struct{ pass, want time.Duration }{
			{0, 10 * time.Minute},
			{9 * time.Minute, time.Minute},
			{time.Minute, 0},
			{0, 10 * time.Minute},
			{20 * time.Minute, 0},
			{0, 0},
			{0, 10 * time.Minute},
		} {
			l.later(tt.pass)
			if wait := bring(); wait != tt.want {
				t.Errorf("%v later: wait %v, want %v", tt.pass, wait, tt.want)
			}
		}
		req := newUser(1)
		req.Issuer, req.Limits = "i", Limits{Rate: 6}
		exchange(t, s, req) // is known
		for range 20 {
			l.later(day)
			if wait := bring(); wait != 0 {
				t.Errorf("a day later: wait %v", wait)
			}
		}
	})
}
