package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"appbundle/schema"
)

// BenchmarkReplace kills a process and waits until another runs in its place,
// alone and among 200.
func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{1, 200} {
		for _, way := range []way{{"host", false}, {"descendants", true}} {
			b.Run(fmt.Sprintf("%s-%d", way.name, n), func(b *testing.B) {
				spawned := make(chan int, n)
				c := pool("web", n)
				c.Cmd = []string{"sleep", "1000"}
				r, err := New(Config{
					Name: testName(), RunDir: filepath.Join(hostDir(b), "run"), Adopt: true, noCgroups: way.noCgroups,
					Watchers: []schema.Watcher{c}, Environ: os.Environ(),
					Report: func(e Event) {
						if e.Kind == Spawned {
							spawned <- e.Pid
						}
					},
				})
				if err != nil {
					b.Fatal(err)
				}
				if err := r.Start(context.Background()); err != nil {
					b.Fatal(err)
				}
				var pids []int
				for range n {
					pids = append(pids, <-spawned)
				}
				for i := 0; b.Loop(); i++ {
					kill(b, pids[i%n])
					pids[i%n] = <-spawned
				}
				if err := r.Stop(); err != nil {
					b.Error(err)
				}
				dropOrphans(b)
			})
		}
	}
}
