package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// pingTime is how long the store may take to answer a heartbeat.
const pingTime = 2 * time.Second

// describe makes the discovery document, which is the same for everybody.
func (s *Server) describe() {
	doc := struct {
		Services map[string][]string `json:"services"`
		Auth     string              `json:"auth"`
		Discovered
	}{s.serviceNames(), strings.TrimSuffix(s.cfg.Origin, "/"), s.cfg.Discovered}
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err) // our own types
	}
	s.document = body
}

func (s *Server) discovery(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, json.RawMessage(s.document))
}

// heartbeat says whether the store answers.
func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pingTime)
	defer cancel()
	code, word := http.StatusOK, "Ok"
	if err := s.cfg.Users.Ping(ctx); err != nil {
		code, word = http.StatusServiceUnavailable, "Err"
		s.log.Warn("the store does not answer", "cause", err.Error())
	}
	s.json(w, code, map[string]string{"version": s.build.Version, "database": word, "status": word})
}

func (s *Server) lbheartbeat(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, struct{}{})
}

// A build is what __version__ says.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Source  string `json:"source"`
	Build   string `json:"build"`
}

// thisBuild says what was compiled.
func thisBuild(version string) build {
	b := build{Version: version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Source, b.Build = info.Main.Path, info.GoVersion
	b.Version = cmp.Or(version, info.Main.Version)
	for _, set := range info.Settings {
		if set.Key == "vcs.revision" {
			b.Commit = set.Value
		}
	}
	return b
}

func (s *Server) versions(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, s.build)
}

// maxEvent is the size of a Security Event Token.
const maxEvent = 64 << 10

// An EventError says why a Security Event Token was refused, in the words of RFC
// 8935, section 2.4.
type EventError struct {
	Code        string `json:"err"` // invalid_request, invalid_key, invalid_issuer, invalid_audience, authentication_failed, access_denied
	Description string `json:"description"`
}

// Error is the code and the description.
func (e *EventError) Error() string { return e.Code + ": " + e.Description }

// events takes a Security Event Token: as the body, as RFC 8935 has it, or as
// bearer token of a request without one.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	err := s.receive(w, r)
	class := "ok"
	var wrong *EventError
	var busy *Busy
	switch {
	case err == nil:
		s.json(w, http.StatusAccepted, struct{}{})
	case errors.As(err, &wrong):
		class = wrong.Code
		s.json(w, http.StatusBadRequest, wrong)
	case errors.As(err, &busy):
		class = "busy"
		s.refuse(w, Unavailable("Resource is not available"))
	default:
		class = "failed"
		s.refuse(w, Unavailable("Resource is not available"))
	}
	s.metrics.setEvents.add(1, class)
	attrs := []any{"class", class, "total_ms", float64(s.now().Sub(began).Microseconds()) / 1000}
	if class == "failed" {
		s.log.Warn("event", append(attrs, "cause", err.Error())...)
		return
	}
	s.log.Info("event", attrs...)
}

func (s *Server) receive(w http.ResponseWriter, r *http.Request) error {
	if !s.addrs.take(s.cfg.Limits.client(r), 1) {
		s.metrics.limited.add(1, "address")
		return &Busy{Gate: "the limit of the address"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		return &EventError{"invalid_request", "the body cannot be read, or is too big"}
	}
	set := strings.TrimSpace(string(body))
	if set == "" {
		scheme, bearer, err := authorization(r.Header.Values("Authorization"))
		if err != nil || scheme != "bearer" {
			return &EventError{"invalid_request", "there is no Security Event Token"}
		}
		set = string(bearer)
	} else if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/secevent+jwt") {
		return &EventError{"invalid_request", "the content type is not application/secevent+jwt"}
	}
	return s.cfg.Events.Receive(r.Context(), Private(set))
}
