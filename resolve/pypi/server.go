package pypi

import (
	"context"
	"net/url"
	"sync"
)

// A server is one index.
type server struct {
	url  string // without credentials
	base *url.URL

	probing chan struct{} // held by who asks for the first sidecar
	mu      sync.Mutex
	hidden  answer // whether files have sidecars that pages do not advertise
}

// An answer to a question that is asked once.
type answer uint8

const (
	unknown answer = iota
	no
	yes
)

func newServer(u *url.URL) *server {
	return &server{url: u.String(), base: u, probing: make(chan struct{}, 1)}
}

// page is the URL of the page of a project.
func (s *server) page(name string) string { return s.base.JoinPath(name, "/").String() }

// learn notes that an index advertises sidecars: then it has none but these.
func (s *server) learn(l *listing) {
	for i := range l.files {
		if l.files[i].side.state != sideUnsaid {
			s.setHidden(no)
			return
		}
	}
}

func (s *server) setHidden(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden == unknown {
		s.hidden = a
	}
}

func (s *server) getHidden() answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hidden
}

// ask gives whether the server has hidden sidecars. Where nobody knows yet it
// calls find, one goroutine at a time.
func (s *server) ask(ctx context.Context, find func() answer) (answer, error) {
	if a := s.getHidden(); a != unknown {
		return a, nil
	}
	select {
	case s.probing <- struct{}{}:
	case <-ctx.Done():
		return unknown, ctx.Err()
	}
	defer func() { <-s.probing }()
	if a := s.getHidden(); a != unknown {
		return a, nil
	}
	a := find()
	s.setHidden(a)
	return a, nil
}
