package zmq

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is the answer of a link or a socket after its end.
	ErrClosed = errors.New("closed")
	// ErrFull is what would have to wait: a queue is at its mark.
	ErrFull = errors.New("the queue is full")
	// ErrNoPeer is what would have to wait: a DEALER socket has no live peer.
	ErrNoPeer = errors.New("there is no peer")
	// ErrUnknownPeer is wrapped when a ROUTER socket is to send to an identity
	// that no live peer has.
	ErrUnknownPeer = errors.New("no peer has this identity")
	// ErrSilent ends a link whose peer let the heartbeat's time pass.
	ErrSilent = errors.New("the peer is silent")
)

// A ProtocolError says what a peer sent that ZMTP, or one of our limits, does
// not allow.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return "the peer sent " + e.What }

func protocolErrorf(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// A TypeError says that two socket types do not speak to each other.
type TypeError struct {
	Own  Type
	Peer string // as the peer wrote it
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("socket types do not fit: %s here, %q there", e.Own, e.Peer)
}

// A RefusedError is the reason that a peer gave for refusing us: the ERROR
// command of RFC 23.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return fmt.Sprintf("refused by the peer: %q", e.Reason) }

// An AdmissionError says that a peer was not let in: by [Config.Admit] or
// [Config.Vet], by its key, or because its identity is taken.
type AdmissionError struct{ Err error }

func (e *AdmissionError) Error() string { return "not admitted: " + e.Err.Error() }
func (e *AdmissionError) Unwrap() error { return e.Err }

// permanent reports whether dialling again would give the same error.
func permanent(err error) bool {
	var (
		protocol *ProtocolError
		types    *TypeError
		refused  *RefusedError
		admitted *AdmissionError
	)
	return errors.As(err, &protocol) || errors.As(err, &types) || errors.As(err, &refused) || errors.As(err, &admitted)
}
