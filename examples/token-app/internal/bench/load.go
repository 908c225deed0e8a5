package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// requests reads the first credentials of a file, as the bytes of requests.
func requests(name string, count int) ([][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all [][]byte
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<10)
	for len(all) < count && lines.Scan() {
		state, assertion, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return nil, fmt.Errorf("%s:%d: a client state and an assertion are wanted", name, len(all)+1)
		}
		all = append(all, fmt.Appendf(nil, "GET /1.0/sync/1.5 HTTP/1.1\r\nHost: token.bench.example\r\nX-Client-State: %s\r\nAuthorization: BrowserID %s\r\n\r\n", state, assertion))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(all) < count {
		return nil, fmt.Errorf("%s: it has %d lines; %d are wanted", name, len(all), count)
	}
	return all, nil
}

// A sender sends each request once, in order.
type sender struct {
	address  string
	requests [][]byte
	callers  int
	rate     float64
	want     int
	pids     []int
}

// report sends, and writes requests a second, times and CPU seconds.
func (s *sender) report(ctx context.Context, out io.Writer) error {
	connections := make([]net.Conn, s.callers)
	for i := range connections {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", s.address)
		if err != nil {
			return err
		}
		defer c.Close()
		connections[i] = c
	}
	before, err := s.cpu()
	if err != nil {
		return err
	}
	took := make([]time.Duration, len(s.requests))
	errs := make([]error, s.callers)
	var next atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for i, c := range connections {
		all.Go(func() {
			r := bufio.NewReader(c)
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(s.requests) {
					return
				}
				start := time.Now()
				if s.rate > 0 {
					// What waits for a free connection waits from its own time on.
					start = began.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
					if !until(ctx, start) {
						errs[i] = ctx.Err()
						return
					}
				}
				errs[i] = s.ask(c, r, s.requests[n])
				took[n] = time.Since(start)
			}
		})
	}
	all.Wait()
	seconds := time.Since(began).Seconds()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	slices.Sort(took)
	return json.NewEncoder(out).Encode(map[string]any{
		"requests": len(took), "rate": float64(len(took)) / seconds, "cpu": after - before,
		"p50": took[len(took)/2].Seconds(), "p99": took[len(took)*99/100].Seconds(),
	})
}

// until waits for a time, and reports whether it came before ctx ended.
func until(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *sender) ask(c net.Conn, r *bufio.Reader, request []byte) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err == nil && answer.StatusCode != s.want {
		err = fmt.Errorf("status %d, want %d: %s", answer.StatusCode, s.want, body)
	}
	return err
}

// ticks are a second, in the files of /proc, on every Linux that Go runs on.
const ticks = 100

// cpu is the seconds that the processes have computed.
func (s *sender) cpu() (float64, error) {
	sum := 0
	for _, pid := range s.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, field := range fields[11:13] {
			n, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return float64(sum) / ticks, nil
}
