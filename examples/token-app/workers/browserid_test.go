package workers

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"appbundle/examples/token-app/browserid"
	"appbundle/examples/token-app/internal/guarded"
	"appbundle/examples/token-app/jobs"
	"appbundle/examples/token-app/signature"
)

// An assertion is a vector of the package browserid.
type assertion struct {
	Name        string
	Assertion   string
	Audience    string
	NowMS       int64 `json:"now_ms"`
	Supportdocs map[string]json.RawMessage
	Trusted     []string `json:"trusted_issuers"`
	Allowed     []string `json:"allowed_issuers"`
}

// verdict is what a verifier of signatures makes of an assertion.
func (a *assertion) verdict(t *testing.T, verifier signature.Verifier) string {
	t.Helper()
	issuers := append(slices.Clone(a.Allowed), "idp.example.com", "else.example")
	for host := range a.Supportdocs {
		if guarded.Host(host) == nil {
			issuers = append(issuers, host)
		}
	}
	v, err := browserid.New(browserid.Config{
		Audiences: []string{a.Audience}, Issuers: append(issuers, a.Trusted...), Trusted: a.Trusted, Delegation: true, RS128: true,
		Get: a.get, Verifier: verifier, Now: func() time.Time { return time.UnixMilli(a.NowMS) },
	})
	if err != nil {
		t.Fatalf("%s: %v", a.Name, err)
	}
	defer v.Close()
	got, err := v.Verify(t.Context(), a.Assertion)
	if err != nil {
		return err.Error()
	}
	return "good: " + got.Email
}

func (a *assertion) get(_ context.Context, address string, _ int64) (guarded.Answer, error) {
	host, _, _ := strings.Cut(strings.TrimPrefix(address, "https://"), "/")
	doc := a.Supportdocs[host]
	if doc == nil {
		return guarded.Answer{}, &guarded.StatusError{Host: host, Status: http.StatusNotFound}
	}
	var raw string // as it is
	if json.Unmarshal(doc, &raw) == nil {
		doc = json.RawMessage(raw)
	}
	return guarded.Answer{Body: doc, MaxAge: -1}, nil
}

// Each assertion has the same verdict, whoever looks at its signatures.
func TestBrowserID(t *testing.T) {
	data, err := os.ReadFile("../browserid/testdata/browserid.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []assertion }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	good := 0
	for _, a := range file.Vectors {
		want[a.Name] = a.verdict(t, signature.Local)
		if strings.HasPrefix(want[a.Name], "good") {
			good++
		}
	}
	if len(want) < 178 || good < 20 {
		t.Fatalf("%d assertions, %d of them good", len(want), good)
	}
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			l := newLab(t)
			l.start(language)
			asked := 0
			client := jobs.Client{Execute: jobs.Remote(l.runner, patience, patience)}
			verifier := func(ctx context.Context, checks []signature.Check) ([]bool, error) {
				asked += len(checks)
				return client.Verify(ctx, checks)
			}
			for _, a := range file.Vectors {
				if got := a.verdict(t, verifier); got != want[a.Name] {
					t.Errorf("%s: %s, want %s", a.Name, got, want[a.Name])
				}
			}
			if asked < 100 {
				t.Errorf("%d signatures were looked at", asked)
			}
		})
	}
}
