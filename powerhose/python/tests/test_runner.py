import asyncio
import builtins
import gc
import os
import random
import signal
import sys
import threading
import time
import unittest
import unittest.mock

import lab
import powerhose
import powerhose.aio
from powerhose import _call, _wire, _zmtp


class Sync:
    """The same tests for both forms: this is the plain one."""

    def runner(self, **options):
        runner = powerhose.JobRunner(self.master.path, **options)
        self.addCleanup(runner.close)
        return runner

    def execute(self, runner, *args, **options):
        return runner.execute(*args, **options)


class Async:
    """And this the one for asyncio, in a loop of its own thread."""

    def runner(self, **options):
        if not hasattr(self, "loop"):
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever)
            self.thread.start()
            self.addCleanup(self.stop)
        runner = powerhose.aio.JobRunner(self.master.path, **options)
        self.addCleanup(lambda: self.wait(runner.close()))
        return runner

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(lab.PATIENCE)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(lab.PATIENCE)
        self.loop.close()

    def execute(self, runner, *args, **options):
        return self.wait(runner.execute(*args, **options))


class Case(unittest.TestCase):
    Master = lab.Master

    def setUp(self):
        self.master = self.Master(self)

    def serve(self, answer, **fields):
        calls = lab.Calls(self.master, answer, **fields)
        self.addCleanup(calls.close)
        return calls

    def echo(self, end, h, body):
        if h.type == _wire.CALL:
            end.send(lab.reply(h.number), body)


class Both:
    def test_bytes(self):
        calls = self.serve(self.echo)
        runner = self.runner()
        for body in (b"", b"x", bytes(range(256)) * 4000, bytearray(b"y"), memoryview(b"z")):
            self.assertEqual(self.execute(runner, body, 30), bytes(body))
        self.assertEqual(calls.accepted, 1)

    def test_what_is_asked(self):
        seen = []

        def answer(end, h, body):
            seen.append((h.kind, h.flags, h.busy_wait, h.left))
            end.send(lab.reply(h.number), body)

        self.serve(answer)
        runner = self.runner(timeout=20)
        self.execute(runner, b"")
        self.execute(runner, b"", 5, kind="sign", repeatable=True, urgent=True, busy_wait=0.25, progress=print)
        self.execute(runner, b"", 5, busy_wait=0)
        self.assertEqual([s[:3] for s in seen], [("", 0, _wire.BUSY_DEFAULT), ("sign", 7, 250), ("", 0, 0)])
        self.assertTrue(19000 < seen[0][3] <= 20000 and 4000 < seen[1][3] <= 5000, seen)

    def test_arguments(self):
        self.serve(self.echo)
        runner = self.runner()
        for error, args, options in (
            (TypeError, ("text",), {}),
            (TypeError, (b"", "1"), {}),
            (TypeError, (b"",), {"busy_wait": "1"}),
            (ValueError, (b"", 0), {}),
            (ValueError, (b"", -1), {}),
            (ValueError, (b"",), {"kind": "a b"}),
        ):
            with self.assertRaises(error):
                self.execute(runner, *args, **options)

    def test_errors(self):
        def answer(end, h, body):
            code = int(body)
            end.send(lab.reply(h.number, code, text="why %d" % code, wait=2000000, run=500000, attempt=int(code != 16)), b"detail")

        self.serve(answer)
        runner = self.runner()
        for code, error, started in (
            (1, powerhose.ErrApplication, True), (2, powerhose.ErrRejected, True), (3, powerhose.ErrCancelled, True), (5, powerhose.ErrPanic, True),
            (16, powerhose.ErrBusy, False), (17, powerhose.ErrNoWorker, False), (18, powerhose.ErrQueueFull, False), (36, powerhose.ErrQueueFull, False),
            (19, powerhose.ErrTimeout, True), (20, powerhose.ErrWorkerLost, True), (21, powerhose.ErrDraining, False), (22, powerhose.ErrTooBig, False),
            (999, powerhose.Error, True),
        ):  # fmt: skip
            with self.subTest(code), self.assertRaises(error) as caught:
                self.execute(runner, b"%d" % code)
            e = caught.exception
            self.assertIs(type(e), error)
            self.assertEqual((str(e), e.detail, e.worker, e.pid, e.wait, e.run, e.code), ("why %d" % code, b"detail", "w.1", 42, 2.0, 0.5, code))
            self.assertEqual(e.started, started)

    def test_names_of_the_original(self):
        self.assertIs(powerhose.TimeoutError, powerhose.ErrTimeout)
        self.assertIs(powerhose.NoWorkerError, powerhose.ErrNoWorker)
        self.assertTrue(issubclass(powerhose.ErrTimeout, builtins.TimeoutError))
        for error in (powerhose.ErrApplication, powerhose.ErrRejected, powerhose.ErrPanic):
            self.assertTrue(issubclass(error, powerhose.ExecutionError))

    def test_too_big(self):
        self.serve(self.echo, max_body=10)
        runner = self.runner()
        self.assertEqual(self.execute(runner, bytes(10)), bytes(10))
        with self.assertRaisesRegex(powerhose.ErrTooBig, r"11 bytes; the master takes at most 10 \(its --max-body\)") as caught:
            self.execute(runner, bytes(11))
        self.assertFalse(caught.exception.started)

    def test_a_master_that_does_not_answer(self):
        """The deadline holds whatever the master does, and it is told that nobody waits."""
        cancelled = threading.Event()

        def answer(end, h, body):
            if h.type == _wire.CANCEL:
                self.assertEqual(h.number, 1)
                cancelled.set()
            elif body == b"more":
                end.send(lab.reply(1), b"late")
                end.send(lab.reply(h.number), b"right")

        self.serve(answer)
        runner = self.runner()
        began = time.monotonic()
        with self.assertRaises(powerhose.ErrTimeout) as caught:
            self.execute(runner, b"", 0.5)
        self.assertLess(time.monotonic() - began, 20)
        self.assertTrue(caught.exception.started)
        self.assertTrue(cancelled.wait(lab.PATIENCE))
        self.assertEqual(self.execute(runner, b"more"), b"right")

    def test_the_word_of_the_master_comes_first(self):
        def answer(end, h, body):
            if h.type == _wire.CALL:
                timer = threading.Timer(h.left / 1000, end.send, (lab.reply(h.number, 19, text="w.1 had it"), b""))
                timer.start()
                self.addCleanup(timer.join)

        self.serve(answer)
        slack = unittest.mock.patch.object(_call, "SLACK", lab.PATIENCE)
        with slack, self.assertRaisesRegex(powerhose.ErrTimeout, "w.1 had it"):
            self.execute(self.runner(), b"", 0.5)

    def test_progress(self):
        def answer(end, h, body):
            for piece in (b"1", b"2", b"3"):
                end.send(_wire.bare(_wire.PROGRESS, h.number), piece)
            end.send(_wire.bare(_wire.PROGRESS, 99), b"of nobody")
            end.send(lab.reply(h.number), body)

        self.serve(answer)
        seen = []
        self.assertEqual(self.execute(self.runner(), b"x", progress=seen.append), b"x")
        self.assertEqual(seen, [b"1", b"2", b"3"])

    def test_no_master(self):
        self.master.unlisten()
        began = time.monotonic()
        with self.assertRaisesRegex(powerhose.ErrMasterLost, "no master: .*" + self.master.absent) as caught:
            self.execute(self.runner(), b"", 0.1)
        self.assertLess(time.monotonic() - began, 20)
        self.assertFalse(caught.exception.started)
        # The deadline is far, and not what it waits for.
        for options, least in (({}, 0.9), ({"busy_wait": 0.2}, 0.1), ({"busy_wait": 0}, 0), ({"busy_wait": 1.5}, 1.4)):
            with self.subTest(options):
                began = time.monotonic()
                with self.assertRaises(powerhose.ErrMasterLost):
                    self.execute(self.runner(), b"", 30, **options)
                self.assertTrue(least <= time.monotonic() - began < 4)
        self.master.listen()

    def test_a_master_that_comes_later(self):
        self.master.unlisten()
        runner = self.runner()
        timer = threading.Timer(0.1, lambda: (self.master.listen(), self.serve(self.echo)))
        timer.start()
        self.assertEqual(self.execute(runner, b"x", busy_wait=lab.PATIENCE), b"x")
        timer.join()

    def test_refused(self):
        for raw, text in (
            (lab.head(_wire.REFUSED, code=21, text="ending"), "refuses .21.: ending"),
            (lab.head(_wire.PING, 1), "a PING"),
            (b"nonsense", "ends too early"),
            (lab.welcome(version=2), "version 2"),
        ):
            with self.subTest(text):
                stop = threading.Event()

                def refuse():
                    while not stop.is_set():
                        end = self.master.accept()
                        try:
                            end.next()
                            end.send(raw)
                        except EOFError:
                            pass

                thread = threading.Thread(target=refuse)
                thread.start()
                with lab.once(), self.assertRaisesRegex(powerhose.ErrMasterLost, text) as caught:
                    self.execute(self.runner(), b"")
                self.assertFalse(caught.exception.started)
                stop.set()
                self.master.connect(self.master.path).close()
                thread.join(lab.PATIENCE)

    def test_lost(self):
        """A call that was written is not repeated, and its error says that nobody knows."""
        bodies = []

        def answer(end, h, body):
            bodies.append(body)
            if body == b"die":
                end.close()
            elif body == b"nonsense":
                end.send(b"nonsense")
            else:
                end.send(lab.reply(h.number), body)

        calls = self.serve(answer)
        runner = self.runner()
        for body, text in ((b"die", "closed the link"), (b"nonsense", "ends too early")):
            with self.assertRaisesRegex(powerhose.ErrMasterLost, "not known: .*" + text) as caught:
                self.execute(runner, body)
            self.assertTrue(caught.exception.started)
            self.assertEqual(self.execute(runner, b"x"), b"x")
        self.assertEqual(bodies, [b"die", b"x", b"nonsense", b"x"])
        self.assertEqual(calls.accepted, 3)

    def test_lost_and_repeatable(self):
        numbers = []

        def answer(end, h, body):
            numbers.append(h.number)
            if len(numbers) == 1:
                end.close()
            else:
                end.send(lab.reply(h.number), body)

        self.serve(answer)
        self.assertEqual(self.execute(self.runner(), b"x", repeatable=True), b"x")
        self.assertEqual(len(numbers), 2)

    def test_lost_and_refused(self):
        """What the second master never started the first one may have."""

        def answer(end, h, body):
            if not lost:
                lost.append(h.number)
                end.close()
            else:
                end.send(lab.reply(h.number, code=_wire.BUSY), b"")

        self.serve(answer)
        for lost, repeatable, started in (([], True, True), ([1], True, False), ([1], False, False)):
            with self.assertRaises(powerhose.ErrBusy) as caught:
                self.execute(self.runner(), b"x", repeatable=repeatable)
            self.assertEqual(caught.exception.started, started)

    def test_closed_between_two_calls(self):
        """A call that was never written is not lost with the link."""
        ends = []

        def answer(end, h, body):
            ends.append(end)
            end.send(lab.reply(h.number), body)

        calls = self.serve(answer)
        runner = self.runner()
        for _ in range(3):
            self.assertEqual(self.execute(runner, b"x"), b"x")
            ends.pop().link.shutdown()
            while self.lives(runner):
                pass
        self.assertEqual(calls.accepted, 3)

    def test_pings(self):
        pongs = []

        def answer(end, h, body):
            if h.type == _wire.PONG:
                pongs.append(h.number)
                end.send(lab.reply(1), b"ponged")
            else:
                end.send(lab.head(_wire.DRAIN, code=48))
                end.send(lab.head(_wire.PING, 6))

        self.serve(answer)
        self.assertEqual(self.execute(self.runner(), b""), b"ponged")
        self.assertEqual(pongs, [6])

    def test_close(self):
        self.serve(self.echo)
        runner = self.runner()
        self.assertEqual(self.execute(runner, b"x"), b"x")
        self.close(runner)
        self.assertEqual(self.execute(runner, b"x"), b"x")

    def test_address(self):
        Runner = type(self.runner())
        with unittest.mock.patch.dict(os.environ):
            for name in ("POWERHOSE_MASTER", "POWERHOSE_KEY", "POWERHOSE_MASTER_KEY"):
                os.environ.pop(name, None)
            for argv, options, text in (
                (["tcp://h:1"], {}, "TCP needs a key; set POWERHOSE_KEY"),
                (["tcp://h:1"], {"key": "/k"}, "the key of the master; set POWERHOSE_MASTER_KEY"),
                (["tcp://h:0"], {"key": "/k"}, "a master has a port"),
                (["/run/x.sock"], {"key": "/k"}, "a Unix socket has no keys"),
                (["/run/x.sock"], {"master_key": "/k"}, "a Unix socket has no keys"),
            ):
                with self.subTest(text), self.assertRaisesRegex(ValueError, text):
                    Runner(*argv, **options)
            with self.assertRaisesRegex(ValueError, "POWERHOSE_MASTER"):
                Runner()
            os.environ["POWERHOSE_MASTER"] = "/run/x.sock"
            self.assertEqual(Runner().path, "/run/x.sock")


class Plain(Both, Sync, Case):
    rounds, soon = 1000, (0.001,)  # of interruptions; at most so many seconds after the start

    def close(self, runner):
        runner.close()

    def lives(self, runner):
        return False  # it finds out when it writes

    def test_threads(self):
        """Many callers, one connection, answers out of order, each to whom it belongs."""
        held = []

        def answer(end, h, body):
            held.append((h.number, body))
            if len(held) >= 4 or body == b"last":
                for number, data in reversed(held):
                    end.send(lab.reply(number), data[::-1])
                held.clear()

        calls = self.serve(answer)
        runner = self.runner()
        wrong = []

        def work(me):
            for i in range(50):
                body = b"%d %d" % (me, i)
                try:
                    if runner.execute(body) != body[::-1]:
                        wrong.append(body)
                except powerhose.Error as e:
                    wrong.append(e)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            runner.execute(b"last")
        self.assertEqual(wrong, [])
        self.assertEqual(calls.accepted, 1)

    def test_who_reads_hands_over(self):
        """The one that reads for all is away, with its progress; the others go on."""
        open_, all_there, away, back = {}, threading.Event(), threading.Event(), threading.Event()

        def answer(end, h, body):
            open_[body] = (end, h.number)
            if len(open_) == 3:
                all_there.set()

        def progress(data):
            away.set()
            back.wait(lab.PATIENCE)

        def send(name, head, body):
            open_[name][0].send(head(open_[name][1]), body)

        self.serve(answer)
        runner = self.runner()
        got = []
        threads = [
            threading.Thread(target=lambda body=body: got.append(runner.execute(body, progress=progress))) for body in (b"1", b"2", b"3")
        ]
        threads[0].start()
        while runner._states == {} or runner._state().link is None or runner._state().link.reader is None:
            pass
        for thread in threads[1:]:
            thread.start()
        self.assertTrue(all_there.wait(lab.PATIENCE))
        while len(runner._state().link.waiting) < 2:
            pass
        send(b"1", lambda number: _wire.bare(_wire.PROGRESS, number), b"half")
        self.assertTrue(away.wait(lab.PATIENCE))
        for name in (b"2", b"3"):
            send(name, lab.reply, name)
        for thread in threads[1:]:
            thread.join(lab.PATIENCE)
        self.assertEqual(sorted(got), [b"2", b"3"])
        back.set()
        send(b"1", lab.reply, b"1")
        threads[0].join(lab.PATIENCE)
        self.assertEqual(got[-1], b"1")

    def test_lost_for_all(self):
        count = []

        def answer(end, h, body):
            count.append(h.number)
            if len(count) == 5:
                end.close()

        self.serve(answer)
        runner = self.runner()
        lost = []

        def call():
            try:
                runner.execute(b"x")
            except powerhose.ErrMasterLost:
                lost.append(1)

        threads = [threading.Thread(target=call) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.PATIENCE)
        self.assertEqual(len(lost), 5)

    def test_close_under_a_call(self):
        there = threading.Event()
        self.serve(lambda end, h, body: there.set())
        runner = self.runner()
        errors = []

        def call():
            try:
                runner.execute(b"x")
            except powerhose.ErrMasterLost as e:
                errors.append(str(e))

        thread = threading.Thread(target=call)
        thread.start()
        self.assertTrue(there.wait(lab.PATIENCE))
        runner.close()
        thread.join(lab.PATIENCE)
        self.assertIn("closed here", errors[0])

    def test_a_progress_that_raises(self):
        cancelled = threading.Event()

        def answer(end, h, body):
            if h.type == _wire.CANCEL:
                cancelled.set()
            elif body == b"p":
                end.send(_wire.bare(_wire.PROGRESS, h.number), b"1")
            else:
                end.send(lab.reply(h.number), body)

        self.serve(answer)
        runner = self.runner()

        def progress(data):
            raise KeyError(data)

        with self.assertRaises(KeyError):
            runner.execute(b"p", progress=progress)
        self.assertTrue(cancelled.wait(lab.PATIENCE))
        self.assertEqual(runner.execute(b"x"), b"x")

    def test_a_master_that_does_not_read(self):
        with lab.contextlib.ExitStack() as stack:
            runner = self.runner()

            def serve():
                end = self.master.accept()
                end.next()
                end.send(lab.welcome(max_body=1 << 24))

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            with self.assertRaises(powerhose.ErrTimeout) as caught:
                runner.execute(bytes(1 << 24), 0.05)
            self.assertTrue(caught.exception.started)
            with self.assertRaises(powerhose.ErrTimeout) as caught:
                runner.execute(b"x", 0.05)
            self.assertFalse(caught.exception.started)

    def test_fork(self):
        """A child has a connection of its own, and that of the parent ends with the parent."""
        calls = self.serve(self.echo)
        p = lab.Process(
            self, "-c",
            """
import os, sys, threading, powerhose
runner = powerhose.JobRunner()
assert runner.execute(b"parent") == b"parent"
r, w = os.pipe()
children = []
for i in range(3):
    child = os.fork()
    if child == 0:
        sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.islink("/proc/self/fd/" + fd) and os.readlink("/proc/self/fd/" + fd).startswith("socket:")]
        assert not sockets, sockets
        assert runner.execute(b"child %d" % i) == b"child %d" % i
        os._exit(7)
    children.append(child)
print([os.waitpid(child, 0)[1] >> 8 for child in children])
assert runner.execute(b"parent") == b"parent"
""", env={"POWERHOSE_MASTER": self.master.path},
        )  # fmt: skip
        status, out, err = p.wait()
        self.assertEqual((status, out), (0, "[7, 7, 7]\n"), err)
        self.assertEqual(calls.accepted, 4)

    def test_fork_under_a_lock(self):
        """The child does not wait for a thread that it does not have."""
        there = threading.Event()

        def answer(end, h, body):
            if body == b"wait":
                there.set()
            elif h.type == _wire.CALL:
                end.send(lab.reply(h.number), body)

        self.serve(answer)
        p = lab.Process(
            self, "-c",
            """
import os, sys, threading, powerhose
runner = powerhose.JobRunner()
threading.Thread(target=lambda: runner.execute(b"wait"), daemon=True).start()
sys.stdin.readline()
state = runner._states[os.getpid()]
with state.writing, state.link.lock:
    child = os.fork()
    if child == 0:
        os._exit(7 if runner.execute(b"x", 30) == b"x" else 1)
    print(os.waitpid(child, 0)[1] >> 8, flush=True)
os._exit(0)
""", env={"POWERHOSE_MASTER": self.master.path}, stdin=True,
        )  # fmt: skip
        self.assertTrue(there.wait(lab.PATIENCE))
        p.process.stdin.write("go\n")
        p.process.stdin.flush()
        status, out, err = p.wait()
        self.assertEqual((status, out), (0, "7\n"), err)

    def test_interrupted(self):
        """Ctrl-C ends the call, and tells the master."""
        there, seen = threading.Event(), []

        def answer(end, h, body):
            seen.append(h.type)
            if body == b"x":
                end.send(lab.reply(h.number), body)
            there.set()

        calls = self.serve(answer)
        p = lab.Process(
            self, "-c",
            """
import powerhose
runner = powerhose.JobRunner()
try:
    runner.execute(b"never")
except KeyboardInterrupt:
    print(runner.execute(b"x"))
""", env={"POWERHOSE_MASTER": self.master.path},
        )  # fmt: skip
        self.assertTrue(there.wait(lab.PATIENCE))
        p.signal(signal.SIGINT)
        self.assertEqual(p.wait()[:2], (0, "b'x'\n"), p.errors)
        self.assertTrue(_wire.CANCEL in seen or calls.accepted == 2, seen)

    def test_interrupted_anywhere(self):
        """A signal handler that raises never makes an answer that of another call."""

        class Interrupt(Exception):
            pass

        def raise_(number, frame):
            raise Interrupt

        self.serve(self.echo)
        runner = self.runner()
        # A socket that is dropped in the moment in which it is made is closed with a warning.
        hook = unittest.mock.patch.object(sys, "unraisablehook")
        hook.start()
        self.addCleanup(hook.stop)
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, raise_))
        r = random.Random(5)
        done = interrupted = 0
        for i in range(self.rounds):
            body = b"%d" % i * r.choice((1, 50000))
            try:
                signal.setitimer(signal.ITIMER_REAL, r.uniform(0.00001, r.choice(self.soon)))
                result = runner.execute(body)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                interrupted += 1
                continue
            self.assertTrue(result == body)
            done += 1
        self.assertEqual(runner.execute(b"x"), b"x")
        self.assertGreater(interrupted, 50)
        self.assertGreater(done, 50)


class Aio(Both, Async, Case):
    def close(self, runner):
        self.wait(runner.close())

    def lives(self, runner):
        return runner._link is not None and runner._link.dead is None

    def test_writes_after_the_end(self):
        """What comes for a link that has just ended is not written, nor logged."""
        self.serve(self.echo)
        runner = self.runner()
        self.execute(runner, b"x")

        async def crowd():
            calls = asyncio.gather(*[runner.execute(b"x") for _ in range(10)], return_exceptions=True)
            runner._link._transport.abort()  # connection_lost comes after their first steps
            return await calls

        with unittest.mock.patch("asyncio.selector_events.logger.warning") as warning:
            for e in self.wait(crowd()):
                self.assertIsInstance(e, powerhose.ErrMasterLost)
                self.assertTrue(e.started)
        warning.assert_not_called()

    def test_many(self):
        held = []

        def answer(end, h, body):
            held.append((h.number, body))
            if len(held) == 100:
                for number, data in reversed(held):
                    end.send(lab.reply(number), data[::-1])

        calls = self.serve(answer)
        runner = self.runner()

        async def all_():
            return await asyncio.gather(*(runner.execute(b"%d" % i) for i in range(100)))

        self.assertEqual(self.wait(all_()), [(b"%d" % i)[::-1] for i in range(100)])
        self.assertEqual(calls.accepted, 1)

    def test_cancelled(self):
        there, cancelled = threading.Event(), threading.Event()

        def answer(end, h, body):
            (there if h.type == _wire.CALL else cancelled).set()

        self.serve(answer)
        runner = self.runner()
        future = asyncio.run_coroutine_threadsafe(runner.execute(b"x"), self.loop)
        self.assertTrue(there.wait(lab.PATIENCE))
        future.cancel()
        self.assertTrue(cancelled.wait(lab.PATIENCE))

    def test_another_loop(self):
        calls = self.serve(self.echo)
        runner = powerhose.aio.JobRunner(self.master.path)

        async def once():
            async with runner:
                return await runner.execute(b"x")

        async def left_open():
            return await runner.execute(b"x")

        for form in (once, left_open, left_open, once):
            with lab.contextlib.redirect_stderr(lab.io.StringIO()):
                self.assertEqual(asyncio.run(form()), b"x")
                gc.collect()  # a loop that left its connection open says so
        self.assertEqual(calls.accepted, 4)

    def test_fork(self):
        calls = self.serve(self.echo)
        p = lab.Process(
            self, "-W", "ignore", "-c",
            """
import asyncio, os, powerhose.aio
runner = powerhose.aio.JobRunner()
async def main():
    assert await runner.execute(b"parent") == b"parent"
    child = os.fork()
    if child == 0:
        sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.islink("/proc/self/fd/" + fd) and os.readlink("/proc/self/fd/" + fd).startswith("socket:")]
        os._exit(7 if len(sockets) == 2 else 8)  # the pair with which a loop wakes itself
    print(os.waitpid(child, 0)[1] >> 8)
    assert await runner.execute(b"parent") == b"parent"
async def again():
    assert await runner.execute(b"child") == b"child"
asyncio.run(main())
child = os.fork()
if child == 0:
    asyncio.run(again())
    os._exit(9)
print(os.waitpid(child, 0)[1] >> 8)
""", env={"POWERHOSE_MASTER": self.master.path},
        )  # fmt: skip
        status, out, err = p.wait()
        self.assertEqual((status, out), (0, "7\n9\n"), err)
        self.assertEqual(calls.accepted, 2)

    def test_slow_master(self):
        """Bodies that do not fit into the socket arrive whole, behind one another."""
        self.serve(self.echo, max_body=1 << 24)
        runner = self.runner()

        async def all_():
            return await asyncio.gather(*(runner.execute(bytes([i]) * 3000000) for i in range(4)))

        self.assertEqual([set(r) for r in self.wait(all_())], [{0}, {1}, {2}, {3}])


class PlainOverTCP(Plain):
    Master = lab.TCPMaster
    rounds, soon = 400, (0.001, 0.03)


class AioOverTCP(Aio):
    Master = lab.TCPMaster


if __name__ == "__main__":
    unittest.main()
