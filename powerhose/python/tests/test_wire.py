import random
import unittest

import lab
from powerhose import _wire

NUMBERS = {"number", "max_body"}


def fields(h):
    """A head as the vectors have it."""
    got = {"type": _wire.TYPES[h.type]}
    for name in _wire.Head.__slots__:
        value = getattr(h, name)
        if name == "type" or not value:
            continue
        if name == "incarnation":
            value = value.hex()
        elif name in NUMBERS:
            value = str(value)
        elif name == "held":
            value = [str(n) for n in value]
        got[name] = value
    return got


def head_of(want):
    h = _wire.Head(_wire.TYPES.index(want["type"]))
    for name, value in want.items():
        if name == "type":
            continue
        if name == "incarnation":
            value = bytes.fromhex(value)
        elif name in NUMBERS:
            value = int(value)
        elif name == "held":
            value = [int(n) for n in value]
        setattr(h, name, value)
    return h


class Vectors(unittest.TestCase):
    def test_valid(self):
        vectors = lab.heads()["valid"]
        self.assertGreater(len(vectors), 30)
        for v in vectors:
            with self.subTest(v["name"]):
                raw = bytes.fromhex(v["hex"])
                self.assertEqual(fields(_wire.decode(raw)), v["head"])
                encoded = _wire.encode(head_of(v["head"]))
                if v.get("canonical", True):
                    self.assertEqual(encoded.hex(), raw.hex())
                else:
                    self.assertEqual(fields(_wire.decode(encoded)), v["head"])

    def test_invalid(self):
        vectors = lab.heads()["invalid"]
        self.assertGreater(len(vectors), 50)
        for v in vectors:
            with self.subTest(v["name"]):
                with self.assertRaises(_wire.DecodeError) as caught:
                    _wire.decode(bytes.fromhex(v["hex"]))
                self.assertEqual((caught.exception.fault, caught.exception.offset), (v["error"], v["offset"]))


class Decode(unittest.TestCase):
    def test_random(self):
        """Whatever the bytes are, a head is refused with a reason, or survives being written and read."""
        seed = random.SystemRandom().randrange(1 << 32)
        r = random.Random(seed)
        raws = [bytes.fromhex(v["hex"]) for v in lab.heads()["valid"]]
        accepted = 0
        for _ in range(20000):
            b = bytearray(r.choice(raws))
            for _ in range(r.randrange(4)):
                what, at = r.randrange(3), r.randrange(len(b) + 1)
                if what == 0 and at < len(b):
                    b[at] = r.choice((0, 1, 2, 3, 7, 127, 128, 255, r.randrange(256)))
                elif what == 1:
                    del b[at : at + r.randrange(1, 9)]
                else:
                    b[at:at] = bytes(r.randrange(256) for _ in range(r.randrange(1, 5)))
            raw = bytes(b)
            try:
                h = _wire.decode(raw)
            except _wire.DecodeError:
                continue
            accepted += 1
            again = _wire.encode(h)
            self.assertEqual(fields(_wire.decode(again)), fields(h), "seed %d: %s" % (seed, raw.hex()))
            self.assertLessEqual(len(again), len(raw), "seed %d: %s" % (seed, raw.hex()))
        self.assertGreater(accepted, 1000)

    def test_noise(self):
        r = random.Random(1)
        for _ in range(2000):
            with self.assertRaises(_wire.DecodeError):
                _wire.decode(r.randbytes(r.randrange(1200)))


class Encode(unittest.TestCase):
    def test_refuses_what_decode_refuses(self):
        for fault, h in (
            ("type", _wire.Head(99)),
            ("number", _wire.Head(_wire.JOB)),
            ("value", lab_head(_wire.JOB, 1, attempt=0)),
            ("option", lab_head(_wire.CALL, 1, kind="a b")),
            ("length", lab_head(_wire.CALL, 1, kind="k" * 33)),
            ("too-long", lab_head(_wire.CALL, 1, kind="k" * 70000)),
        ):
            with self.subTest(fault), self.assertRaises(_wire.DecodeError) as caught:
                _wire.encode(h)
            self.assertEqual(caught.exception.fault, fault)

    def test_out_of_range(self):
        with self.assertRaises(_wire.DecodeError):
            _wire.encode(lab_head(_wire.JOB, 1, attempt=300))

    def test_result_is_that_of_encode(self):
        self.assertEqual(_wire.result(5, 1234), _wire.encode(lab_head(_wire.RESULT, 5, run=1234)))

    def test_cut(self):
        self.assertEqual(_wire.cut("short"), "short")
        self.assertEqual(len(_wire.cut("\u20ac" * 400).encode()), 510)
        self.assertEqual(_wire.cut("a\udc80b"), "a?b")

    def test_milliseconds(self):
        for seconds, want in ((-1, 0), (0, 0), (0.0001, 1), (0.001, 1), (0.0015, 2), (30, 30000), (1e12, _wire.MOST)):
            self.assertEqual(_wire.milliseconds(seconds), want, seconds)


def lab_head(type_, number=0, **values):
    h = _wire.Head(type_, number)
    for name, value in values.items():
        setattr(h, name, value)
    return h


if __name__ == "__main__":
    unittest.main()
