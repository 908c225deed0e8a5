// Package nodetest is a small storage node for tests and demonstrations: each
// user has a shelf of texts, in memory.
//
//	GET    /1.5/UID            what the token says of the user, and the names on the shelf
//	GET    /1.5/UID/NAME       a text
//	PUT    /1.5/UID/NAME       a text
//	DELETE /1.5/UID            all of it
package nodetest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"

	"appbundle/examples/token-app/node"
)

// A Server is a node. It is an [http.Handler].
type Server struct {
	handler http.Handler

	mu      sync.Mutex
	shelves map[int64]map[string][]byte
}

// New makes the server of a node.
func New(cfg node.Config) (*Server, error) {
	c, err := node.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{shelves: map[int64]map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /1.5/{uid}", s.list)
	mux.HandleFunc("DELETE /1.5/{uid}", s.clear)
	mux.HandleFunc("GET /1.5/{uid}/{name}", s.get)
	mux.HandleFunc("PUT /1.5/{uid}/{name}", s.put)
	s.handler = c.Handler(mux)
	return s, nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Users are those who have something on their shelf.
func (s *Server) Users() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.shelves))
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	c := node.Claims(r.Context())
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.shelves[c.UID]))
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"uid": c.UID, "node": c.Node, "expires": c.Expires, "fxa_uid": c.FxaUID, "fxa_kid": c.FxaKID,
		"hashed_fxa_uid": c.HashedFxaUID, "hashed_device_id": c.HashedDeviceID, "names": append([]string{}, names...),
	})
}

func (s *Server) clear(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shelves, node.Claims(r.Context()).UID)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text, ok := s.shelves[node.Claims(r.Context()).UID][r.PathValue("name")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(text)
}

const maxText = 64 << 10

func (s *Server) put(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxText))
	if err != nil {
		http.Error(w, "the text is too long", http.StatusRequestEntityTooLarge)
		return
	}
	uid := node.Claims(r.Context()).UID
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shelves[uid] == nil {
		s.shelves[uid] = map[string][]byte{}
	}
	s.shelves[uid][r.PathValue("name")] = text
	w.WriteHeader(http.StatusNoContent)
}
