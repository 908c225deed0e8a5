package zmq

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// A Type is the type of a socket, as READY names it (RFC 23, "Socket-Type").
type Type string

// The types that a link of ours can have.
const (
	TypeRouter Type = "ROUTER"
	TypeDealer Type = "DEALER"
	TypePub    Type = "PUB"
	TypeSub    Type = "SUB"
)

// fits lists the types of peers that each of ours speaks to (RFC 23, "The
// Socket-Type Property"). ROUTER and REP are no pair.
var fits = map[Type][]string{
	TypeRouter: {"REQ", "DEALER", "ROUTER"},
	TypeDealer: {"REP", "DEALER", "ROUTER"},
	TypePub:    {"SUB", "XSUB"},
	TypeSub:    {"PUB", "XPUB"},
}

// A Config says how links are made and what peers may do. One is shared by all
// links of a socket and must not change while they live.
type Config struct {
	Type     Type   // set by NewRouter and its like
	Identity string // ours, at most 255 bytes, not beginning with a zero byte

	Security  Security      // nil means NULL, which only Unix sockets may use
	Handshake time.Duration // for all of it; 0 means 2 s

	// Admit judges who is at the other end, before a byte of it is read. nil
	// admits this process's effective user and root on Unix sockets, and
	// everybody on TCP, where CURVE judges.
	Admit func(Credentials) error
	// Vet judges what the peer says of itself. On the listening side the peer is
	// told the error's text. nil accepts all.
	Vet func(Peer) error

	Limits    Limits
	Send      Queue // of messages to one peer
	Heartbeat Heartbeat
	// Outage is for how long a peer on TCP may be out of reach until its link ends:
	// the kernel of the other host answers no longer, whatever the peer is doing.
	// It needs no answer of the peer itself, as Heartbeat does. It is
	// two seconds at least. 0 is what the system does, which can be hours.
	Outage  time.Duration
	Pending int           // links in their handshake at a listener, the oldest is dropped for one more; 0 means 64
	Peers   int           // links of a listener; 0 means 1024
	Linger  time.Duration // what is queued when a peer, or we, end a link may take this long; 0 means 1 s
	Monitor func(Event)   // must return soon; nil is allowed

	// claim reserves what only one peer may have, for a link that is about to
	// be; release undoes it when the link does not come to be.
	claim func(*Peer) (release func(), err error)
	// command is given the commands that a link does not know.
	command func(l *Link, name string, body []byte) error
	// room is called after a link that was full has room.
	room func()
}

// Limits are of what a peer sends. They are checked before memory is taken.
type Limits struct {
	Metadata int   // bytes of a handshake's metadata; 0 means 512
	Frames   int   // frames of a message; 0 means 64
	First    int64 // bytes of a message's first frame; 0 means those of a message
	Message  int64 // bytes of all frames; 0 means 16 MiB, at most 2 GiB - 1
}

// maxCommand is the longest command after the handshake, in bytes.
const maxCommand = 4096

// A Queue bounds what waits for one peer. A message that alone is over Bytes
// enters an empty queue.
type Queue struct {
	Messages int // the high-water mark; 0 means 1000
	Bytes    int // 0 means 64 MiB
}

func (q Queue) full(messages, bytes int) bool {
	return messages >= q.Messages || messages > 0 && bytes > q.Bytes
}

// A Heartbeat asks peers whether they live (RFC 37, PING and PONG). PINGs of
// peers are answered in any case.
type Heartbeat struct {
	Interval time.Duration // of silence after which a PING is sent; 0 means never
	Timeout  time.Duration // of silence after which the link ends with ErrSilent; 0 means three intervals
}

// Credentials say who is at the other end of a connection, before it has sent
// anything. Of a peer that was dialled they are those of the process that called
// listen, which may be another than the one that accepts.
type Credentials struct {
	Network string // "unix" or "tcp"
	Addr    string // of the peer on tcp
	PID     int    // on unix; 0 if it is in a PID namespace that we cannot see
	UID     uint32 // on unix
	GID     uint32 // on unix
}

// A Peer is what is known of the other end of a link.
type Peer struct {
	Credentials
	Type     string
	Identity string    // as the peer says; a ROUTER socket gives one to a peer without
	Minor    int       // it speaks ZMTP 3.Minor, or a later major
	Key      PublicKey // CURVE, on the server: the client's key
}

// An EventKind is what happened to a link or a try to make one.
type EventKind int

// The kinds of events.
const (
	Up         EventKind = iota // a link works
	Down                        // it has ended: Err, Unsent, Dropped
	Refused                     // a connection did not become a link: Err
	Retrying                    // a dialling socket waits and tries again: Err
	GivenUp                     // a dialling socket does not try again: Err
	Subscribed                  // a PUB socket's peer asked for Topic
)

func (k EventKind) String() string {
	names := [...]string{"up", "down", "refused", "retrying", "given up", "subscribed"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// An Event is told to [Config.Monitor], from the goroutine it happens in.
type Event struct {
	Kind     EventKind
	Endpoint string // that was dialled or listened on
	Peer     Peer   // as far as it is known
	Err      error  // of Down: nil when a side ended the link in order
	Unsent   int    // messages that were accepted and not written whole
	Dropped  uint64 // messages that a PUB socket did not queue for this peer
	Topic    string
}

func (c *Config) tell(e Event) {
	if c.Monitor != nil {
		c.Monitor(e)
	}
}

// withDefaults is the configuration with its zero values filled in, or what is
// wrong with it.
func (c Config) withDefaults() (*Config, error) {
	if fits[c.Type] == nil {
		return nil, fmt.Errorf("socket type %q is not one of DEALER, PUB, ROUTER, SUB", c.Type)
	}
	if err := checkIdentity(c.Identity); err != nil {
		return nil, err
	}
	if c.Limits.Message < 0 || c.Limits.Message > 1<<31-1 {
		return nil, fmt.Errorf("message limit of %d bytes is not from 1 to 2147483647", c.Limits.Message)
	}
	if s := c.Security; s != nil {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	defaults(&c.Handshake, 2*time.Second)
	defaults(&c.Limits.Metadata, 512)
	defaults(&c.Limits.Frames, 64)
	if c.Type == TypePub {
		defaults(&c.Limits.Message, maxCommand) // only subscriptions come
	}
	defaults(&c.Limits.Message, 16<<20)
	defaults(&c.Limits.First, c.Limits.Message)
	defaults(&c.Send.Messages, 1000)
	defaults(&c.Send.Bytes, 64<<20)
	defaults(&c.Heartbeat.Timeout, 3*c.Heartbeat.Interval)
	defaults(&c.Pending, 64)
	defaults(&c.Peers, 1024)
	defaults(&c.Linger, time.Second)
	if c.Admit == nil {
		c.Admit = admitOwn
	}
	return &c, nil
}

func defaults[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// checkIdentity judges an identity that a socket chose (RFC 23, "The Identity
// Property"). Those that begin with a zero byte are the ROUTER's own.
func checkIdentity(id string) error {
	switch {
	case len(id) > 255:
		return fmt.Errorf("identity of %d bytes; at most 255 are possible", len(id))
	case id != "" && id[0] == 0:
		return fmt.Errorf("identity %q begins with a zero byte, as only those that a ROUTER gives do", id)
	}
	return nil
}

func admitOwn(c Credentials) error {
	if c.Network == "unix" && c.UID != 0 && int(c.UID) != os.Geteuid() {
		return fmt.Errorf("pid %d runs as uid %d, not as %d", c.PID, c.UID, os.Geteuid())
	}
	return nil
}

// checkTransport refuses NULL on anything but a Unix socket.
func (c *Config) checkTransport(network, name string) error {
	if c.Security == nil && network != "unix" {
		return fmt.Errorf("%s: over %s only CURVE is possible; set Config.Security", name, network)
	}
	return nil
}

// vet judges the peer, and reserves what it may have alone.
func (c *Config) vet(p *Peer) (release func(), err error) {
	if err := checkIdentity(p.Identity); err != nil {
		return nil, &AdmissionError{err}
	}
	if !slices.Contains(fits[c.Type], p.Type) {
		return nil, &TypeError{c.Type, p.Type}
	}
	if c.Vet != nil {
		if err := c.Vet(*p); err != nil {
			return nil, &AdmissionError{err}
		}
	}
	if c.claim == nil {
		return func() {}, nil
	}
	return c.claim(p)
}

// credentials asks the kernel, or the connection, who the peer is.
func credentials(nc net.Conn) (Credentials, error) {
	if uc, ok := nc.(*net.UnixConn); ok {
		return unixCredentials(uc)
	}
	if nc.RemoteAddr() == nil {
		return Credentials{}, errors.New("the connection has no peer")
	}
	return Credentials{Network: nc.RemoteAddr().Network(), Addr: nc.RemoteAddr().String()}, nil
}
