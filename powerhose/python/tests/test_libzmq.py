"""libzmq, through pyzmq, as the other end of every link."""

import os
import unittest

import zmq

import lab
import powerhose
from powerhose import _wire


class Libzmq(unittest.TestCase):
    def setUp(self):
        self.master = lab.Master(self)
        self.master.unlisten()
        self.context = zmq.Context()
        self.addCleanup(self.context.term)

    def socket(self, kind, **options):
        s = self.context.socket(kind)
        self.addCleanup(s.close, linger=0)
        s.setsockopt(zmq.RCVTIMEO, int(lab.PATIENCE * 1000))
        s.setsockopt(zmq.SNDTIMEO, int(lab.PATIENCE * 1000))
        for name, value in options.items():
            s.setsockopt(getattr(zmq, name), value)
        return s

    def listen(self, kind=zmq.ROUTER, **options):
        s = self.socket(kind, **options)
        s.bind("ipc://" + self.master.path)
        return s

    def test_worker(self):
        registration = self.listen(ROUTER_MANDATORY=1)
        running = lab.Running(self, self.master, lambda job: job[::-1])
        who, hello = registration.recv_multipart()
        h = _wire.decode(hello)
        welcome = lab.welcome()
        registration.send_multipart([who, welcome])
        # Heartbeats: libzmq sends its own PING, and wants it answered.
        work = self.socket(zmq.DEALER, HEARTBEAT_IVL=20, HEARTBEAT_TIMEOUT=int(lab.PATIENCE * 1000))
        work.connect("ipc://" + h.socket)
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

    def test_worker_sees_the_end(self):
        registration = self.listen()
        running = lab.Running(self, self.master, lambda job: job)
        first = registration.recv_multipart()
        registration.close(linger=0)
        again = self.listen()
        second = again.recv_multipart()
        self.assertEqual(first[1], second[1])
        self.assertEqual(running.end(), 0)

    def test_callers(self):
        lab.callers_of(self, self.listen(), self.master.path)

    def test_another_socket_type(self):
        self.listen(zmq.PULL)
        with lab.once(), self.assertRaisesRegex(powerhose.ErrMasterLost, "a DEALER cannot talk to a PULL"):
            powerhose.JobRunner(self.master.path).execute(b"x")


if __name__ == "__main__":
    unittest.main()
