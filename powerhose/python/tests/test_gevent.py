"""Callers under gevent: patched before, forked before, and in gunicorn."""

import os
import socket
import unittest

import lab
from powerhose import _wire

PATCHED = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, os, time, powerhose
runner = powerhose.JobRunner()
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.001)
ticker = gevent.spawn(tick)
jobs = [gevent.spawn(runner.execute, b"%d" % i) for i in range(20)]
gevent.joinall(jobs, raise_error=True)
assert [job.value for job in jobs] == [b"%d" % i for i in range(20)], jobs

# One that is killed, or late, takes nobody along.
victim, late = gevent.spawn(runner.execute, b"never"), gevent.spawn(runner.execute, b"never", 0.4)
others = [gevent.spawn(runner.execute, b"%d" % i) for i in range(20)]
gevent.sleep(0)
before = len(ticks)
victim.kill()
gevent.joinall(others, raise_error=True)
late.join()
assert isinstance(late.exception, powerhose.ErrTimeout), late.exception
assert len(ticks) > before + 5, "nobody else ran while a caller waited"
with gevent.Timeout(0.05, False):
    runner.execute(b"never")
    raise AssertionError("not interrupted")
assert runner.execute(b"x") == b"x"

pid = os.fork()
if pid == 0:
    jobs = [gevent.spawn(runner.execute, b"%d" % i) for i in range(20)]
    gevent.joinall(jobs, raise_error=True)
    os._exit(7)
assert os.waitpid(pid, 0)[1] >> 8 == 7
assert runner.execute(b"x") == b"x"

# The master goes while they wait.
lost = [gevent.spawn(runner.execute, b"never") for i in range(5)] + [gevent.spawn(runner.execute, b"die")]
gevent.joinall(lost, timeout=30)
assert all(isinstance(job.exception, powerhose.ErrMasterLost) for job in lost), lost
assert runner.execute(b"x") == b"x"
print("done")
"""

APP = """
import os, powerhose
runner = powerhose.JobRunner()
# Preloaded: the parent has a connection before it forks and patches.
assert runner.execute(b"preloaded") == b"preloaded"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [runner.execute(environ["PATH_INFO"].encode()), b" %d" % os.getpid()]
"""


class Gevent(unittest.TestCase):
    Master = lab.Master

    def setUp(self):
        self.master = self.Master(self)
        self.held = []
        self.calls = lab.Calls(self.master, self.answer)
        self.addCleanup(self.calls.close)

    def answer(self, end, h, body):
        if h.type != _wire.CALL or body == b"never":
            return
        if body == b"die":
            end.close()
            return
        if body.isdigit():
            # Twenty at a time, and the last first.
            self.held.append((h.number, body))
            if len(self.held) == 20:
                for number, data in reversed(self.held):
                    end.send(lab.reply(number), data)
                self.held.clear()
            return
        end.send(lab.reply(h.number), body)

    def test_patched(self):
        p = lab.Process(self, "-W", "ignore", "-c", PATCHED, env={"POWERHOSE_MASTER": self.master.path})
        self.assertEqual(p.wait()[:2], (0, "done\n"), p.errors)

    def test_gunicorn_preload(self):
        with open(os.path.join(self.master.dir, "app.py"), "w") as f:
            f.write(APP)
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        os.set_inheritable(listener.fileno(), True)
        p = lab.Process(
            self, "-W", "ignore", "-m", "gunicorn", "--preload", "-k", "gevent", "-w", "2", "-b", "fd://%d" % listener.fileno(),
            "--chdir", self.master.dir, "--no-control-socket", "--log-level", "warning", "--graceful-timeout", "1", "app:application",
            env={"POWERHOSE_MASTER": self.master.path, "PYTHONDONTWRITEBYTECODE": "1"}, close_fds=False,
        )  # fmt: skip
        pids = set()
        for i in range(20):
            with socket.create_connection(listener.getsockname(), timeout=lab.PATIENCE) as c:
                c.sendall(b"GET /%d HTTP/1.0\r\n\r\n" % i)
                answer = c.makefile("rb").read()
            path, pid = answer.partition(b"\r\n\r\n")[2].split()
            self.assertEqual(path, b"/%d" % i)
            pids.add(int(pid))
        self.assertNotIn(p.process.pid, pids)
        # The parent's, and one of each child that was asked.
        self.assertEqual(self.calls.accepted, 1 + len(pids))
        p.signal(lab.signal.SIGTERM)
        self.assertEqual(p.wait()[0], 0)


class GeventOverTCP(Gevent):
    Master = lab.TCPMaster


if __name__ == "__main__":
    unittest.main()
