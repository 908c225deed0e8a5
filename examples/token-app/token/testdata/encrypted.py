"""Makes the tokens of encrypted.json as docs/TOKENS.md says, with nothing of ours."""
import base64
import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def hkdf(secret, salt, info, size):  # RFC 5869
    prk = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    out = block = b""
    while len(out) < size:
        block = hmac.digest(prk, block + info + bytes([len(out) // 32 + 1]), hashlib.sha256)
        out += block
    return out[:size]


def check(what, got, want):
    if got != want:
        sys.exit(f"{v['name']}: {what} is {got}, want {want}")


for v in json.load(open(sys.argv[1])):
    secret, payload, salt = v["secret"].encode(), v["payload"].encode(), bytes.fromhex(v["salt"])
    key_id = hkdf(secret, b"", b"appbundle/token-app/v1/key-id", 8)
    check("the key id", key_id.hex(), v["key_id"])
    derived = hkdf(secret, salt, b"appbundle/token-app/v1/encrypt/" + v["service"].encode(), 76)
    check("what is derived", derived.hex(), v["derived"])
    key, nonce, signing = derived[:32], derived[32:44], derived[44:]
    header = b"\x01" + key_id + salt
    signature = hmac.digest(signing, payload, hashlib.sha256)
    check("the signature", signature.hex(), v["signature"])
    token = base64.urlsafe_b64encode(header + AESGCM(key).encrypt(nonce, payload + signature, header))
    check("the token", token.decode(), v["token"])
    check("the key", base64.urlsafe_b64encode(hkdf(secret, salt, b"appbundle/token-app/v1/derive/" + token, 32)).decode(), v["key"])
    print(v["name"])
