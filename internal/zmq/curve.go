package zmq

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// Security is CURVE, as a [CurveServer] or a [CurveClient]. Which end is the
// server does not depend on who dials.
type Security interface {
	check() error
	isServer() bool
	handshake(h *handshake, metadata []byte) error
}

// A CurveServer lets clients in by their keys.
type CurveServer struct {
	Secret SecretKey
	Allow  []PublicKey // the clients; an empty list is an error: without it CURVE only encrypts
	// Allowed is asked instead of Allow, for a list that changes while links
	// live. It may be called by several goroutines at once.
	Allowed func(PublicKey) bool
}

// A CurveClient knows its server by its key.
type CurveClient struct {
	Secret SecretKey
	Server PublicKey
}

func (s *CurveServer) isServer() bool { return true }
func (c *CurveClient) isServer() bool { return false }

func (s *CurveServer) check() error {
	switch {
	case s.Secret == SecretKey{}:
		return errors.New("the CURVE server has no secret key")
	case len(s.Allow) == 0 && s.Allowed == nil:
		return errors.New("the CURVE server allows no client; name their public keys")
	}
	return nil
}

func (c *CurveClient) check() error {
	switch {
	case c.Secret == SecretKey{}:
		return errors.New("the CURVE client has no secret key")
	case c.Server == PublicKey{}:
		return errors.New("the CURVE client does not know the key of its server")
	}
	return nil
}

// Sizes of the commands' bodies and boxes (RFC 26), in bytes.
const (
	helloSize    = 2 + 72 + 32 + 8 + 64 + box.Overhead
	cookieSize   = 96
	welcomeSize  = 16 + 32 + cookieSize + box.Overhead
	vouchSize    = 64 + box.Overhead
	initiateBase = cookieSize + 8 + box.Overhead + 32 + 16 + vouchSize
	readyBase    = 8 + box.Overhead

	// boxed is what a box makes of a frame's body: the name, the short nonce, the
	// flags and the box itself.
	boxed = 8 + 8 + box.Overhead + 1
)

// shortNonce is a nonce of 16 bytes that are known and a number that rises.
func shortNonce(prefix string, n uint64) *[24]byte {
	var nonce [24]byte
	copy(nonce[:16], prefix)
	binary.BigEndian.PutUint64(nonce[16:], n)
	return &nonce
}

// longNonce is a nonce of 8 bytes that are known and 16 random ones.
func longNonce(prefix string, random []byte) *[24]byte {
	var nonce [24]byte
	copy(nonce[:8], prefix)
	copy(nonce[8:], random)
	return &nonce
}

var errBox = &ProtocolError{"a box that does not open: a wrong key, or somebody between"}

// handshake is the server's part: HELLO, WELCOME, INITIATE, READY.
func (s *CurveServer) handshake(h *handshake, metadata []byte) error {
	server := [32]byte(s.Secret)
	hello, err := h.expect("HELLO", helloSize)
	if err != nil {
		return err
	}
	clientEphemeral, received, err := openHello(hello, &server)
	if err != nil {
		return err
	}

	// The cookie lets a server forget a client until INITIATE. Ours remembers,
	// for at most the time of a handshake: the cookie is 96 random bytes that
	// have to come back.
	ephemeral, ephemeralSecret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	var random [16 + cookieSize]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	nonce, cookie := random[:16], random[16:]
	welcome := box.Seal(bytes.Clone(nonce), append(ephemeral[:], cookie...), longNonce("WELCOME-", nonce), clientEphemeral, &server)
	if err := h.send("WELCOME", welcome); err != nil {
		return err
	}

	initiate, err := h.expect("INITIATE", initiateBase+h.cfg.Limits.Metadata)
	if err != nil {
		return err
	}
	session := newSession(clientEphemeral, ephemeralSecret, true)
	session.received = received
	client, theirs, err := openInitiate(initiate, cookie, session, clientEphemeral, ephemeralSecret, s.Secret.Public())
	if err != nil {
		return err
	}
	h.peer.Key = client
	if !s.allows(client) {
		err := &AdmissionError{errors.New("client key " + client.String() + " is not on the list")}
		h.refuse(err)
		return err
	}
	if err := h.judge(theirs); err != nil {
		return err
	}
	h.session = session
	session.sent++
	ready := binary.BigEndian.AppendUint64(nil, session.sent)
	ready = secretbox.Seal(ready, metadata, shortNonce("CurveZMQREADY---", session.sent), &session.key)
	return h.send("READY", ready)
}

func (s *CurveServer) allows(client PublicKey) bool {
	if s.Allowed != nil {
		return s.Allowed(client)
	}
	allowed := 0
	for _, k := range s.Allow {
		allowed |= subtle.ConstantTimeCompare(k[:], client[:])
	}
	return allowed != 0
}

// openHello gives the client's ephemeral key, and its nonce.
func openHello(b []byte, server *[32]byte) (*[32]byte, uint64, error) {
	if len(b) != helloSize {
		return nil, 0, protocolErrorf("a HELLO of %d bytes; it has %d", len(b), helloSize)
	}
	if b[0] != 1 || b[1] != 0 {
		return nil, 0, protocolErrorf("version %d.%d of CURVE; here it is 1.0", b[0], b[1])
	}
	client := [32]byte(b[74:106])
	n := binary.BigEndian.Uint64(b[106:])
	zeros, ok := box.Open(nil, b[114:], shortNonce("CurveZMQHELLO---", n), &client, server)
	if !ok || !bytes.Equal(zeros, make([]byte, 64)) {
		return nil, 0, errBox
	}
	return &client, n, nil
}

// openInitiate gives the client's long-term key, which has vouched for the
// ephemeral one, and its metadata.
func openInitiate(b, cookie []byte, s *session, ephemeral, secret *[32]byte, own PublicKey) (client PublicKey, metadata []byte, err error) {
	if len(b) < initiateBase {
		return client, nil, protocolErrorf("an INITIATE of %d bytes; it has at least %d", len(b), initiateBase)
	}
	if subtle.ConstantTimeCompare(b[:cookieSize], cookie) != 1 {
		return client, nil, protocolErrorf("a cookie that is not ours")
	}
	b = b[cookieSize:]
	if err := s.rise(binary.BigEndian.Uint64(b)); err != nil {
		return client, nil, err
	}
	plain, ok := secretbox.Open(nil, b[8:], shortNonce("CurveZMQINITIATE", s.received), &s.key)
	if !ok {
		return client, nil, errBox
	}
	long := [32]byte(plain)
	vouch, ok := box.Open(nil, plain[48:48+vouchSize], longNonce("VOUCH---", plain[32:48]), &long, secret)
	if !ok {
		return client, nil, errBox
	}
	if !bytes.Equal(vouch[:32], ephemeral[:]) || !bytes.Equal(vouch[32:], own[:]) {
		return client, nil, protocolErrorf("a vouch for other keys")
	}
	return long, plain[48+vouchSize:], nil
}

// handshake is the client's part.
func (c *CurveClient) handshake(h *handshake, metadata []byte) error {
	server, secret := [32]byte(c.Server), [32]byte(c.Secret)
	ephemeral, ephemeralSecret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	hello := make([]byte, 74, helloSize)
	hello[0] = 1 // version 1.0
	hello = append(hello, ephemeral[:]...)
	hello = binary.BigEndian.AppendUint64(hello, 1)
	hello = box.Seal(hello, make([]byte, 64), shortNonce("CurveZMQHELLO---", 1), &server, ephemeralSecret)
	if err := h.send("HELLO", hello); err != nil {
		return err
	}

	welcome, err := h.expect("WELCOME", welcomeSize)
	if err != nil {
		return err
	}
	serverEphemeral, cookie, err := openWelcome(welcome, &server, ephemeralSecret)
	if err != nil {
		return err
	}

	session := newSession(serverEphemeral, ephemeralSecret, false)
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return err
	}
	public := c.Secret.Public()
	plain := append(bytes.Clone(public[:]), nonce[:]...)
	plain = box.Seal(plain, append(bytes.Clone(ephemeral[:]), server[:]...), longNonce("VOUCH---", nonce[:]), serverEphemeral, &secret)
	plain = append(plain, metadata...)
	session.sent = 2
	initiate := binary.BigEndian.AppendUint64(bytes.Clone(cookie), session.sent)
	initiate = secretbox.Seal(initiate, plain, shortNonce("CurveZMQINITIATE", session.sent), &session.key)
	if err := h.send("INITIATE", initiate); err != nil {
		return err
	}

	ready, err := h.expect("READY", readyBase+h.cfg.Limits.Metadata)
	if err != nil {
		return err
	}
	theirs, err := openReady(ready, session)
	if err != nil {
		return err
	}
	if err := h.judge(theirs); err != nil {
		return err
	}
	h.session = session
	return nil
}

// openWelcome gives the server's ephemeral key and its cookie.
func openWelcome(b []byte, server, secret *[32]byte) (ephemeral *[32]byte, cookie []byte, err error) {
	if len(b) != welcomeSize {
		return nil, nil, protocolErrorf("a WELCOME of %d bytes; it has %d", len(b), welcomeSize)
	}
	plain, ok := box.Open(nil, b[16:], longNonce("WELCOME-", b[:16]), server, secret)
	if !ok {
		return nil, nil, errBox
	}
	key := [32]byte(plain)
	return &key, plain[32:], nil
}

// openReady gives the server's metadata.
func openReady(b []byte, s *session) ([]byte, error) {
	if len(b) < readyBase {
		return nil, protocolErrorf("a READY of %d bytes; it has at least %d", len(b), readyBase)
	}
	if err := s.rise(binary.BigEndian.Uint64(b)); err != nil {
		return nil, err
	}
	plain, ok := secretbox.Open(nil, b[8:], shortNonce("CurveZMQREADY---", s.received), &s.key)
	if !ok {
		return nil, errBox
	}
	return plain, nil
}

// A session seals and opens messages after the handshake. Sealing and opening
// may go on at the same time, each by one goroutine.
type session struct {
	key      [32]byte
	out, in  string // what their nonces begin with
	sent     uint64
	received uint64
	plain    []byte // used by seal
}

func newSession(peer, own *[32]byte, server bool) *session {
	s := &session{out: "CurveZMQMESSAGEC", in: "CurveZMQMESSAGES"}
	if server {
		s.out, s.in = s.in, s.out
	}
	box.Precompute(&s.key, peer, own)
	return s
}

// rise takes note of a nonce of the peer, which has to be higher than all before.
func (s *session) rise(n uint64) error {
	if n <= s.received {
		return protocolErrorf("nonce %d after %d: something is sent again", n, s.received)
	}
	s.received = n
	return nil
}

const messageName = "\x07MESSAGE"

// seal appends a frame whose box has the flags and the body.
func (s *session) seal(b []byte, flags byte, body []byte) []byte {
	s.plain = append(append(s.plain[:0], flags), body...)
	s.sent++
	b = appendHeader(b, 0, boxed+len(body))
	b = append(b, messageName...)
	b = binary.BigEndian.AppendUint64(b, s.sent)
	b = secretbox.Seal(b, s.plain, shortNonce(s.out, s.sent), &s.key)
	if cap(s.plain) > firstRead {
		s.plain = nil
	}
	return b
}

// open appends what is in the box to dst: flags and body.
func (s *session) open(dst, frame []byte) ([]byte, error) {
	if len(frame) < boxed || string(frame[:8]) != messageName {
		return nil, protocolErrorf("a frame that is no MESSAGE of CURVE")
	}
	if err := s.rise(binary.BigEndian.Uint64(frame[8:])); err != nil {
		return nil, err
	}
	dst, ok := secretbox.Open(dst, frame[16:], shortNonce(s.in, s.received), &s.key)
	if !ok {
		return nil, errBox
	}
	return dst, nil
}
