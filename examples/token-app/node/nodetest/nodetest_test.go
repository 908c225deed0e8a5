package nodetest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"appbundle/examples/token-app/node"
	"appbundle/examples/token-app/token"
)

const secret = "7c1f0a5be29d4836a4c8d1e07b62f935" // of this test alone

// A client with a token uses a node over HTTP.
func TestServer(t *testing.T) {
	secrets, err := token.NewDerivedSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	var s http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ServeHTTP(w, r) }))
	defer srv.Close()
	mine, err := New(node.Config{URL: srv.URL, Secrets: secrets, Service: "q-1.0"})
	if err != nil {
		t.Fatal(err)
	}
	s = mine
	m := mint(t, secrets, srv.URL, 9)
	do := func(method, path, body string, want int) string {
		t.Helper()
		r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		node.Sign(r, m, time.Now(), []byte(body))
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s %s: %d %s, %v, want %d", method, path, resp.StatusCode, text, err, want)
		}
		return string(text)
	}
	do("GET", "/1.5/9/a", "", 404)
	do("PUT", "/1.5/9/a", "one", 204)
	do("PUT", "/1.5/9/b", "two", 204)
	do("PUT", "/1.5/8/b", "two", 403)
	do("PUT", "/1.5/9/c", strings.Repeat("x", maxText+1), 413)
	if got := do("GET", "/1.5/9/b", "", 200); got != "two" {
		t.Errorf("b is %q", got)
	}
	var info struct {
		UID   int64
		Node  string
		Names []string
	}
	if err := json.Unmarshal([]byte(do("GET", "/1.5/9", "", 200)), &info); err != nil || info.UID != 9 || info.Node != srv.URL || !slices.Equal(info.Names, []string{"a", "b"}) {
		t.Errorf("%+v, %v", info, err)
	}
	if got := mine.Users(); !slices.Equal(got, []int64{9}) {
		t.Errorf("Users = %v", got)
	}
	do("DELETE", "/1.5/9", "", 204)
	if got := mine.Users(); len(got) != 0 {
		t.Errorf("Users = %v", got)
	}
	if _, err := New(node.Config{}); err == nil {
		t.Error("New of nothing")
	}
}

func mint(t *testing.T, secrets token.Secrets, url string, uid int64) token.Minted {
	t.Helper()
	of, err := secrets.Of(url)
	if err != nil {
		t.Fatal(err)
	}
	c := token.Claims{UID: uid, Node: url, Expires: time.Now().Add(token.Lifetime).Unix()}
	salt := token.NewSalt(token.Encrypted)
	payload, err := c.Payload(token.Encrypted, salt)
	if err != nil {
		t.Fatal(err)
	}
	m, err := token.Mint(&token.Request{Form: token.Encrypted, Secret: of[0], Service: "q-1.0", Payload: payload, Salt: salt})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
