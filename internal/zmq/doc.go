// Package zmq speaks ZeroMQ: ROUTER, DEALER, PUB and SUB sockets over Unix
// sockets and TCP, to peers that use libzmq or anything else that speaks ZMTP 3.0
// or 3.1 (RFC 23 and 37), with the mechanisms NULL and CURVE (RFC 26).
//
// There are two levels. A [Link] is one connection: who the peer is, Send, and a
// loop that hands each message to a function. [Dial], [Listen] and
// [Listener.Serve] make links. A socket ([Router], [Dealer], [Pub], [Sub]) is
// built of links, and adds what the field calls a socket: routing, bounded
// queues, fair receiving, reconnecting. Both take a [Config].
//
// # What is promised
//
//   - Nothing is lost in silence. A message that was accepted is written, or it is
//     counted as unsent when its link ends ([Event]); one that could not be accepted
//     is an error. Only a PUB socket drops, for the one subscriber that does not
//     keep up, and counts that.
//   - No peer delays another. Each has a reader, a writer and queues of its own; a
//     handshake takes place beside all others and has a deadline.
//   - No byte of a peer is believed. Every length is checked against [Limits]
//     before memory is taken for it, and a long body takes memory only as it
//     arrives, or as much as one before it has filled. What is malformed ends the link with a [ProtocolError].
//   - Socket types that do not fit are a [TypeError] on both sides, and a dialling
//     socket does not try again.
//   - A peer is admitted before a byte of it is read ([Config.Admit]). On a Unix
//     socket these are the kernel's credentials. TCP is possible with CURVE alone,
//     whose server knows its clients by key.
//   - After Close nothing is left: no goroutine, no descriptor, no socket file.
//
// # Limits
//
// An identity is a name that the peer chose, not a credential. Endpoints are
// ipc://PATH (at most 107 bytes) and tcp://HOST:PORT; there are no abstract
// sockets, which have no permissions. REQ and REP peers are spoken to by a ROUTER
// or a DEALER that writes their empty delimiter itself. Peers of ZMTP 2 and older
// are refused.
//
// The package is the only user of github.com/go-zeromq/zmq4, of which it takes
// the order of the handshake, the greeting and the encoding of metadata: see
// docs/decisions/0030-zmq4.md.
package zmq
