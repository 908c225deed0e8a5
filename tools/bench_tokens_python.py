"""The least that a token server in Python has to do for a known user, for
tools/bench tokens: PyBrowserID's verifier with the signatures by OpenSSL, the
user's row out of SQLite (in memory), and a token with its key by tokenlib. There is
no rule about the row and no log.

    bench_tokens_python.py DIR FILE COUNT    without HTTP; prints what it did as JSON

application is the same for a server of WSGI, without a framework.
"""
import hashlib
import json
import os
import re
import sqlite3
import sys
import time

import browserid.jwt
import tokenlib
from browserid.verifiers.local import LocalVerifier
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ORIGIN, HOST = "https://token.bench.example", "idp.bench.example"


class RS256:
    def __init__(self, data):
        self.key = rsa.RSAPublicNumbers(int(data["e"]), int(data["n"])).public_key()

    def verify(self, signed, signature):
        try:
            self.key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


class DS128:
    def __init__(self, data):
        p, q, g, y = (int(data[name], 16) for name in "pqgy")
        self.key = dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()

    def verify(self, signed, signature):
        r, s = int.from_bytes(signature[:20], "big"), int.from_bytes(signature[20:], "big")
        try:
            self.key.verify(encode_dss_signature(r, s), signed, hashes.SHA1())
        except InvalidSignature:
            return False
        return True


browserid.jwt.RS256Key, browserid.jwt.DS128Key = RS256, DS128


class Documents:
    """The support document of the one issuer."""

    def __init__(self, file):
        with open(file, "rb") as f:
            n = serialization.load_pem_private_key(f.read(), None).public_key().public_numbers()
        self.key = {"algorithm": "RS", "n": str(n.n), "e": str(n.e)}

    def get_key(self, _):
        return self.key

    def is_trusted_issuer(self, hostname, issuer, _):
        return hostname == issuer == HOST


USER = """select uid, nodes.node, generation, keys_changed_at, client_state, created_at, replaced_at from users
    left outer join nodes on users.nodeid = nodes.id where email = ? and users.service = ?
    order by created_at desc, uid desc limit 20"""


def users(names):
    """A database with the columns and indexes of Mozilla's."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("create table nodes (id integer primary key, service integer, node varchar(64))")
    db.execute("create table users (uid integer primary key, service integer, email varchar(255), generation bigint, client_state varchar(32),"
               " created_at bigint, replaced_at bigint, nodeid bigint, keys_changed_at bigint)")
    db.execute("create index lookup_idx on users (email, service, created_at)")
    db.execute("insert into nodes values (1, 1, 'https://db0.bench.example')")
    db.executemany("insert into users (service, email, generation, client_state, created_at, nodeid, keys_changed_at) values (1, ?, 1, '', 1, 1, 1)",
                   [(f"{name}@{HOST}",) for name in names])
    return db


class Server:
    def __init__(self, where):
        self.verifier = LocalVerifier([ORIGIN], supportdocs=Documents(where + "/idp.pem"))
        with open(where + "/distinct.txt") as f:
            self.db = users(f"user{n}" for n, _ in enumerate(f))
        self.tokens = tokenlib.TokenManager(secret="ab" * 32, timeout=1800)

    def answer(self, state, assertion):
        email = self.verifier.verify(assertion)["email"]
        rows = self.db.execute(USER, (email, 1)).fetchall()
        if not re.match("^[a-zA-Z0-9._-]{1,32}$", state) or len(rows) != 1:
            raise ValueError("a user is known by one row")
        uid, node, generation, *_ = rows[0]
        hashed = hashlib.sha256(email.encode()).hexdigest()[:32]
        token = self.tokens.make_token({
            "uid": uid, "node": node, "expires": int(time.time()) + 1800, "fxa_uid": email.split("@")[0],
            "fxa_kid": f"{generation:013d}-{state}", "hashed_fxa_uid": hashed, "hashed_device_id": hashed})
        key = self.tokens.get_derived_secret(token)
        return json.dumps({"id": token, "key": key, "uid": uid, "api_endpoint": f"{node}/1.5/{uid}", "duration": 1800, "hashalg": "sha256"})


def application(environ, start_response):
    """WSGI: gunicorn calls it."""
    body = served.answer(environ["HTTP_X_CLIENT_STATE"], environ["HTTP_AUTHORIZATION"].split()[1]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


# Made when gunicorn loads the module: it costs no request anything.
served = Server(os.environ["BENCH_DIR"]) if "BENCH_DIR" in os.environ else None


def main():
    where, file, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(f"{where}/{file}") as f:
        asked = [line.split() for line in f][:count]
    server = Server(where)
    began = time.process_time()
    for state, assertion in asked:
        server.answer(state, assertion)
    print(json.dumps({"requests": len(asked), "cpu": time.process_time() - began}))


if __name__ == "__main__":
    main()
