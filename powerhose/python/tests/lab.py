"""The other side of what is tested: a master of a few lines, driven step by step."""

import asyncio
import contextlib
import io
import json
import logging
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock

import powerhose
import powerhose.aio
from powerhose import _call, _curve, _wire, _worker, _zmtp

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "vectors"
# How long a test waits for what must come; it is only there to fail.
PATIENCE = 30.0

logging.getLogger("powerhose").addHandler(logging.NullHandler())


@contextlib.contextmanager
def once():
    """Callers try once, however long that takes: a busy machine is no reason."""
    with unittest.mock.patch.multiple(_call, AGAIN=1e9, CONNECT=PATIENCE, HANDSHAKE=PATIENCE):
        yield


def patient(test):
    """A handshake of a worker may take long."""
    patch = unittest.mock.patch.object(_worker, "HANDSHAKE", PATIENCE)
    patch.start()
    test.addCleanup(patch.stop)


def heads():
    return json.loads((VECTORS / "heads.json").read_text("utf-8"))


def head(type_, number=0, **fields):
    h = _wire.Head(type_, number)
    for name, value in fields.items():
        setattr(h, name, value)
    return _wire.encode(h)


def welcome(**fields):
    values = dict(version=1, window=4, tries=3, period=5000, max_body=1 << 20, incarnation=b"m" * 16)
    values.update(fields)
    return head(_wire.WELCOME, **values)


class End:
    """The master's end of a link."""

    def __init__(self, sock, kind, max_body=1 << 30, curve=None):
        self.link = _zmtp.Link(sock, kind, max_body, curve)
        self.messages = []

    def next(self, timeout=PATIENCE):
        """The next message: head and body. EOFError if there is none any more."""
        deadline = time.monotonic() + timeout
        while not self.messages:
            try:
                self.link.flush()
                if not _zmtp.wait(self.link.fd, select.POLLIN, deadline):
                    raise TimeoutError("nothing came")
                self.messages += self.link.receive() or []
            except _zmtp.ProtocolError:
                raise
            except _zmtp.LinkError as e:
                raise EOFError(str(e)) from None
        raw, body = self.messages.pop(0)
        return _wire.decode(raw), body

    def send(self, raw, body=None):
        self.link.send(raw, body, time.monotonic() + PATIENCE)

    def close(self):
        self.link.close()


class Worker:
    """A worker that is registered at a Master."""

    def __init__(self, reg, work, hello):
        self.reg, self.work, self.hello = reg, work, hello

    def give(self, number, body=b"", left=30000, attempt=1, **fields):
        self.work.send(head(_wire.JOB, number, left=left, attempt=attempt, **fields), body)

    def close(self):
        self.reg.close()
        self.work.close()


def write(path, text, mode=0o600):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def pair():
    """A secret key and its public one."""
    import nacl.bindings

    public, secret = nacl.bindings.crypto_box_keypair()
    return secret, public


class Master:
    """Listens in a directory of its own."""

    keys = None  # of the master, where it is one on TCP
    absent = "master.sock: no such file"

    def __init__(self, test):
        self.dir = tempfile.mkdtemp(prefix="ph-")
        test.addCleanup(shutil.rmtree, self.dir)
        self.path = os.path.join(self.dir, "master.sock")
        self.ends = []
        self.sock = None
        self.listen()
        test.addCleanup(self.close)

    def listen(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen(16)
        self.sock.settimeout(PATIENCE)

    def unlisten(self):
        self.sock.close()
        os.unlink(self.path)

    def curve(self, server):
        return _curve.Curve(self.keys, server) if self.keys is not None else None

    def accept(self):
        end = End(self.sock.accept()[0], _zmtp.ROUTER, curve=self.curve(True))
        self.ends.append(end)
        return end

    def connect(self, path):
        return _zmtp.dial(path, {os.geteuid()}, time.monotonic() + PATIENCE)

    def dial(self, path):
        end = End(self.connect(path), _zmtp.DEALER, curve=self.curve(False))
        self.ends.append(end)
        return end

    def register(self, **fields):
        reg = self.accept()
        hello, _ = reg.next()
        raw = welcome(**fields)
        reg.send(raw)
        work = self.dial(hello.socket)
        work.send(raw)
        again, _ = work.next()
        if _wire.encode(again) != _wire.encode(hello):
            raise AssertionError("another HELLO on the work link")
        return Worker(reg, work, hello)

    def close(self):
        for end in self.ends:
            end.close()
        self.sock.close()


class TCPMaster(Master):
    """A master at a port of this host. Its keys, and those of its workers and callers, are files that the environment names."""

    absent = "connection refused"

    def __init__(self, test):
        self.secret, self.public = pair()
        self.peer_secret, self.peer_public = pair()
        self.keys = _curve.Keys(self.secret, self.public, self.peer_public)
        # It keeps the port while nobody listens there.
        self.kept = self.bind(0)
        test.addCleanup(self.kept.close)
        super().__init__(test)
        self.path = "tcp://127.0.0.1:%d" % self.kept.getsockname()[1]
        self.key = write(os.path.join(self.dir, "worker.key"), _curve.encode(self.peer_secret) + "\n")
        self.master_key = write(os.path.join(self.dir, "master.key.pub"), _curve.encode(self.public) + "\n", 0o644)
        environ = unittest.mock.patch.dict(os.environ, POWERHOSE_KEY=self.key, POWERHOSE_MASTER_KEY=self.master_key)
        environ.start()
        test.addCleanup(environ.stop)

    def bind(self, port):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    def listen(self):
        self.sock = self.bind(self.kept.getsockname()[1])
        self.sock.listen(16)
        self.sock.settimeout(PATIENCE)

    def unlisten(self):
        self.sock.close()


class Running:
    """A Worker in a thread."""

    def __init__(self, test, master, target, **options):
        self.master = master
        place = {} if master.keys is None else {"socket": "tcp://127.0.0.1:0"}
        self.worker = _worker.Worker(target, master.path, **dict(dict(place, name="w.1"), **options))
        self.worker._delays = (0.0,) * 10
        self.status = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        test.addCleanup(self.end)

    def _run(self):
        self.status = self.worker.run()

    def end(self):
        self.worker.stop()
        self.master.close()  # it does not wait for BYE then
        return self.join()

    def join(self):
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            raise TimeoutError("the worker goes on")
        return self.status


class Calls:
    """A master for callers, in a thread: answer(end, head, body) is called with each message."""

    def __init__(self, master, answer, **fields):
        self.master, self.answer, self.fields = master, answer, fields
        self.accepted = 0
        self._stop, self._stopped = socket.socketpair()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        ends = {}
        while True:
            fds = [self.master.sock, self._stopped] + [end.link.sock for end in ends.values()]
            for sock in select.select(fds, [], [])[0]:
                if sock is self._stopped:
                    return
                if sock is self.master.sock:
                    end = self.master.accept()
                    ends[end.link.fd] = end
                    self.accepted += 1
                    continue
                end = ends[sock.fileno()]
                try:
                    for raw, body in end.link.receive() or ():
                        h = _wire.decode(raw)
                        if h.type == _wire.HELLO:
                            end.send(welcome(**self.fields))
                        else:
                            self.answer(end, h, body)
                    if end.link.sock.fileno() >= 0:
                        end.link.flush()
                except _zmtp.LinkError:
                    end.close()
                if end.link.sock.fileno() < 0:
                    ends = {fd: e for fd, e in ends.items() if e is not end}

    def close(self):
        self._stop.close()
        self.thread.join(PATIENCE)
        self._stopped.close()


def reply(number, code=0, **fields):
    values = dict(attempt=1, pid=42, name="w.1")
    values.update(fields)
    return head(_wire.REPLY, number, code=code, **values)


class Process:
    """A program in Python, which prints lines."""

    def __init__(self, test, *argv, env=(), stdin=False, **options):
        environ = dict(os.environ, PYTHONUNBUFFERED="1", **dict(env))
        self.process = subprocess.Popen([sys.executable, *argv], stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True, **options)
        test.addCleanup(self.kill)

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The status and what was written to stdout and stderr."""
        out, err = self.process.communicate(timeout=PATIENCE)
        self.errors = err
        return self.process.returncode, out, err

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


__all__ = [name for name in globals() if not name.startswith("__")]


def callers_of(test, router, address):
    """Has callers ask a ROUTER of libzmq, which is their master at an address."""

    def serve():
        for _ in range(8):
            who, head, *body = router.recv_multipart()
            h = _wire.decode(head)
            if h.type == _wire.HELLO:
                router.send_multipart([who, welcome()])
            else:
                router.send_multipart([who, _wire.bare(_wire.PROGRESS, h.number), b"on its way"])
                router.send_multipart([who, reply(h.number), body[0][::-1]])
        router.close()

    thread = threading.Thread(target=serve)
    thread.start()
    test.addCleanup(thread.join)
    seen = []
    bodies = (b"", b"abc", os.urandom(1 << 20))
    with powerhose.JobRunner(address) as runner:
        for body in bodies:
            test.assertEqual(runner.execute(body, progress=seen.append), body[::-1])

    async def main():
        async with powerhose.aio.JobRunner(address) as runner:
            for body in bodies:
                test.assertEqual(await runner.execute(body, progress=seen.append), body[::-1])

    asyncio.run(main())
    test.assertEqual(seen, [b"on its way"] * 6)
