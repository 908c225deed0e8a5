"""CURVE and TCP: keys, the handshake, boxes, and what strangers send."""

import asyncio
import contextlib
import os
import random
import re
import resource
import socket
import struct
import threading
import time
import unittest
import unittest.mock

import zmq

import lab
import powerhose
import powerhose.aio
from powerhose import _curve, _listen, _wire, _zmtp


def keys():
    """The keys of two peers that know each other."""
    (a, a_public), (b, b_public) = lab.pair(), lab.pair()
    return _curve.Keys(a, a_public, b_public), _curve.Keys(b, b_public, a_public)


class Files(unittest.TestCase):
    def setUp(self):
        self.master = lab.TCPMaster(self)

    def test_z85(self):
        key = bytes.fromhex("8E0BDD697628B91D8F245587EE95C5B04D48963F79259877B49CD9063AEAD3B7")
        self.assertEqual(_curve.encode(key), "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")  # of RFC 32
        public, secret = zmq.curve_keypair()
        for text in (public, secret):
            self.assertEqual(_curve.encode(_curve.decode(text)).encode(), text)
        for bad, text in (
            (b"x" * 39, "39 characters"),
            (b"0" * 40, "zeros"),
            (b"~" * 40, "does not have"),
            (b"\xff" * 40, "does not have"),
            (b"%nSc1" + b"0" * 35, "more than 32 bits"),
        ):
            with self.assertRaisesRegex(ValueError, text):
                _curve.decode(bad)
        self.assertEqual(_curve.decode(b"%nSc0" + b"0" * 35)[:4], b"\xff" * 4)

    def test_files(self):
        keys = _curve.read_keys(self.master.key, self.master.master_key)
        self.assertEqual(keys, (self.master.peer_secret, self.master.peer_public, self.master.public))
        self.assertNotIn(repr(keys.secret), repr(keys))
        text = "# appbundle public key\n\n  %s  \n" % _curve.encode(self.master.public)
        lab.write(self.master.master_key, text)
        self.assertEqual(_curve.read_keys(self.master.key, self.master.master_key).master, self.master.public)

    def refused(self, text):
        for Runner in (powerhose.JobRunner, powerhose.aio.JobRunner, lambda m: powerhose.Worker(bytes, m, socket="tcp://127.0.0.1:0")):
            with self.assertRaises(OSError) as caught:
                Runner(self.master.path)
            self.assertIn(text, caught.exception.strerror)
            self.assertNotIn("SECRET", str(caught.exception))

    def test_secret(self):
        key = self.master.key
        secret = _curve.encode(self.master.peer_secret)
        for mode in (0o640, 0o604, 0o620, 0o677):
            os.chmod(key, mode)
            self.refused("key file %s: has mode %04o, others can read it; chmod 600 %s" % (key, mode, key))
        for text in ("SECRET\n", "", secret[1:] + "\n", secret + "0", secret[:20] + " " + secret[20:], "%%%%%" + secret[5:]):
            lab.write(key, text)
            self.refused("a secret key is 40 characters of Z85 and a newline")
        lab.write(key, "# appbundle public key\n%s\n" % secret)
        self.refused("key file %s: it says that it has a public key; give the file of the secret one" % key)
        lab.write(key, "# appbundle secret key\n%s\n" % secret)
        self.assertEqual(_curve.read_keys(key, self.master.master_key).secret, self.master.peer_secret)
        with self.assertRaisesRegex(OSError, "x.pub: that is the name of a public key; give the file of the secret one, as x"):
            _curve.read_keys("x.pub", self.master.master_key)
        lab.write(key, secret, 0o400)
        _curve.read_keys(key, self.master.master_key)
        with unittest.mock.patch.object(os, "geteuid", lambda: os.getuid() + 1):
            if os.getuid() == 0:
                _curve.read_keys(key, self.master.master_key)  # root's is everybody's
                os.chown(key, 4242, 4242)
            with self.assertRaisesRegex(OSError, "belongs to user"):
                _curve.read_keys(key, self.master.master_key)
        os.unlink(key)
        self.refused("key file %s: no such file" % key)
        os.mkfifo(key, 0o600)
        self.refused("is no regular file")

    def test_public(self):
        path = self.master.master_key
        key = _curve.encode(self.master.public)
        for text, want in (
            ("", "no key; it is to have the public key of the master"),
            ("# nothing\n", "no key"),
            ("\n%s # ours\n# again\n%s\n" % (key, key), ":4: a second key"),
            (key + "\nx", ":2: a second key"),
            (key + " x", ":1: something behind the key"),
            ("# appbundle secret key\n" + key, ":1: it says that it has a secret key; give the file of the public key of the master"),
            (_curve.encode(self.master.peer_secret), "the own secret key; it is to have the public key of the master"),
            ("\n" + key[1:], ":2: 39 characters; a key has 40"),
            (key.replace(key[7], "~"), ":1: a character that Z85 does not have"),
        ):
            lab.write(path, text)
            self.refused(want)
        lab.write(path, key, 0o664)
        self.refused("key file %s: has mode 0664, others can write it; chmod 644 %s" % (path, path))

    def test_without_a_library(self):
        """Who stays on Unix sockets does not need it; who does not is told what to do."""
        p = lab.Process(self, "-c", "import sys, powerhose, powerhose.aio\nfor c in (powerhose.JobRunner, powerhose.aio.JobRunner): c('/run/x')\npowerhose.Worker(bytes, '/run/x')\nassert not [m for m in sys.modules if 'nacl' in m or 'cffi' in m]")
        self.assertEqual(p.wait(), (0, "", ""))
        p = lab.Process(self, "-c", "import sys; sys.modules['nacl'] = None\nfrom powerhose.__main__ import main\nsys.exit(main(['os:fsencode', '--socket', 'tcp://127.0.0.1:0']))", env={"POWERHOSE_MASTER": "tcp://127.0.0.1:1"})
        status, out, err = p.wait()
        self.assertEqual((status, out), (3, ""))
        self.assertRegex(err, r"^powerhose: TCP needs PyNaCl \(.*\); pip install 'appbundle-powerhose\[curve\]'\n$")

    def test_command(self):
        os.chmod(self.master.key, 0o644)
        for env, options, status, text in (
            ({}, ["--key", self.master.key], 3, "powerhose: key file %s: has mode 0644" % self.master.key),
            ({}, ["--key", self.master.dir], 3, "powerhose: key file %s: is no regular file" % self.master.dir),
            ({"POWERHOSE_KEY": ""}, [], 2, "set POWERHOSE_KEY"),
            ({"POWERHOSE_MASTER_KEY": ""}, [], 2, "set POWERHOSE_MASTER_KEY"),
        ):
            p = lab.Process(self, "-m", "powerhose", "os:fsencode", "--master", self.master.path, "--socket", "tcp://127.0.0.1:0", *options, env=env)
            got, out, err = p.wait()
            self.assertEqual((got, out), (status, ""), err)
            self.assertIn(text, err)


class Pair:
    """Two connections that are given what the other sends."""

    def __init__(self, client=None, server=None, kinds=(_zmtp.DEALER, _zmtp.ROUTER), max_body=1 << 20, see=lambda i, b: b):
        a, b = keys()
        self.client = _zmtp.Connection(kinds[0], max_body, _curve.Curve(client or a, False))
        self.server = _zmtp.Connection(kinds[1], max_body, _curve.Curve(server or b, True))
        self.sent = []
        at = 0
        while any(c.out for c in (self.client, self.server)):
            for one, other in ((self.client, self.server), (self.server, self.client)):
                pieces = [one.seal(p) for p in one.out]
                one.out.clear()
                for piece in pieces:
                    self.sent.append(piece)
                    other.feed(see(at, piece))
                    at += 1

    @property
    def ready(self):
        return self.client.ready, self.server.ready


class Handshake(unittest.TestCase):
    def test_messages(self):
        for kinds in ((_zmtp.DEALER, _zmtp.ROUTER), (_zmtp.ROUTER, _zmtp.DEALER)):  # who dials is not who is the server
            p = Pair(kinds=kinds)
            self.assertEqual(p.ready, (True, True))
            # Greetings, HELLO, WELCOME, INITIATE, READY: the sizes of RFC 26.
            self.assertEqual([len(b) for b in p.sent[:4]], [64, 64, 2 + 200, 2 + 168])
            self.assertEqual((p.sent[0][32], p.sent[1][32]), (0, 1))
            stream = b""
            for head, body in ((b"h", None), (b"h" * 1024, b""), (b"h", os.urandom(100000)), (b"", b"x")):
                stream += b"".join(map(p.client.seal, p.client.message(head, body)))
            stream += p.client.seal(_zmtp.Unsealed(((2, b"\x04PING\0\0ctx"),))) + p.client.seal(_zmtp.Unsealed(((2, b"\x05OTHER"),)))
            stream += b"".join(map(p.client.seal, p.client.message(b"last")))
            self.assertNotIn(b"PING", stream)
            got, at, r = [], 0, random.Random(3)
            while at < len(stream):
                n = r.choice((1, 2, 7, 64, 1000, 70000))
                got += p.server.feed(stream[at : at + n])
                at += n
            self.assertEqual([(len(h), None if b is None else len(b)) for h, b in got], [(1, None), (1024, 0), (1, 100000), (0, 1), (4, None)])
            self.assertEqual([p.client.feed(p.server.seal(out)) for out in p.server.out], [[]])
            self.assertEqual(p.server.out[0].frames, ((2, b"\x04PONGctx"),))

    def test_other_keys(self):
        a, b = keys()
        c, d = keys()
        for client, server, text in (
            (a._replace(master=c.public), b, "a box that does not open"),  # it is another server
            (_curve.Keys(c.secret, c.public, b.public), b, "client key %s is not that of the master" % _curve.encode(c.public)),
            (_curve.Keys(c.secret, a.public, b.public), b, "a box that does not open"),  # a key that is only said
        ):
            with self.assertRaises(_zmtp.ProtocolError) as caught:
                Pair(client, server)
            self.assertIn(text, str(caught.exception))

    def test_the_client_is_told(self):
        a, b = keys()
        c, d = keys()
        client = _zmtp.Connection(_zmtp.DEALER, 0, _curve.Curve(_curve.Keys(c.secret, c.public, b.public), False))
        server = _zmtp.Connection(_zmtp.ROUTER, 0, _curve.Curve(b, True))
        with self.assertRaisesRegex(_zmtp.ProtocolError, "not that of the master"):
            for _ in range(3):
                for one, other in ((client, server), (server, client)):
                    data, one.out = b"".join(one.out), []
                    other.feed(data)
        with self.assertRaisesRegex(_zmtp.ProtocolError, "the peer says: client key .* is not that of the master"):
            client.feed(b"".join(server.out))
        self.assertFalse(client.ready or server.ready)
        self.assertIn("has another key", client.closed())

    def test_socket_types(self):
        with self.assertRaisesRegex(_zmtp.ProtocolError, "a ROUTER cannot talk to a ROUTER"):
            Pair(kinds=(_zmtp.ROUTER, _zmtp.ROUTER))

    def test_another_mechanism(self):
        _, b = keys()
        conn = _zmtp.Connection(_zmtp.ROUTER, 0, _curve.Curve(b, True))
        with self.assertRaisesRegex(_zmtp.ProtocolError, "'NULL', and not CURVE"):
            conn.feed(_zmtp.GREETING)
        null = _zmtp.Connection(_zmtp.ROUTER)
        with self.assertRaisesRegex(_zmtp.ProtocolError, "'CURVE', and not NULL"):
            null.feed(conn.out[0])

    def test_changed(self):
        """A byte that is changed on the way is seen, wherever it is."""
        r = random.Random(random.SystemRandom().randrange(1 << 32))
        lengths = [len(b) for b in Pair().sent]
        for which in range(2, len(lengths)):
            for at in [0, 1, 2, 8, lengths[which] - 1] + [r.randrange(lengths[which]) for _ in range(12)]:

                def see(i, piece):
                    if i != which:
                        return piece
                    b = bytearray(piece)
                    b[at] ^= 1 << r.randrange(8)
                    return bytes(b)

                with self.subTest(which=which, at=at):
                    try:
                        p = Pair(see=see)
                    except _zmtp.ProtocolError:
                        continue
                    # What is left is padding of a HELLO, or a length that makes one wait.
                    self.assertTrue(p.ready != (True, True) or which == 2 and 10 <= at < 10 + 72, p.ready)

    def test_random_bytes(self):
        """A stream that is broken somewhere ends in ProtocolError or in nothing, and nothing of it is a message."""
        seed = random.SystemRandom().randrange(1 << 32)
        r = random.Random(seed)
        refused = 0
        for _ in range(400):
            _, b = keys()
            conn = _zmtp.Connection(_zmtp.ROUTER, 1 << 20, _curve.Curve(b, True))
            stream = bytearray(_zmtp.greeting(b"CURVE", False))
            for name, size in ((b"HELLO", 194), (b"INITIATE", 300)):
                stream += _zmtp.command(name, r.randbytes(size))
            for _ in range(r.randrange(3)):
                stream[r.randrange(64, len(stream))] = r.choice((0, 1, 2, 3, 4, 5, 6, 127, 255, r.randrange(256)))
            try:
                self.assertEqual(conn.feed(bytes(stream)), [], "seed %d" % seed)
            except _zmtp.ProtocolError:
                refused += 1
        self.assertGreater(refused, 300, "seed %d" % seed)

    def test_hello(self):
        a, b = keys()
        good = _curve.Curve(a, False).start()[0][1]
        for body, text in (
            (good[:-1], "HELLO of 193 bytes"),
            (good + b"x", "HELLO of 195 bytes"),
            (b"", "HELLO of 0 bytes"),
            (b"\2" + good[1:], "version 2.0 of CURVE"),
            (good[:74] + bytes(32) + good[106:], "nothing is secret|does not open"),
            (good[:106] + bytes(8) + good[114:], "nonce 0 after 0"),
        ):
            with self.subTest(text), self.assertRaisesRegex(_curve.CurveError, text):
                _curve.Curve(b, True).step(b"HELLO", body, b"")
        for name in (b"INITIATE", b"READY", b"WELCOME", b"\xff"):
            with self.assertRaisesRegex(_curve.CurveError, "where HELLO has to come"):
                _curve.Curve(b, True).step(name, good, b"")
        with self.assertRaisesRegex(_curve.CurveError, "'HELLO' where WELCOME has to come"):
            _curve.Curve(a, False).step(b"HELLO", good, b"")
        server = _curve.Curve(b, True)
        server.step(b"HELLO", good, b"")
        with self.assertRaisesRegex(_curve.CurveError, "'HELLO' where INITIATE has to come"):
            server.step(b"HELLO", good, b"")

    def test_a_key_without_a_secret(self):
        """With a point of small order everybody knows what is shared."""
        a, b = keys()
        server = _curve.Curve(b, True)
        for low in (bytes(32), b"\1" + bytes(31)):
            with self.assertRaisesRegex(_curve.CurveError, "nothing is secret"):
                server._shared(low, b.secret)

    def test_initiate(self):
        """A cookie, a nonce and a vouch of somebody else do not help."""
        a, b = keys()
        c, _ = keys()

        def begin(client):
            server = _curve.Curve(b, True)
            one = _curve.Curve(client, False)
            welcome, _ = server.step(*one.start()[0], b"")
            return server, one, welcome[0][1]

        server, one, welcome = begin(a)
        initiate = one.step(b"WELCOME", welcome, b"")[0][0][1]
        other, two, again = begin(a)
        with self.assertRaisesRegex(_curve.CurveError, "a cookie that is not ours"):
            other.step(b"INITIATE", initiate, b"")
        own = two.step(b"WELCOME", again, b"")[0][0][1]
        for body, text in (
            (own[:96] + struct.pack(">Q", 1) + own[104:], "nonce 1 after 1"),
            (own[:96] + struct.pack(">Q", 3) + own[104:], "does not open"),
            (own[:-1], "INITIATE of 247 bytes"),
            (own + bytes(513), "INITIATE of 761 bytes"),
        ):
            server, one, welcome = begin(a)
            server._cookie = own[:96]
            with self.subTest(text), self.assertRaisesRegex(_curve.CurveError, text):
                server.step(b"INITIATE", body, b"")
        # Who has another's HELLO vouches for another ephemeral key.
        server, one, welcome = begin(a)
        one._public = c.public
        with self.assertRaisesRegex(_curve.CurveError, "a vouch for other keys"):
            server.step(b"INITIATE", one.step(b"WELCOME", welcome, b"")[0][0][1], b"")


class Boxes(unittest.TestCase):
    def setUp(self):
        self.pair = Pair(max_body=1000)

    def box(self, flags, payload):
        body = self.pair.client.curve.seal(flags, payload)
        return _zmtp._header(0, len(body)) + body

    def refused(self, stream, text):
        with self.assertRaisesRegex(_zmtp.ProtocolError, text):
            self.pair.server.feed(stream)

    def test_hostile(self):
        for stream, text in (
            (lambda: b"\0\x64" + b"x" * 100, "no MESSAGE of CURVE"),
            (lambda: b"\0\x01x", "no MESSAGE of CURVE"),
            (lambda: _zmtp.command(b"PING", b"\0\0"), "no MESSAGE of CURVE"),
            (lambda: b"\2" + struct.pack(">Q", 1 << 62), "frame of 4611686018427387904 bytes"),
            (lambda: b"\2" + struct.pack(">Q", 1024 + 34), "frame of 1058 bytes; 1057 are the limit"),
            (lambda: self.box(1, b"h") + b"\2" + struct.pack(">Q", 1000 + 34), "frame of 1034 bytes; 1033 are the limit"),
            (lambda: self.box(0, b"h" * 1024) + self.box(2, b"\5OTHER" + bytes(600)), "command of 606 bytes"),
            (lambda: self.box(1, b"h") + self.box(1, b"b"), "more than two frames"),
            (lambda: self.box(1, b"h") + self.box(2, b"\4PING\0\0"), "inside of a message"),
            (lambda: self.box(3, b"h"), "inside of a message"),
            (lambda: self.box(4, b"h"), "flags 0x04 in a box"),
            (lambda: self.box(2, b""), "without a name"),
            (lambda: self.box(0, b"x") * 2, "nonce 3 after 3: something is sent again"),
            (lambda: self.box(0, b"x")[:-1] + b"!", "a box that does not open"),
            (lambda: self.other_way(), "a box that does not open"),
            (lambda: b"\x08\0", "flags 0x08"),
        ):
            with self.subTest(text):
                self.setUp()
                self.refused(stream(), text)

    def other_way(self):
        """What the server has said, sent back to it."""
        body = self.pair.server.curve.seal(0, b"x")
        self.pair.server.curve._received = 0
        return _zmtp._header(0, len(body)) + body

    def test_nonces(self):
        """They may leave something out, and never come again."""
        first, second, third = (self.box(0, b"%d" % i) for i in range(3))
        self.assertEqual(self.pair.server.feed(first + third), [(b"0", None), (b"2", None)])
        self.refused(second, "nonce 4 after 5")

    def test_length_takes_no_memory(self):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.pair.server.max_body = 1 << 31
        self.assertEqual(self.pair.server.feed(self.box(1, b"h") + b"\2" + struct.pack(">Q", 1 << 30)), [])
        for _ in range(64):
            self.assertEqual(self.pair.server.feed(bytes(1000)), [])
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 64 << 10)


class Links(unittest.TestCase):
    def pair(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        a, b = keys()
        one = _zmtp.Link(_zmtp.dial("tcp://127.0.0.1:%d" % server.getsockname()[1], (), time.monotonic() + lab.PATIENCE), _zmtp.DEALER, 1 << 30, _curve.Curve(a, False))
        other = _zmtp.Link(server.accept()[0], _zmtp.ROUTER, 1 << 30, _curve.Curve(b, True))
        for link in (one, other):
            self.addCleanup(link.close)
        return one, other

    def shake(self):
        a, b = self.pair()
        a.queue(b"hello")
        got = None
        while not got:
            a.flush(), b.flush()
            a.receive()
            got = b.receive()
        self.assertEqual(got, [(b"hello", None)])
        return a, b

    def test_taken_back(self):
        a, b = self.shake()
        a.queue(b"h", bytes(1 << 24))
        self.assertFalse(a.flush())
        second = a.queue(b"second", bytes(1 << 17))
        self.assertTrue(a.unqueue(second))
        self.assertFalse(a.unqueue(second))
        a.queue(b"third")
        got = []
        while len(got) < 2:
            a.flush()
            got += b.receive() or []
        self.assertEqual([head for head, _ in got], [b"h", b"third"])

    def test_sealed_and_taken_back(self):
        """Of a box that the kernel has not begun to take nothing was written, and its nonce is not used again."""
        a, b = self.shake()
        with unittest.mock.patch.object(a, "sock") as full:
            full.send.side_effect = BlockingIOError
            first = a.queue(b"first", b"body")
            self.assertFalse(a.flush())
            self.assertFalse(a.flush())
            sealed = {call.args[0] for call in full.send.call_args_list}
            self.assertEqual(len(sealed), 1)  # and not a second time with other nonces
            self.assertTrue(a.unqueue(first))
        a.queue(b"second")
        self.assertTrue(a.flush())
        self.assertEqual(a.conn.curve._sent, 2 + 1 + 2 + 1)  # handshake, hello, first, second
        got = None
        while not got:
            got = b.receive()
        self.assertEqual(got, [(b"second", None)])

    def test_over(self):
        a, b = self.shake()
        self.assertFalse(a.over())
        b.close()
        while not a.over():
            pass

    def test_options(self):
        """The kernel ends a link on which nothing comes for period times tries."""
        a, b = self.shake()
        self.assertEqual(a.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        for period, tries, want in ((5, 3, (5, 5, 3, 15000)), (0.05, 2, (1, 1, 3, 2000)), (1e6, 255, (32767, 32767, 3, 0x7FFFFFFF))):
            _zmtp.watch(a.sock, period, tries)
            got = tuple(a.sock.getsockopt(socket.IPPROTO_TCP, o) for o in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT))
            self.assertEqual(got, want)
            self.assertEqual(a.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        s, t = socket.socketpair()
        with s, t:
            _zmtp.watch(s, 5, 3)

    def test_dial(self):
        kept = socket.socket()
        self.addCleanup(kept.close)
        kept.bind(("127.0.0.1", 0))
        address = "tcp://127.0.0.1:%d" % kept.getsockname()[1]
        with self.assertRaisesRegex(_zmtp.LinkError, address + ": connection refused"):
            _zmtp.dial(address, (), time.monotonic() + lab.PATIENCE)
        with self.assertRaisesRegex(_zmtp.LinkError, "tcp://no host.invalid:1: "), unittest.mock.patch.object(socket, "getaddrinfo", side_effect=socket.gaierror(-2, "Name or service not known")):
            with unittest.mock.patch.object(_zmtp, "host_port", return_value=("x", 1)):
                _zmtp.dial("tcp://no host.invalid:1", (), time.monotonic())
        kept.listen(0)
        both = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)), (socket.AF_INET, socket.SOCK_STREAM, 0, "", kept.getsockname())]
        with unittest.mock.patch.object(socket, "getaddrinfo", return_value=both):
            _zmtp.dial("tcp://two:7", (), time.monotonic() + lab.PATIENCE).close()  # the second answers
        with unittest.mock.patch.object(socket, "getaddrinfo", return_value=both[1:]):
            with self.assertRaisesRegex(_zmtp.LinkError, "tcp://two:7: connection timed out"):
                _zmtp.dial("tcp://two:7", (), time.monotonic(), lambda fd, by: False)

    def test_listen(self):
        hosts = ["127.0.0.1", "localhost"]
        with contextlib.suppress(FileNotFoundError), open("/proc/net/if_inet6") as f:
            if " lo" in f.read():
                hosts.append("[::1]")
        for host in hosts:
            listener = _listen.listen("tcp://%s:0" % host)
            # The master looks up no names.
            self.assertRegex(listener.address, r"^tcp://(%s):[1-9]\d*$" % (r"127\.0\.0\.1|\[::1\]" if host == "localhost" else re.escape(host)))
            with self.assertRaisesRegex(OSError, "%s: address already in use; give each worker a port" % re.escape(listener.address)):
                _listen.listen(listener.address)
            self.assertIsNone(listener.accept())
            sock = _zmtp.dial(listener.address, (), time.monotonic() + lab.PATIENCE)
            _zmtp.wait(listener.fileno(), lab.select.POLLIN, time.monotonic() + lab.PATIENCE)
            with listener.accept() as accepted:
                self.assertEqual(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
            sock.close()
            listener.close()
            listener.close()
        for at in ("*", "127.0.0.1", "0.0.0.0"):
            listener = _listen.listen("tcp://192.0.2.1:7", "tcp://%s:0" % at)
            self.assertEqual(listener.address, "tcp://192.0.2.1:7")
            _zmtp.dial("tcp://127.0.0.1:%d" % listener._sock.getsockname()[1], (), time.monotonic() + lab.PATIENCE).close()
            listener.close()
        with self.assertRaisesRegex(OSError, "tcp://192.0.2.1:0: cannot assign"):
            _listen.listen("tcp://192.0.2.1:0")


class Workers(unittest.TestCase):
    def setUp(self):
        lab.patient(self)
        self.master = lab.TCPMaster(self)

    def test_a_life(self):
        running = lab.Running(self, self.master, lambda job: job[::-1], window=4)
        w = self.master.register(window=1)
        self.assertEqual(w.hello.window, 1)
        self.assertRegex(w.hello.socket, r"^tcp://127\.0\.0\.1:[1-9]\d*$")
        for number, body in ((1, b""), (2, b"abc"), (3, os.urandom(1 << 20))):
            w.give(number, body)
            h, result = w.work.next()
            self.assertEqual((h.type, h.number, result), (_wire.RESULT, number, body[::-1]))
        w.reg.send(lab.head(_wire.PING, 5))
        self.assertEqual(w.reg.next()[0].number, 5)
        links = running.worker._links
        self.assertEqual([link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for link in links], [15000, 15000])
        # It comes back, with the same port and the same incarnation.
        w.close()
        again = self.master.register(window=1)
        self.assertEqual(_wire.encode(again.hello), _wire.encode(w.hello))
        running.worker.stop()
        self.assertEqual([again.work.next()[0].type for _ in range(2)], [_wire.DRAIN, _wire.BYE])
        again.work.send(lab.head(_wire.BYE, code=_wire.STOP))
        self.assertEqual(running.join(), 0)

    def stranger(self, address, first):
        """Somebody at the worker's port: what is logged of him."""
        sock = socket.create_connection(_zmtp.host_port(address), lab.PATIENCE)
        self.addCleanup(sock.close)
        sock.sendall(first)
        return sock

    def test_strangers(self):
        """Whoever comes to the port of a worker gets nothing, and the master gets through."""
        running = lab.Running(self, self.master, bytes)
        reg = self.master.accept()
        hello, _ = reg.next()
        with self.assertLogs("powerhose", "WARNING") as logs:
            raw = lab.welcome(window=1)
            reg.send(raw)
            self.stranger(hello.socket, b"GET / HTTP/1.1\r\n\r\n")
            self.stranger(hello.socket, _zmtp.GREETING + _zmtp.ready(_zmtp.DEALER))
            self.stranger(hello.socket, _zmtp.greeting(b"CURVE", False) + _zmtp.command(b"HELLO", bytes(194)))
            secret, public = lab.pair()
            end = lab.End(self.master.connect(hello.socket), _zmtp.DEALER, curve=_curve.Curve(_curve.Keys(secret, public, self.master.peer_public), False))
            self.addCleanup(end.close)
            with self.assertRaisesRegex(_zmtp.ProtocolError, "the peer says: client key .* is not that of the master"):
                end.next()
            for _ in range(20):  # who says nothing does not keep the master out
                self.stranger(hello.socket, b"")
            work = self.master.dial(hello.socket)
            work.send(raw)
            self.assertEqual(work.next()[0].name, "w.1")
        for text in ("does not speak ZMTP", "'NULL', and not CURVE", "version 0.0 of CURVE", "is not that of the master"):
            self.assertIn(text, "".join(logs.output))
        # While it is attached, nobody else is.
        sock = self.stranger(hello.socket, b"")
        self.assertEqual(sock.recv(1), b"")
        w = lab.Worker(reg, work, hello)
        w.give(1, b"x")
        self.assertEqual(work.next()[1], b"x")
        self.assertEqual(running.end(), 0)

    def test_the_master_has_another_key(self):
        self.master.keys = _curve.Keys(*lab.pair(), self.master.peer_public)
        self.unwelcome("closed the link in the handshake: it has another key")

    def test_the_master_does_not_admit(self):
        self.master.keys = self.master.keys._replace(master=lab.pair()[1])
        self.unwelcome("the peer says: client key .* is not that of the master")

    def unwelcome(self, text):
        """A worker and callers that the master does not let in are told why."""
        stop = threading.Event()

        def serve():
            while not stop.is_set():
                end = self.master.accept()
                try:
                    end.next()
                except (EOFError, _zmtp.ProtocolError):
                    end.link.farewell()

        thread = threading.Thread(target=serve)
        thread.start()
        with self.assertLogs("powerhose", "ERROR") as logs:
            running = lab.Running(self, self.master, bytes)
            self.assertEqual(running.join(), 69)
        self.assertRegex(logs.output[-1], "the master is lost after 10 tries: .*" + text)
        with lab.once(), self.assertRaisesRegex(powerhose.ErrMasterLost, text) as caught:
            powerhose.JobRunner(self.master.path).execute(b"x")
        self.assertFalse(caught.exception.started)
        with lab.once(), self.assertRaisesRegex(powerhose.ErrMasterLost, text):
            asyncio.run(powerhose.aio.JobRunner(self.master.path).execute(b"x"))
        stop.set()
        self.master.connect(self.master.path).close()
        thread.join(lab.PATIENCE)


class Libzmq(unittest.TestCase):
    """libzmq, through pyzmq, as the other end of every link over TCP."""

    def setUp(self):
        lab.patient(self)
        self.master = lab.TCPMaster(self)
        self.master.unlisten()
        self.context = zmq.Context()
        self.addCleanup(self.context.term)

    def socket(self, kind, **options):
        s = self.context.socket(kind)
        self.addCleanup(s.close, linger=0)
        for name, value in dict(options, RCVTIMEO=int(lab.PATIENCE * 1000), SNDTIMEO=int(lab.PATIENCE * 1000)).items():
            s.setsockopt(getattr(zmq, name), value)
        s.curve_secretkey = _curve.encode(self.master.secret).encode()
        s.curve_publickey = _curve.encode(self.master.public).encode()
        return s

    def listen(self):
        s = self.socket(zmq.ROUTER, ROUTER_MANDATORY=1)
        s.curve_server = True
        s.bind(self.master.path)
        return s

    def test_worker(self):
        registration = self.listen()
        running = lab.Running(self, self.master, lambda job: job[::-1])
        who, hello = registration.recv_multipart()
        h = _wire.decode(hello)
        welcome = lab.welcome(window=1)
        registration.send_multipart([who, welcome])
        work = self.socket(zmq.DEALER, HEARTBEAT_IVL=20, HEARTBEAT_TIMEOUT=int(lab.PATIENCE * 1000))
        work.curve_serverkey = _curve.encode(self.master.peer_public).encode()
        work.connect(h.socket)
        work.send(welcome)
        self.assertEqual(work.recv_multipart(), [hello])
        for number, body in ((1, b""), (2, b"abc"), (3, os.urandom(1 << 20))):
            work.send_multipart([lab.head(_wire.JOB, number, left=30000, attempt=1), body])
            head, result = work.recv_multipart()
            self.assertEqual((_wire.decode(head).type, _wire.decode(head).number, result), (_wire.RESULT, number, body[::-1]))
        registration.send_multipart([who, lab.head(_wire.PING, 5)])
        self.assertEqual(_wire.decode(registration.recv_multipart()[1]).number, 5)
        running.worker.stop()
        self.assertEqual([_wire.decode(work.recv()).type for _ in range(2)], [_wire.DRAIN, _wire.BYE])
        work.send(lab.head(_wire.BYE, code=_wire.STOP))
        self.assertEqual(running.join(), 0)

    def test_callers(self):
        lab.callers_of(self, self.listen(), self.master.path)

    def test_without_curve(self):
        s = self.context.socket(zmq.ROUTER)
        self.addCleanup(s.close, linger=0)
        s.bind(self.master.path)
        # It may end the link before it has said what it speaks.
        with lab.once(), self.assertRaisesRegex(powerhose.ErrMasterLost, "the mechanism 'NULL', and not CURVE|it may not speak CURVE"):
            powerhose.JobRunner(self.master.path).execute(b"x")


if __name__ == "__main__":
    unittest.main()
