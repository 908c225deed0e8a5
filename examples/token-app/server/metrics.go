package server

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Metrics are the figures of one process, in the text format of Prometheus. No
// label has anything that a client chooses.
type Metrics struct {
	requests, tokens, verified, limited, panics, setEvents, broken *family
	requestTime, stepTime                                          *family
	families                                                       []*family
	gates                                                          []*Gate
	mu                                                             sync.Mutex
	more                                                           []func(io.Writer)
}

// seconds are the bounds of the buckets of all times.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics makes metrics that have counted nothing.
func NewMetrics() *Metrics {
	m := &Metrics{}
	m.requests = m.counter("tokenapp_requests_total", "Requests, by route and status.", "route", "status")
	m.tokens = m.counter("tokenapp_tokens_total", "Requests for tokens, by service and what became of them.", "service", "class")
	m.verified = m.counter("tokenapp_verified_total", "Credentials that were looked at, by scheme and verdict.", "scheme", "class")
	m.limited = m.counter("tokenapp_limited_total", "Requests beyond a limit, by what it counts.", "by")
	m.setEvents = m.counter("tokenapp_events_total", "Security events, by verdict.", "class")
	m.panics = m.counter("tokenapp_panics_total", "Handlers that broke.")
	m.broken = m.counter("tokenapp_broken_total", "Complaints of net/http about connections.")
	m.requestTime = m.histogram("tokenapp_request_seconds", "Time of requests.", "route")
	m.stepTime = m.histogram("tokenapp_step_seconds", "Time of the steps of requests for tokens.", "step")
	return m
}

// Watch shows the queues of gates.
func (m *Metrics) Watch(gates ...*Gate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gates = append(m.gates, gates...)
}

// Also lets somebody else write, behind our own.
func (m *Metrics) Also(f func(io.Writer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.more = append(m.more, f)
}

// Broken counts a connection of which net/http complains.
func (m *Metrics) Broken() { m.broken.add(1) }

// ServeHTTP writes the metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.write(w)
}

func (m *Metrics) write(w io.Writer) {
	for _, f := range m.families {
		f.write(w)
	}
	m.mu.Lock()
	gates, more := slices.Clone(m.gates), slices.Clone(m.more)
	m.mu.Unlock()
	for _, g := range []struct{ name, kind, help string }{
		{"tokenapp_gate_inside", "gauge", "Calls that were let in."},
		{"tokenapp_gate_waiting", "gauge", "Calls that wait."},
		{"tokenapp_gate_mean_seconds", "gauge", "Time of a call, smoothed."},
		{"tokenapp_gate_refused_total", "counter", "Calls that were not let in."},
	} {
		if len(gates) == 0 {
			break
		}
		head(w, g.name, g.kind, g.help)
		for _, gate := range gates {
			inside, waiting, mean, refused := gate.state()
			value := map[string]float64{
				"tokenapp_gate_inside":        float64(inside),
				"tokenapp_gate_waiting":       float64(waiting),
				"tokenapp_gate_mean_seconds":  mean.Seconds(),
				"tokenapp_gate_refused_total": float64(refused),
			}[g.name]
			fmt.Fprintf(w, "%s{gate=%q} %s\n", g.name, gate.name, number(value))
		}
	}
	for _, f := range more {
		f(w)
	}
}

// A family is a metric with all its labels.
type family struct {
	name, kind, help string
	labels           []string
	mu               sync.Mutex
	of               map[string]*series
	text             []byte // of the labels that were asked for last
}

type series struct {
	value   float64 // or sum
	count   uint64
	buckets []uint64
}

func (m *Metrics) counter(name, help string, labels ...string) *family {
	return m.family(name, "counter", help, labels)
}

func (m *Metrics) histogram(name, help string, labels ...string) *family {
	return m.family(name, "histogram", help, labels)
}

func (m *Metrics) family(name, kind, help string, labels []string) *family {
	f := &family{name: name, kind: kind, help: help, labels: labels, of: map[string]*series{}}
	m.families = append(m.families, f)
	return f
}

// at gives the series of some labels, with the family locked.
func (f *family) at(values []string) *series {
	name := f.text[:0]
	for i, l := range f.labels {
		if i > 0 {
			name = append(name, ',')
		}
		name = strconv.AppendQuote(append(append(name, l...), '='), values[i])
	}
	f.text = name
	s := f.of[string(name)] // which makes no string
	if s == nil {
		s = &series{buckets: make([]uint64, len(seconds))}
		f.of[string(name)] = s
	}
	return s
}

func (f *family) add(n float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at(values).value += n
}

func (f *family) observe(v float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.at(values)
	s.value += v
	s.count++
	if i, _ := slices.BinarySearch(seconds, v); i < len(seconds) {
		s.buckets[i]++
	}
}

func (f *family) write(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	head(w, f.name, f.kind, f.help)
	for _, labels := range slices.Sorted(maps.Keys(f.of)) {
		s := f.of[labels]
		if f.kind == "counter" {
			fmt.Fprintf(w, "%s%s %s\n", f.name, braces(labels), number(s.value))
			continue
		}
		sofar := uint64(0)
		for i, n := range s.buckets {
			sofar += n
			fmt.Fprintf(w, "%s_bucket{%s,le=%q} %d\n", f.name, labels, number(seconds[i]), sofar)
		}
		fmt.Fprintf(w, "%s_bucket{%s,le=\"+Inf\"} %d\n", f.name, labels, s.count)
		fmt.Fprintf(w, "%s_sum%s %s\n", f.name, braces(labels), number(s.value))
		fmt.Fprintf(w, "%s_count%s %d\n", f.name, braces(labels), s.count)
	}
}

func head(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func braces(labels string) string {
	if labels == "" {
		return ""
	}
	return "{" + labels + "}"
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
