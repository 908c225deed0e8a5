package resolve_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
	"appbundle/schema/pep425"
)

// cloud makes a universe after the packages of a big cloud vendor: hundreds of
// versions of client that each pin one core, a third package that pins both and
// lags behind, and a library that only the newest cores allow to be new.
// scale divides the numbers.
func cloud(t testing.TB, scale int) *resolvetest.Universe {
	t.Helper()
	u := resolvetest.New()
	add := func(name, version string, requires ...string) {
		day := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := u.Add(resolvetest.Release{Name: name, Version: version, Requires: requires, Python: ">=3.8", Uploaded: day}); err != nil {
			t.Fatal(err)
		}
	}
	version := func(n int) string { return fmt.Sprintf("1.%d.%d", n/100, n%100) }
	cores, clients, asyncs := 1500/scale, 500/scale, 140/scale
	for i := range cores {
		lib := "lib>=1.20,<1.27"
		if i > cores-160/scale {
			lib = "lib>=1.20,<2.1,!=2.0.7"
		}
		add("core", version(i), lib, "jmes>=0.7,<2", "date>=2.1")
	}
	for i := range clients {
		add("client", version(i*3), "core>="+version(i*3)+",<"+version(i*3+1), "jmes>=0.7", "transfer>=0.3,<0.4")
	}
	for i := range asyncs {
		n := i * 10 / 3 * 3
		add("async", fmt.Sprintf("2.%d.0", i), "core>="+version(n)+",<"+version(n+3), "http>=3", "wrap")
		add("files", fmt.Sprintf("2025.%d", i), fmt.Sprintf("async>=2.%d", max(0, i-20/scale)), "spec")
	}
	for i := range 30 {
		add("lib", fmt.Sprintf("1.%d", i))
		add("lib", fmt.Sprintf("2.%d", i))
		add("jmes", fmt.Sprintf("0.%d", i))
		add("date", fmt.Sprintf("2.%d", i), "six")
		add("transfer", fmt.Sprintf("0.3.%d", i), "core>=1.0.1,<2")
	}
	for _, n := range []string{"http", "wrap", "spec", "six"} {
		for i := range 50 {
			add(n, fmt.Sprintf("3.%d", i))
		}
	}
	return u
}

func cloudRequest(t testing.TB, text ...string) resolve.Request {
	t.Helper()
	target, err := pep425.ParseTarget("manylinux_2_28_x86_64", "3.11")
	if err != nil {
		t.Fatal(err)
	}
	return resolve.Request{Requirements: lines(t, text), Targets: []resolve.Target{resolve.NewTarget(target)}}
}

var cloudLines = map[string][]string{
	"easy": {"client", "files"},
	"hard": {"lib", "client", "files", "async", "date"},
	"pins": {"lib>=1.28", "client", "async"},
	"none": {"lib>=2.1", "client", "files"},
}

// The answers of the benchmark, and how many versions they cost.
func TestCloud(t *testing.T) {
	u := cloud(t, 5)
	for name, text := range cloudLines {
		t.Run(name, func(t *testing.T) {
			before := u.Reads.Load()
			s, err := resolve.Solve(t.Context(), u, cloudRequest(t, text...))
			var no *resolve.ConflictError
			if errors.As(err, &no) != (name == "none") || err != nil && no == nil {
				t.Fatal(err)
			}
			if no != nil {
				t.Log(no)
			} else {
				t.Log(versions(s))
			}
			if read := u.Reads.Load() - before; read > 800 {
				t.Errorf("%d files read", read)
			}
		})
	}
}

func BenchmarkCloud(b *testing.B) {
	u := cloud(b, 1)
	for name, text := range cloudLines {
		b.Run(name, func(b *testing.B) {
			req := cloudRequest(b, text...)
			b.ReportAllocs()
			for b.Loop() {
				_, err := resolve.Solve(b.Context(), u, req)
				var no *resolve.ConflictError
				if err != nil && !errors.As(err, &no) {
					b.Fatal(err)
				}
			}
		})
	}
}
