package idp

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Signed text has three parts, and an assertion two of them.
func TestSigned(t *testing.T) {
	p, err := New("idp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if p.Host() != "idp.example.com" || p.Issuer() != "https://idp.example.com" {
		t.Errorf("%s %s", p.Host(), p.Issuer())
	}
	cert, assertion, ok := strings.Cut(p.Assertion(Claims{"iss": "x"}, Claims{"aud": "y"}), "~")
	if !ok || strings.Count(cert, ".") != 2 || strings.Count(assertion, ".") != 2 {
		t.Errorf("%s~%s is no assertion", cert, assertion)
	}
	if got := p.Token(nil, Claims{"sub": "x"}); strings.Count(got, ".") != 2 {
		t.Errorf("%s is no token", got)
	}
}

func TestDocuments(t *testing.T) {
	p, err := New("idp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/.well-known/browserid": `"public-key":{"algorithm":"RS"`, "/jwks": `"keys":[{"alg":"RS256"`, "/other": "404"} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}

// The key is made once, whoever comes first, and is for its owner alone.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key.pem")
	ids := make([]string, 3)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			p, err := Load("idp.example.com", file)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = p.kid
		})
	}
	all.Wait()
	if ids[0] == "" || ids[0] != ids[1] || ids[1] != ids[2] {
		t.Errorf("the keys are %q", ids)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v", info.Mode())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("idp.example.com", file); err == nil || !strings.Contains(err.Error(), "it is no PEM file") {
		t.Errorf("Load of junk = %v", err)
	}
}
