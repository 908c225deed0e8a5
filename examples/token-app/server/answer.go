package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A Refusal is an answer that says no, in the form in which clients know it.
type Refusal struct {
	Code        int    // of HTTP
	Word        string // "status" of the body: what clients look at
	Location    string // of what is wrong: body, header or url
	Name        string
	Description string
	Conditions  map[string]string // "condition_urls"
	Retry       bool              // tells the client when to come back
	Cause       string            // a word for logs that the client is not told
}

// Error is the word and the description; neither has anything of the request.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%d %s: %s", r.Code, r.Word, r.Description)
}

// Unauthorized refuses a user for the reason that word is.
func Unauthorized(word string) *Refusal {
	return &Refusal{Code: http.StatusUnauthorized, Word: word, Location: "body", Description: "Unauthorized"}
}

// BadClientState refuses a client state that a user may not have.
func BadClientState(why string) *Refusal {
	return &Refusal{Code: http.StatusUnauthorized, Word: "invalid-client-state", Location: "header", Name: "X-Client-State",
		Description: "Unacceptable client-state value " + why}
}

// Unavailable refuses for lack of something that will be there again.
func Unavailable(description string) *Refusal {
	return &Refusal{Code: http.StatusServiceUnavailable, Word: "error", Location: "body", Description: description, Retry: true}
}

func badHeader(name, description string) *Refusal {
	return &Refusal{Code: http.StatusBadRequest, Word: "error", Location: "header", Name: name, Description: description}
}

// class is a word for logs and metrics.
func (r *Refusal) class() string {
	if r.Word != "error" {
		return r.Word
	}
	return strings.ToLower(strings.ReplaceAll(http.StatusText(r.Code), " ", "-"))
}

type failure struct {
	Location    string            `json:"location"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Conditions  map[string]string `json:"condition_urls,omitempty"`
}

// refuse answers with r.
func (s *Server) refuse(w http.ResponseWriter, r *Refusal) {
	h := w.Header()
	if r.Code == http.StatusUnauthorized {
		for _, c := range s.auth {
			h.Add("WWW-Authenticate", c)
		}
	}
	if r.Retry {
		h.Set("Retry-After", strconv.FormatInt(s.fuzzed(s.cfg.RetryAfter), 10))
	}
	s.json(w, r.Code, map[string]any{
		"status": r.Word,
		"errors": []failure{{r.Location, r.Name, r.Description, r.Conditions}},
	})
}

// fuzzed adds something to a time, so that those who are told it do not come
// back together, and none comes before it.
func (s *Server) fuzzed(d time.Duration) int64 {
	more := max(d/20, 5*time.Second)
	d += time.Duration(s.rand() * float64(more))
	return int64((d + time.Second - 1) / time.Second)
}

func (s *Server) json(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	out := &recorder{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Timestamp", strconv.FormatInt(began.Unix(), 10))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if s.cfg.Backoff > 0 && s.rand() < s.cfg.BackoffShare {
		seconds := strconv.FormatInt(s.fuzzed(s.cfg.Backoff), 10)
		h.Set("X-Backoff", seconds)
		h.Set("X-Weave-Backoff", seconds) // what clients of Sync read first
	}
	route := "none"
	defer func() {
		if p := recover(); p != nil {
			s.panicked(out, p)
		}
		s.metrics.requests.add(1, route, strconv.Itoa(out.status()))
		s.metrics.requestTime.observe(s.now().Sub(began).Seconds(), route)
	}()

	handler, pattern := s.mux.Handler(r)
	if pattern == "" || unclean(r.URL.Path) {
		s.nowhere(out, r, handler, pattern)
		return
	}
	_, route, _ = strings.Cut(pattern, " ")
	s.mux.ServeHTTP(out, r)
}

// unclean reports whether the library would redirect to another spelling of the
// path: a path has one spelling here.
func unclean(p string) bool {
	return strings.Contains(p, "//") || strings.Contains(p, "/./") || strings.Contains(p, "/../") ||
		strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..") || !strings.HasPrefix(p, "/")
}

// nowhere says in JSON that there is no such path, or no such method. Which one,
// and which methods there are, is what the library's own handler says.
func (s *Server) nowhere(w http.ResponseWriter, r *http.Request, handler http.Handler, pattern string) {
	if pattern == "" && !unclean(r.URL.Path) {
		seen := &recorder{ResponseWriter: discard{http.Header{}}}
		handler.ServeHTTP(seen, r)
		if seen.status() == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", seen.Header().Get("Allow"))
			s.refuse(w, &Refusal{Code: http.StatusMethodNotAllowed, Word: "error", Location: "method", Description: "Method Not Allowed"})
			return
		}
	}
	s.refuse(w, &Refusal{Code: http.StatusNotFound, Word: "error", Location: "url", Description: "Not Found"})
}

// panicked answers for a handler that broke. What it broke with may be anything,
// also what nobody may see: where it did is all that is written down.
func (s *Server) panicked(w *recorder, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.metrics.panics.add(1)
	s.log.Error("a handler broke", "type", fmt.Sprintf("%T", p), "where", where())
	if w.code == 0 {
		s.refuse(w, &Refusal{Code: http.StatusInternalServerError, Word: "internal-error", Location: "internal", Description: "Server error"})
	}
}

// where lists the functions that a panic went through, without their arguments.
func where() []string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)])
	var out []string
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			out = append(out, fmt.Sprintf("%s:%d", f.Function, f.Line))
		}
		if !more || len(out) == 8 {
			return out
		}
	}
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// A discard takes an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(b []byte) (int, error) { return len(b), nil }

// errorClass is a word for an error in logs and metrics.
func errorClass(err error) string {
	var refusal *Refusal
	var busy *Busy
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refusal):
		return refusal.class()
	case errors.As(err, &busy):
		return "busy"
	}
	return "failed"
}

// logAttrs are what may be written about a request for a token, and nothing else
// may.
func (e *exchange) logAttrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.String("service", e.service),
		slog.Int("status", e.code),
		slog.String("class", e.class),
	}
	for _, a := range [][2]string{{"scheme", e.scheme}, {"issuer", e.issuer}, {"user", e.user}, {"node", e.node}, {"cause", e.cause}} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"verify_ms", e.verify}, {"store_ms", e.store}, {"mint_ms", e.mint}, {"total_ms", e.total}} {
		if t.d > 0 {
			attrs = append(attrs, slog.Float64(t.name, float64(t.d.Microseconds())/1000))
		}
	}
	return attrs
}
