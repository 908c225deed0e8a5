package zmq

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/go-zeromq/zmq4"
)

// Open makes a link of a connection: it asks who the peer is, and shakes hands.
// server says whether the connection was accepted (true) or dialled. The
// connection belongs to the link, and is closed when Open fails.
//
// All of it takes at most Config.Handshake, and ends when ctx does. Errors:
// [AdmissionError], [TypeError], [RefusedError], [ProtocolError], or that of the
// connection.
func Open(ctx context.Context, nc net.Conn, server bool, cfg Config) (*Link, error) {
	full, err := cfg.withDefaults()
	if err != nil {
		nc.Close()
		return nil, err
	}
	return open(ctx, nc, server, full)
}

func open(ctx context.Context, nc net.Conn, server bool, cfg *Config) (l *Link, err error) {
	h := &handshake{cfg: cfg, server: server}
	defer func() {
		if err != nil {
			if h.release != nil {
				h.release()
			}
			nc.Close()
		}
	}()
	if h.peer.Credentials, err = credentials(nc); err != nil {
		return nil, err
	}
	if err := cfg.checkTransport(h.peer.Network, "connection"); err != nil {
		return nil, err
	}
	if err := cfg.Admit(h.peer.Credentials); err != nil {
		return nil, &AdmissionError{err}
	}
	if err := limitOutage(nc, cfg.Outage); err != nil {
		return nil, err
	}
	if err := nc.SetDeadline(time.Now().Add(cfg.Handshake)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err = h.run(nc)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, handshakeError(err, cfg)
	}
	return newLink(nc, cfg, h.peer, h.session, h.release), nil
}

// handshakeError says what it means that a connection ends here.
func handshakeError(err error, cfg *Config) error {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no handshake within %v", cfg.Handshake)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		if _, ok := cfg.Security.(*CurveClient); ok {
			return fmt.Errorf("the peer closed the connection during the handshake; its key may be another than the one that we have of it: %w", cause(err))
		}
		return fmt.Errorf("the peer closed the connection during the handshake; it may not admit us: %w", cause(err))
	}
	return err
}

// A handshake is what zmq4.Open is given as its security. It reads what the peer
// sends by itself: no decoder of zmq4 sees a byte that was not judged here.
type handshake struct {
	cfg     *Config
	server  bool
	rw      *greeter
	peer    Peer
	session *session // CURVE
	release func()   // of what was claimed
	err     error
}

func (h *handshake) run(nc net.Conn) (err error) {
	mechanism, asServer := "NULL", false
	if s := h.cfg.Security; s != nil {
		mechanism, asServer = "CURVE", s.isServer()
	}
	h.rw = &greeter{Conn: nc, mechanism: mechanism, asServer: asServer}
	defer func() {
		// What we know of zmq4 cannot panic here. It is somebody else's code, and
		// a peer must not be able to end the process by a mistake in it.
		if p := recover(); p != nil {
			err = fmt.Errorf("handshake: %v", p)
		}
	}()
	_, err = zmq4.Open(h.rw, h, zmq4.SocketType(h.cfg.Type), zmq4.SocketIdentity(h.cfg.Identity), h.server, nil)
	if err == nil {
		h.peer.Minor = int(h.rw.got[11])
		if h.rw.got[10] > 3 {
			h.peer.Minor = 1
		}
		return nil
	}
	for _, cause := range []error{h.err, h.rw.err} {
		if cause != nil {
			return cause
		}
	}
	return err
}

// Type, Handshake, Encrypt and Decrypt are zmq4.Security.

func (h *handshake) Type() zmq4.SecurityType { return zmq4.SecurityType(h.rw.mechanism) }

func (h *handshake) Handshake(c *zmq4.Conn, _ bool) error {
	metadata, err := c.Meta.MarshalZMTP()
	if err == nil {
		if s := h.cfg.Security; s != nil {
			err = s.handshake(h, metadata)
		} else {
			err = h.null(metadata)
		}
	}
	h.err = err
	c.Peer.Meta["Socket-Type"] = h.peer.Type // which fits, or Open does not look at it
	return err
}

func (h *handshake) Encrypt(w io.Writer, b []byte) (int, error) { return w.Write(b) }
func (h *handshake) Decrypt(w io.Writer, b []byte) (int, error) { return w.Write(b) }

// null is the NULL mechanism (RFC 23): READY both ways. The accepting side reads
// first, so that it can answer ERROR with the reason.
func (h *handshake) null(metadata []byte) error {
	var sendErr error
	if !h.server {
		sendErr = h.send("READY", metadata)
	}
	body, err := h.expect("READY", h.cfg.Limits.Metadata)
	if err == nil {
		err = h.judge(body)
	}
	if sendErr != nil && (err == nil || !permanent(err)) {
		// A peer that is gone may have left what says more: who it was, or why.
		return sendErr
	}
	if err != nil || !h.server {
		return err
	}
	return h.send("READY", metadata)
}

// judge reads the peer's metadata and decides on it.
func (h *handshake) judge(metadata []byte) (err error) {
	if len(metadata) > h.cfg.Limits.Metadata {
		err = protocolErrorf("%d bytes of metadata; at most %d are read", len(metadata), h.cfg.Limits.Metadata)
	} else if err = h.peer.parse(metadata); err == nil {
		h.release, err = h.cfg.vet(&h.peer)
	}
	if err != nil && h.server {
		h.refuse(err)
	}
	return err
}

// refuse tells the peer why, as far as it listens. It is not told more than what
// it did wrong.
func (h *handshake) refuse(err error) {
	var types *TypeError
	reason := err.Error()
	if errors.As(err, &types) {
		reason = fmt.Sprintf("socket types do not fit: %s and %q", types.Own, types.Peer)
	}
	_, _ = h.rw.Write(appendCommand(nil, "ERROR", appendReason(nil, reason)))
}

func (h *handshake) send(name string, body []byte) error {
	_, err := h.rw.Write(appendCommand(nil, name, body))
	return err
}

// expect reads the command that has to come, with a body of at most limit bytes.
func (h *handshake) expect(want string, limit int) ([]byte, error) {
	limit = max(limit, 256) // an ERROR always fits
	// One byte at a time is read through a bufio.Reader of the smallest size, so
	// that nothing of the messages after the handshake is.
	r := bufio.NewReaderSize(&exact{h.rw}, 16)
	flags, n, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if flags&flagCommand == 0 {
		return nil, protocolErrorf("a message where %s has to come", want)
	}
	if n > uint64(1+len(want)+limit) {
		return nil, protocolErrorf("a command of %d bytes where %s of at most %d has to come", n, want, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(h.rw, b); err != nil {
		return nil, err
	}
	name, body, err := splitCommand(b)
	switch {
	case err != nil:
		return nil, err
	case name == want:
		return body, nil
	case name == "ERROR":
		return nil, parseReason(body)
	}
	return nil, protocolErrorf("command %q where %s has to come", name, want)
}

// exact gives single bytes, whatever is asked for.
type exact struct{ r io.Reader }

func (e *exact) Read(p []byte) (int, error) { return e.r.Read(p[:1]) }

// A greeter stands between zmq4 and the connection. It sets what zmq4 leaves
// unset in our greeting, the minor version and as-server, and judges that of the
// peer as it comes.
type greeter struct {
	net.Conn
	mechanism string
	asServer  bool
	sent      bool
	got       [greetingSize]byte
	n         int
	err       error
}

func (g *greeter) Write(p []byte) (int, error) {
	if !g.sent && len(p) == greetingSize {
		g.sent = true
		p = bytes.Clone(p)
		p[11] = 1 // ZMTP 3.1
		if g.asServer {
			p[32] = 1
		}
		// A peer that is gone may have left something to read that says why.
		if n, err := g.Conn.Write(p); err != nil {
			g.err = err
			return n, err
		}
		return len(p), nil
	}
	return g.Conn.Write(p)
}

func (g *greeter) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if g.n < greetingSize {
		g.n += copy(g.got[g.n:], p[:n])
		if bad := checkGreeting(g.got[:g.n], g.mechanism); bad != nil {
			g.err = bad
			return n, bad
		}
		if err != nil {
			g.err = err
		}
	}
	return n, err
}
