import hashlib
import os
import signal
import socket
import threading
import time
import unittest
import unittest.mock

import lab
import powerhose
from powerhose import _listen, _wire, _worker, _zmtp


def echo(job):
    return job


class Case(unittest.TestCase):
    def start(self, target=echo, welcome=(), **options):
        """A worker that is registered: the master's side of it."""
        self.master = lab.Master(self)
        self.running = lab.Running(self, self.master, target, **options)
        return self.master.register(**dict(welcome))

    def answer(self, worker, kind, number):
        h, body = worker.work.next()
        self.assertEqual((_wire.TYPES[h.type], h.number), (_wire.TYPES[kind], number), h.text)
        return h, body


class Registration(Case):
    def test_hello(self):
        w = self.start(kinds=["sign", "verify"], window=2)
        h = w.hello
        self.assertEqual((h.pid, h.window, h.name, h.kinds), (os.getpid(), 2, "w.1", ["sign", "verify"]))
        self.assertEqual(h.socket, os.path.join(self.master.dir, "w.1.sock"))
        self.assertRegex(h.language, r"^python-3\.\d+$")
        self.assertEqual(h.library, "appbundle-powerhose-0.1.0.dev0")
        self.assertEqual(os.stat(h.socket).st_mode & 0o777, 0o600)
        self.assertEqual(self.running.end(), 0)
        self.assertEqual(sorted(os.listdir(self.master.dir)), ["master.sock"])

    def test_refused_for_good(self):
        for code in (_wire.BAD_VERSION, _wire.BAD_SOCKET, _wire.BAD_CREDENTIALS, _wire.MALFORMED, _wire.BROKEN):
            with self.subTest(code):
                master = lab.Master(self)
                running = lab.Running(self, master, echo)
                reg = master.accept()
                reg.next()
                with self.assertLogs("powerhose", "ERROR") as logs:
                    reg.send(lab.head(_wire.REFUSED, code=code, text="not you"))
                    self.assertEqual(running.join(), 69)
                self.assertIn("refuses (%d): not you" % code, logs.output[0])

    def test_refused_for_now(self):
        master = lab.Master(self)
        lab.Running(self, master, echo)
        seen = set()
        for _ in range(11):
            reg = master.accept()
            seen.add(reg.next()[0].incarnation)
            reg.send(lab.head(_wire.REFUSED, code=33))
        self.assertEqual(len(seen), 1)

    def test_too_fast_is_no_try(self):
        master = lab.Master(self)
        running = lab.Running(self, master, echo)
        for _ in range(30):
            reg = master.accept()
            reg.next()
            reg.send(lab.head(_wire.REFUSED, code=_wire.TOO_FAST))
        w = master.register()
        w.give(1, b"x")
        self.answer(w, _wire.RESULT, 1)
        self.assertEqual(running.end(), 0)

    def test_no_master(self):
        master = lab.Master(self)
        master.unlisten()
        running = lab.Running(self, master, echo)
        self.assertEqual(running.join(), 69)

    def test_delays(self):
        self.assertEqual(len(_worker._DELAYS), 10)
        self.assertAlmostEqual(sum(_worker._DELAYS), 13.1)

    def test_version(self):
        master = lab.Master(self)
        running = lab.Running(self, master, echo)
        reg = master.accept()
        reg.next()
        reg.send(lab.welcome(version=2))
        self.assertEqual(reg.next()[0].code, _wire.BAD_VERSION)
        self.assertEqual(running.join(), 69)

    def test_nonsense_instead_of_welcome(self):
        master = lab.Master(self)
        lab.Running(self, master, echo)
        for raw, code in ((b"nonsense", _wire.MALFORMED), (lab.head(_wire.CANCEL, 1), _wire.BROKEN)):
            reg = master.accept()
            reg.next()
            reg.send(raw)
            self.assertEqual(reg.next()[0].code, code)
            with self.assertRaises(EOFError):
                reg.next()

    def test_only_the_master_that_was_asked_may_attach(self):
        master = lab.Master(self)
        lab.Running(self, master, echo)
        reg = master.accept()
        hello, _ = reg.next()
        reg.send(lab.welcome())
        silent = master.dial(hello.socket)
        for raw in (lab.welcome(incarnation=b"x" * 16), lab.head(_wire.JOB, 1, left=9, attempt=1)):
            other = master.dial(hello.socket)
            other.send(raw, b"" if raw[3] == _wire.JOB else None)
            with self.assertRaises(EOFError):
                other.next()
        work = master.dial(hello.socket)
        work.send(lab.welcome())
        self.assertEqual(_wire.encode(work.next()[0]), _wire.encode(hello))
        for end in (silent, master.dial(hello.socket)):
            with self.assertRaises(EOFError):
                end.next()

    def test_a_link_of_an_earlier_registration_is_closed(self):
        master = lab.Master(self)
        lab.Running(self, master, echo)
        reg = master.accept()
        hello, _ = reg.next()
        old = master.dial(hello.socket)
        reg.close()
        w = master.register()
        with self.assertRaises(EOFError):
            old.next()
        w.give(1)
        self.answer(w, _wire.RESULT, 1)

    def test_ping_before_the_work_link(self):
        master = lab.Master(self)
        lab.Running(self, master, echo)
        reg = master.accept()
        hello, _ = reg.next()
        reg.send(lab.welcome())
        reg.send(lab.head(_wire.PING, 5))
        work = master.dial(hello.socket)
        work.send(lab.welcome())
        work.next()
        self.assertEqual(reg.next()[0].number, 5)


class Jobs(Case):
    def test_bytes(self):
        w = self.start()
        for number, body in ((1, b""), (2, b"\0PING:::"), (1 << 63, bytes(range(256)) * 2000)):
            w.give(number, body)
            h, got = self.answer(w, _wire.RESULT, number)
            self.assertEqual(got, body)
            self.assertGreater(h.run, 0)

    def test_what_a_job_knows(self):
        jobs = []

        def target(job):
            jobs.append((bytes(job), job.data, job.kind, job.attempt, job.repeatable, job.remaining, job.cancelled))
            job.progress(b"not wanted")
            return bytearray(b"ok")

        w = self.start(target)
        w.give(1, b"body", left=20000, attempt=2, flags=_wire.REPEATABLE, kind="sign")
        self.assertEqual(self.answer(w, _wire.RESULT, 1)[1], b"ok")
        body, data, kind, attempt, repeatable, remaining, cancelled = jobs[0]
        self.assertEqual((body, data, kind, attempt, repeatable, cancelled), (b"body", b"body", "sign", 2, True, False))
        self.assertTrue(10 < remaining <= 20, remaining)

    def test_a_job_of_nobody(self):
        job = powerhose.Job(b"x")
        job.progress(b"1")
        self.assertEqual((job.cancelled, job.remaining, job.attempt), (False, float("inf"), 1))

    def test_errors(self):
        def target(job):
            exec(bytes(job), {"ph": powerhose, "sys": __import__("sys")})
            return eval(b"None" if b"raise" in job or b"exit" in job else job)

        w = self.start(target)
        for number, (body, code, text, detail) in enumerate((
            (b"raise ValueError('no such key')", _wire.APPLICATION, "ValueError: no such key", b"Traceback"),
            (b"1 / 0", _wire.APPLICATION, "ZeroDivisionError: division by zero", b"in target"),
            (b"raise ValueError('\\udc80' * 9999)", _wire.APPLICATION, "ValueError: ????", b"\\udc80"),
            (b"raise ph.ErrApplication('said', b'more')", _wire.APPLICATION, "said", b"more"),
            (b"raise ph.ErrRejected('not mine')", _wire.REJECTED, "not mine", b""),
            (b"raise ph.ErrCancelled('saw it')", _wire.CANCELLED, "saw it", b""),
            (b"raise ph.ErrPanic('broken')", _wire.PANIC, "broken", b""),
            (b"sys.exit(3)", _wire.PANIC, "SystemExit: 3", b"Traceback"),
            (b"'text'", _wire.PANIC, "the target returned str, and not bytes", b""),
            (b"None", _wire.PANIC, "the target returned NoneType, and not bytes", b""),
            (b"bytes(2000000)", _wire.APPLICATION, "the result has 2000000 bytes; the master takes at most 1048576 (its --max-body)", b""),
        ), 1):  # fmt: skip
            with self.subTest(body):
                w.give(number, body)
                h, got = self.answer(w, _wire.ERROR, number)
                self.assertEqual((h.code, h.text[: len(text)]), (code, text))
                self.assertIn(detail, got)
                self.assertFalse(b"powerhose/_worker.py" in got, "our own frame is in the traceback")
                self.assertLessEqual(len(got), 1 << 16)
        w.give(99, b"b'still here'")
        self.assertEqual(self.answer(w, _wire.RESULT, 99)[1], b"still here")

    def test_in_order_one_at_a_time(self):
        """The answer to each job is with the kernel before the next one starts."""
        started, go = [], threading.Semaphore(0)

        def target(job):
            started.append(bytes(job))
            go.acquire(timeout=lab.PATIENCE)
            return job

        w = self.start(target)
        for number in (1, 2, 3, 4):
            w.give(number, b"%d" % number)
        for number in (1, 2, 3, 4):
            go.release()
            h, body = self.answer(w, _wire.RESULT, number)
            self.assertLessEqual(len(started), number + 1)
        self.assertEqual(started, [b"1", b"2", b"3", b"4"])

    def test_cancelled_before_the_start(self):
        started, go = [], threading.Event()

        def target(job):
            started.append(bytes(job))
            go.wait(lab.PATIENCE)
            return job

        w = self.start(target)
        w.give(1, b"1")
        for number in (2, 3):
            w.give(number, b"%d" % number)
        w.work.send(lab.head(_wire.CANCEL, 2))
        w.work.send(lab.head(_wire.CANCEL, 77))
        go.set()
        self.answer(w, _wire.RESULT, 1)
        self.assertEqual(self.answer(w, _wire.ERROR, 2)[0].code, _wire.CANCELLED)
        self.answer(w, _wire.RESULT, 3)
        self.assertEqual(started, [b"1", b"3"])

    def test_expired_before_the_start(self):
        w = self.start()
        w.give(1, b"", left=0)
        h, _ = self.answer(w, _wire.ERROR, 1)
        self.assertEqual((h.code, h.run), (_wire.EXPIRED, 0))

    def test_a_running_job_sees_a_cancel(self):
        began = threading.Event()

        def target(job):
            began.set()
            while not job.cancelled:
                pass
            raise powerhose.ErrCancelled("enough")

        w = self.start(target)
        w.give(1)
        w.give(2)
        self.assertTrue(began.wait(lab.PATIENCE))
        w.reg.send(lab.head(_wire.PING, 9))
        pong, _ = w.reg.next()
        self.assertEqual((pong.type, pong.number), (_wire.PONG, 9))
        self.assertEqual(pong.held[0], 1)
        w.work.send(lab.head(_wire.CANCEL, 1))
        h, _ = self.answer(w, _wire.ERROR, 1)
        self.assertEqual((h.code, h.text), (_wire.CANCELLED, "enough"))
        w.work.send(lab.head(_wire.CANCEL, 2))
        self.answer(w, _wire.ERROR, 2)

    def test_progress(self):
        def target(job):
            for i in range(3):
                job.progress(b"%d" % i)
            return b"done"

        w = self.start(target)
        w.give(1, flags=_wire.WANTS_PROGRESS)
        self.assertEqual([self.answer(w, _wire.PROGRESS, 1)[1] for _ in range(3)], [b"0", b"1", b"2"])
        self.answer(w, _wire.RESULT, 1)

    def test_progress_that_nobody_reads_is_dropped(self):
        def target(job):
            for _ in range(100):
                job.progress(bytes(100000))
            return b"done"

        w = self.start(target)
        w.give(1, flags=_wire.WANTS_PROGRESS)
        seen = 0
        while True:
            h, body = w.work.next()
            if h.type == _wire.RESULT:
                break
            seen += 1
        self.assertTrue(0 < seen <= 100)
        self.assertEqual(body, b"done")

    def test_progress_after_the_end_is_nothing(self):
        jobs = []

        def target(job):
            jobs.append(job)
            if len(jobs) == 2:
                jobs[0].progress(b"late")
            return job

        w = self.start(target)
        for number in (1, 2):
            w.give(number, flags=_wire.WANTS_PROGRESS)
            self.answer(w, _wire.RESULT, number)


class Hostile(Case):
    def closed(self, w, code):
        with self.assertRaises(EOFError):
            while True:
                h, _ = w.work.next()
                if h.type == _wire.REFUSED:
                    self.assertEqual(h.code, code)
                    code = None
        self.assertIsNone(code)

    def test_nonsense(self):
        for raw, body, code in (
            (b"nonsense", None, _wire.MALFORMED),
            (lab.head(_wire.WELCOME, version=1, window=1, tries=1, period=1, incarnation=b"m" * 16), None, _wire.BROKEN),
            (lab.head(_wire.JOB, 1, left=1, attempt=1), None, _wire.MALFORMED),
            (lab.head(_wire.CANCEL, 1), b"body", _wire.MALFORMED),
        ):
            with self.subTest(raw):
                w = self.start()
                w.work.send(raw, body)
                self.closed(w, code)
                self.master.register().close()

    def test_over_the_window(self):
        go = threading.Event()

        def target(job):
            go.wait(lab.PATIENCE)
            return b"%d" % job.cancelled

        w = self.start(target, welcome={"window": 2})
        for number in (1, 2):
            w.give(number)
        go.set()
        for number in (1, 2):
            self.answer(w, _wire.RESULT, number)
        go.clear()
        for number in (3, 4, 5):
            w.give(number)
        go.set()
        self.closed(w, _wire.BROKEN)

    def test_over_the_limit(self):
        w = self.start(welcome={"max_body": 10})
        w.give(1, bytes(10))
        self.answer(w, _wire.RESULT, 1)
        w.give(2, bytes(11))
        self.closed(w, _wire.MALFORMED)

    def test_nonsense_on_the_registration_link(self):
        w = self.start()
        w.reg.send(lab.head(_wire.CANCEL, 1))
        self.assertEqual(w.reg.next()[0].code, _wire.BROKEN)
        with self.assertRaises(EOFError):
            w.reg.next()


class Loss(Case):
    def test_either_link(self):
        w = self.start()
        for link in ("reg", "work"):
            getattr(w, link).close()
            again = self.master.register()
            self.assertEqual(again.hello.incarnation, w.hello.incarnation)
            again.give(1)
            self.answer(again, _wire.RESULT, 1)
            w.close()
            w = again

    def test_what_came_over_a_link_that_ended_is_not_started(self):
        started, go = [], threading.Event()

        def target(job):
            started.append(bytes(job))
            go.wait(lab.PATIENCE)
            return job

        w = self.start(target)
        w.give(1, b"1")
        w.give(2, b"2")
        w.give(3, b"3")
        while not started:
            pass
        w.reg.close()
        go.set()
        again = self.master.register()
        again.give(4, b"4")
        self.answer(again, _wire.RESULT, 4)
        self.assertEqual(started, [b"1", b"4"])
        w.close()

    def test_a_job_and_the_end_at_once(self):
        """An end that is there before the job is started is seen, though it comes behind the job."""
        started = []

        def target(job):
            started.append(bytes(job))
            return job

        w = self.start(target)
        # Everything is in the socket before the worker looks: it is at the end of a job.
        gate = threading.Event()
        self.running.worker.target = lambda job: gate.wait(lab.PATIENCE) and b""
        w.give(1)
        while not self.running.worker._notify.told:
            pass
        self.running.worker.target = target
        w.give(2, b"2")
        w.close()
        gate.set()
        again = self.master.register()
        again.give(3, b"3")
        self.answer(again, _wire.RESULT, 3)
        self.assertEqual(started, [b"3"])

    def test_bye_of_the_master(self):
        w = self.start()
        w.work.send(lab.head(_wire.BYE, code=_wire.STOP))
        self.master.register().close()

    def test_a_refusal_of_the_master(self):
        w = self.start()
        w.reg.send(lab.head(_wire.REFUSED, code=41))
        self.master.register().close()
        w.close()

    def test_master_ends_for_good(self):
        w = self.start()
        self.master.unlisten()
        w.close()
        self.assertEqual(self.running.join(), 69)

    def test_tries_count_anew_when_a_link_has_held(self):
        master = lab.Master(self)
        running = lab.Running(self, master, echo)
        for _ in range(12):  # held for a period, which is a millisecond
            w = master.register(period=1, tries=255)
            w.reg.next()
            w.close()
        self.assertIsNone(running.status)
        for _ in range(10):
            master.register(period=1 << 30).close()
        self.assertEqual(running.join(), 69)

    def test_silence(self):
        w = self.start(welcome={"period": 20, "tries": 2})
        ping, _ = w.reg.next()
        self.assertEqual((ping.type, ping.number), (_wire.PING, 1))
        again = self.master.register(period=20, tries=200)
        for number in (1, 2, 3):
            ping, _ = again.reg.next()
            self.assertEqual((ping.type, ping.number), (_wire.PING, number))
            again.reg.send(lab.head(_wire.PONG, number))

    def test_ping(self):
        w = self.start()
        w.reg.send(lab.head(_wire.PING, 7))
        h, _ = w.reg.next()
        self.assertEqual((h.type, h.number, h.run, h.held), (_wire.PONG, 7, 0, []))


class Leaving(Case):
    def goodbye(self, w, code, returned=()):
        h, _ = w.work.next()
        self.assertEqual((_wire.TYPES[h.type], h.code), ("DRAIN", code))
        for number in returned:
            self.answer(w, _wire.RETURNED, number)
        h, _ = w.work.next()
        self.assertEqual((_wire.TYPES[h.type], h.code), ("BYE", code))

    def test_stop(self):
        go = threading.Event()

        def target(job):
            go.wait(lab.PATIENCE)
            return b"done"

        w = self.start(target)
        for number in (1, 2, 3):
            w.give(number)
        while not self.running.worker._notify.told:
            pass
        self.running.worker.stop()
        go.set()
        self.assertEqual(self.answer(w, _wire.RESULT, 1)[1], b"done")
        self.goodbye(w, _wire.STOP, returned=[2, 3])
        w.give(4)  # it crossed the DRAIN
        self.answer(w, _wire.RETURNED, 4)
        w.work.send(lab.head(_wire.BYE, code=_wire.STOP))
        self.assertEqual(self.running.join(), 0)
        with self.assertRaises(EOFError):
            w.work.next()

    def test_stop_with_a_master_that_does_not_answer(self):
        with unittest.mock.patch.object(_worker, "_FAREWELL", 0.01):
            w = self.start()
            self.running.worker.stop()
            self.goodbye(w, _wire.STOP)
            self.assertEqual(self.running.join(), 0)

    def test_stop_before_the_registration(self):
        master = lab.Master(self)
        running = lab.Running(self, master, echo)
        master.accept().next()
        running.worker.stop()
        self.assertEqual(running.join(), 0)

    def test_stop_between_two_tries(self):
        master = lab.Master(self)
        running = lab.Running(self, master, echo)
        running.worker._delays = (1000.0,)
        with self.assertLogs("powerhose", "WARNING") as logs:
            master.accept().close()
            deadline = time.monotonic() + lab.PATIENCE
            while not logs.output and time.monotonic() < deadline:
                pass
            running.worker.stop()
            self.assertEqual(running.join(), 0)
        self.assertIn("trying again in", logs.output[0])

    def test_drain_of_the_master(self):
        with self.assertLogs("powerhose", "INFO") as logs:
            w = self.start()
            w.work.send(lab.head(_wire.DRAIN, code=_wire.STOP, text="deploy"))
            self.goodbye(w, _wire.STOP)
            w.close()
        self.assertRegex(logs.output[0], "worker .*: registered with the master at /.*/master.sock$")
        self.assertEqual(self.running.join(), 0)

    def test_max_jobs(self):
        w = self.start(max_jobs=2)
        for number in (1, 2, 3):
            w.give(number)
        self.answer(w, _wire.RESULT, 1)
        self.answer(w, _wire.RESULT, 2)
        h, _ = w.work.next()
        self.assertEqual((h.type, h.code), (_wire.DRAIN, _wire.MAX_JOBS))
        self.answer(w, _wire.RETURNED, 3)
        h, _ = w.work.next()
        self.assertEqual(h.type, _wire.BYE)
        w.work.send(lab.head(_wire.BYE, code=_wire.MAX_JOBS))
        self.assertEqual(self.running.join(), 0)

    def test_max_age(self):
        w = self.start(max_age=0.1)
        self.goodbye(w, _wire.MAX_AGE)
        w.close()
        self.assertEqual(self.running.join(), 0)

    def test_max_rss(self):
        kept = []

        def target(job):
            kept.append(b"x" * int(job))
            return b""

        w = self.start(target, max_rss=_worker._rss() + (150 << 20))
        w.give(1, b"1000")
        self.answer(w, _wire.RESULT, 1)
        w.give(2, b"%d" % (200 << 20))
        self.answer(w, _wire.RESULT, 2)
        self.goodbye(w, _wire.MAX_RSS)
        kept.clear()
        w.close()
        self.assertEqual(self.running.join(), 0)

    def test_nothing_stays_open(self):
        def fds():
            return len(os.listdir("/proc/self/fd"))

        def life():
            w = self.start()
            w.give(1)
            self.answer(w, _wire.RESULT, 1)
            self.running.worker.stop()
            self.goodbye(w, _wire.STOP)
            w.close()
            self.running.join()
            self.master.close()

        life()
        before = fds()
        life()
        self.assertEqual(fds(), before)


class Places(Case):
    def test_arguments(self):
        for options, text in (
            (dict(master=""), "POWERHOSE_MASTER"),
            (dict(master="tcp://h:1"), "needs a socket: give tcp://HOST:PORT"),
            (dict(master="tcp://h:1", socket="/run/x/w.sock"), "cannot reach this socket"),
            (dict(master="tcp://h:1", socket="tcp://h:0"), "TCP needs a key; set POWERHOSE_KEY"),
            (dict(master="tcp://h:0"), "a master has a port"),
            (dict(socket="tcp://h:1"), "the master is at a Unix socket"),
            (dict(key="/k"), "a Unix socket has no keys"),
            (dict(listen="tcp://*:0"), "listen is for a socket over TCP"),
            (dict(master="tcp://h:1", socket="tcp://h:1", listen="/run/x"), "/run/x: not tcp://HOST:PORT"),
            (dict(master="tcp://h:1", socket="tcp://h:1", listen="tcp://h"), "tcp://h: not tcp://HOST:PORT"),
            (dict(master="tcp://h:1", socket="tcp://h:0", listen="tcp://*:1"), "give the port that leads to"),
            *((dict(master="tcp://h:1", socket="tcp://%s:0" % host), "every address of this host") for host in ("*", "0.0.0.0", "0", "[::]")),
            (dict(name="a b"), "letters"),
            (dict(kinds=["a/b"]), "letters"),
            (dict(kinds=["k%d" % i for i in range(17)]), "16 kinds"),
            (dict(window=17), "window 17"),
            (dict(socket="@x.sock"), "give the path of a socket"),
        ):
            with self.subTest(options), self.assertRaisesRegex(ValueError, text):
                powerhose.Worker(echo, **dict(dict(master="/run/x/m.sock"), **options))

    def test_of_the_environment(self):
        env = {"POWERHOSE_MASTER": "/run/x/m.sock", "APPBUNDLE_WATCHER": "crypto", "APPBUNDLE_WID": "2"}
        with unittest.mock.patch.dict(os.environ, env):
            w = powerhose.Worker(echo)
        self.assertEqual((w.name, w.socket), ("crypto.2", "/run/x/crypto.2.sock"))
        # A relative path is one of the working directory, as of now.
        w = powerhose.Worker(echo, "m.sock", name="w")
        self.assertEqual((w.master, w.socket), (os.path.join(os.getcwd(), "m.sock"), os.path.join(os.getcwd(), "w.sock")))

    def listen(self, path, text):
        with self.assertRaisesRegex(OSError, text):
            _listen.UnixListener(path)

    def test_socket(self):
        master = lab.Master(self)
        path = os.path.join(master.dir, "w.sock")
        first = _listen.UnixListener(path)
        self.listen(path, "in use: process %d listens there" % os.getpid())
        self.listen(master.path, "in use: process %d listens there" % os.getpid())
        first.forget()
        self.assertTrue(os.path.exists(path))
        half = ".bind." + hashlib.sha256(b"w.sock").hexdigest()[:16]  # of who was killed before it had its name
        with open(os.path.join(master.dir, half), "w"):
            pass
        second = _listen.UnixListener(path)  # a stale one is replaced
        os.unlink(path)
        third = socket.socket(socket.AF_UNIX)
        self.addCleanup(third.close)
        third.bind(path)
        second.close()
        self.assertTrue(os.path.exists(path), "a socket of somebody else was removed")
        os.unlink(path)
        with open(path, "w"):
            pass
        self.listen(path, "not a socket")
        self.assertNotIn(half, os.listdir(master.dir))

    def test_directory(self):
        master = lab.Master(self)
        new = os.path.join(master.dir, "new")
        listener = _listen.UnixListener(os.path.join(new, "w.sock"))
        self.assertEqual(os.stat(new).st_mode & 0o777, 0o700)
        listener.close()
        self.assertEqual(os.listdir(new), [])
        os.chmod(new, 0o750)
        self.listen(os.path.join(new, "w.sock"), "chmod 700")

    def test_long_path(self):
        """107 bytes are enough for the path, whatever the name that it has before."""
        master = lab.Master(self)
        path = os.path.join(master.dir, "x" * (106 - len(master.dir)))
        self.assertEqual(len(path), 107)
        _listen.UnixListener(path).close()


class Processes(unittest.TestCase):
    """What only a process of its own can show."""

    def setUp(self):
        self.master = lab.Master(self)
        self.module = os.path.join(self.master.dir, "jobs.py")

    def start(self, source, *argv, target="jobs:work", env=()):
        with open(self.module, "w") as f:
            f.write("import os, sys, powerhose\n" + source)
        path = os.pathsep.join(filter(None, (self.master.dir, os.environ.get("PYTHONPATH"))))
        env = dict(dict(env), POWERHOSE_MASTER=self.master.path, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
        return lab.Process(self, "-m", "powerhose", target, *argv, env=env)

    def test_a_life(self):
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notices.close)
        notices.bind(os.path.join(self.master.dir, "notify.sock"))
        notices.settimeout(lab.PATIENCE)
        p = self.start(
            "@powerhose.target(kinds=['square'], max_jobs=1000)\ndef work(job): return b'%d' % int(job) ** 2\n",
            "--name", "crypto.7", "--window", "2", env={"NOTIFY_SOCKET": notices.getsockname()},
        )  # fmt: skip
        w = self.master.register()
        self.assertEqual((w.hello.pid, w.hello.name, w.hello.kinds, w.hello.window), (p.process.pid, "crypto.7", ["square"], 2))
        self.assertEqual(notices.recv(100), b"READY=1\nBUSY=0/1")
        w.give(1, b"7")
        self.assertEqual(w.work.next()[1], b"49")
        self.assertEqual(notices.recv(100), b"BUSY=1/1")
        self.assertEqual(notices.recv(100), b"BUSY=0/1")
        p.signal(signal.SIGTERM)
        self.assertEqual(w.work.next()[0].type, _wire.DRAIN)
        self.assertEqual(notices.recv(100), b"STOPPING=1")
        self.assertEqual(w.work.next()[0].type, _wire.BYE)
        w.work.send(lab.head(_wire.BYE, code=_wire.STOP))
        status, out, err = p.wait()
        self.assertEqual((status, out), (0, ""))
        self.assertIn("crypto.7: leaves: SIGTERM", err)
        self.assertFalse(os.path.exists(w.hello.socket))

    def test_term_while_a_job_runs(self):
        p = self.start("def work(job):\n  print('begun')\n  os.read(os.open(os.environ['GATE'], os.O_RDONLY), 1)\n  return b'done'\n", env=self.gate())
        w = self.master.register()
        w.give(1)
        w.give(2)
        self.assertEqual(p.line(), "begun")
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            p.signal(number)
        os.write(self.opened, b"x")
        h, body = w.work.next()
        self.assertEqual((h.type, body), (_wire.RESULT, b"done"))
        self.assertEqual([w.work.next()[0].type for _ in range(3)], [_wire.DRAIN, _wire.RETURNED, _wire.BYE])
        w.close()
        self.assertEqual(p.wait()[0], 0)

    def gate(self):
        path = os.path.join(self.master.dir, "gate")
        os.mkfifo(path)
        self.opened = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, self.opened)
        return {"GATE": path}

    def test_forks(self):
        """A child of a target has nothing of the worker: no link, no socket, no handlers."""
        p = self.start(
            """
import signal
def work(job):
    if job == b'fork':
        r, w = os.pipe()
        child = os.fork()
        if child == 0:
            open_ = [os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)]
            sockets = sum(1 for fd in os.listdir('/proc/self/fd') if os.path.islink('/proc/self/fd/' + fd) and os.readlink('/proc/self/fd/' + fd).startswith('socket:'))
            os.write(w, b'%d %d' % (sockets, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL))
            return b'I am not the worker'
        os.waitpid(child, 0)
        return os.read(r, 100)
    return b'%d' % os.getpid()
"""
        )
        w = self.master.register()
        w.give(1, b"fork")
        h, body = w.work.next()
        self.assertEqual((h.type, h.number, body), (_wire.RESULT, 1, b"0 1"))
        w.give(2)
        self.assertEqual(w.work.next()[1], b"%d" % p.process.pid)
        p.kill()
        with self.assertRaises(EOFError):
            w.work.next()

    def test_a_child_with_exec_has_nothing(self):
        self.start("import subprocess\ndef work(job): return subprocess.check_output(['sh', '-c', 'ls -l /proc/$$/fd'], close_fds=False)\n")
        w = self.master.register()
        w.give(1)
        self.assertNotIn(b"socket:", w.work.next()[1])

    def test_statuses(self):
        for argv, status, text in (
            (["jobs"], 2, "MODULE:FUNCTION"),
            (["jobs:work", "--max-rss", "many"], 2, "a number of bytes"),
            (["jobs:work", "--window", "99"], 2, "window 99"),
            (["jobs:nothing"], 3, "has no attribute"),
            (["jobs:__name__"], 3, "is not a function"),
            (["jobs:work", "--socket", "/proc/self/x/w.sock"], 3, "worker"),
        ):
            with self.subTest(argv):
                p = self.start("def work(job): return job\n", *argv[1:], target=argv[0])
                got, out, err = p.wait()
                self.assertEqual((got, out), (status, ""), err)
                self.assertIn(text, err)

    def test_script(self):
        with open(self.module, "w") as f:
            f.write("import powerhose\n@powerhose.target\ndef work(job):\n  'Doc.'\n  return job[::-1]\nassert work(b'ab') == b'ba' and work.__doc__ == 'Doc.'\nwork.run()\n")
        p = lab.Process(self, self.module, env={"POWERHOSE_MASTER": self.master.path})
        w = self.master.register()
        w.give(1, b"abc")
        self.assertEqual(w.work.next()[1], b"cba")
        w.work.send(lab.head(_wire.DRAIN, code=_wire.STOP))
        w.work.next(), w.work.next()
        w.close()
        self.assertEqual(p.wait()[0], 0)


if __name__ == "__main__":
    unittest.main()
