package store

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

const (
	csvServices = "id,service,pattern\n1,sync-1.1,{node}/1.1/{uid}\n7,sync-1.5,{node}/1.5/{uid}\n"
	csvNodes    = "id,service,node,available,current_load,capacity,downed,backoff\n" +
		"30,7,https://a,5,-3,100,0,0\n" +
		"31,7,https://b,900,2,100,1,0\n"
	csvUsers = "uid,service,email,generation,client_state,created_at,replaced_at,nodeid,keys_changed_at\n"
)

func tables(services, nodes, users string) Tables {
	return Tables{Table{"services.csv", strings.NewReader(services)}, Table{"nodes.csv", strings.NewReader(nodes)}, Table{"users.csv", strings.NewReader(users)}}
}

func TestImport(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.store(Config{})
		ctx := t.Context()
		// The server has its services before anybody imports.
		if err := s.AddService(ctx, Service{"sync-1.5", "another pattern"}); err != nil {
			t.Fatal(err)
		}
		done, err := s.Import(ctx, tables("\uFEFFid,service,pattern\r\n"+csvServices[len("id,service,pattern\n"):], csvNodes, csvUsers+
			// Of bob the row with the highest generation is live, whatever the others say.
			"12,7,bob@Example.COM,5,aa,1000,2000,30,\n"+
			"13,7,bob@example.com,7,bb,3000,NULL,30,7\n"+
			"15,7,bob@example.com,6,cc,4000,\\N,31,6\n"+
			// carol was retired, dora is on a node that is gone, erna has no generation.
			"16,7,carol@example.com,9223372036854775807,dd,1000,5000,31,3\n"+
			"17,7,dora@example.com,4,ee,1000,,99,4\n"+
			"11,7,\"er,na\"\"@example.com\",,,1000,,30,\n"))
		want := Imported{Services: 2, Nodes: 2, Users: 6, Repaired: 1, Loads: []Drift{{"sync-1.5", "https://a", 0, 3}}}
		if err != nil || fmt.Sprint(done) != fmt.Sprint(want) {
			t.Errorf("Import = %+v, %v, want %+v", done, err, want)
		}
		services, err := s.Services(ctx)
		if want := []Service{{"sync-1.1", "{node}/1.1/{uid}"}, {"sync-1.5", "{node}/1.5/{uid}"}}; err != nil || !slices.Equal(services, want) {
			t.Errorf("Services = %v, %v, want %v", services, err, want)
		}
		nodes, err := s.Nodes(ctx, "")
		if want := []Node{
			{Service: "sync-1.5", Address: "https://a", Capacity: 100, Available: 5, Load: 3},
			{Service: "sync-1.5", Address: "https://b", Capacity: 100, Available: 98, Load: 2, Downed: true},
		}; err != nil || !slices.Equal(nodes, want) {
			t.Errorf("Nodes = %+v, %v, want %+v", nodes, err, want)
		}
		bob, _, err := s.User(ctx, "sync-1.5", "bob@example.com")
		if want := (User{UID: 13, Service: "sync-1.5", Email: "bob@example.com", Node: "https://a", Generation: 7, KeysChangedAt: 7, ClientState: "bb",
			CreatedAt: time.UnixMilli(3000), FirstSeen: time.UnixMilli(1000)}); err != nil || bob != want {
			t.Errorf("bob is %+v, %v, want %+v", bob, err, want)
		}
		if n := count(t, s, `SELECT replaced_at FROM users WHERE uid = 15`); n != 3000 {
			t.Errorf("the twin was replaced at %d, want 3000", n)
		}
		for state, want := range map[ClientState]string{"aa": "stale value", "cc": "stale value"} {
			_, err := s.Exchange(ctx, Request{Service: "sync-1.5", Email: "bob@example.com", Generation: 9, KeysChangedAt: 9, ClientState: state})
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("bob's old state %q: %v", string(state), err)
			}
		}
		if _, err := s.Exchange(ctx, Request{Service: "sync-1.5", Email: "carol@example.com", Generation: 9, KeysChangedAt: 9, ClientState: "dd"}); err == nil || !strings.HasSuffix(err.Error(), "invalid-generation") {
			t.Errorf("carol comes: %v", err)
		}
		if u := exchange(t, s, Request{Service: "sync-1.5", Email: "dora@example.com", Generation: 4, KeysChangedAt: 4, ClientState: "ee"}); u.UID != 18 || u.Node != "https://a" {
			t.Errorf("dora is %+v, want uid 18 on node a", u)
		}
		if u := exchange(t, s, Request{Service: "sync-1.5", Email: `er,na"@example.com`, Generation: 4}); u.UID != 11 {
			t.Errorf("erna is %+v, want uid 11", u)
		}
		sound(t, s)
		if _, err := s.Import(ctx, tables(csvServices, csvNodes, csvUsers)); err == nil || err.Error() != "store: import: there are nodes already; import into an empty database" {
			t.Errorf("Import again: %v", err)
		}
	})
}

// An error names the line, shows nobody's address, and leaves nothing behind.
func TestImportRefuses(t *testing.T) {
	const user = "1,7,canary@example.com,1,aa,1000,,30,1\n"
	services := func(rows string) Tables { return tables("id,service,pattern\n"+rows, csvNodes, csvUsers) }
	nodes := func(rows string) Tables {
		return tables(csvServices, "id,service,node,available,current_load,capacity,downed,backoff\n"+rows, csvUsers)
	}
	users := func(rows string) Tables { return tables(csvServices, csvNodes, csvUsers+rows) }
	long := strings.Repeat("a", 70_000)
	cases := []struct {
		name   string
		tables Tables
		want   string
	}{
		{"no header", tables("", csvNodes, csvUsers), "services.csv: it is empty: the names of the columns are missing"},
		{"column missing", tables("id,service\n", csvNodes, csvUsers), `services.csv:1: column "pattern" is missing`},
		{"column unknown", tables("id,service,pattern,color\n", csvNodes, csvUsers), `services.csv:1: column "color" is not known, or there twice; the columns are id, service, pattern`},
		{"column twice", tables("id,service,pattern,id\n", csvNodes, csvUsers), `services.csv:1: column "id" is not known, or there twice; the columns are id, service, pattern`},
		{"too few fields", services("1,x\n"), "services.csv:2: wrong number of fields"},
		{"open quotation mark", services("1,\"x\n2,y,z\n"), `services.csv:3: extraneous or missing " in quoted-field`},
		{"long line", services("1,x,\"" + long), "services.csv: a line has more than 65536 bytes; is a quotation mark open?"},
		{"service without a name", services("1,,p\n"), "services.csv:2: service: is empty"},
		{"service of a long name", services("1," + strings.Repeat("x", 31) + ",p\n"), "services.csv:2: service has 31 bytes; at most 30 are possible"},
		{"service id twice", services("1,x,p\n1,y,p\n"), "services.csv:3: id: is there twice"},
		{"service twice", services("1,x,p\n2,x,p\n"), "services.csv:3: service: is there twice"},
		{"no such service", nodes("30,8,https://a,5,3,100,0,0\n"), "nodes.csv:2: service: 8 is not in the table of services"},
		{"node id twice", nodes("30,7,https://a,5,3,100,0,0\n30,7,https://b,5,3,100,0,0\n"), "nodes.csv:3: id: is there twice"},
		{"node twice", nodes("30,7,https://a,5,3,100,0,0\n31,7,https://a,5,3,100,0,0\n"), "nodes.csv:3: node: is there twice"},
		{"capacity", nodes("30,7,https://a,5,3,x,0,0\n"), "nodes.csv:2: capacity: is not an integer of 64 bits"},
		{"negative capacity", nodes("30,7,https://a,5,3,-1,0,0\n"), "nodes.csv:2: capacity: is negative"},
		{"endless capacity", nodes("30,7,https://a,5,3,9223372036854775807,0,0\n"), "nodes.csv:2: capacity: is more than 2^53"},
		{"uid", users("x" + user), "users.csv:2: uid: is not an integer of 64 bits"},
		{"uid 0", users("0" + user[1:]), "users.csv:2: uid: is not positive"},
		{"uid that JSON cannot have", users("9007199254740993" + user[1:]), "users.csv:2: uid: is more than 2^53"},
		{"uid twice", users(user + user), "users.csv:3: uid: 1 is there twice"},
		{"uid twice, out of order", users("5" + user[1:] + user + "4" + user[1:] + user), "users.csv:5: uid: 1 is there twice"},
		{"user of no service", users("1,8" + user[3:]), "users.csv:2: service: 8 is not in the table of services"},
		{"node of another service", users("1,1" + user[3:]), "users.csv:2: nodeid: 30 is a node of another service"},
		{"long address", users("1,7," + strings.Repeat("canary", 50) + ",1,aa,1000,,30,1\n"), "users.csv:2: email has 300 bytes; at most 255 are possible"},
		{"control character", users("1,7,canary\x01,1,aa,1000,,30,1\n"), "users.csv:2: email has control characters, or is not UTF-8"},
		{"long client state", users("1,7,canary@example.com,1," + strings.Repeat("a", 33) + ",1000,,30,1\n"), "users.csv:2: client_state has 33 bytes; at most 32 are possible"},
		{"negative generation", users("1,7,canary@example.com,-5,aa,1000,,30,1\n"), "users.csv:2: generation: is negative"},
		{"time", users("1,7,canary@example.com,1,aa,2020-01-01,,30,1\n"), "users.csv:2: created_at: is not an integer of 64 bits"},
		{"a file that ends", Tables{Table{"services.csv", iotest.ErrReader(errors.New("the disk is gone"))}, Table{}, Table{}}, "services.csv: the disk is gone"},
	}
	both(t, func(t *testing.T, l *lab) {
		s := l.store(Config{})
		for _, tt := range cases {
			for _, in := range []Table{tt.tables.Services, tt.tables.Nodes, tt.tables.Users} {
				if seeker, ok := in.Reader.(io.Seeker); ok { // the other database has read it
					if _, err := seeker.Seek(0, io.SeekStart); err != nil {
						t.Fatal(err)
					}
				}
			}
			_, err := s.Import(t.Context(), tt.tables)
			if want := "store: import: " + tt.want; err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", tt.name, err, want)
			}
		}
		if n := count(t, s, `SELECT (SELECT count(*) FROM services) + (SELECT count(*) FROM nodes) + (SELECT count(*) FROM users)`); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		// The index is there as before.
		if _, err := s.Import(t.Context(), tables(csvServices, csvNodes, csvUsers)); err != nil {
			t.Error(err)
		}
	})
}

func TestLowerDomain(t *testing.T) {
	for email, want := range map[string]string{"A@B.C": "A@b.c", "A@B@C": "A@B@c", "ABC": "ABC", "a@\u0130X": "a@\u0130x", "a@": "a@"} {
		if got := lowerDomain(email); got != want {
			t.Errorf("lowerDomain(%q) = %q, want %q", email, got, want)
		}
	}
}

// More rows than one statement takes, and uids in no order.
func TestImportMany(t *testing.T) {
	both(t, func(t *testing.T, l *lab) {
		s := l.store(Config{})
		var b strings.Builder
		b.WriteString(csvUsers)
		const users = 2*maxRows + 7
		for n := range users {
			uid := n + 1
			if n%100 == 50 {
				uid = users + 1000 - n
			}
			fmt.Fprintf(&b, "%d,7,u%d@example.com,1,aa,1000,,%d,1\n", uid, n, 30+n%2)
		}
		large := strings.ReplaceAll(csvNodes, ",100,", ",10000,")
		done, err := s.Import(t.Context(), tables(csvServices, large, b.String()))
		if err != nil || done.Users != users || done.Repaired != 0 {
			t.Errorf("Import = %+v, %v", done, err)
		}
		if n, err := s.CountUsers(t.Context(), "sync-1.5", time.UnixMilli(1000)); n != users || err != nil {
			t.Errorf("CountUsers = %d, %v, want %d", n, err, users)
		}
		if u := exchange(t, s, newUser(1)); u.UID <= users {
			t.Errorf("a new user has uid %d, which was taken", u.UID)
		}
		sound(t, s)
	})
}

// Whatever is in a table: what is taken fits the schema, and what is not is an
// error that names the file, on one line.
func FuzzImport(f *testing.F) {
	f.Add(csvServices)
	f.Add(csvNodes)
	f.Add(csvUsers + "1,7,a@B,1,aa,1000,,30,1\n2,7,a@b,0,,1000,NULL,31,\n")
	f.Add(csvUsers + "3,7,a@b,9223372036854775807,aa,9,9,99,1\n1,1,\"a\"\"@b\",1,aa,1,\\N,,1\n")
	f.Add("\uFEFFpattern,id,service\n,1,x\n")
	f.Add("id,service,node,available,current_load,capacity,downed,backoff\n1,1,n,-1,-1,0,9,9\n")
	f.Add("id,\"")
	f.Fuzz(func(t *testing.T, text string) {
		bad := func(what string, r any) { t.Errorf("%s: %+v", what, r) }
		for name, err := range map[string]error{
			"services": each(Table{"file.csv", strings.NewReader(text)}, serviceColumns, func(l *line) error {
				r, err := l.service()
				if err == nil && (r.id < 0 || !fits(r.name, 1, 30) || !fits(r.pattern, 0, 255)) {
					bad("service", r)
				}
				return err
			}),
			"nodes": each(Table{"file.csv", strings.NewReader(text)}, nodeColumns, func(l *line) error {
				r, err := l.node()
				if err == nil && (r.id < 0 || r.service < 0 || !fits(r.address, 1, 255) || r.capacity < 0 || r.capacity > maxCapacity ||
					r.load < 0 || r.available < 0 || r.available > max(r.capacity-r.load, 0)) {
					bad("node", r)
				}
				return err
			}),
			"users": each(Table{"file.csv", strings.NewReader(text)}, userColumns, func(l *line) error {
				r, err := l.user()
				replaced, isTime := r.replaced.(int64)
				if err == nil && (r.uid < 1 || r.uid > maxUID || r.service < 0 || r.nodeid < 0 || !fits(r.email, 1, 255) || !fits(r.state, 0, 32) ||
					r.generation < 0 || r.keys < 0 || r.created < 0 || replaced < 0 || isTime == (r.replaced == nil)) {
					bad("user", r)
				}
				return err
			}),
		} {
			if err != nil && (!strings.HasPrefix(err.Error(), "file.csv:") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// fits reports whether both databases store the text as it is.
func fits(text string, least, most int) bool {
	return utf8.ValidString(text) && len(text) >= least && len(text) <= most && !strings.ContainsRune(text, 0)
}
