"""Heads of the powerhose protocol, version 1: the first frame of every message.

docs/POWERHOSE.md is the specification. A head has one encoding: encode writes
it, and decode refuses every other, except for options that it does not know and
that may be ignored.
"""

from __future__ import annotations

import re
import struct
from typing import Dict, List, Tuple

VERSION = 1
MAX_HEAD = 1024
MAX_WINDOW = 16
MAX_KINDS = 16
MAX_TEXT = 512

HELLO, WELCOME, REFUSED, PING, PONG, JOB, PROGRESS, RESULT, ERROR, RETURNED, CANCEL, DRAIN, BYE, CALL, REPLY = range(1, 16)

TYPES = (
    "", "HELLO", "WELCOME", "REFUSED", "PING", "PONG", "JOB", "PROGRESS", "RESULT", "ERROR", "RETURNED", "CANCEL", "DRAIN", "BYE",
    "CALL", "REPLY",
)  # fmt: skip

# Codes: see the table in docs/POWERHOSE.md.
OK = 0
APPLICATION = 1
REJECTED = 2
CANCELLED = 3
EXPIRED = 4
PANIC = 5
BUSY = 16
NO_WORKER = 17
QUEUE_FULL = 18
TIMEOUT = 19
LOST = 20
DRAINING = 21
TOO_BIG = 22
BAD_VERSION = 32
BAD_SOCKET = 34
BAD_CREDENTIALS = 35
TOO_MANY = 36
MALFORMED = 37
TOO_FAST = 38
BROKEN = 39
STOP = 48
MAX_JOBS = 49
MAX_AGE = 50
MAX_RSS = 51

REPEATABLE = 1
WANTS_PROGRESS = 2
URGENT = 4

# In busy_wait of a CALL: what the master has configured.
BUSY_DEFAULT = 0xFFFFFFFF
MOST = 0xFFFFFFFF

_PREFIX = struct.Struct(">2sBBQ")
_FIXED: Dict[int, struct.Struct] = {
    HELLO: struct.Struct(">I16sBBB"),
    WELCOME: struct.Struct(">BBBIQ16s"),
    REFUSED: struct.Struct(">H"),
    PING: struct.Struct(">"),
    PONG: struct.Struct(">I"),
    JOB: struct.Struct(">IBB"),
    PROGRESS: struct.Struct(">"),
    RESULT: struct.Struct(">I"),
    ERROR: struct.Struct(">HI"),
    RETURNED: struct.Struct(">"),
    CANCEL: struct.Struct(">"),
    DRAIN: struct.Struct(">H"),
    BYE: struct.Struct(">H"),
    CALL: struct.Struct(">IIB"),
    REPLY: struct.Struct(">HBIII"),
}
_FIELDS: Dict[int, Tuple[str, ...]] = {
    HELLO: ("pid", "incarnation", "lowest", "highest", "window"),
    WELCOME: ("version", "window", "tries", "period", "max_body", "incarnation"),
    REFUSED: ("code",),
    PONG: ("run",),
    JOB: ("left", "attempt", "flags"),
    RESULT: ("run",),
    ERROR: ("code", "run"),
    DRAIN: ("code",),
    BYE: ("code",),
    CALL: ("left", "busy_wait", "flags"),
    REPLY: ("code", "attempt", "pid", "wait", "run"),
}

_BODY = frozenset((JOB, PROGRESS, RESULT, ERROR, CALL, REPLY))
_NUMBER_NONE = frozenset((HELLO, WELCOME, REFUSED, DRAIN, BYE))

_NAME, _SOCKET, _KIND, _LANGUAGE, _LIBRARY, _TEXT, _HELD = range(1, 8)
_CRITICAL = 128
_TAGS: Dict[int, Tuple[int, ...]] = {
    HELLO: (_NAME, _SOCKET, _KIND, _LANGUAGE, _LIBRARY, _HELD),
    REFUSED: (_TEXT,),
    PONG: (_HELD,),
    JOB: (_KIND,),
    ERROR: (_TEXT,),
    DRAIN: (_TEXT,),
    BYE: (_TEXT,),
    CALL: (_KIND,),
    REPLY: (_NAME, _TEXT),
}
_LIMITS = {
    _NAME: (1, 64), _SOCKET: (1, 255), _KIND: (1, 32), _LANGUAGE: (1, 16), _LIBRARY: (1, 32), _TEXT: (1, MAX_TEXT),
    _HELD: (8, 8 * MAX_WINDOW),
}  # fmt: skip
_WORD = re.compile(rb"[A-Za-z0-9._+-]*")
_NO_INCARNATION = bytes(16)

_FAULTS = {
    "too-long": "is longer than 1024 bytes",
    "too-short": "ends too early",
    "magic": "does not start with PH",
    "version": "is of a version other than 1",
    "type": "is of a type that version 1 does not have",
    "number": "has a number that its type cannot have",
    "value": "has a field that is out of range",
    "tag": "has an option that is unknown and must not be ignored",
    "order": "has options that do not rise",
    "length": "has an option of a wrong length",
    "option": "has an option with a value that it cannot have",
    "missing": "misses an option",
}


class DecodeError(ValueError):
    """Bytes that are no head: fault is the name that the vectors use, offset where it was seen."""

    def __init__(self, fault: str, kind: int, offset: int) -> None:
        super().__init__("%shead %s (byte %d)" % (TYPES[kind] and TYPES[kind] + " ", _FAULTS[fault], offset))
        self.fault = fault
        self.offset = offset


class Head:
    """The head of any message. Fields that its type does not have are 0 or empty."""

    __slots__ = (
        "type", "number", "code", "pid", "attempt", "flags", "left", "busy_wait", "wait", "run", "lowest", "highest", "version",
        "window", "tries", "period", "max_body", "incarnation", "name", "socket", "kinds", "kind", "language", "library", "text",
        "held",
    )  # fmt: skip

    def __init__(self, type: int, number: int = 0) -> None:
        self.type = type
        self.number = number
        self.code = self.pid = self.attempt = self.flags = self.left = self.busy_wait = self.wait = self.run = 0
        self.lowest = self.highest = self.version = self.window = self.tries = self.period = self.max_body = 0
        self.incarnation = b""
        self.name = self.socket = self.kind = self.language = self.library = self.text = ""
        self.kinds: List[str] = []
        self.held: List[int] = []


def has_body(kind: int) -> bool:
    """Whether a message of this type has a second frame. It has one always, or never."""
    return kind in _BODY


def decode(b: bytes) -> Head:
    """Read a head, or raise DecodeError."""
    size = len(b)
    if size > MAX_HEAD:
        raise DecodeError("too-long", 0, MAX_HEAD)
    if size < 12:
        raise DecodeError("too-short", 0, size)
    magic, version, kind, number = _PREFIX.unpack_from(b)
    if magic != b"PH":
        raise DecodeError("magic", 0, 0)
    if version != VERSION:
        raise DecodeError("version", 0, 2)
    if not HELLO <= kind <= REPLY:
        raise DecodeError("type", 0, 3)
    if kind in _NUMBER_NONE:
        if number:
            raise DecodeError("number", kind, 4)
    elif not number and kind != PONG:
        raise DecodeError("number", kind, 4)
    fixed = _FIXED[kind]
    end = 12 + fixed.size
    if size < end:
        raise DecodeError("too-short", kind, size)
    h = Head(kind, number)
    if kind in _FIELDS:
        for field, value in zip(_FIELDS[kind], fixed.unpack_from(b, 12)):
            setattr(h, field, value)
        at = _bad_field(h)
        if at:
            raise DecodeError("value", kind, at)
    if size > end:
        _options(b, h, end)
    if kind == HELLO and h.window and not (h.name and h.socket):
        raise DecodeError("missing", kind, size)
    return h


def _bad_field(h: Head) -> int:
    """The offset of a field of the fixed part that is out of range, or 0."""
    kind = h.type
    if kind == JOB:
        return 16 if not h.attempt else 17 if h.flags & ~3 else 0
    if kind in (REFUSED, ERROR, DRAIN, BYE):
        return 0 if h.code else 12
    if kind == CALL:
        return 20 if h.flags & ~7 else 0
    if kind == HELLO:
        if h.incarnation == _NO_INCARNATION:
            return 16
        return 32 if not 1 <= h.lowest <= h.highest else 34 if h.window > MAX_WINDOW else 0
    if kind == WELCOME:
        if not h.version:
            return 12
        if h.window > MAX_WINDOW:
            return 13
        return 14 if not h.tries else 15 if not h.period else 27 if h.incarnation == _NO_INCARNATION else 0
    return 0


def _options(b: bytes, h: Head, at: int) -> None:
    kind, size, last = h.type, len(b), -1
    tags = _TAGS.get(kind, ())
    while at < size:
        if size - at < 3:
            raise DecodeError("too-short", kind, size)
        tag = b[at]
        n = b[at + 1] << 8 | b[at + 2]
        end = at + 3 + n
        if end > size:
            raise DecodeError("too-short", kind, size)
        if tag >= _CRITICAL:
            raise DecodeError("tag", kind, at)
        several = tag == _KIND and kind == HELLO
        if tag < last or tag == last and not several:
            raise DecodeError("order", kind, at)
        last = tag
        if tag in tags:
            least, most = _LIMITS[tag]
            if not least <= n <= most:
                raise DecodeError("length", kind, at + 1)
            if not _take(h, tag, b[at + 3 : end]):
                raise DecodeError("option", kind, at + 3)
            if len(h.kinds) > MAX_KINDS:
                raise DecodeError("length", kind, at)
        at = end


def _take(h: Head, tag: int, value: bytes) -> bool:
    """Set the field of an option. False if it cannot have this value."""
    if tag == _SOCKET:
        h.socket = value.decode("utf-8", "surrogateescape")
        return b"\0" not in value
    if tag == _TEXT:
        try:
            h.text = value.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True
    if tag == _HELD:
        if len(value) % 8:
            return False
        h.held = list(struct.unpack(">%dQ" % (len(value) // 8), value))
        return 0 not in h.held
    if not _WORD.fullmatch(value):
        return False
    word = value.decode("ascii")
    if tag == _NAME:
        h.name = word
    elif tag == _LANGUAGE:
        h.language = word
    elif tag == _LIBRARY:
        h.library = word
    elif h.type == HELLO:
        h.kinds.append(word)
    else:
        h.kind = word
    return True


def encode(h: Head) -> bytes:
    """Write a head. One that cannot be raises the error of decode."""
    kind = h.type
    if not HELLO <= kind <= REPLY:
        raise DecodeError("type", 0, 3)
    try:
        b = _PREFIX.pack(b"PH", VERSION, kind, h.number)
        b += _FIXED[kind].pack(*[getattr(h, field) for field in _FIELDS.get(kind, ())])
    except struct.error:
        raise DecodeError("value", kind, 12) from None
    for tag in _TAGS.get(kind, ()):
        if tag == _NAME:
            b += _option(tag, h.name.encode("utf-8", "surrogateescape"))
        elif tag == _SOCKET:
            b += _option(tag, h.socket.encode("utf-8", "surrogateescape"))
        elif tag == _LANGUAGE:
            b += _option(tag, h.language.encode("utf-8", "surrogateescape"))
        elif tag == _LIBRARY:
            b += _option(tag, h.library.encode("utf-8", "surrogateescape"))
        elif tag == _TEXT:
            b += _option(tag, h.text.encode("utf-8", "surrogateescape"))
        elif tag == _HELD:
            b += _option(tag, struct.pack(">%dQ" % len(h.held), *h.held))
        elif kind == HELLO:
            for word in h.kinds:
                b += _option(tag, word.encode("utf-8", "surrogateescape"), required=True)
        else:
            b += _option(tag, h.kind.encode("utf-8", "surrogateescape"))
    decode(b)
    return b


def _option(tag: int, value: bytes, required: bool = False) -> bytes:
    if not value and not required:
        return b""
    # A length that does not fit is written as one that no reader accepts.
    return struct.pack(">BH", tag, min(len(value), MAX_HEAD + 1)) + value


_RESULT = struct.Struct(">2sBBQI")


def result(number: int, run: int) -> bytes:
    """The head of a RESULT, which there is one of for each job."""
    return _RESULT.pack(b"PH", VERSION, RESULT, number, run)


def bare(kind: int, number: int) -> bytes:
    """The head of a type that has neither fixed part nor option."""
    return _PREFIX.pack(b"PH", VERSION, kind, number)


def coded(kind: int, code: int, text: str = "") -> bytes:
    """The head of a REFUSED, DRAIN or BYE."""
    h = Head(kind)
    h.code = code
    h.text = cut(text)
    return encode(h)


def cut(text: str) -> str:
    """Make a text as short as an option may be, without what is no text."""
    b = text.encode("utf-8", "replace")
    if len(b) > MAX_TEXT:
        return b[:MAX_TEXT].decode("utf-8", "ignore")
    return b.decode("utf-8")


def milliseconds(seconds: float) -> int:
    """Round up, so that nothing becomes 0, which means something else."""
    if seconds <= 0:
        return 0
    if seconds >= MOST / 1000:
        return MOST
    return -int(-seconds * 1000 // 1)
