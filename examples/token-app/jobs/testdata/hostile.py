"""Writes hostile.json: keys that no worker may take, and signatures that must not be good.

Where that is possible the signature would be good if the key were taken. The
numbers come from a seed: the output is always the same.
"""
import hashlib
import json
import random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

rng = random.Random(20261130)
message = b"a message of a stranger"
cases = []


def add(name, alg, parts, signature):
    cases.append({"name": name, "alg": alg, "parts": [p.hex() for p in parts], "message": message.decode(), "signature": signature.hex()})


def big(n):
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def prime(n):
    if n % 2 == 0 or any(n % p == 0 for p in range(3, 2000, 2)):
        return n in (2, 3, 5, 7)
    return all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7, 11))


def random_prime(bits, fits=lambda p: True):
    while True:
        p = rng.getrandbits(bits) | 1 << bits - 1 | 1 << bits - 2 | 1
        if prime(p) and fits(p):
            return p


def encoded(size):  # EMSA-PKCS1-v1_5 with SHA-256
    tail = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
    return b"\0\1" + b"\xff" * (size - len(tail) - 3) + b"\0" + tail


def rsa(name, alg, bits, e=65537):
    """A key of exactly so many bits whose signature is good."""
    a = bits // 2
    while True:
        p, q = (random_prime(n, lambda p: (p - 1) % e) for n in (a, bits - a))
        if (p * q).bit_length() == bits and p != q:
            break
    n = p * q
    size = (bits + 7) // 8
    s = pow(int.from_bytes(encoded(size), "big"), pow(e, -1, (p - 1) * (q - 1)), n)
    add(name, alg, [big(n), big(e)], s.to_bytes(size, "big"))
    return n


for bits in (512, 768, 1022, 1026, 1536, 2046):
    rsa(f"rs256-{bits}", 1, bits)
    if bits in (512, 1022, 1026):
        rsa(f"rs128-{bits}", 7, bits)
n = rsa("rs128-2048", 7, 2048)
rsa("rs256-2048-e-4294967297", 1, 2048, 4294967297)
em = encoded(256)
for e in (0, 1):  # a signature is its own power; nothing is
    add(f"rs256-e-{e}", 1, [big(n), big(e)], em)
for e in (2, 4, 65536, 1 << 31, n - 2):
    add(f"rs256-e-{e.bit_length()}-bits-{'odd' if e % 2 else 'even'}", 1, [big(n), big(e)], em)
add("rs256-n-0", 1, [b"", big(3)], bytes(256))
add("rs256-n-1", 1, [b"\1", big(3)], b"\0")
add("rs256-n-zeros", 1, [bytes(256), big(3)], bytes(256))
add("rs256-n-even", 1, [big(n - 1), big(65537)], em)
add("rs256-4097", 1, [big(1 << 4096 | n), big(3)], em)
add("rs256-16384", 1, [big(1 << 16383 | n), big((1 << 31) - 1)], em)
add("ps256-16384", 2, [big(1 << 16383 | n), big((1 << 31) - 1)], em)
add("rs256-n-2000-bytes", 1, [b"\xff" * 2000, big((1 << 31) - 1)], em)

DS128 = tuple(int(x, 16) for x in (
    "ff600483db6abfc5b45eab78594b3533d550d9f1bf2a992a7a8daa6dc34f8045ad4e6e0c429d334eeeaaefd7e23d4810be00e4cc1492cba325ba81ff2d5a5b30"
    "5a8d17eb3bf4a06a349d392e00d329744a5179380344e82a18c47933438f891e22aeef812d69c8f75e326cb70ea000c3f776dfdbd604638c2ef717fc26d02e17",
    "e21e04f911d1ed7991008ecaab3bf775984309c3",
    "c52a4a0ff3b7e61fdf1867ce84138369a6154f4afa92966e3c827e25cfa6cf508b90e5de419e1337e07a2e9e2a3cd5dea704d175f8ebf6af397d69e110b96afb"
    "17c7a03259329e4829b0d03bbc7896b15b4ade53e130858cc34d96269aa89041f409136c7242a38895c9d5bccad4f389af1d7a4bd1398bd072dffa896233397a"))


def dsa(p, q, g, x, digest, size):
    h = int.from_bytes(digest, "big")
    while True:
        k = rng.randrange(1, q)
        r = pow(g, k, p) % q
        s = pow(k, -1, q) * (h + x * r) % q
        if r and s and (r * pow(s, -1, q)) % q % 2 == 0:  # so that (-1)^u2 is 1
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")


p, q, g = DS128
sha1 = hashlib.sha1(message).digest()
for name, y in (("0", 0), ("1", 1), ("p-1", p - 1), ("p", p), ("p+1", p + 1)):  # x is 0, or y^2 is 1
    add("ds128-y-" + name, 5, [big(p), big(q), big(g), big(y)], dsa(p, q, g, 0, sha1, 20))
one = (1).to_bytes(20, "big")
y = pow(g, 12345, p)
for name, parts in (
    ("g-1-y-1", (p, q, 1, 1)), ("g-0", (p, q, 0, y)), ("g-p-1", (p, q, p - 1, y)), ("p-even", (p + 1, q, g, y)), ("q-1", (p, 1, g, y)),
    ("q-0", (p, 0, g, y)), ("p-0", (0, q, g, y)), ("p-is-q", (q, p, g, y)), ("g-of-order-2q", (p, q, p - g, y)),
):
    add("ds128-" + name, 5, [big(v) for v in parts], one + one)
add("ds128-p-16384", 5, [big(1 << 16383 | p)] * 2 + [big(g), big(y)], one + one)
add("ds128-group-as-ds256", 6, [big(p), big(q), big(g), big(y)], dsa(p, q, g, 12345, hashlib.sha256(message).digest()[:20], 32))
while True:  # a group of somebody's own
    q2 = random_prime(160)
    p2 = next((c for c in (q2 * (2 * rng.getrandbits(863) | 1 << 863) + 1 for _ in range(4000)) if c.bit_length() == 1024 and prime(c)), 0)
    if p2:
        break
g2 = pow(2, (p2 - 1) // q2, p2)
add("ds128-other-group", 5, [big(p2), big(q2), big(g2), big(pow(g2, 777, p2))], dsa(p2, q2, g2, 777, sha1, 20))

P256 = (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1
B256 = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
root = pow(B256, (P256 + 1) // 4, P256)
zero, point = bytes(32), root.to_bytes(32, "big")
one = (1).to_bytes(32, "big")
for name, parts in (
    ("zeros", (zero, zero)), ("off-the-curve", (one, one)), ("x-is-p", (P256.to_bytes(32, "big"), point)), ("y-plus-p", (zero, b"\xff" * 32)),
    ("31-bytes", (zero[1:], point)), ("33-bytes", (b"\0" + zero, point)), ("no-x", (b"", point)),
):
    add("es256-" + name, 3, parts, one + one)

universal = b"\1" + bytes(63)  # R is the neutral element, s is 0
PRIME = (1 << 255) - 19
ORDER8 = [int.from_bytes(bytes.fromhex(h), "little") for h in (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")]
for y in (0, 1, PRIME - 1, *ORDER8, PRIME, PRIME + 1, PRIME + 18):
    for sign in (0, 1):
        add(f"eddsa-y-{y:x}-{sign}", 4, [(y | sign << 255).to_bytes(32, "little")], universal)
add("eddsa-no-point", 4, [(2).to_bytes(32, "little")], universal)
add("eddsa-31-bytes", 4, [bytes(31)], universal)
add("eddsa-33-bytes", 4, [b"\1" + bytes(32)], universal)
private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a seed").digest())
public, signature = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), private.sign(message)
order = (1 << 252) + 27742317777372353535851937790883648493
for i in (1, 2, 7):
    s = int.from_bytes(signature[32:], "little") + i * order
    add(f"eddsa-s-plus-{i}-l", 4, [public], signature[:32] + s.to_bytes(32, "little"))

print(json.dumps(cases, indent=1))
