"""The worker of the tests, in Python. The package comment says what jobs there are."""

import logging
import os
import signal
import sys
import time

import powerhose


def mark(path, job):
    if path not in (b"", b"-"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, b"%d %d\n" % (os.getpid(), job.attempt))
        os.close(fd)


def wait(path):
    while not os.path.exists(path):
        time.sleep(0.002)


def fork(path):
    child = os.fork()
    if child:
        return b"%d" % child
    end = time.monotonic() + 120
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.002)
    os._exit(0)


def work(job):
    words = job[:1000].split(b" ", 4)
    words += [b""] * (5 - len(words))
    word, arg, begun, done = words[0], words[1], words[2], words[3]
    if word == b"until":
        mark(begun, job)
        wait(arg)
        mark(done, job)
        return b"it is there"
    if word == b"hold":
        mark(begun, job)
        while not job.cancelled:
            time.sleep(0.001)
        mark(done, job)
        return b"nobody waits"
    if word == b"die":
        mark(begun, job)
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"pid":
        return b"%d" % os.getpid()
    if word == b"about":
        return b"%s %d %d" % (job.kind.encode(), job.attempt, job.repeatable)
    if word == b"nap":
        time.sleep(int(arg) / 1000)
        return job
    if word == b"big":
        return b"b" * int(arg)
    if word == b"progress":
        for i in range(3):
            job.progress(b"%d" % i)
        return b"done"
    if word == b"error":
        raise powerhose.ErrApplication(arg.decode(), b"detail")
    if word == b"reject":
        raise powerhose.ErrRejected("not this one")
    if word == b"break":
        raise KeyError("broken")
    if word == b"fork":
        return fork(arg.decode())
    return job


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    env = os.environ.get
    worker = powerhose.Worker(work, name=env("NAME"), socket=env("SOCKET"), window=int(env("WINDOW", "4")), max_jobs=int(env("MAXJOBS", "0")))
    sys.exit(worker.run())
