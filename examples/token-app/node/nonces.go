package node

import (
	"crypto/sha256"
	"sync"
	"time"
)

// nonces remembers requests for a while, up to a number of them: the oldest make
// room. They are kept in the order in which they came, for all are kept equally
// long.
type nonces struct {
	most int
	keep time.Duration

	mu        sync.Mutex
	known     map[nonceSum]struct{}
	queue     []seenNonce // a ring
	first, n  int
	forgotten uint64
}

type nonceSum [16]byte

type seenNonce struct {
	sum nonceSum
	at  time.Time
}

func newNonces(most int, keep time.Duration) *nonces {
	return &nonces{most: most, keep: keep, known: map[nonceSum]struct{}{}}
}

// add notes a request, and reports whether it is new.
func (s *nonces) add(id, ts, nonce string, now time.Time) bool {
	h := sha256.New()
	h.Write([]byte(id + "\n" + ts + "\n" + nonce))
	sum := nonceSum(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.n > 0 && now.Sub(s.queue[s.first].at) > s.keep {
		s.drop()
	}
	if _, known := s.known[sum]; known {
		return false
	}
	if s.n == s.most {
		s.drop()
		s.forgotten++
	}
	if s.n == len(s.queue) {
		s.grow()
	}
	s.queue[(s.first+s.n)%len(s.queue)] = seenNonce{sum, now}
	s.n++
	s.known[sum] = struct{}{}
	return true
}

func (s *nonces) drop() {
	delete(s.known, s.queue[s.first].sum)
	s.first = (s.first + 1) % len(s.queue)
	s.n--
}

func (s *nonces) grow() {
	bigger := make([]seenNonce, min(max(2*len(s.queue), 64), s.most))
	for i := range s.n {
		bigger[i] = s.queue[(s.first+i)%len(s.queue)]
	}
	s.queue, s.first = bigger, 0
}

func (s *nonces) lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forgotten
}
