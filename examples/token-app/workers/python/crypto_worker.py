"""The crypto worker of the token server in Python, on `cryptography`.

It does the jobs of ../../docs/JOBS.md, as the workers in Go and C++ do, for the
master at POWERHOSE_MASTER.
"""
import base64
import hashlib
import hmac
import os
import struct

import powerhose
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_JOB = 64 << 10
MAX_PART = 513  # bytes
SELF = b"python %d" % os.getpid()


class Malformed(Exception):
    """What is not written as its kind of job is."""


class Reader:
    """Reads from the front, and raises behind the end."""

    def __init__(self, job):
        self.rest = job
        if len(job) > MAX_JOB or self.number(1) != 1:
            raise Malformed

    def next(self, size):
        if size > len(self.rest):
            raise Malformed
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def number(self, size):
        return int.from_bytes(self.next(size), "big")

    def text(self, size):
        """A length of so many bytes, and what it counts."""
        return self.next(self.number(size))

    def end(self):
        if self.rest:
            raise Malformed


def big(b):
    return int.from_bytes(b, "big")


def rsa_key(parts, message, signature, bits):
    """Gives n, e, and the signature with the zeros that it may lack; or raises."""
    n, e = map(big, parts)
    size = (n.bit_length() + 7) // 8
    if n.bit_length() not in bits or n % 2 == 0 or e % 2 == 0 or not 3 <= e < 1 << 31:
        raise InvalidSignature
    if len(signature) > size or big(signature) >= n:
        raise InvalidSignature
    return n, e, signature.rjust(size, b"\0")


LONG, SHORT = range(2047, 4097), range(1023, 1026)


def rs256(parts, message, signature):
    n, e, signature = rsa_key(parts, message, signature, LONG)
    rsa.RSAPublicNumbers(e, n).public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())


def ps256(parts, message, signature):
    n, e, signature = rsa_key(parts, message, signature, LONG)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    rsa.RSAPublicNumbers(e, n).public_key().verify(signature, message, pss, hashes.SHA256())


def rs128(parts, message, signature):
    """By hand: libraries take no keys of 1023 bits."""
    n, e, signature = rsa_key(parts, message, signature, SHORT)
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
    want = b"\0\1" + b"\xff" * (len(signature) - len(digest) - 3) + b"\0" + digest
    if pow(big(signature), e, n).to_bytes(len(signature), "big") != want:
        raise InvalidSignature


def es256(parts, message, signature):
    if [len(p) for p in parts] != [32, 32] or len(signature) != 64:
        raise InvalidSignature
    key = ec.EllipticCurvePublicNumbers(*map(big, parts), ec.SECP256R1()).public_key()  # raises off the curve
    key.verify(encode_dss_signature(big(signature[:32]), big(signature[32:])), message, ec.ECDSA(hashes.SHA256()))


PRIME = (1 << 255) - 19
ORDER = (1 << 252) + 27742317777372353535851937790883648493
SMALL_ORDER = {  # y of the points whose order is at most 8
    0, 1, PRIME - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
}


def eddsa(parts, message, signature):
    if len(parts[0]) != 32 or len(signature) != 64:
        raise InvalidSignature
    y = int.from_bytes(parts[0], "little") % (1 << 255)  # without the sign of x
    if y >= PRIME or y in SMALL_ORDER or int.from_bytes(signature[32:], "little") >= ORDER:
        raise InvalidSignature
    ed25519.Ed25519PublicKey.from_public_bytes(parts[0]).verify(signature, message)


DS128 = tuple(int(x, 16) for x in (
    "ff600483db6abfc5b45eab78594b3533d550d9f1bf2a992a7a8daa6dc34f8045ad4e6e0c429d334eeeaaefd7e23d4810be00e4cc1492cba325ba81ff2d5a5b30"
    "5a8d17eb3bf4a06a349d392e00d329744a5179380344e82a18c47933438f891e22aeef812d69c8f75e326cb70ea000c3f776dfdbd604638c2ef717fc26d02e17",
    "e21e04f911d1ed7991008ecaab3bf775984309c3",
    "c52a4a0ff3b7e61fdf1867ce84138369a6154f4afa92966e3c827e25cfa6cf508b90e5de419e1337e07a2e9e2a3cd5dea704d175f8ebf6af397d69e110b96afb"
    "17c7a03259329e4829b0d03bbc7896b15b4ade53e130858cc34d96269aa89041f409136c7242a38895c9d5bccad4f389af1d7a4bd1398bd072dffa896233397a"))
DS256 = tuple(int(x, 16) for x in (
    "d6c4e5045697756c7a312d02c2289c25d40f9954261f7b5876214b6df109c738b76226b199bb7e33f8fc7ac1dcc316e1e7c78973951bfc6ff2e00cc987cd76fc"
    "fb0b8c0096b0b460fffac960ca4136c28f4bfb580de47cf7e7934c3985e3b3d943b77f06ef2af3ac3494fc3c6fc49810a63853862a02bb1c824a01b7fc688e40"
    "28527a58ad58c9d512922660db5d505bc263af293bc93bcd6d885a157579d7f52952236dd9d06a4fc3bc2247d21f1a70f5848eb0176513537c983f5a36737f01"
    "f82b44546e8e7f0fabc457e3de1d9c5dba96965b10a2a0580b0ad0f88179e10066107fb74314a07e6745863bc797b7002ebec0b000a98eb697414709ac17b401",
    "b1e370f6472c8754ccd75e99666ec8ef1fd748b748bbbc08503d82ce8055ab3b",
    "9a8269ab2e3b733a5242179d8f8ddb17ff93297d9eab00376db211a22b19c854dfa80166df2132cbc51fb224b0904abb22da2c7b7850f782124cb575b116f41e"
    "a7c4fc75b1d77525204cd7c23a15999004c23cdeb72359ee74e886a1dde7855ae05fe847447d0a68059002c3819a75dc7dcbb30e39efac36e07e2c404b7ca98b"
    "263b25fa314ba93c0625718bd489cea6d04ba4b0b7f156eeb4c56c44b50e4fb5bce9d7ae0d55b379225feb0214a04bed72f33e0664d290e7c840df3e2abb5e48"
    "189fa4e90646f1867db289c6560476799f7be8420a6dc01d078de437f280fff2d7ddf1248d56e1a54b933a41629d6c252983c58795105802d30d7bcd819cf6ef"))


def dsa(group, hash):
    """FIPS 186-4, section 4.7, in one group."""
    p, q, g = group
    size = (q.bit_length() + 7) // 8

    def verify(parts, message, signature):
        *named, y = map(big, parts)
        if tuple(named) != group or not 1 < y < p - 1 or len(signature) > 2 * size:
            raise InvalidSignature
        signature = signature.rjust(2 * size, b"\0")
        r, s = big(signature[:size]), big(signature[size:])
        if not 0 < r < q or not 0 < s < q:
            raise InvalidSignature
        w = pow(s, -1, q)
        h = big(hash(message).digest())
        if pow(g, h * w % q, p) * pow(y, r * w % q, p) % p % q != r:
            raise InvalidSignature

    return verify


ALGORITHMS = {  # and how many parts their keys have
    1: (rs256, 2), 2: (ps256, 2), 3: (es256, 2), 4: (eddsa, 1),
    5: (dsa(DS128, hashlib.sha1), 4), 6: (dsa(DS256, hashlib.sha256), 4), 7: (rs128, 2),
}


def good(verify, parts, message, signature):
    if max(map(len, parts)) > MAX_PART:
        return False
    try:
        verify(parts, message, signature)
    except (InvalidSignature, ValueError):
        return False
    return True


def verify(job):
    r = Reader(job)
    checks = []
    count = r.number(1)
    if not 1 <= count <= 4:
        raise Malformed
    for _ in range(count):
        algorithm, want = ALGORITHMS.get(r.number(1), (None, 0))
        if not algorithm or r.number(1) != want:
            raise Malformed
        parts = [r.text(2) for _ in range(want)]
        checks.append((algorithm, parts, r.text(4), r.text(2)))
    r.end()
    result = bytearray(count)
    for i, check in enumerate(checks):
        if not good(*check):
            break
        result[i] = 1
    return bytes(result)


def hkdf(secret, salt, info, size):
    """RFC 5869 with SHA-256, whose library form refuses an empty salt."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    out = block = b""
    while len(out) < size:
        block = hmac.digest(key, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def mint(job):
    r = Reader(job)
    form, secret, service, salt, payload = r.number(1), r.text(2), r.text(1), r.text(1), r.text(4)
    r.end()
    if form > 1 or not 1 <= len(secret) <= 4096 or len(payload) > 16 << 10 or payload[:1] != b"{":
        raise Malformed
    if form == 0:
        if service or not salt.isascii():
            raise Malformed
        signing = hkdf(secret, b"", b"services.mozilla.com/tokenlib/v1/signing", 32)
        token = payload + hmac.digest(signing, payload, "sha256")
        derive = b"services.mozilla.com/tokenlib/v1/derive/"
    else:
        if not service or len(salt) != 16:
            raise Malformed
        derived = hkdf(secret, salt, b"appbundle/token-app/v1/encrypt/" + service, 76)
        header = b"\x01" + hkdf(secret, b"", b"appbundle/token-app/v1/key-id", 8) + salt
        signed = payload + hmac.digest(derived[44:], payload, "sha256")
        token = header + AESGCM(derived[:32]).encrypt(derived[32:44], signed, header)
        derive = b"appbundle/token-app/v1/derive/"
    token = base64.urlsafe_b64encode(token)
    key = base64.urlsafe_b64encode(hkdf(secret, salt, derive + token, 32))
    return b"".join(struct.pack(">I", len(text)) + text for text in (token, key))


@powerhose.target(kinds=["verify", "mint"])
def work(job):
    job.progress(SELF)
    do = {"verify": verify, "mint": mint}.get(job.kind)
    if do is None:
        raise powerhose.ErrRejected("there is no such kind")
    try:
        return do(bytes(job))
    except Malformed:
        raise powerhose.ErrRejected("the job is not written as its kind is") from None


if __name__ == "__main__":
    work.run()
