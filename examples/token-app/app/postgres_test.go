package app

import (
	"fmt"
	"testing"

	"appbundle/examples/token-app/store/storetest"
	"appbundle/examples/token-app/token"
)

// postgres is the database server of all tests.
var postgres storetest.Postgres

// With a PostgreSQL instead of the file, which one setting names, users get what they
// get otherwise, and another server on the same database knows them.
func TestPostgres(t *testing.T) {
	l := newLab(t)
	url, err := postgres.Start("public")
	if err != nil {
		t.Fatal(err)
	}
	open := func() *App {
		cfg := l.config()
		cfg.Database = url
		a, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Close)
		return a
	}
	one, two := open(), open()
	addNode(t, one, nodeURL)
	secrets, err := secretsOf(t, master).Of(nodeURL)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for i := range 3 {
		email := fmt.Sprintf("user%d@%s", i, idpHost)
		first, again := l.login(one, email), l.login(two, email)
		if first.UID != again.UID || first.Endpoint != again.Endpoint {
			t.Errorf("%s is %d at %s, and of another server %d at %s", email, first.UID, first.Endpoint, again.UID, again.Endpoint)
		}
		if !opens(t, again, token.Opener{Secrets: secrets}) {
			t.Errorf("the node does not open the token of %s", email)
		}
		ids = append(ids, first.UID)
	}
	if ids[0] == ids[1] || ids[1] == ids[2] || ids[0] == ids[2] {
		t.Errorf("three users are %v", ids)
	}
	if r := ask(one.Handler(), "GET", "/__heartbeat__"); r.StatusCode != 200 {
		t.Errorf("the heartbeat is %d", r.StatusCode)
	}
	two.Close()
	if err := postgres.Stop(); err != nil {
		t.Fatal(err)
	}
	if r := ask(one.Handler(), "GET", "/__heartbeat__"); r.StatusCode != 503 {
		t.Errorf("without its database the heartbeat is %d", r.StatusCode)
	}
	if r := ask(one.Handler(), "GET", "/1.0/sync/1.5", "Authorization", "BrowserID "+l.assertion("user0@"+idpHost, nil)); r.StatusCode != 503 {
		t.Errorf("without its database a login is answered %d", r.StatusCode)
	}
}
