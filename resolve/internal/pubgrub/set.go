package pubgrub

import "math/bits"

// A Set is a set of what a package can be. Bit 0 is "not there", bit n its
// candidate n; candidates count from 1. Sets of one package have one length, and
// no operation changes its operands.
type Set []uint64

// NewSet gives an empty set for a package with that many candidates.
func NewSet(candidates int) Set { return make(Set, candidates/64+1) }

// Has reports whether i is in s.
func (s Set) Has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// Put adds i to s: for sets that are being made.
func (s Set) Put(i int) { s[i/64] |= 1 << (i % 64) }

// And gives what is in both.
func (s Set) And(t Set) Set {
	r := make(Set, len(s))
	for i := range s {
		r[i] = s[i] & t[i]
	}
	return r
}

// Or gives what is in either.
func (s Set) Or(t Set) Set {
	r := make(Set, len(s))
	for i := range s {
		r[i] = s[i] | t[i]
	}
	return r
}

// Minus gives what is in s and not in t.
func (s Set) Minus(t Set) Set {
	r := make(Set, len(s))
	for i := range s {
		r[i] = s[i] &^ t[i]
	}
	return r
}

// Equal reports whether both hold the same.
func (s Set) Equal(t Set) bool {
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Within reports whether all of s is in t.
func (s Set) Within(t Set) bool {
	for i := range s {
		if s[i]&^t[i] != 0 {
			return false
		}
	}
	return true
}

// Meets reports whether something is in both.
func (s Set) Meets(t Set) bool {
	for i := range s {
		if s[i]&t[i] != 0 {
			return true
		}
	}
	return false
}

// Empty reports whether nothing is in s.
func (s Set) Empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// Len counts what is in s.
func (s Set) Len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Max gives the highest element, -1 for none.
func (s Set) Max() int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] != 0 {
			return i*64 + 63 - bits.LeadingZeros64(s[i])
		}
	}
	return -1
}

// Min gives the lowest element, -1 for none.
func (s Set) Min() int {
	for i, w := range s {
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// Candidates gives s without "not there".
func (s Set) Candidates() Set {
	r := append(Set(nil), s...)
	r[0] &^= 1
	return r
}

// Each calls f for every candidate of s, the lowest first.
func (s Set) Each(f func(candidate int)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if n := i*64 + bits.TrailingZeros64(w); n > 0 {
				f(n)
			}
		}
	}
}

// fill gives everything that a package with that many candidates can be.
func fill(candidates int) Set {
	s := NewSet(candidates)
	for i := range s {
		s[i] = ^uint64(0)
	}
	if n := (candidates + 1) % 64; n != 0 {
		s[len(s)-1] = 1<<n - 1
	}
	return s
}
