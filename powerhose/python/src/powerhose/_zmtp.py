"""ZMTP 3.0 as far as the powerhose protocol needs it: NULL on Unix sockets, CURVE over TCP.

Connection is the protocol without a socket: bytes in, messages out. Link is one
over a socket, where every wait has a deadline. Lengths are judged before memory
is taken for what they announce.
"""

from __future__ import annotations

import collections
import errno
import math
import os
import select
import socket
import struct
import time
from typing import Callable, Collection, Deque, List, NamedTuple, Optional, Tuple, Union

from . import _curve, _wire

# The head, and the body where the type has one.
Message = Tuple[bytes, Optional[bytes]]

DEALER = "DEALER"
ROUTER = "ROUTER"



def greeting(mechanism: bytes, server: bool) -> bytes:
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes((server,)) + bytes(31)


GREETING = greeting(b"NULL", False)
MAX_COMMAND = 512
# A body of a master that announces more is refused here.
MAX_BODY = 0x7FFFFFFF

_MORE, _LONG, _COMMAND = 1, 2, 4
_COMMAND_IN_BOX = 2
# That the kernel sends to a host which does not answer.
_PROBES = 3
# Where a copy costs more than a second system call.
_JOIN = 1 << 16


class LinkError(Exception):
    """A link that has ended: its text says how."""


class ProtocolError(LinkError):
    """A peer that does not keep to ZMTP, or to the powerhose protocol."""

    code = _wire.MALFORMED


class Unsealed(NamedTuple):
    """What is to be written and has a box around it: frames, each of flags and payload."""

    frames: Tuple[Tuple[int, bytes], ...]


# What is to be written.
Piece = Union[bytes, Unsealed]


def command(name: bytes, data: bytes) -> bytes:
    """One command frame."""
    return _header(_COMMAND, 1 + len(name) + len(data)) + bytes((len(name),)) + name + data


def metadata(kind: str) -> bytes:
    """What a socket of this type says of itself."""
    return b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind.encode("ascii") + b"\x08Identity" + bytes(4)


def ready(kind: str) -> bytes:
    """The READY command of a socket of this type."""
    return command(b"READY", metadata(kind))


def _header(flags: int, size: int) -> bytes:
    if size < 256:
        return bytes((flags, size))
    return struct.pack(">BQ", flags | _LONG, size)


def frames(head: bytes, body: Optional[bytes] = None) -> List[bytes]:
    """The bytes of a message, in as few pieces as is cheap."""
    if body is None:
        return [_header(0, len(head)) + head]
    front = _header(_MORE, len(head)) + head + _header(0, len(body))
    if len(body) < _JOIN:
        return [front + body]
    return [front, body]


class Connection:
    """One side of a connection, without its socket.

    What feed returns are messages; what is in out, from the start the greeting, is to be sent.
    With a curve the mechanism is CURVE, else NULL.
    """

    def __init__(self, kind: str, max_body: int = 0, curve: Optional[_curve.Curve] = None) -> None:
        self.kind = kind
        self.max_body = max_body
        self.curve = curve
        self._greeting = greeting(_curve.MECHANISM, curve.server) if curve is not None else GREETING
        self.out: List[Piece] = [self._greeting]
        self.ready = False
        self._greeted = False
        self._rest = bytearray()
        self._need = 0  # bytes of rest with which there is something to do
        self._head: Optional[bytes] = None  # of a message whose body is to come

    def wanted(self) -> int:
        """Bytes that are missing for the next step, as far as is known."""
        return self._need - len(self._rest)

    def feed(self, data: bytes) -> List[Message]:
        """Take what came, and return the messages that are whole with it."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        messages: List[Message] = []
        at, size = 0, len(data)
        if not self._greeted:
            self._greet(data[:64])
            if size < 64:
                self._keep(data, 0, 64)
                return messages
            self._greeted, at = True, 64
            if self.curve is None:
                self.out.append(ready(self.kind))
            else:
                self.out += [command(*c) for c in self.curve.start()]
        while at < size:
            flags = data[at]
            start = at + (9 if flags & _LONG else 2)
            if start > size:
                self._keep(data, at, start - at)
                break
            length = int.from_bytes(data[at + 1 : start], "big")
            self._judge(flags, length)
            end = start + length
            if end > size:
                self._keep(data, at, end - at)
                break
            frame = data[start:end]
            at = end
            if self.curve is not None and self.ready:
                flags, frame = self._unbox(self.curve, frame)
            if flags & _COMMAND:
                self._command(frame)
            elif self._head is not None:
                messages.append((self._head, frame))
                self._head = None
            elif flags & _MORE:
                self._head = frame
            else:
                messages.append((frame, None))
        return messages

    def _keep(self, data: bytes, at: int, need: int) -> None:
        self._rest += memoryview(data)[at:]
        self._need = need

    def closed(self) -> str:
        """What it means that the peer ends the link now."""
        if self.curve is None or self.ready:
            return "the peer has closed the link"
        if not self._greeted:
            return "the peer has closed the link in the greeting: it may not speak CURVE"
        return "the peer has closed the link in the handshake: it has another key than the one known here, or does not admit ours"

    def _greet(self, data: bytes) -> None:
        """Judge as much of a greeting as there is."""
        if data[:1] not in (b"", b"\xff") or len(data) > 9 and data[9] != 0x7F:
            raise ProtocolError("the peer does not speak ZMTP 3")
        if len(data) > 10 and data[10] < 3:
            raise ProtocolError("the peer speaks ZMTP %d, and not 3" % data[10])
        if len(data) >= 32 and data[12:32] != self._greeting[12:32]:
            mechanism = data[12:32].rstrip(b"\0").decode("ascii", "backslashreplace")
            raise ProtocolError("the peer has the mechanism %r, and not %s" % (mechanism, "NULL" if self.curve is None else "CURVE"))

    def _judge(self, flags: int, length: int) -> None:
        if flags & ~(_MORE | _LONG | _COMMAND):
            raise ProtocolError("frame with flags %#04x" % flags)
        if self.curve is not None and self.ready:
            # What is in the box is judged again. Before it is opened, the longest
            # thing that may come is the limit.
            most = _curve.BOXED + (max(_wire.MAX_HEAD, MAX_COMMAND) if self._head is None else self.max_body)
            if length > most:
                raise ProtocolError("frame of %d bytes; %d are the limit" % (length, most))
            return
        self._judge_frame(flags, length)

    def _judge_frame(self, flags: int, length: int) -> None:
        """Judge a frame by what it is."""
        if flags & _COMMAND:
            if flags & _MORE or self._head is not None:
                raise ProtocolError("a command inside of a message")
            most = MAX_COMMAND if self.curve is None or self.ready else self.curve.limit
            if length > most:
                raise ProtocolError("command of %d bytes; %d are the limit" % (length, most))
        elif not self.ready:
            raise ProtocolError("a message before READY")
        elif self._head is None:
            if length > _wire.MAX_HEAD:
                raise ProtocolError("head of %d bytes; %d are the limit" % (length, _wire.MAX_HEAD))
        elif flags & _MORE:
            raise ProtocolError("a message of more than two frames")
        elif length > self.max_body:
            raise ProtocolError("body of %d bytes; %d are the limit" % (length, self.max_body))

    def _unbox(self, curve: _curve.Curve, frame: bytes) -> Tuple[int, bytes]:
        """The frame in a box, with the flags that it would have had without one."""
        try:
            flags, payload = curve.open(frame)
        except _curve.CurveError as e:
            raise ProtocolError(str(e)) from None
        if flags & ~(_MORE | _COMMAND_IN_BOX):
            raise ProtocolError("flags %#04x in a box" % flags)
        flags = flags & _MORE | (_COMMAND if flags & _COMMAND_IN_BOX else 0)
        self._judge_frame(flags, len(payload))
        return flags, payload

    def message(self, head: bytes, body: Optional[bytes] = None) -> List[Piece]:
        """What is to be written for a message. CURVE must be ready."""
        if self.curve is None:
            return list(frames(head, body))
        if body is None:
            return [Unsealed(((0, head),))]
        return [Unsealed(((_MORE, head), (0, body)))]

    def seal(self, piece: Piece) -> bytes:
        """The bytes of a piece. The nonces of boxes rise: they must be written in the order in which they are sealed."""
        if isinstance(piece, bytes):
            return piece
        assert self.curve is not None
        out = []
        for flags, payload in piece.frames:
            box = self.curve.seal(flags, payload)
            out += [_header(0, len(box)), box]
        return b"".join(out)

    def _command(self, frame: bytes) -> None:
        if not frame or len(frame) < 1 + frame[0]:
            raise ProtocolError("a command without a name")
        name, data = frame[1 : 1 + frame[0]], frame[1 + frame[0] :]
        if name == b"ERROR":
            raise ProtocolError("the peer says: %s" % data[1:].decode("utf-8", "backslashreplace"))
        if not self.ready:
            if self.curve is not None:
                self._shake(self.curve, name, data)
                return
            if name != b"READY":
                raise ProtocolError("command %r before READY" % name.decode("ascii", "backslashreplace"))
            self._ready(data)
            self.ready = True
        elif name == b"PING":
            if not 2 <= len(data) <= 18:
                raise ProtocolError("ZMTP PING of %d bytes" % len(data))
            if self.curve is None:
                self.out.append(command(b"PONG", data[2:]))
            else:
                self.out.append(Unsealed(((_COMMAND_IN_BOX, b"\x04PONG" + data[2:]),)))

    def _shake(self, curve: _curve.Curve, name: bytes, data: bytes) -> None:
        """One step of the handshake of CURVE."""
        try:
            answers, theirs = curve.step(name, data, metadata(self.kind))
        except _curve.CurveError as e:
            if e.tell:
                self._refuse(str(e))
            raise ProtocolError(str(e)) from None
        if theirs is not None:
            self._ready(theirs)
        self.out += [command(*c) for c in answers]
        self.ready = theirs is not None

    def _ready(self, data: bytes) -> None:
        peer, at = None, 0
        while at < len(data):
            value = at + 1 + data[at] + 4
            end = value + int.from_bytes(data[value - 4 : value], "big")
            if not data[at] or value > len(data) or end > len(data):
                raise ProtocolError("READY with a property that is cut")
            if data[at + 1 : value - 4].lower() == b"socket-type":
                peer = data[value:end].decode("ascii", "backslashreplace")
            at = end
        if peer is None:
            raise ProtocolError("READY without a Socket-Type")
        if peer != (ROUTER if self.kind == DEALER else DEALER):
            text = "a %s cannot talk to a %s" % (self.kind, peer)
            self._refuse(text)
            raise ProtocolError(text)

    def _refuse(self, text: str) -> None:
        """Tell the peer why there is no handshake."""
        reason = text.encode("ascii")[:255]
        self.out.append(command(b"ERROR", bytes((len(reason),)) + reason))


class Peer(NamedTuple):
    """The process at the other end of a Unix socket."""

    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel who is at the other end."""
    size = struct.calcsize("3i")
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)))


def left(deadline: float) -> int:
    """Milliseconds to a time of time.monotonic, rounded up, for poll."""
    return min(_wire.milliseconds(deadline - time.monotonic()), 0x7FFFFFFF)


class Link:
    """A connection over a socket. It never waits, except until a deadline."""

    def __init__(self, sock: socket.socket, kind: str, max_body: int = 0, curve: Optional[_curve.Curve] = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.conn = Connection(kind, max_body, curve)
        self._out: Deque[Union[Piece, memoryview]] = collections.deque()
        self._sealed: Optional[bytes] = None  # the first of out, once it was sealed
        self._early: List[Piece] = []  # for after the handshake
        self.torn = False  # an exception came between a write and the note of it
        self._collect()

    def _collect(self) -> None:
        """Take what the protocol wants to have written."""
        if self.conn.out:
            self._out.extend(self.conn.out)
            self.conn.out.clear()
        if self._early and self.conn.ready:
            self._out.extend(self._early)
            self._early.clear()

    def receive(self) -> Optional[List[Message]]:
        """The messages that one read gives, without waiting; None if there was nothing to read."""
        try:
            data = self.sock.recv(min(max(self.conn.wanted(), 1 << 16), 1 << 20))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as e:
            raise LinkError(reason(e)) from None
        if not data:
            raise LinkError(self.conn.closed())
        try:
            return self.conn.feed(data)
        finally:
            self._collect()

    def queue(self, head: bytes, body: Optional[bytes] = None) -> List[Piece]:
        """Put a message behind what is to be written, and return its pieces."""
        pieces = self.conn.message(head, body)
        if self.conn.ready:
            self._out.extend(pieces)
        else:
            self._early += pieces
        return pieces

    def unqueue(self, pieces: List[Piece]) -> bool:
        """Take a message back, if none of its bytes was written."""
        if pieces[0] not in self._out:
            return False
        if pieces[0] == self._out[0]:
            self._sealed = None  # its nonces are not used again
        for piece in pieces:
            self._out.remove(piece)
        return True

    def over(self) -> bool:
        """Whether the peer has ended the link, as far as that can be seen without reading. A write over TCP does not tell."""
        if self.sock.family == socket.AF_UNIX:
            return False
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def pending(self) -> bool:
        """Whether there is something that the kernel has not taken yet."""
        return bool(self._out)

    def flush(self) -> bool:
        """Write as much as the kernel takes, without waiting. True if that was all."""
        while self._out:
            if self.torn:
                raise LinkError("a write was interrupted")
            piece = self._out[0]
            if isinstance(piece, Unsealed):
                # Here, where one at a time writes: so boxes are in the order of
                # their nonces.
                if self._sealed is None:
                    self._sealed = self.conn.seal(piece)
                piece = self._sealed
            # A signal handler may raise wherever it likes: then nobody knows
            # what was written.
            self.torn = True
            try:
                n = self.sock.send(piece)
            except (BlockingIOError, InterruptedError):
                self.torn = False
                return False
            except OSError as e:
                raise LinkError(reason(e)) from None
            if n == len(piece):
                self._out.popleft()
            else:
                self._out[0] = memoryview(piece)[n:]
            self._sealed = None
            self.torn = False
        return True

    def flush_by(self, deadline: float) -> bool:
        """Write everything. False if the kernel has not taken it by the deadline."""
        while not self.flush():
            if not wait(self.fd, select.POLLOUT, deadline):
                return False
        return True

    def send(self, head: bytes, body: Optional[bytes], deadline: float) -> None:
        """Write a message, all of it."""
        self.queue(head, body)
        if not self.flush_by(deadline):
            raise LinkError("the peer does not read")

    def first(self, deadline: float) -> List[Message]:
        """Shake hands, write what is queued, and return the messages that come first."""
        while True:
            done = self.flush()
            if not wait(self.fd, select.POLLIN | (0 if done else select.POLLOUT), deadline):
                raise LinkError("the peer did not answer in time")
            messages = self.receive()
            if messages:
                return messages

    def shutdown(self) -> None:
        """End the link, so that whoever waits for it sees that."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster

    def farewell(self) -> None:
        """Close the link of a peer that is told why, as far as the kernel takes it at once."""
        try:
            self.flush()
        except LinkError:
            pass
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def forget(self) -> None:
        """Close the descriptor and nothing else, in a child that was forked."""
        fd = self.sock.detach()
        if fd >= 0:
            os.close(fd)


def wait(fd: int, events: int, deadline: float) -> bool:
    """Wait until one of events, or the end, can be seen at fd. False if the deadline was first."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(left(deadline)))


def reason(e: OSError) -> str:
    """What the system says."""
    return (e.strerror or str(e)).lower()


def place(master: str) -> str:
    """The absolute path in the address of a master or a worker, or the address if it is tcp://HOST:PORT."""
    if is_tcp(master):
        host_port(master)
        return master
    path = master
    for prefix in ("ipc://", "unix:"):
        if master.startswith(prefix):
            path = master[len(prefix) :]
            break
    if not path or path.startswith("@") or "\0" in path:
        raise ValueError("address %r: give the path of a socket" % master)
    path = os.path.abspath(path)
    if len(path.encode("utf-8", "surrogateescape")) > 107:
        raise ValueError("%s: the path of a socket has at most 107 bytes" % master)
    return path


def is_tcp(address: str) -> bool:
    return address.startswith("tcp://")


def host_port(address: str) -> Tuple[str, int]:
    """Host and port of tcp://HOST:PORT, where a host with colons is in brackets."""
    if len(address) > 255:
        raise ValueError("%s: an address has at most 255 bytes" % address)
    rest = address[len("tcp://") :]
    bracketed = rest.startswith("[")
    host, colon, port = rest[1:].rpartition("]:") if bracketed else rest.rpartition(":")
    if not colon or not host or set(host) & set("[]/@ ") or (":" in host) != bracketed or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise ValueError("%s: not tcp://HOST:PORT, with an IPv6 address as in tcp://[::1]:7000" % address)
    return host, int(port)


def prepare(sock: socket.socket) -> None:
    """Write short messages at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def watch(sock: socket.socket, period: float, tries: int) -> None:
    """Have the kernel end a connection over TCP when the other host is out of reach for so many periods, as behind a cable that was pulled."""
    if sock.family == socket.AF_UNIX:
        return
    # Less would end links over which an answer takes its time.
    outage = max(period * tries, 2.0)
    pause = min(math.ceil(outage / _PROBES), 32767)  # the most that the kernel takes
    for option, value in (
        (socket.TCP_KEEPIDLE, pause),
        (socket.TCP_KEEPINTVL, pause),
        (socket.TCP_KEEPCNT, _PROBES),
        # For what was written, and the end of the probes too.
        (socket.TCP_USER_TIMEOUT, min(int(outage * 1000), 0x7FFFFFFF)),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def dial(address: str, uids: Collection[int], deadline: float = 0.0, writable: "Optional[Callable[[int, float], bool]]" = None) -> socket.socket:
    """Connect to a Unix socket, and check who listens there; or to a host.

    writable waits for a descriptor until a time, and is false if that came first.
    """
    if is_tcp(address):
        return _dial_tcp(address, deadline, writable or (lambda fd, by: wait(fd, select.POLLOUT, by)))
    return _dial_unix(address, uids)


def _dial_tcp(address: str, deadline: float, writable: Callable[[int, float], bool]) -> socket.socket:
    host, port = host_port(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as e:
        raise LinkError("%s: %s" % (address, reason(e))) from None
    why = "no address"
    for i, (family, kind, protocol, _, where) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            prepare(sock)
            error = sock.connect_ex(where)
            if error == errno.EINPROGRESS:
                now = time.monotonic()
                # Each address has its share of the time.
                done = writable(sock.fileno(), now + (deadline - now) / (len(found) - i))
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if done else errno.ETIMEDOUT
            if not error:
                return sock
            why = os.strerror(error).lower()
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise LinkError("%s: %s" % (address, why))


def _dial_unix(path: str, uids: Collection[int]) -> socket.socket:
    """Connect to a Unix socket, and check who listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(path)
        peer = peer_of(sock)
        if peer.uid not in uids:
            raise LinkError("%s: process %d of user %d listens there, who is not admitted" % (path, peer.pid, peer.uid))
    except BlockingIOError:
        sock.close()
        raise LinkError("%s: too many wait to be accepted there" % path) from None
    except OSError as e:
        sock.close()
        raise LinkError("%s: %s" % (path, reason(e))) from None
    except LinkError:
        sock.close()
        raise
    return sock
