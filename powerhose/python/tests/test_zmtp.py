import os
import random
import resource
import socket
import struct
import time
import unittest

import lab
from powerhose import _zmtp

READY = _zmtp.GREETING + _zmtp.ready(_zmtp.DEALER)


def listener(max_body=1 << 20):
    return _zmtp.Connection(_zmtp.ROUTER, max_body)


class Messages(unittest.TestCase):
    STREAM = (
        READY
        + b"".join(_zmtp.frames(b"head alone"))
        + b"".join(_zmtp.frames(b"head", b""))
        + _zmtp.command(b"PING", b"\0\x0acontext")
        + b"".join(_zmtp.frames(b"h" * 300, b"b" * 100000))
        + _zmtp.command(b"OTHER", b"")
        + b"\x03" + struct.pack(">Q", 1) + b"x" + b"\x02" + struct.pack(">Q", 2) + b"yz"  # long forms of short frames
    )  # fmt: skip
    WANT = [(b"head alone", None), (b"head", b""), (b"h" * 300, b"b" * 100000), (b"x", b"yz")]

    def test_whole(self):
        conn = listener()
        self.assertEqual(conn.feed(self.STREAM), self.WANT)
        self.assertEqual(conn.out, [_zmtp.GREETING, _zmtp.ready(_zmtp.ROUTER), b"\x04\x0c\x04PONGcontext"])

    def test_bytes(self):
        conn, got = listener(), []
        for i in range(2000):
            got += conn.feed(self.STREAM[i : i + 1])
        got += conn.feed(self.STREAM[2000:])
        self.assertEqual(got, self.WANT)

    def test_random_pieces(self):
        r = random.Random(3)
        for _ in range(50):
            conn, got, at = listener(), [], 0
            while at < len(self.STREAM):
                n = r.choice((1, 2, 7, 64, 1000, 70000))
                got += conn.feed(self.STREAM[at : at + n])
                at += n
            self.assertEqual(got, self.WANT)

    def test_random_bytes(self):
        """A hostile stream ends in ProtocolError or in nothing, and takes no memory."""
        seed = random.SystemRandom().randrange(1 << 32)
        r = random.Random(seed)
        start = self.STREAM[:400]
        refused = 0
        for _ in range(3000):
            b = bytearray(start)
            for _ in range(r.randrange(1, 4)):
                b[r.randrange(len(b))] = r.choice((0, 1, 2, 3, 4, 5, 6, 8, 127, 128, 255, r.randrange(256)))
            conn = listener()
            try:
                messages = conn.feed(bytes(b))
                self.assertLessEqual(sum(len(h) + len(x or b"") for h, x in messages), len(b), "seed %d" % seed)
            except _zmtp.ProtocolError:
                refused += 1
        self.assertGreater(refused, 500, "seed %d" % seed)


class Hostile(unittest.TestCase):
    def refused(self, stream, text, conn=None):
        with self.assertRaisesRegex(_zmtp.ProtocolError, text):
            (conn or listener()).feed(stream)

    def test_greeting(self):
        self.refused(b"GET / HTTP/1.1\r\n", "does not speak ZMTP")
        self.refused(b"\xff" + bytes(8) + b"\x7e", "does not speak ZMTP")
        self.refused(b"\xff" + bytes(8) + b"\x7f\x01", "speaks ZMTP 1")
        self.refused(_zmtp.GREETING.replace(b"NULL\0", b"CURVE"), "'CURVE', and not NULL")
        self.assertEqual(listener().feed(_zmtp.GREETING.replace(b"\x7f\x03\x00", b"\x7f\x03\x01") + _zmtp.ready(_zmtp.DEALER)), [])

    def test_ready(self):
        g = _zmtp.GREETING
        self.refused(g + _zmtp.ready("REQ"), "a ROUTER cannot talk to a REQ")
        self.refused(g + _zmtp.ready("DEALER"), "a DEALER cannot talk to a DEALER", _zmtp.Connection(_zmtp.DEALER))
        self.refused(g + _zmtp.command(b"READY", b""), "without a Socket-Type")
        self.refused(g + _zmtp.command(b"READY", b"\x0bSocket-Type\xff\xff\xff\xffDEALER"), "that is cut")
        self.refused(g + _zmtp.command(b"READY", b"\x40Soc"), "that is cut")
        self.refused(g + _zmtp.command(b"READY", b"\x00\x00\x00\x00\x00"), "that is cut")
        self.refused(g + _zmtp.command(b"HELLO", b""), "'HELLO' before READY")
        self.refused(g + _zmtp.command(b"ERROR", b"\x04nope"), "the peer says: nope")
        self.refused(g + b"\x00\x01x", "a message before READY")
        self.refused(g + b"\x04\x00", "without a name")
        conn = listener()
        with self.assertRaises(_zmtp.ProtocolError):
            conn.feed(g + _zmtp.ready("REQ"))
        self.assertIn(b"a ROUTER cannot talk to a REQ", conn.out[-1])
        name = b"\x0bSOCKET-TYPE" + struct.pack(">I", 6) + b"DEALER"
        self.assertEqual(listener().feed(g + _zmtp.command(b"READY", b"\x01X\x00\x00\x00\x01y" + name)), [])

    def test_frames(self):
        self.refused(READY + b"\x08\x00", "flags 0x08")
        self.refused(READY + b"\x05\x01a", "inside of a message")
        self.refused(READY + b"\x01\x01h\x04\x05\x04PING", "inside of a message")
        self.refused(READY + b"\x01\x01h\x01\x01b\x00\x01c", "more than two frames")
        self.refused(READY + b"\x06" + struct.pack(">Q", 513), "command of 513 bytes")
        self.refused(READY + b"\x04\x06\x04PING\x00", "PING of 1 bytes")
        self.refused(READY + b"\x02" + struct.pack(">Q", 1025), "head of 1025 bytes")
        self.refused(READY + b"\x01\x01h\x02" + struct.pack(">Q", 11), "body of 11 bytes; 10 are the limit", listener(10))
        self.refused(READY + b"\x01\x01h\x02" + b"\xff" * 8, "body of 18446744073709551615 bytes")

    def test_length_takes_no_memory(self):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        conn = listener(1 << 31)
        self.assertEqual(conn.feed(READY + b"\x01\x01h\x02" + struct.pack(">Q", 1 << 30)), [])
        for _ in range(64):
            self.assertEqual(conn.feed(bytes(1000)), [])
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 64 << 10)


class Links(unittest.TestCase):
    def pair(self):
        a, b = socket.socketpair()
        links = _zmtp.Link(a, _zmtp.DEALER), _zmtp.Link(b, _zmtp.ROUTER, 1 << 30)
        for link in links:
            self.addCleanup(link.close)
        return links

    def shake(self):
        a, b = self.pair()
        a.queue(b"hello")
        for _ in range(3):
            a.flush(), b.flush()
            got = b.receive()
            a.receive()
        self.assertEqual(got, [(b"hello", None)])
        return a, b

    def test_nothing_to_read(self):
        a, b = self.shake()
        self.assertIsNone(b.receive())

    def test_big_and_slow(self):
        a, b = self.shake()
        body = os.urandom(1 << 20)
        a.queue(b"head", body)
        self.assertFalse(a.flush())
        self.assertFalse(a.flush_by(time.monotonic()))
        got = []
        while not got:
            a.flush()
            got = b.receive() or []
        self.assertEqual(got, [(b"head", body)])
        self.assertFalse(a.pending())

    def test_taken_back(self):
        a, b = self.shake()
        a.queue(b"h", bytes(1 << 20))
        self.assertFalse(a.flush())
        second = a.queue(b"second", bytes(1 << 17))
        self.assertTrue(a.unqueue(second))
        self.assertFalse(a.unqueue(second))
        third = a.queue(b"third")
        got = []
        while len(got) < 2:
            a.flush()
            got += b.receive() or []
        self.assertEqual([head for head, _ in got], [b"h", b"third"])
        self.assertFalse(a.unqueue(third))

    def test_end(self):
        a, b = self.shake()
        a.send(b"last", b"words", time.monotonic())
        a.close()
        self.assertEqual(b.receive(), [(b"last", b"words")])
        with self.assertRaisesRegex(_zmtp.LinkError, "closed"):
            b.receive()

    def test_nobody_reads(self):
        a, b = self.shake()
        with self.assertRaisesRegex(_zmtp.LinkError, "does not read"):
            a.send(b"head", bytes(1 << 20), time.monotonic())

    def test_nobody_answers(self):
        a, b = self.pair()
        with self.assertRaisesRegex(_zmtp.LinkError, "in time"):
            a.first(time.monotonic())


class Places(unittest.TestCase):
    def test_place(self):
        self.assertEqual(_zmtp.place("ipc:///run/x"), "/run/x")
        self.assertEqual(_zmtp.place("tcp://h:1"), "tcp://h:1")
        for good, want in (("a.example:7", ("a.example", 7)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:65535", ("::1", 65535)), ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1))):
            self.assertEqual(_zmtp.host_port("tcp://" + good), want)
        for bad in ("", "h", ":1", "h:", "h:x", "h:65536", "h:-1", "h: 1", "::1:1", "[::1]", "[::1:1", "[h]:1", "h/x:1", "u@h:1", "h:\u0661", "x" * 250 + ":1"):
            with self.subTest(bad), self.assertRaisesRegex(ValueError, "not tcp://HOST:PORT|at most 255"):
                _zmtp.place("tcp://" + bad)
        for relative in ("run/x", "./run/x", "unix:run/x", "ipc://run/x"):
            self.assertEqual(_zmtp.place(relative), os.path.join(os.getcwd(), "run/x"))
        for bad, text in (("", "give the path"), ("@x", "give the path"), ("ipc://", "give the path"), ("/" + "x" * 107, "107")):
            with self.assertRaisesRegex(ValueError, text):
                _zmtp.place(bad)

    def test_who_listens(self):
        master = lab.Master(self)
        with self.assertRaisesRegex(_zmtp.LinkError, "process %d of user %d" % (os.getpid(), os.geteuid())):
            _zmtp.dial(master.path, {os.geteuid() + 1})
        with self.assertRaisesRegex(_zmtp.LinkError, "no such file"):
            _zmtp.dial(master.path + "x", {os.geteuid()})
        _zmtp.dial(master.path, {os.geteuid()}).close()


if __name__ == "__main__":
    unittest.main()
