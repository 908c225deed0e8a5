"""CURVE, the mechanism of links over TCP (RFC 26), and the files of its keys.

The cryptography is PyNaCl's, which is imported when keys are read and not
before: who stays on Unix sockets does not need it. A Curve is one side of one
link. It has no socket: commands of the peer go in, commands for the peer come out.
"""

from __future__ import annotations

import errno
import hmac
import os
import stat
import struct
from typing import Any, List, NamedTuple, Optional, Tuple

KEY = 32
MECHANISM = b"CURVE"

_MAC = 16
_ZEROS = bytes(64)
_COOKIE = 96
# Sizes of the commands' bodies: all of a HELLO and a WELCOME, what an INITIATE
# and a READY have besides their metadata.
_HELLO = 2 + 72 + KEY + 8 + 64 + _MAC
_WELCOME = 16 + KEY + _COOKIE + _MAC
_VOUCH = 2 * KEY + _MAC
_INITIATE = _COOKIE + 8 + _MAC + KEY + 16 + _VOUCH
_READY = 8 + _MAC
_METADATA = 512
_ERROR = 1 + 255

_MESSAGE = b"\x07MESSAGE"
#: What a box adds to a frame: the name, the short nonce, the flags and the code.
BOXED = len(_MESSAGE) + 8 + _MAC + 1

_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}


class CurveError(Exception):
    """What is wrong with what a peer sent."""

    tell = False  # the peer


class Keys(NamedTuple):
    """The keys of a worker or a caller: its own pair, and the public one of its master."""

    secret: bytes
    public: bytes
    master: bytes

    def __repr__(self) -> str:
        return "Keys(public=%r, master=%r)" % (encode(self.public), encode(self.master))


def encode(key: bytes) -> str:
    """A key in Z85 (RFC 32): 40 characters."""
    out = bytearray()
    for (value,) in struct.iter_unpack(">I", key):
        out += bytes(_DIGITS[value // 85**i % 85] for i in (4, 3, 2, 1, 0))
    return out.decode("ascii")


def decode(text: bytes) -> bytes:
    """The key that is written so. ValueError says what is wrong, and does not show it."""
    if len(text) != 40:
        raise ValueError("%d characters; a key has 40" % len(text))
    out = b""
    for at in range(0, 40, 5):
        value = 0
        for digit in text[at : at + 5]:
            if digit not in _VALUES:
                raise ValueError("a character that Z85 does not have")
            value = value * 85 + _VALUES[digit]
        if value > 0xFFFFFFFF:
            raise ValueError("five characters that are more than 32 bits")
        out += value.to_bytes(4, "big")
    if not any(out):
        raise ValueError("a key of zeros")
    return out


def read_keys(key: str, master_key: str) -> Keys:
    """Read the own secret key, and the public key of the master. OSError names the file and the remedy."""
    nacl = _nacl()
    secret = _secret(os.fspath(key))
    return Keys(secret, nacl.bindings.crypto_scalarmult_base(secret), _public(master_key, secret))


def _nacl() -> Any:
    try:
        import nacl.bindings
        import nacl.exceptions
    except ImportError as e:
        raise ImportError("TCP needs PyNaCl (%s); pip install 'appbundle-powerhose[curve]'" % e) from None
    return nacl


def _read(path: str, forbidden: int, others: str) -> bytes:
    """A file of keys, which only its owner writes; one of a secret key nobody else reads. It may be a pipe, and then it is not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, "is no regular file")
            if info.st_uid not in (0, os.geteuid()):
                raise OSError(errno.EPERM, "belongs to user %d; chown %d %s" % (info.st_uid, os.geteuid(), path))
            mode = stat.S_IMODE(info.st_mode)
            if mode & forbidden:
                raise OSError(errno.EPERM, "has mode %04o, others can %s it; chmod %o %s" % (mode, others, mode & ~forbidden, path))
            return os.read(fd, 1 << 16)
        finally:
            os.close(fd)
    except OSError as e:
        raise OSError(e.errno, "key file %s: %s" % (path, _lower(e.strerror or str(e)))) from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# How the files of appbundle powerhose keygen begin: the keys in them look alike.
_SECRET = b"# appbundle secret key"
_PUBLIC = b"# appbundle public key"


def _secret(path: str) -> bytes:
    if path.endswith(".pub"):
        raise OSError(errno.EINVAL, "key file %s: that is the name of a public key; give the file of the secret one, as %s" % (path, path[: -len(".pub")]))
    lines = [line.strip() for line in _read(path, 0o077, "read").split(b"\n")]
    if any(line.startswith(_PUBLIC) for line in lines):
        raise OSError(errno.EINVAL, "key file %s: it says that it has a public key; give the file of the secret one" % path)
    try:
        return decode(b"\n".join(line for line in lines if not line.startswith(b"#")).strip())
    except ValueError as e:
        raise OSError(errno.EINVAL, "key file %s: %s; a secret key is 40 characters of Z85 and a newline" % (path, e)) from None


def _public(path: str, secret: bytes) -> bytes:
    """The one public key in a file; there may be comments and blank lines."""
    found = None
    for number, line in enumerate(_read(path, 0o022, "write").split(b"\n"), 1):
        if line.strip().startswith(_SECRET):
            raise OSError(errno.EINVAL, "key file %s:%d: it says that it has a secret key; give the file of the public key of the master" % (path, number))
        key, _, comment = line.strip().partition(b" ")
        # Z85 has a #, but it is too high a digit to be the first of five.
        if not key or key.startswith(b"#"):
            continue
        if comment.strip() and not comment.strip().startswith(b"#"):
            raise OSError(errno.EINVAL, "key file %s:%d: something behind the key; one key a line, and # before a comment" % (path, number))
        if found is not None:
            raise OSError(errno.EINVAL, "key file %s:%d: a second key; a master has one" % (path, number))
        try:
            found = decode(key)
        except ValueError as e:
            raise OSError(errno.EINVAL, "key file %s:%d: %s; a public key is 40 characters of Z85" % (path, number, e)) from None
    if found == secret:
        raise OSError(errno.EINVAL, "key file %s: the own secret key; it is to have the public key of the master" % path)
    if found is None:
        raise OSError(errno.EINVAL, "key file %s: no key; it is to have the public key of the master" % path)
    return found


def _short(prefix: bytes, number: int) -> bytes:
    return prefix + struct.pack(">Q", number)


class Curve:
    """One side of the handshake, and of the messages behind it.

    The server admits the key of the master alone, the client knows its server
    by that key. Who is the server does not depend on who has dialled.
    """

    def __init__(self, keys: Keys, server: bool) -> None:
        self.server = server
        nacl = _nacl()
        self._nacl, self._failure = nacl.bindings, nacl.exceptions.CryptoError
        self._keys = keys
        # Of os.urandom, which is good in a child that was forked, too.
        self._secret = os.urandom(KEY)
        self._public: bytes = self._nacl.crypto_scalarmult_base(self._secret)
        self._cookie = os.urandom(_COOKIE)
        self._theirs = b""  # the ephemeral key of the peer
        self._key = b""  # of the two ephemeral ones
        self._sent = 0
        self._received = 0
        self._out, self._in = b"CurveZMQMESSAGEC", b"CurveZMQMESSAGES"
        if server:
            self._out, self._in = self._in, self._out
        self._next = b"HELLO" if server else b"WELCOME"

    @property
    def limit(self) -> int:
        """Bytes of the longest command that may come next."""
        body = {b"HELLO": _HELLO, b"WELCOME": _WELCOME, b"INITIATE": _INITIATE + _METADATA, b"READY": _READY + _METADATA}
        return 1 + len(self._next) + max(body.get(self._next, 0), _ERROR)

    def start(self) -> List[Tuple[bytes, bytes]]:
        """The commands that are sent first: names and bodies."""
        if self.server:
            return []
        self._sent += 1
        box = self._seal(_ZEROS, _short(b"CurveZMQHELLO---", self._sent), self._shared(self._keys.master, self._secret))
        return [(b"HELLO", b"\1\0" + bytes(72) + self._public + struct.pack(">Q", self._sent) + box)]

    def step(self, name: bytes, data: bytes, metadata: bytes) -> Tuple[List[Tuple[bytes, bytes]], Optional[bytes]]:
        """Take a command, and return those that answer it. With the last one of the peer comes its metadata, to be judged before anything is sent."""
        if name != self._next:
            raise CurveError("the command %r where %s has to come" % (name.decode("ascii", "backslashreplace"), self._next.decode() or "a message"))
        if name == b"HELLO":
            return self._hello(data), None
        if name == b"WELCOME":
            return self._welcome(data, metadata), None
        self._next = b""
        if name == b"INITIATE":
            theirs = self._initiate(data)
            self._sent += 1
            box = self._seal(metadata, _short(b"CurveZMQREADY---", self._sent), self._key)
            return [(b"READY", struct.pack(">Q", self._sent) + box)], theirs
        _size(name, data, _READY, _READY + _METADATA)
        number = self._rise(data[:8])
        return [], self._open(data[8:], _short(b"CurveZMQREADY---", number), self._key)

    def seal(self, flags: int, payload: bytes) -> bytes:
        """The body of a frame with a box of flags and payload. It must be written before what is sealed later."""
        self._sent += 1
        number = struct.pack(">Q", self._sent)
        return b"".join((_MESSAGE, number, self._seal(bytes((flags,)) + payload, self._out + number, self._key)))

    def open(self, frame: bytes) -> Tuple[int, bytes]:
        """The flags and the payload in the body of a frame."""
        if len(frame) < BOXED or frame[:8] != _MESSAGE:
            raise CurveError("a frame that is no MESSAGE of CURVE")
        number = self._rise(frame[8:16])
        plain = self._open(frame[16:], _short(self._in, number), self._key)
        return plain[0], plain[1:]

    def _hello(self, data: bytes) -> List[Tuple[bytes, bytes]]:
        _size(b"HELLO", data, _HELLO, _HELLO)
        if data[:2] != b"\1\0":
            raise CurveError("version %d.%d of CURVE, and not 1.0" % (data[0], data[1]))
        self._theirs = data[74:106]
        number = self._rise(data[106:114])
        first = self._shared(self._theirs, self._keys.secret)
        if self._open(data[114:], _short(b"CurveZMQHELLO---", number), first) != _ZEROS:
            raise CurveError("a HELLO with something in its box")
        self._key = self._shared(self._theirs, self._secret)
        self._next = b"INITIATE"
        random = os.urandom(16)
        return [(b"WELCOME", random + self._seal(self._public + self._cookie, b"WELCOME-" + random, first))]

    def _welcome(self, data: bytes, metadata: bytes) -> List[Tuple[bytes, bytes]]:
        _size(b"WELCOME", data, _WELCOME, _WELCOME)
        plain = self._open(data[16:], b"WELCOME-" + data[:16], self._shared(self._keys.master, self._secret))
        self._theirs, cookie = plain[:KEY], plain[KEY:]
        self._key = self._shared(self._theirs, self._secret)
        self._next = b"READY"
        random = os.urandom(16)
        vouch = self._seal(self._public + self._keys.master, b"VOUCH---" + random, self._shared(self._theirs, self._keys.secret))
        self._sent += 1
        box = self._seal(self._keys.public + random + vouch + metadata, _short(b"CurveZMQINITIATE", self._sent), self._key)
        return [(b"INITIATE", cookie + struct.pack(">Q", self._sent) + box)]

    def _initiate(self, data: bytes) -> bytes:
        """The metadata of a client that is admitted."""
        _size(b"INITIATE", data, _INITIATE, _INITIATE + _METADATA)
        if not hmac.compare_digest(data[:_COOKIE], self._cookie):
            raise CurveError("a cookie that is not ours")
        number = self._rise(data[_COOKIE : _COOKIE + 8])
        plain = self._open(data[_COOKIE + 8 :], _short(b"CurveZMQINITIATE", number), self._key)
        client, random, vouch = plain[:KEY], plain[KEY : KEY + 16], plain[KEY + 16 : KEY + 16 + _VOUCH]
        vouched = self._open(vouch, b"VOUCH---" + random, self._shared(client, self._secret))
        if vouched != self._theirs + self._keys.public:
            raise CurveError("a vouch for other keys")
        if not hmac.compare_digest(client, self._keys.master):
            refused = CurveError("client key %s is not that of the master" % encode(client))
            refused.tell = True
            raise refused
        return plain[KEY + 16 + _VOUCH :]

    def _rise(self, number: bytes) -> int:
        """The nonce of the peer, which has to be higher than all before."""
        n = int.from_bytes(number, "big")
        if n <= self._received:
            raise CurveError("nonce %d after %d: something is sent again" % (n, self._received))
        self._received = n
        return n

    def _shared(self, public: bytes, secret: bytes) -> bytes:
        try:
            shared: bytes = self._nacl.crypto_box_beforenm(public, secret)
        except self._failure:
            raise CurveError("a public key with which nothing is secret") from None
        return shared

    def _seal(self, plain: bytes, nonce: bytes, key: bytes) -> bytes:
        box: bytes = self._nacl.crypto_secretbox(plain, nonce, key)
        return box

    def _open(self, box: bytes, nonce: bytes, key: bytes) -> bytes:
        try:
            plain: bytes = self._nacl.crypto_secretbox_open(box, nonce, key)
        except self._failure:
            raise CurveError("a box that does not open: another key, or somebody between") from None
        return plain


def _size(name: bytes, data: bytes, least: int, most: int) -> None:
    if not least <= len(data) <= most:
        raise CurveError("%s of %d bytes" % (name.decode("ascii"), len(data)))
