package powerhose

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"appbundle/internal/zmq"
	"appbundle/powerhose/internal/wire"
)

const (
	tcpScheme = "tcp://"
	// outage is how long a master on TCP may be out of reach before it has said
	// what its period and tries are.
	outage = 15 * time.Second
)

func isTCP(address string) bool { return strings.HasPrefix(address, tcpScheme) }

// splitTCP gives the parts of tcp://HOST:PORT, as a user writes it.
func splitTCP(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(strings.TrimPrefix(address, tcpScheme))
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || !isTCP(address) {
		return "", "", fmt.Errorf("address %q is not tcp://HOST:PORT", address)
	}
	return host, port, nil
}

// everywhere reports whether a host stands for all addresses of this one.
func everywhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || host == "*" || err == nil && ip.IsUnspecified()
}

// errNoKeys is TCP without keys.
func errNoKeys(address, what string) error {
	return fmt.Errorf("%s: over TCP everybody can ask; %s", address, what)
}

// A remote is where a process finds the master, and how it makes links to it.
type remote struct {
	name     string // for errors: a path, or tcp://HOST:PORT
	endpoint string
	keys     *Keys // of TCP
}

// remoteOf reads the address of a master.
func remoteOf(address string, keys *Keys) (remote, error) {
	if !isTCP(address) {
		if keys != nil {
			return remote{}, fmt.Errorf("%s: keys are for a master at tcp://HOST:PORT", address)
		}
		path, err := placeOf(address)
		if err != nil {
			return remote{}, err
		}
		// A master may be there later, but not where something else is.
		if info, err := os.Stat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
			return remote{}, fmt.Errorf("%s: it is no socket; give the path of that of the master", path)
		}
		return remote{path, "ipc://" + path, nil}, nil
	}
	host, port, err := splitTCP(address)
	switch {
	case err != nil:
		return remote{}, err
	case everywhere(host) || port == "0":
		return remote{}, fmt.Errorf("%s: give the address and the port of the master", address)
	case keys == nil:
		return remote{}, errNoKeys(address, "give the own key and that of the master")
	case len(keys.admitted) != 1:
		return remote{}, fmt.Errorf("%s: there are %d public keys; that of the master alone is needed", address, len(keys.admitted))
	}
	return remote{address, address, keys}, nil
}

// dial is how links to the master are made.
func (r *remote) dial(cfg zmq.Config) zmq.Config {
	if r.keys == nil {
		return cfg
	}
	return withKeys(cfg, &zmq.CurveClient{Secret: r.keys.secret, Server: r.keys.admitted[0]}, outage)
}

// listen is how a worker takes the link of the master.
func (r *remote) listen(cfg zmq.Config) zmq.Config {
	if r.keys == nil {
		return cfg
	}
	return withKeys(cfg, &zmq.CurveServer{Secret: r.keys.secret, Allow: r.keys.admitted}, outage)
}

// withKeys makes links over TCP, where keys say who it is and not users.
func withKeys(cfg zmq.Config, s zmq.Security, outage time.Duration) zmq.Config {
	cfg.Admit, cfg.Security, cfg.Outage = nil, s, outage
	return cfg
}

// heed takes the time after which the master gives up for links to it.
func heed(welcome *wire.Head, links ...*zmq.Link) {
	d := time.Duration(welcome.Period) * time.Millisecond * time.Duration(welcome.Tries)
	for _, l := range links {
		if d > 0 && l.Peer().Network != "unix" {
			_ = l.SetOutage(d) // it has one already
		}
	}
}

// listenTCP binds the socket of a worker. Socket is what the master is told.
func (w *Worker) listenTCP() (ln *zmq.Listener, socket string, err error) {
	host, port, err := splitTCP(w.Socket)
	if err != nil {
		return nil, "", fmt.Errorf("socket: %w", err)
	}
	if everywhere(host) {
		return nil, "", fmt.Errorf("socket %s: the master cannot connect to every address; give the one at which it reaches this worker", w.Socket)
	}
	ip, err := resolve(host)
	if err != nil {
		return nil, "", fmt.Errorf("socket %s: %w", w.Socket, err)
	}
	at := tcpScheme + net.JoinHostPort(ip.String(), port)
	if w.Listen != "" {
		if _, _, err := splitTCP(w.Listen); err != nil {
			return nil, "", fmt.Errorf("listen: %w", err)
		}
		if port == "0" {
			return nil, "", fmt.Errorf("socket %s: give the port that leads to %s", w.Socket, w.Listen)
		}
		at = w.Listen
	}
	if ln, err = zmq.Listen(at, 0); err != nil {
		return nil, "", err
	}
	if w.Listen == "" {
		_, port, _ = net.SplitHostPort(strings.TrimPrefix(ln.Endpoint(), tcpScheme))
	}
	return ln, tcpScheme + net.JoinHostPort(ip.String(), port), nil
}

// resolve gives the address of a host. The master looks up no names that others
// give it: a worker says an address.
func resolve(host string) (netip.Addr, error) {
	a, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return netip.Addr{}, err
	}
	return a.AddrPort().Addr().Unmap(), nil
}

// checkTCPSocket says whether a worker that registers from an address may name a
// socket, and gives where the master finds it.
//
// The address is that from which the worker comes: nobody makes a master connect
// to other hosts of its network. A connection from a loopback address is that of a
// process on the master's host, which reaches what the master reaches, or the end
// of a tunnel, which does not tell where the worker is.
func checkTCPSocket(socket, from string) (endpoint string, err error) {
	at, err := netip.ParseAddrPort(strings.TrimPrefix(socket, tcpScheme))
	switch {
	case !isTCP(socket):
		return "", fmt.Errorf("socket %q is not tcp://ADDRESS:PORT, as that of a worker over TCP has to be", socket)
	case err != nil || at.Port() == 0 || at.Addr().Zone() != "":
		return "", fmt.Errorf("socket %q is not tcp://ADDRESS:PORT with an IP address and a port", socket)
	}
	peer, err := netip.ParseAddrPort(from)
	if err != nil {
		return "", err
	}
	said, real := at.Addr().Unmap(), peer.Addr().Unmap()
	if !real.IsLoopback() {
		if said != real.WithZone("") {
			return "", fmt.Errorf("socket %s is at another address than the worker, which comes from %s", socket, real)
		}
		said = real // with its zone
	}
	return tcpScheme + net.JoinHostPort(said.String(), fmt.Sprint(at.Port())), nil
}

// overTCP reports whether a peer has come over TCP.
func (p *peer) overTCP() bool { return p.who.Network == "tcp" }

// id is what a log calls a peer.
func (p *peer) id() string { return identify(p.reg.Peer()) }

// identify says who is at the other end: a process, or an address and the key
// that it has shown.
func identify(p zmq.Peer) string {
	if p.Network != "tcp" {
		return fmt.Sprintf("pid %d", p.PID)
	}
	host := hostOf(p.Addr)
	if p.Key == (zmq.PublicKey{}) {
		return host
	}
	return host + ", key " + p.Key.String()[:keyPrefix] + "…"
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// socketOf judges the socket that a worker names, and gives where the master
// finds it.
func (p *peer) socketOf(socket string) (endpoint string, err error) {
	if p.overTCP() {
		return checkTCPSocket(socket, p.who.Addr)
	}
	if isTCP(socket) {
		return "", errors.New("the socket of a worker over a Unix socket is a path")
	}
	return "ipc://" + socket, checkSocket(socket, p.who.UID)
}

// window is how many jobs a worker may hold that asks for some. Over TCP it is
// one: a reset can overtake what was written before it, and then nobody knows
// what was started.
func (p *peer) window(asked uint8) int {
	if p.overTCP() {
		return 1
	}
	return min(int(asked), p.m.cfg.Window)
}

// workLink is how the link to the socket of a worker is made. Who listens there
// has to be the worker.
func (p *peer) workLink(endpoint string, window int) zmq.Config {
	m := p.m
	cfg := links(zmq.TypeDealer, m.cfg.MaxBody, window, nil)
	cfg.Handshake = m.cfg.Handshake
	if p.overTCP() {
		// The key with which it registered is the one that is asked for.
		return withKeys(cfg, &zmq.CurveClient{Secret: m.cfg.Keys.secret, Server: p.reg.Peer().Key}, m.outage())
	}
	cfg.Admit = func(c zmq.Credentials) error {
		if c.UID != p.who.UID || !m.cfg.Supervised && c.PID != p.who.PID {
			return fmt.Errorf("at %s pid %d of uid %d listens, not the worker (pid %d of uid %d)",
				strings.TrimPrefix(endpoint, "ipc://"), c.PID, c.UID, p.who.PID, p.who.UID)
		}
		return nil
	}
	return cfg
}

// outage is for how long a peer may be out of reach.
func (m *Master) outage() time.Duration { return m.cfg.Period * time.Duration(m.cfg.Tries) }

// checkTCP says what is wrong with where a master is to listen over TCP.
func (cfg *MasterConfig) checkTCP() error {
	switch {
	case isTCP(cfg.Listen):
		return fmt.Errorf("%s: a master listens at a path, and over TCP beside it", cfg.Listen)
	case cfg.TCP == "" && cfg.Keys == nil:
		return nil
	case cfg.TCP == "":
		return errors.New("keys are for a master that listens at tcp://HOST:PORT")
	}
	if _, _, err := splitTCP(cfg.TCP); err != nil {
		return err
	}
	if cfg.Keys == nil {
		return errNoKeys(cfg.TCP, "give the own key and those that are admitted")
	}
	return nil
}

// listenTCP begins to listen over TCP.
func (m *Master) listenTCP() (err error) {
	if m.cfg.TCP == "" {
		return nil
	}
	m.tcp, err = zmq.Listen(m.cfg.TCP, 0)
	return err
}

// serveTCP takes workers and callers over TCP.
func (m *Master) serveTCP() {
	m.admitted.Store(m.cfg.Keys)
	allowed := func(key zmq.PublicKey) bool { return m.admitted.Load().allows(key) }
	cfg := withKeys(m.links, &zmq.CurveServer{Secret: m.cfg.Keys.secret, Allowed: allowed}, m.outage())
	_ = m.tcp.Serve(m.ctx, cfg, m.serve)
}

// TCPAddress is where the master listens over TCP, with the port that it has
// got, or empty.
func (m *Master) TCPAddress() string {
	if m.tcp == nil {
		return ""
	}
	return m.tcp.Endpoint()
}

// Readmit replaces the list of those that are admitted over TCP. Who is not on
// the new one is closed at once: a job that such a worker has is lost. The own key
// has to be the same.
func (m *Master) Readmit(keys *Keys) error {
	switch {
	case m.tcp == nil:
		return errors.New("keys are for a master that listens at tcp://HOST:PORT")
	case keys == nil || keys.secret != m.cfg.Keys.secret:
		return errors.New("the own key of the master is another; it changes with a new start alone")
	}
	m.event(func(time.Duration) {
		m.admitted.Store(keys)
		for p := range m.peers {
			if p.role != aStranger && !p.admitted() {
				p.expel()
			}
		}
	})
	return nil
}

// admitted reports whether the key of a peer is on the present list: it was when
// the peer shook hands.
func (p *peer) admitted() bool {
	return !p.overTCP() || p.m.admitted.Load().allows(p.reg.Peer().Key)
}

const notAdmitted = "its key is not admitted any more"

// expel closes a peer that is not admitted any more.
func (p *peer) expel() {
	p.why = notAdmitted
	if p.role == aWorker {
		p.m.machine.Fail(p.handle, wire.BadCredentials)
		return
	}
	p.m.log(p.id(), "caller (%s) is closed: %s", p.id(), p.why)
	p.refuse(wire.BadCredentials, p.why)
}
