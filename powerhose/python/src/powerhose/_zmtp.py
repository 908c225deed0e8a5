"""ZMTP 3.0 with the NULL mechanism, as far as the powerhose protocol needs it.

Connection is the protocol without a socket: bytes in, messages out. Link is one
over a socket, where every wait has a deadline. Lengths are judged before memory
is taken for what they announce.
"""

from __future__ import annotations

import collections
import os
import select
import socket
import struct
import time
from typing import Collection, Deque, List, NamedTuple, Optional, Tuple, Union

from . import _wire

# The head, and the body where the type has one.
Message = Tuple[bytes, Optional[bytes]]

DEALER = "DEALER"
ROUTER = "ROUTER"

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MAX_COMMAND = 512
# A body of a master that announces more is refused here.
MAX_BODY = 0x7FFFFFFF

_MORE, _LONG, _COMMAND = 1, 2, 4
# Where a copy costs more than a second system call.
_JOIN = 1 << 16


class LinkError(Exception):
    """A link that has ended: its text says how."""


class ProtocolError(LinkError):
    """A peer that does not keep to ZMTP, or to the powerhose protocol."""

    code = _wire.MALFORMED


def command(name: bytes, data: bytes) -> bytes:
    """One command frame."""
    return bytes((_COMMAND, 1 + len(name) + len(data), len(name))) + name + data


def ready(kind: str) -> bytes:
    """The READY command of a socket of this type."""
    data = b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind.encode("ascii") + b"\x08Identity" + bytes(4)
    return command(b"READY", data)


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
    """

    def __init__(self, kind: str, max_body: int = 0) -> None:
        self.kind = kind
        self.max_body = max_body
        self.out: List[bytes] = [GREETING]
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
            self.out.append(ready(self.kind))
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

    def _greet(self, data: bytes) -> None:
        """Judge as much of a greeting as there is."""
        if data[:1] not in (b"", b"\xff") or len(data) > 9 and data[9] != 0x7F:
            raise ProtocolError("the peer does not speak ZMTP 3")
        if len(data) > 10 and data[10] < 3:
            raise ProtocolError("the peer speaks ZMTP %d, and not 3" % data[10])
        if len(data) >= 32 and data[12:32] != GREETING[12:32]:
            mechanism = data[12:32].rstrip(b"\0").decode("ascii", "backslashreplace")
            raise ProtocolError("the peer has the mechanism %r, and not NULL" % mechanism)

    def _judge(self, flags: int, length: int) -> None:
        if flags & ~(_MORE | _LONG | _COMMAND):
            raise ProtocolError("frame with flags %#04x" % flags)
        if flags & _COMMAND:
            if flags & _MORE or self._head is not None:
                raise ProtocolError("a command inside of a message")
            if length > MAX_COMMAND:
                raise ProtocolError("command of %d bytes; %d are the limit" % (length, MAX_COMMAND))
        elif not self.ready:
            raise ProtocolError("a message before READY")
        elif self._head is None:
            if length > _wire.MAX_HEAD:
                raise ProtocolError("head of %d bytes; %d are the limit" % (length, _wire.MAX_HEAD))
        elif flags & _MORE:
            raise ProtocolError("a message of more than two frames")
        elif length > self.max_body:
            raise ProtocolError("body of %d bytes; %d are the limit" % (length, self.max_body))

    def _command(self, frame: bytes) -> None:
        if not frame or len(frame) < 1 + frame[0]:
            raise ProtocolError("a command without a name")
        name, data = frame[1 : 1 + frame[0]], frame[1 + frame[0] :]
        if name == b"ERROR":
            raise ProtocolError("the peer says: %s" % data[1:].decode("utf-8", "backslashreplace"))
        if not self.ready:
            if name != b"READY":
                raise ProtocolError("command %r before READY" % name.decode("ascii", "backslashreplace"))
            self._ready(data)
        elif name == b"PING":
            if not 2 <= len(data) <= 18:
                raise ProtocolError("ZMTP PING of %d bytes" % len(data))
            self.out.append(command(b"PONG", data[2:]))

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
            self.out.append(command(b"ERROR", bytes((len(text),)) + text.encode("ascii")))
            raise ProtocolError(text)
        self.ready = True


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
    """A connection over a Unix socket. It never waits, except until a deadline."""

    def __init__(self, sock: socket.socket, kind: str, max_body: int = 0) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.conn = Connection(kind, max_body)
        self._out: Deque[Union[bytes, memoryview]] = collections.deque()
        self._early: List[bytes] = []  # for after the handshake
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
            raise LinkError(_reason(e)) from None
        if not data:
            raise LinkError("the peer has closed the link")
        try:
            return self.conn.feed(data)
        finally:
            self._collect()

    def queue(self, head: bytes, body: Optional[bytes] = None) -> List[bytes]:
        """Put a message behind what is to be written, and return its pieces."""
        pieces = frames(head, body)
        if self.conn.ready:
            self._out.extend(pieces)
        else:
            self._early += pieces
        return pieces

    def unqueue(self, pieces: List[bytes]) -> bool:
        """Take a message back, if none of its bytes was written."""
        if pieces[0] not in self._out:
            return False
        for piece in pieces:
            self._out.remove(piece)
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
            # A signal handler may raise wherever it likes: then nobody knows
            # what was written.
            self.torn = True
            try:
                n = self.sock.send(piece)
            except (BlockingIOError, InterruptedError):
                self.torn = False
                return False
            except OSError as e:
                raise LinkError(_reason(e)) from None
            if n == len(piece):
                self._out.popleft()
            else:
                self._out[0] = memoryview(piece)[n:]
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


def _reason(e: OSError) -> str:
    return (e.strerror or str(e)).lower()


def place(master: str) -> str:
    """The path in the address of a master or a worker."""
    if master.startswith("tcp://"):
        raise ValueError("%s: TCP needs CURVE, which workers and callers in Python do not have; use a Unix socket" % master)
    path = master[6:] if master.startswith("ipc://") else master
    if not path.startswith("/"):
        raise ValueError("%s: the path of a socket must be absolute" % master)
    if len(path.encode("utf-8", "surrogateescape")) > 107:
        raise ValueError("%s: the path of a socket has at most 107 bytes" % master)
    return path


def dial(path: str, uids: Collection[int]) -> socket.socket:
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
        raise LinkError("%s: %s" % (path, _reason(e))) from None
    except LinkError:
        sock.close()
        raise
    return sock
