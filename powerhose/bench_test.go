package powerhose

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkExecute is jobs a second from the callers of one process to worker
// processes and back: the master embedded, and in a process of its own.
func BenchmarkExecute(b *testing.B) {
	for _, separate := range []bool{false, true} {
		for _, size := range []int{100, 100_000} {
			name := fmt.Sprintf("embedded/%d", size)
			if separate {
				name = fmt.Sprintf("separate/%d", size)
			}
			b.Run(name, func(b *testing.B) {
				var e executor
				procs := []*proc{}
				if separate {
					address := shortDir(b) + "/m"
					procs = append(procs, startMaster(b, address))
					e = connect(b, address)
					for i := range 4 {
						procs = append(procs, startWorker(b, address, fmt.Sprintf("w%d", i)))
					}
					until(b, "four workers", func() bool {
						s, err := ReadStatus(b.Context(), address)
						return err == nil && len(s.Workers) == 4
					})
				} else {
					m, workers := pool(b, MasterConfig{}, 4)
					e, procs = m, workers
				}
				before := cpuTime(b, procs)
				callers(b, e, 64, bytes.Repeat([]byte{'x'}, size))
				used := cpuTime(b, procs)
				b.ReportMetric((used.own-before.own)*1e6/float64(b.N), "µs-caller/job")
				b.ReportMetric((used.others-before.others)*1e6/float64(b.N), "µs-others/job")
			})
		}
	}
}

// callers shares b.N jobs among goroutines.
func callers(b *testing.B, e executor, n int, job []byte) {
	b.SetBytes(int64(len(job)))
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				out, err := e.Execute(b.Context(), job, Call{})
				if err != nil || len(out) != len(job) {
					b.Errorf("%d bytes, %v", len(out), err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// A cpu is seconds of it, of this process and of others.
type cpu struct{ own, others float64 }

func cpuTime(b *testing.B, procs []*proc) (out cpu) {
	b.Helper()
	of := func(pid string) float64 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		return float64(user+system) / 100 // USER_HZ
	}
	out.own = of("self")
	for _, p := range procs {
		out.others += of(strconv.Itoa(p.Process.Pid))
	}
	return out
}
