"""Callers in Python: jobs until a file is there, and a line for each answer; or
those of TestRandom, which come as lines on standard input.

usage: callers.py plain|asyncio FILE
       callers.py threads|eventloop
"""

import asyncio
import itertools
import os
import sys
import threading
import time
import zlib

import powerhose
import powerhose.aio


def judge(job, result):
    if result != job:
        raise AssertionError("%r has %r" % (job, result))
    print("answer", flush=True)


def plain(stop):
    with powerhose.JobRunner() as runner:
        for i in itertools.count():
            if os.path.exists(stop):
                return
            job = b"nap 2 plain \0 %d" % i
            try:
                judge(job, runner.execute(job, timeout=90.0, busy_wait=90.0))
            except powerhose.ErrWorkerLost:
                print("lost", flush=True)


async def caller(runner, n, stop):
    for i in itertools.count():
        if os.path.exists(stop):
            return
        job = b"nap 2 asyncio \0 %d %d" % (n, i)
        judge(job, await runner.execute(job, timeout=90.0, busy_wait=90.0, repeatable=True))


async def concurrent(stop):
    async with powerhose.aio.JobRunner() as runner:
        await asyncio.gather(*[caller(runner, n, stop) for n in range(3)])


NOISE = os.urandom(1 << 20) + b"\0"

ENDS = {
    "ErrApplication": "application",
    "ErrRejected": "rejected",
    "ErrPanic": "panic",
    "ErrBusy": "busy",
    "ErrNoWorker": "no worker",
    "ErrQueueFull": "queue full",
    "ErrTimeout": "timeout",
    "ErrWorkerLost": "lost",
    "ErrDraining": "draining",
    "ErrTooBig": "too big",
    "ErrCancelled": "cancelled",
}


class Dictated:
    """A call of TestRandom."""

    def __init__(self, line):
        self.id, self.op, arg, size, kind, repeatable, urgent, progress, timeout, busy_wait, cancel = line.decode().split()
        head = b"play %s %s %s " % (self.id.encode(), self.op.encode(), arg.encode())
        self.body = b"" if self.op == "empty" else head + NOISE[: max(int(size) - len(head), 0)]
        self.cancel = float(cancel)
        self.said = []
        self.how = {
            "timeout": float(timeout),
            "kind": "" if kind == "-" else kind,
            "repeatable": repeatable == "1",
            "urgent": urgent == "1",
            "busy_wait": float(busy_wait),
            "progress": self.said.append if progress == "1" else None,
        }
        self.began = time.monotonic()

    def result(self, out):
        if self.op == "empty":
            return self.say("ok", 0, 0, True, "%d bytes" % len(out) if out else "", "")
        text, _, echo = out.partition(b"\n")
        ident, pid, attempt, crc, size = text.decode().split()
        wrong = ""
        if ident != self.id or int(size) != len(self.body) or int(crc, 16) != zlib.crc32(self.body):
            wrong = "the result is %r" % text
        elif self.op == "echo" and echo != self.body:
            wrong = "%d bytes come back of %d" % (len(echo), len(self.body))
        self.say("ok", pid, attempt, True, wrong, "")

    def error(self, e):
        wrong = ""
        end = ENDS.get(type(e).__name__) or ("master lost" if e.started else "no master")
        if end == "application" and e.detail.decode() != "detail of " + self.id:
            wrong = "the detail is %r" % e.detail
        if end == "timeout" and time.monotonic() - self.began < self.how["timeout"]:
            wrong = "the time was over after %f s" % (time.monotonic() - self.began)
        self.say(end, e.pid, e.attempt, e.started, wrong, str(e))

    def say(self, end, pid, attempt, started, wrong, text):
        if self.said != sorted(self.said):
            wrong = "progress came as %r" % self.said
        line = "\t".join(str(x) for x in (self.id, end, pid, attempt, int(started), wrong, text.replace("\n", " ")))
        os.write(1, line.encode() + b"\n")


reading = threading.Lock()


def line():
    with reading:
        return sys.stdin.buffer.readline()


def threads():
    with powerhose.JobRunner() as runner:

        def caller():
            for text in iter(line, b""):
                call = Dictated(text)
                try:
                    call.result(runner.execute(call.body, **call.how))
                except powerhose.Error as e:
                    call.error(e)

        callers = [threading.Thread(target=caller) for _ in range(8)]
        for t in callers:
            t.start()
        for t in callers:
            t.join()


async def eventloop():
    loop = asyncio.get_running_loop()
    async with powerhose.aio.JobRunner() as runner:

        async def caller():
            while True:
                text = await loop.run_in_executor(None, line)
                if not text:
                    return
                call = Dictated(text)
                task = asyncio.ensure_future(runner.execute(call.body, **call.how))
                goes = loop.call_later(call.cancel, task.cancel) if call.cancel else None
                try:
                    call.result(await task)
                except powerhose.Error as e:
                    call.error(e)
                except asyncio.CancelledError:
                    call.say("cancelled", 0, 1, True, "", "")
                if goes is not None:
                    goes.cancel()

        await asyncio.gather(*[caller() for _ in range(8)])


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(sys.argv[2])
    elif sys.argv[1] == "asyncio":
        asyncio.run(concurrent(sys.argv[2]))
    elif sys.argv[1] == "threads":
        threads()
    else:
        asyncio.run(eventloop())
