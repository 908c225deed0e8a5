package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNodes(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100)
		ctx := t.Context()
		add := func(node string, settings NodeSettings) error { return s.AddNode(ctx, "sync-1.5", node, settings) }
		update := func(node string, settings NodeSettings) error {
			return s.UpdateNode(ctx, "sync-1.5", node, settings)
		}
		for _, tt := range []struct {
			name string
			err  error
			want string
		}{
			{"add", add("https://a", NodeSettings{Capacity: new(int64(95))}), ""},
			{"add more", add("https://b", NodeSettings{Capacity: new(int64(100)), Available: new(int64(500)), Downed: new(true), Backoff: new(true)}), ""},
			{"add twice", add("https://a", NodeSettings{Capacity: new(int64(95))}), `add node "https://a": it is there already`},
			{"no capacity", add("https://c", NodeSettings{}), `add node "https://c": its capacity is missing`},
			{"negative capacity", add("https://c", NodeSettings{Capacity: new(int64(-1))}), `add node "https://c": the capacity has to be between 0 and 2^53`},
			{"negative available", add("https://c", NodeSettings{Capacity: new(int64(1)), Available: new(int64(-1))}), `add node "https://c": what is available cannot be negative`},
			{"no address", add("", NodeSettings{Capacity: new(int64(1))}), `add node "": the address is empty`},
			{"update", update("https://b", NodeSettings{Capacity: new(int64(50)), Downed: new(false)}), ""},
			{"update none", update("https://c", NodeSettings{}), `update node "https://c": there is no such node`},
		} {
			if want := `store: service "sync-1.5": ` + tt.want; tt.want == "" && tt.err != nil || tt.want != "" && (tt.err == nil || tt.err.Error() != want) {
				t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
			}
		}
		if err := s.AddNode(ctx, "sync-9", "https://a", NodeSettings{}); !errors.Is(err, ErrUnknownService) {
			t.Errorf("a node of no service: %v", err)
		}
		got, err := s.Nodes(ctx, "sync-1.5")
		want := []Node{
			{Service: "sync-1.5", Address: "https://a", Capacity: 95, Available: 10},
			{Service: "sync-1.5", Address: "https://b", Capacity: 50, Available: 50, Backoff: true},
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Nodes = %+v, %v, want %+v", got, err, want)
		}
		if got, err := s.Nodes(ctx, "queue-1.0"); err != nil || len(got) != 0 {
			t.Errorf("nodes of another service: %+v, %v", got, err)
		}
	})
}

// Users of a node that is unassigned or removed are placed anew when they come,
// with a new uid, and what was known of them.
func TestUnassignAndRemove(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a", "https://b")
		ctx := t.Context()
		before := map[Email]User{}
		for n := range 6 {
			req := newUser(n)
			req.Generation, req.KeysChangedAt, req.ClientState, req.Issuer = 7, 7, "aa", "i"
			before[req.Email] = exchange(t, s, req)
			l.later(time.Second)
		}
		if n, err := s.Unassign(ctx, "sync-1.5", "https://a"); n != 3 || err != nil {
			t.Fatalf("Unassign = %d, %v, want 3", n, err)
		}
		l.later(time.Second)
		if n, err := s.Unassign(ctx, "sync-1.5", "https://a"); n != 0 || err != nil {
			t.Errorf("Unassign again = %d, %v", n, err)
		}
		if n, err := s.RemoveNode(ctx, "sync-1.5", "https://b"); n != 3 || err != nil {
			t.Fatalf("RemoveNode = %d, %v, want 3", n, err)
		}
		sound(t, s)
		for email, was := range before {
			u, known, err := s.User(ctx, "sync-1.5", email)
			if err != nil || !known || u.UID != was.UID || u.ReplacedAt.IsZero() || (u.Node == "") != (was.Node == "https://b") {
				t.Errorf("a user who was taken from %s: %+v, %v", was.Node, u, err)
			}
			after := exchange(t, s, Request{Service: "sync-1.5", Email: email, Generation: 7, KeysChangedAt: 7, ClientState: "aa"})
			if after.UID == was.UID || after.Node != "https://a" || after.Generation != 7 || after.FirstSeen != was.FirstSeen || after.Issuer != "i" || after.New || !after.ReplacedAt.IsZero() {
				t.Errorf("who comes again is %+v, and was %+v", after, was)
			}
		}
		if got, want := loads(t, s), []int64{9}; !slices.Equal(got, want) {
			t.Errorf("loads are %v, want %v: six users, and old data of three", got, want)
		}
		sound(t, s)
		for name, f := range map[string]func(context.Context, string, string) (int64, error){"unassign": s.Unassign, "remove": s.RemoveNode} {
			if _, err := f(ctx, "sync-1.5", "https://b"); !errors.Is(err, ErrUnknownNode) || !strings.Contains(err.Error(), name+` node "https://b": there is no such node`) {
				t.Errorf("%s a node that is gone: %v", name, err)
			}
		}
	})
}

func TestAllocateUser(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a", "https://b")
		ctx := t.Context()
		allocate := func(email Email, node string) User {
			t.Helper()
			l.later(time.Second)
			u, err := s.AllocateUser(ctx, "sync-1.5", email, node)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		first := allocate("a@b", "https://b")
		if first.Node != "https://b" || !first.New {
			t.Errorf("a new user: %+v", first)
		}
		for _, node := range []string{"", "https://b"} {
			if u := allocate("a@b", node); u.UID != first.UID {
				t.Errorf("with node %q the user moved: %+v", node, u)
			}
		}
		exchange(t, s, Request{Service: "sync-1.5", Email: "a@b", Generation: 5, ClientState: "aa"})
		moved := allocate("a@b", "https://a")
		if moved.UID == first.UID || moved.Node != "https://a" || moved.Generation != 5 || moved.ClientState != "aa" || moved.New {
			t.Errorf("moved: %+v", moved)
		}
		if u := exchange(t, s, Request{Service: "sync-1.5", Email: "a@b", Generation: 5, ClientState: "aa"}); u.UID != moved.UID {
			t.Errorf("after the move claims give %+v, want %+v", u, moved)
		}
		if u := allocate("c@d", ""); u.Node != "https://a" {
			t.Errorf("the next user is on %s, want the node with one record", u.Node)
		}
		if got, want := loads(t, s), []int64{2, 2}; !slices.Equal(got, want) {
			t.Errorf("loads are %v, want %v", got, want)
		}
		if _, err := s.AllocateUser(ctx, "sync-1.5", "a@b", "https://c"); !errors.Is(err, ErrUnknownNode) {
			t.Errorf("to a node that is not there: %v", err)
		}
		if _, err := s.Retire(ctx, "a@b"); err != nil {
			t.Fatal(err)
		}
		var refusal *Refusal
		if _, err := s.AllocateUser(ctx, "sync-1.5", "a@b", ""); !errors.As(err, &refusal) {
			t.Errorf("a retired user: %v", err)
		}
		sound(t, s)
	})
}

// Who is retired or has a new password is so in every service, also where the node is gone.
func TestEveryService(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a")
		ctx := t.Context()
		for _, name := range []string{"queue-1.0", "empty-1.0"} {
			if err := s.AddService(ctx, Service{name, "{node}"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.AddNode(ctx, "queue-1.0", "https://q", NodeSettings{Capacity: new(int64(9))}); err != nil {
			t.Fatal(err)
		}
		claims := func(service string, generation int64) error {
			_, err := s.Exchange(ctx, Request{Service: service, Email: "a@b", Generation: generation, AllowNew: true})
			return err
		}
		services := []string{"sync-1.5", "queue-1.0"}
		for _, service := range services {
			if err := claims(service, 5); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.RemoveNode(ctx, "queue-1.0", "https://q"); err != nil {
			t.Fatal(err)
		}
		if n, err := s.ChangePassword(ctx, "a@b", 10); n != 2 || err != nil {
			t.Errorf("ChangePassword = %d, %v, want 2", n, err)
		}
		for _, service := range services {
			if err := claims(service, 8); err == nil || !strings.HasSuffix(err.Error(), "invalid-generation") {
				t.Errorf("%s: old credentials after a new password: %v", service, err)
			}
		}
		if n, err := s.CountUsers(ctx, "", l.now()); n != 1 || err != nil {
			t.Errorf("CountUsers = %d, %v, want 1", n, err)
		}
		if n, err := s.CountUsers(ctx, "queue-1.0", l.now()); n != 0 || err != nil {
			t.Errorf("CountUsers of the service without a node = %d, %v", n, err)
		}
		if n, err := s.CountUsers(ctx, "sync-1.5", l.now().Add(-time.Millisecond)); n != 0 || err != nil {
			t.Errorf("CountUsers of earlier = %d, %v", n, err)
		}
		if n, err := s.Retire(ctx, "a@b"); n != 2 || err != nil {
			t.Errorf("Retire = %d, %v, want 2", n, err)
		}
		for _, service := range services {
			if err := claims(service, 99); err == nil || !strings.HasSuffix(err.Error(), "invalid-generation") {
				t.Errorf("%s: a retired user: %v", service, err)
			}
		}
		sound(t, s)
	})
}

func TestRecount(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(10, "https://a", "https://b")
		for n := range 4 {
			req := newUser(n)
			req.Issuer = "i"
			exchange(t, s, req)
		}
		for _, text := range []string{
			`UPDATE nodes SET current_load = 7 WHERE node = 'https://a'`,
			`UPDATE nodes SET current_load = 0, available = 9 WHERE node = 'https://b'`,
			`UPDATE issuers SET users = 9`,
		} {
			if _, err := s.writer.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Recount(t.Context())
		want := []Drift{{"sync-1.5", "https://a", 7, 2}, {"sync-1.5", "https://b", 0, 2}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Recount = %v, %v, want %v", got, err, want)
		}
		nodes, err := s.Nodes(t.Context(), "")
		if err != nil || nodes[0].Load != 2 || nodes[1].Load != 2 || nodes[1].Available != 8 {
			t.Errorf("after Recount %+v, %v", nodes, err)
		}
		if n := count(t, s, `SELECT users FROM issuers`); n != 4 {
			t.Errorf("the issuer has %d users, want 4", n)
		}
		sound(t, s)
	})
}

// aged is a store with users who have one old record each, on nodes a, b and one
// that is gone.
func aged(t *testing.T, l *lab) (*Store, []User) {
	t.Helper()
	s := l.service(100, "https://a", "https://b", "https://gone")
	var old []User
	for n := range 6 {
		old = append(old, exchange(t, s, newUser(n)))
		l.later(time.Second)
	}
	for n := range 6 {
		req := newUser(n)
		req.Generation, req.ClientState = 1, "aa"
		exchange(t, s, req)
		l.later(time.Second)
	}
	if _, err := s.RemoveNode(t.Context(), "sync-1.5", "https://gone"); err != nil {
		t.Fatal(err)
	}
	l.later(time.Hour)
	return s, old
}

func TestPurge(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s, old := aged(t, l)
		ctx := t.Context()
		none := func(context.Context, Old) error { t.Error("nothing is old enough"); return nil }
		if done, err := s.Purge(ctx, Purge{Service: "sync-1.5"}, none); done != (Purged{}) || err != nil {
			t.Errorf("after an hour Purge = %+v, %v", done, err)
		}
		l.later(2 * day)
		list, err := s.Old(ctx, Purge{Service: "sync-1.5", Limit: 1})
		if want := (Old{UID: old[0].UID, Service: "sync-1.5", Email: old[0].Email, Node: "https://a"}); err != nil || len(list) != 1 || list[0] != want {
			t.Errorf("Old = %+v, %v, want %+v", list, err, want)
		}
		// Data on node a cannot be deleted, and b is downed; the live records of those of gone are replaced too.
		if err := s.UpdateNode(ctx, "sync-1.5", "https://b", NodeSettings{Downed: new(true)}); err != nil {
			t.Fatal(err)
		}
		failed := errors.New("503")
		var asked []int64
		done, err := s.Purge(ctx, Purge{Service: "sync-1.5"}, func(_ context.Context, o Old) error {
			asked = append(asked, o.UID)
			return failed
		})
		if want := (Purged{Removed: 4, Failed: 2, Err: failed}); done != want || err != nil {
			t.Errorf("Purge = %+v, %v, want %+v", done, err, want)
		}
		if want := []int64{old[0].UID, old[3].UID}; !slices.Equal(asked, want) {
			t.Errorf("remove was called for %v, want %v", asked, want)
		}
		if got, want := loads(t, s), []int64{4, 4}; !slices.Equal(got, want) {
			t.Errorf("loads are %v, want %v", got, want)
		}
		if list, err := s.Old(ctx, Purge{Service: "sync-1.5"}); len(list) != 0 || err != nil {
			t.Errorf("what failed is due again at once: %+v, %v", list, err)
		}
		l.later(2 * day)
		asked = nil
		all := Purge{Service: "sync-1.5", Downed: true}
		done, err = s.Purge(ctx, all, func(_ context.Context, o Old) error {
			asked = append(asked, o.UID)
			return nil
		})
		// Those that failed are behind the others now.
		if want := []int64{old[1].UID, old[4].UID, old[0].UID, old[3].UID}; !slices.Equal(asked, want) || done.Removed != 4 || err != nil {
			t.Errorf("Purge = %+v, %v, for %v, want %v", done, err, asked, want)
		}
		if got, want := loads(t, s), []int64{2, 2}; !slices.Equal(got, want) {
			t.Errorf("loads are %v, want %v", got, want)
		}
		sound(t, s)
	})
}

func TestPurgeLimit(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://a")
		for n := range 230 {
			exchange(t, s, newUser(n))
		}
		if _, err := s.Unassign(t.Context(), "sync-1.5", "https://a"); err != nil {
			t.Fatal(err)
		}
		l.later(time.Second)
		for _, want := range []int{110, 110, 10, 0} {
			done, err := s.Purge(t.Context(), Purge{Service: "sync-1.5", Before: l.now(), Limit: 110}, func(context.Context, Old) error { return nil })
			if done.Removed != want || err != nil {
				t.Errorf("Purge = %+v, %v, want %d", done, err, want)
			}
		}
		if got := loads(t, s); got[0] != 0 {
			t.Errorf("load is %d", got[0])
		}
	})
}

// Who stops a purge is not told that data could not be deleted.
func TestPurgeStops(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s, _ := aged(t, l)
		l.later(2 * day)
		ctx, cancel := context.WithCancel(t.Context())
		done, err := s.Purge(ctx, Purge{Service: "sync-1.5"}, func(ctx context.Context, _ Old) error {
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) || done != (Purged{}) {
			t.Errorf("Purge = %+v, %v", done, err)
		}
		sound(t, s)
	})
}

// An old record with the keys of the live one, on the same node, is marked: to
// delete by key would hit the wrong data.
func TestPurgeInUse(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a")
		for n := range 2 {
			req := newUser(n)
			req.ClientState = ClientState(fmt.Sprintf("%02x", n))
			exchange(t, s, req)
		}
		l.later(time.Second)
		if _, err := s.Unassign(t.Context(), "sync-1.5", "https://a"); err != nil {
			t.Fatal(err)
		}
		l.later(time.Second)
		again := newUser(1)
		again.ClientState = "01"
		exchange(t, s, again)
		list, err := s.Old(t.Context(), Purge{Service: "sync-1.5", Before: l.now()})
		if err != nil || len(list) != 2 || list[0].InUse || !list[1].InUse {
			t.Errorf("Old = %+v, %v, want the second in use", list, err)
		}
	})
}
