package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"appbundle/examples/token-app/internal/idp"
	"appbundle/examples/token-app/store"
)

// benchmark sends the same requests again and again to a server with a node.
func benchmark(b *testing.B, want int, credentials func(*lab) []string) {
	l := newLab(b)
	cfg := l.config()
	cfg.Log = slog.New(slog.NewJSONHandler(discard{}, nil))
	a, err := Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	many := int64(1_000_000)
	if err := a.Store().AddNode(context.Background(), service, nodeURL, store.NodeSettings{Capacity: &many, Available: &many}); err != nil {
		b.Fatal(err)
	}
	all := credentials(l)
	try := func(i int) {
		if r := ask(a.Handler(), http.MethodGet, "/1.0/sync/1.5", "Authorization", all[i%len(all)]); r.StatusCode != want {
			b.Fatalf("status %d, want %d", r.StatusCode, want)
		}
	}
	for i := range all {
		try(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		try(i)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkBearer is a known user with a bearer token (RS256).
func BenchmarkBearer(b *testing.B) {
	benchmark(b, 200, func(l *lab) []string { return []string{"Bearer " + l.bearer("alice", nil, nil)} })
}

// BenchmarkAssertion is a known user with an assertion, whose certificate was seen
// before (RS256, RS256).
func BenchmarkAssertion(b *testing.B) {
	benchmark(b, 200, func(l *lab) []string { return []string{"BrowserID " + l.assertion("alice@"+idpHost, nil)} })
}

// BenchmarkExpired is a refusal before cryptography.
func BenchmarkExpired(b *testing.B) {
	benchmark(b, 401, func(l *lab) []string {
		var all []string
		for i := range 100 {
			past := time.Now().Add(-time.Duration(i+1) * time.Hour).UnixMilli()
			all = append(all, "BrowserID "+l.assertion(fmt.Sprintf("u%d@%s", i, idpHost), idp.Claims{"exp": past}))
		}
		return all
	})
}
