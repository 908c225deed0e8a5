package store

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// An answer is what Mozilla's server said to the claims of a line of lives.txt:
// a record by its order and the key id, or a status word with the reason.
type answer struct {
	User   int    `json:"user,omitempty"`
	KeyID  string `json:"fxa_kid,omitempty"`
	Status Status `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`

	services int64 // what an operator is told
}

func (a answer) String() string {
	if a.Status != "" {
		return strings.TrimSpace(string(a.Status) + " " + a.Reason)
	}
	if a.KeyID == "" {
		return fmt.Sprintf("%d services", a.services)
	}
	return fmt.Sprintf("record %d %s", a.User, a.KeyID)
}

// keyID is fxa_kid, as tokens have it.
func keyID(t *testing.T, u User) string {
	at := u.KeysChangedAt
	if at == 0 {
		at = u.Generation
	}
	state, err := hex.DecodeString(string(u.ClientState))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%013d-%s", at, base64.RawURLEncoding.EncodeToString(state))
}

// Each line of lives.txt is a step of a user's life and what comes of it; a step
// that has a name of Mozilla's transcripts has the answer of those.
func TestLives(t *testing.T) {
	data, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]answer{}
	if err := json.Unmarshal(data, &answers); err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://db1.example.com")
		file, err := os.Open("testdata/lives.txt")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		seen := map[string]bool{}
		records := map[Email][]int64{}
		lines := bufio.NewScanner(file)
		for n := 1; lines.Scan(); n++ {
			step, want, ok := strings.Cut(lines.Text(), "->")
			fields := strings.Fields(step)
			if !ok || strings.HasPrefix(step, "#") {
				continue
			}
			l.later(time.Second)
			email := Email(fields[1] + "@idp.example.com")
			got := live(t, s, email, fields, records)
			if got.String() != strings.TrimSpace(want) {
				t.Errorf("lives.txt:%d: %s: %s, want %s", n, fields[0], got, want)
			}
			if theirs, ok := answers[fields[0]]; ok {
				seen[fields[0]] = true
				if got != theirs {
					t.Errorf("lives.txt:%d: %s: %s, and Mozilla's answer is %s", n, fields[0], got, theirs)
				}
			}
		}
		for name := range answers {
			if !seen[name] {
				t.Errorf("lives.txt does not have %q", name)
			}
		}
		sound(t, s)
	})
}

// live takes one step.
func live(t *testing.T, s *Store, email Email, fields []string, records map[Email][]int64) answer {
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var user User
	var err error
	switch fields[2] {
	case "retire":
		n, err := s.Retire(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		return answer{services: n}
	case "password":
		n, err := s.ChangePassword(t.Context(), email, number(3))
		if err != nil {
			t.Fatal(err)
		}
		return answer{services: n}
	case "unassign":
		n, err := s.Unassign(t.Context(), "sync-1.5", "https://db1.example.com")
		if err != nil {
			t.Fatal(err)
		}
		return answer{services: min(n, 1)}
	default:
		state := strings.Trim(fields[4], "-")
		if len(state) == 1 {
			state = strings.Repeat(state, 32)
		}
		req := Request{Service: "sync-1.5", Email: email, Generation: number(2), KeysChangedAt: number(3), ClientState: ClientState(state),
			AllowNew: len(fields) == 5}
		user, err = s.Exchange(t.Context(), req)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return answer{Status: refusal.Status, Reason: refusal.Reason}
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, uid := range records[email] {
		if uid == user.UID {
			return answer{User: i + 1, KeyID: keyID(t, user)}
		}
	}
	records[email] = append(records[email], user.UID)
	return answer{User: len(records[email]), KeyID: keyID(t, user)}
}

// What was used once is not used again, be it ever so long ago.
func TestAllOldStatesCount(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a")
		req := Request{Service: "sync-1.5", Email: "a@b", AllowNew: true}
		for i := range int64(30) {
			l.later(time.Second)
			req.Generation, req.KeysChangedAt, req.ClientState = i+1, i+1, ClientState(fmt.Sprintf("%02x", i))
			exchange(t, s, req)
		}
		req.Generation, req.KeysChangedAt, req.ClientState = 100, 100, "00"
		_, err := s.Exchange(t.Context(), req)
		if want := (&Refusal{InvalidClientState, "stale value"}).Error(); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("the first of 30 client states again: %v, want %s", err, want)
		}
	})
}

// A refusal has changed nothing, not even what was right in the claims.
func TestRefusedWritesNothing(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a")
		before := exchange(t, s, Request{Service: "sync-1.5", Email: "a@b", Generation: 5, KeysChangedAt: 5, ClientState: "aa", AllowNew: true})
		before.New = false
		l.later(time.Second)
		for _, req := range []Request{
			{Generation: 9, KeysChangedAt: 4, ClientState: "aa"},
			{Generation: 4, KeysChangedAt: 5, ClientState: "aa"},
			{Generation: 9, KeysChangedAt: 10, ClientState: "bb"},
			{Generation: 9, KeysChangedAt: 5, ClientState: "bb"},
			{Generation: 9, KeysChangedAt: 9},
		} {
			req.Service, req.Email = "sync-1.5", "a@b"
			if _, err := s.Exchange(t.Context(), req); err == nil {
				t.Errorf("Exchange(%+v) is taken", req)
			}
			after, _, err := s.User(t.Context(), "sync-1.5", "a@b")
			if err != nil || after != before {
				t.Errorf("after a refusal: %+v, %v, want %+v", after, err, before)
			}
		}
	})
}

func TestExchangeRefusesInput(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(100, "https://a")
		for _, tt := range []struct {
			name string
			req  Request
			want string
		}{
			{"negative generation", Request{Email: "a@b", Generation: -5}, "invalid-generation"},
			{"the generation of retired users", Request{Email: "a@b", Generation: retired}, "invalid-generation"},
			{"negative keys", Request{Email: "a@b", KeysChangedAt: -5}, "invalid-keysChangedAt"},
			{"keys of the end of time", Request{Email: "a@b", KeysChangedAt: retired}, "invalid-keysChangedAt"},
			{"keys newer than credentials", Request{Email: "a@b", Generation: 5, KeysChangedAt: 6}, "invalid-keysChangedAt"},
			{"long identity", Request{Email: Email(strings.Repeat("a", 256))}, "invalid-credentials: the identity has more than 255 bytes"},
			{"no identity", Request{}, "the identity is empty"},
			{"NUL", Request{Email: "a\x00@b"}, "the identity has control characters, or is not UTF-8"},
			{"not UTF-8", Request{Email: "a\xff@b"}, "the identity has control characters, or is not UTF-8"},
			{"long client state", Request{Email: "a@b", ClientState: ClientState(strings.Repeat("a", 33))}, "the client state has 33 bytes; at most 32 are possible"},
			{"long issuer", Request{Email: "a@b", Issuer: strings.Repeat("a", 256)}, "the issuer has 256 bytes; at most 255 are possible"},
		} {
			tt.req.Service, tt.req.AllowNew = "sync-1.5", true
			_, err := s.Exchange(t.Context(), tt.req)
			if want := `store: service "sync-1.5": ` + tt.want; err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", tt.name, err, want)
			}
		}
		_, err := s.Exchange(t.Context(), Request{Service: "sync-9", Email: "a@b"})
		if !errors.Is(err, ErrUnknownService) {
			t.Errorf("an unknown service: %v", err)
		}
		if n := count(t, s, `SELECT count(*) FROM users`); n != 0 {
			t.Errorf("%d users of refused claims", n)
		}
		long := Email(strings.Repeat("a", 255))
		if u := exchange(t, s, Request{Service: "sync-1.5", Email: long, AllowNew: true}); u.Email != long {
			t.Errorf("255 bytes became %d", len(u.Email))
		}
	})
}

// One user who comes for the first time in many requests at once, through two stores, is
// one record.
func TestFirstRequestsOfOneUser(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		stores := []*Store{l.service(1000, "https://a", "https://b"), l.store(Config{})}
		const users, callers = 10, 16
		uids := make([][callers]int64, users)
		var wait sync.WaitGroup
		for caller := range callers {
			wait.Go(func() {
				for i := range users {
					u, err := stores[caller%2].Exchange(t.Context(), Request{Service: "sync-1.5", Email: Email(fmt.Sprintf("u%d", i)), AllowNew: true})
					if err != nil {
						t.Error(err)
					}
					uids[i][caller] = u.UID
				}
			})
		}
		wait.Wait()
		for i, list := range uids {
			for _, uid := range list {
				if uid != list[0] {
					t.Errorf("user %d has uids %v", i, list)
					break
				}
			}
		}
		if n := count(t, stores[0], `SELECT count(*) FROM users`); n != users {
			t.Errorf("%d records of %d users", n, users)
		}
		sound(t, stores[0])
	})
}

// Of the changes of keys that come at once one is taken, or one after the other;
// nobody is told a record that is not.
func TestKeyChangesAtOnce(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		stores := []*Store{l.service(1000, "https://a"), l.store(Config{})}
		exchange(t, stores[0], Request{Service: "sync-1.5", Email: "a@b", Generation: 1, KeysChangedAt: 1, ClientState: "ff", AllowNew: true})
		var wait sync.WaitGroup
		for i := range int64(16) {
			wait.Go(func() {
				u, err := stores[i%2].Exchange(t.Context(), Request{Service: "sync-1.5", Email: "a@b",
					Generation: i + 2, KeysChangedAt: i + 2, ClientState: ClientState(fmt.Sprintf("%02x", i))})
				var refusal *Refusal
				if err != nil && !errors.As(err, &refusal) || err == nil && u.KeysChangedAt != i+2 {
					t.Errorf("change %d: %+v, %v", i, u, err)
				}
			})
		}
		wait.Wait()
		u, _, err := stores[0].User(t.Context(), "sync-1.5", "a@b")
		if err != nil || u.KeysChangedAt != 17 {
			t.Errorf("in the end %+v, %v, want the keys of 17", u, err)
		}
		sound(t, stores[0])
	})
}

// A service is a name, and its users are apart.
func TestServices(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.service(1000, "https://a")
		for _, sv := range []Service{{"queue-1.0", "{node}/{uid}"}, {"queue-1.0", "{node}/q/{uid}"}} {
			if err := s.AddService(t.Context(), sv); err != nil {
				t.Fatal(err)
			}
		}
		list, err := s.Services(t.Context())
		if want := "[{queue-1.0 {node}/q/{uid}} {sync-1.5 {node}/1.5/{uid}}]"; err != nil || fmt.Sprint(list) != want {
			t.Errorf("Services = %v, %v, want %s", list, err, want)
		}
		for name, want := range map[string]string{"": "the name is empty", strings.Repeat("x", 31): "the name has 31 bytes; at most 30 are possible"} {
			err := s.AddService(t.Context(), Service{name, "p"})
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("AddService(%q): %v, want %s", name, err, want)
			}
		}
		exchange(t, s, Request{Service: "sync-1.5", Email: "a@b", AllowNew: true})
		_, err = s.Exchange(t.Context(), Request{Service: "queue-1.0", Email: "a@b", AllowNew: true})
		if !errors.Is(err, ErrNoNode) || err.Error() != `store: service "queue-1.0": no node has room for a user` {
			t.Errorf("a service without nodes: %v", err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
