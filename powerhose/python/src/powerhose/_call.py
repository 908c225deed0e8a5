"""What the two forms of JobRunner have in common: calls, and what becomes of them."""

from __future__ import annotations

import os
import socket
import time
from typing import Callable, Collection, List, Optional, Union

from . import _curve, _errors, _wire, _zmtp

Bytes = Union[bytes, bytearray, memoryview]
Progress = Callable[[bytes], object]

TIMEOUT = 30.0
HANDSHAKE = 2.0
# After the deadline, for the master to say what the worker did.
SLACK = 0.25
# Until a master that is not there is given up by a call that names no busy_wait,
# and between two looks.
CONNECT = 1.0
AGAIN = 0.05


class Call:
    """One call: what is asked, and what came back."""

    __slots__ = ("body", "kind", "flags", "busy_wait", "deadline", "connect", "number", "reply", "detail", "failed", "progress", "news", "before")

    def __init__(
        self,
        data: Bytes,
        timeout: float,
        kind: str,
        repeatable: bool,
        urgent: bool,
        busy_wait: Optional[float],
        progress: Optional[Progress],
    ) -> None:
        for name, value in (("timeout", timeout), ("busy_wait", 0 if busy_wait is None else busy_wait)):
            if not isinstance(value, (int, float)):
                raise TypeError("%s is a number of seconds, not %r" % (name, value))
        if timeout <= 0:
            raise ValueError("timeout %r is over before it begins" % timeout)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError("a job is bytes, not %s" % type(data).__name__)
        self.body = bytes(data)
        self.kind = kind
        self.flags = _wire.REPEATABLE * repeatable | _wire.URGENT * urgent | _wire.WANTS_PROGRESS * (progress is not None)
        self.busy_wait = _wire.BUSY_DEFAULT if busy_wait is None else min(_wire.milliseconds(busy_wait), _wire.BUSY_DEFAULT - 1)
        self.connect = CONNECT if busy_wait is None else max(busy_wait, 0)
        self.deadline = time.monotonic() + timeout
        self.progress = progress
        self.number = 0
        self.reply: Optional[_wire.Head] = None
        self.detail = b""
        self.failed: Optional[_errors.Error] = None
        self.news: List[bytes] = []
        self.before = False  # a master had it, and was lost
        self.head(1)

    @property
    def repeatable(self) -> bool:
        return bool(self.flags & _wire.REPEATABLE)

    def again(self) -> bool:
        """Whether it is to be made again: the master was lost, and the job may run twice."""
        again = self.failed is not None and self.repeatable and time.monotonic() < self.deadline
        self.before = self.before or again
        return again

    def remember(self, e: _errors.Error) -> None:
        """Have an error say that the job can have been started, if a master before had it."""
        if self.before:
            e._started, e.attempt = True, max(e.attempt, 1)

    @property
    def done(self) -> bool:
        return self.reply is not None or self.failed is not None

    def give_up(self) -> float:
        """Until when to wait for a master, from now."""
        return min(self.deadline, time.monotonic() + self.connect)

    def patience(self, give_up: float) -> "tuple[float, float]":
        """Until when a connection, and the WELCOME over it, may take: the first look has some time in any case."""
        now = time.monotonic()
        return min(self.deadline, max(give_up, now + SLACK)), min(self.deadline, now + HANDSHAKE)

    def head(self, number: int) -> bytes:
        """The CALL, with the time that is left."""
        h = _wire.Head(_wire.CALL, number)
        h.left = max(_wire.milliseconds(self.deadline - time.monotonic()), 1)
        h.busy_wait, h.flags, h.kind = self.busy_wait, self.flags, self.kind
        try:
            return _wire.encode(h)
        except _wire.DecodeError:
            raise ValueError("kind %r: letters, digits and . _ + - are possible, at most 32" % self.kind) from None

    def result(self) -> bytes:
        """The result, or an exception."""
        if self.failed is not None:
            raise self.failed
        assert self.reply is not None
        if self.reply.code != _wire.OK:
            raise _errors.of_reply(self.reply, self.detail)
        return self.detail

    def late(self, started: bool) -> _errors.Error:
        """The error of a deadline that is over without a word of the master."""
        e = _errors.ErrTimeout("the deadline is over, and the master did not answer" if started else "the deadline is over before the master had the job")
        e.attempt = int(started)
        return e


class Calls:
    """The calls of one connection. Its methods do not wait."""

    def __init__(self) -> None:
        self.open: "dict[int, Call]" = {}
        self.welcome: Optional[_wire.Head] = None
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def check(self, call: Call) -> None:
        """Refuse what this master would refuse."""
        assert self.welcome is not None
        if len(call.body) > self.welcome.max_body:
            raise _errors.ErrTooBig("the job has %d bytes; the master takes at most %d (its --max-body)" % (len(call.body), self.welcome.max_body))

    def take(self, message: _zmtp.Message) -> "tuple[Optional[Call], Optional[bytes]]":
        """Take a message: the call that has news, and an answer to write."""
        head, body = message
        try:
            h = _wire.decode(head)
        except _wire.DecodeError as e:
            raise _zmtp.ProtocolError(str(e)) from None
        if _wire.has_body(h.type) != (body is not None):
            raise _zmtp.ProtocolError("a %s %s a body" % (_wire.TYPES[h.type], "with" if body is not None else "without"))
        if h.type == _wire.REPLY:
            call = self.open.pop(h.number, None)
            if call is not None:
                call.detail, call.reply = body or b"", h
            return call, None
        if h.type == _wire.PROGRESS:
            call = self.open.get(h.number)
            if call is not None:
                call.news.append(body or b"")
            return call, None
        if h.type == _wire.PING:
            return None, _wire.encode(_wire.Head(_wire.PONG, h.number))
        if h.type in (_wire.REFUSED, _wire.BYE):
            raise _zmtp.LinkError("the master says %s (%d)%s" % (_wire.TYPES[h.type], h.code, ": " + h.text if h.text else ""))
        if h.type not in (_wire.PONG, _wire.DRAIN):  # a call is told when the master drains
            raise _zmtp.ProtocolError("a %s to a caller" % _wire.TYPES[h.type])
        return None, None

    def fail(self, why: Exception) -> List[Call]:
        """Say to all calls that the link has ended."""
        calls = list(self.open.values())
        self.open.clear()
        for call in calls:
            call.failed = _errors.master_lost("the master was lost, and what became of the job is not known: %s" % why, started=True)
        return calls

    def greet(self, message: _zmtp.Message) -> None:
        """Take the first message, which must be WELCOME."""
        try:
            h = _wire.decode(message[0])
        except _wire.DecodeError as e:
            raise _zmtp.ProtocolError(str(e)) from None
        if h.type == _wire.REFUSED:
            raise _zmtp.LinkError("the master refuses (%d)%s" % (h.code, ": " + h.text if h.text else ""))
        if h.type != _wire.WELCOME or h.version != _wire.VERSION:
            raise _zmtp.ProtocolError("a %s of version %d, and not WELCOME of version 1" % (_wire.TYPES[h.type], h.version))
        self.welcome = h

    def max_body(self) -> int:
        assert self.welcome is not None
        return min(self.welcome.max_body, _zmtp.MAX_BODY)


def hello() -> bytes:
    """The HELLO of a caller."""
    h = _wire.Head(_wire.HELLO)
    h.pid = os.getpid()
    h.incarnation = os.urandom(16)
    h.lowest = h.highest = _wire.VERSION
    return _wire.encode(h)


def address(master: Optional[str]) -> str:
    """The path of the master's socket, or its address on another host."""
    master = master or os.environ.get("POWERHOSE_MASTER", "")
    if not master:
        raise ValueError("no master: set POWERHOSE_MASTER, or give the path of its socket")
    master = _zmtp.place(master)
    if _zmtp.is_tcp(master) and _zmtp.host_port(master)[1] == 0:
        raise ValueError("%s: a master has a port" % master)
    return master


def keys(master: str, key: Optional[str], master_key: Optional[str]) -> Optional[_curve.Keys]:
    """The keys for a master, by the files that are named here or in the environment; None for one on a Unix socket."""
    if not _zmtp.is_tcp(master):
        if key or master_key:
            raise ValueError("%s: a Unix socket has no keys; key and master_key are for tcp://HOST:PORT" % master)
        return None
    key = key or os.environ.get("POWERHOSE_KEY")
    master_key = master_key or os.environ.get("POWERHOSE_MASTER_KEY")
    if not key:
        raise ValueError("%s: TCP needs a key; set POWERHOSE_KEY, or give the file of the own secret key" % master)
    if not master_key:
        raise ValueError("%s: TCP needs the key of the master; set POWERHOSE_MASTER_KEY, or give the file of its public key" % master)
    return _curve.read_keys(key, master_key)


def client(keys: Optional[_curve.Keys]) -> Optional[_curve.Curve]:
    """The mechanism of one link that is dialled."""
    return None if keys is None else _curve.Curve(keys, server=False)


def watch(sock: socket.socket, calls: Calls) -> None:
    """Have the kernel notice a master that is silent for as long as it allows others to be."""
    assert calls.welcome is not None
    _zmtp.watch(sock, calls.welcome.period / 1000, calls.welcome.tries)


def users(allow_uids: Collection[int]) -> "frozenset[int]":
    return frozenset((os.geteuid(), *allow_uids))


def absent(path: str, why: Exception) -> _errors.Error:
    text = str(why)
    return _errors.master_lost("no master: " + (text if text.startswith(path) else "%s: %s" % (path, text)), started=False)
