package store

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var benchUsers = flag.String("store.bench", "100000", "users in the database of the benchmarks: numbers with commas between them")

// million is a database with that many users, on 8 nodes.
func million(b *testing.B, database string, users int) *Store {
	b.Helper()
	s := newLab(b, database).store(Config{})
	var nodes strings.Builder
	nodes.WriteString("id,service,node,available,current_load,capacity,downed,backoff\n")
	for n := range 8 {
		fmt.Fprintf(&nodes, "%d,7,https://db%d.example.com,1000000000,0,1000000000,0,0\n", n+1, n)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(w, csvUsers)
		for n := 0; n < users && err == nil; n++ {
			_, err = fmt.Fprintf(w, "%d,7,%s,1,aa,1000,,%d,1\n", n+1, string(newUser(n).Email), n%8+1)
		}
		w.Close()
		done <- err
	}()
	_, err := s.Import(context.Background(), Tables{Table{"services", strings.NewReader(csvServices)}, Table{"nodes", strings.NewReader(nodes.String())}, Table{"users", r}})
	r.Close()
	if err != nil {
		b.Fatal(err, <-done)
	}
	return s
}

// on runs a benchmark on both databases, with each number of users.
func on(b *testing.B, f func(b *testing.B, s *Store, users int)) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, text := range strings.Split(*benchUsers, ",") {
			var users int
			if _, err := fmt.Sscan(text, &users); err != nil {
				b.Fatal(err)
			}
			var s *Store // one for all lengths of a run
			b.Run(database+"/"+text, func(b *testing.B) {
				if s == nil {
					s = million(b, database, users)
				}
				f(b, s, users)
			})
		}
	}
}

// cpu is the time that this process, without a server, has computed.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStore has the rates of 64 callers: users who are known and say nothing new, new
// ones, and new keys.
func BenchmarkStore(b *testing.B) {
	on(b, func(b *testing.B, s *Store, users int) {
		var next atomic.Int64
		for _, kind := range []struct {
			name string
			req  func(n int) Request
		}{
			{"known", func(n int) Request {
				req := newUser(n * 7919 % users)
				req.Generation, req.KeysChangedAt, req.ClientState = 1, 1, "aa"
				return req
			}},
			{"new", func(n int) Request { return newUser(1_000_000_000 + n) }},
			{"keys", func(n int) Request {
				req := newUser(n * 7919 % users)
				g := int64(1_000_000 + n)
				req.Generation, req.KeysChangedAt, req.ClientState = g, g, ClientState(fmt.Sprintf("%032x", n))
				return req
			}},
		} {
			for _, callers := range []int{1, 64} {
				b.Run(fmt.Sprintf("%s/%d", kind.name, callers), func(b *testing.B) {
					var left atomic.Int64
					left.Store(int64(b.N))
					before := cpu(b)
					var wait sync.WaitGroup
					for range callers {
						wait.Go(func() {
							for left.Add(-1) >= 0 {
								if _, err := s.Exchange(b.Context(), kind.req(int(next.Add(1)))); err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
					wait.Wait()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "users/s")
					b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
				})
			}
		}
	})
}
