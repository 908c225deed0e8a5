"""The worker of the tests, in Python. The package comment says what jobs there are."""

import logging
import os
import signal
import socket
import sys
import time
import zlib

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


def write(text):
    os.write(ledger, (text + " %d\n" % time.time_ns()).encode())


def cut(which):
    """End one of the links of this process, under it."""
    for fd in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(fd)) as sock:
                peer, own = sock.getpeername(), sock.getsockname()
                if sock.family == socket.AF_UNIX and (own if which == b"work" else peer):
                    sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def play(job, ident, op, arg):
    write("S %s %d %d %d %s" % (ident.decode(), os.getpid(), job.attempt, job.repeatable, job.kind or "-"))
    if op == b"nap":
        time.sleep(int(arg) / 1e6)
    elif op == b"hold":
        end = time.monotonic() + job.remaining + 5
        while time.monotonic() < end:
            if job.cancelled:
                write("E %s %d told" % (ident.decode(), os.getpid()))
                raise powerhose.ErrCancelled("nobody waits")
            time.sleep(0.001)
        write("E %s %d over" % (ident.decode(), os.getpid()))
    elif op == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif op == b"cut":
        cut(arg)
    elif op == b"error":
        raise powerhose.ErrApplication(ident.decode(), b"detail of " + ident)
    elif op == b"reject":
        raise powerhose.ErrRejected(ident.decode())
    elif op == b"break":
        sys.exit(ident.decode())
    elif op == b"progress":
        for i in range(3):
            job.progress(b"%s %d" % (ident, i))
    answer = b"%s %d %d %08x %d" % (ident, os.getpid(), job.attempt, zlib.crc32(job), len(job))
    return answer + b"\n" + job if op == b"echo" else answer


def work(job):
    words = job[:1000].split(b" ", 4)
    words += [b""] * (5 - len(words))
    word, arg, begun, done = words[0], words[1], words[2], words[3]
    if word == b"play":
        return play(job, arg, begun, done)
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
        for i in range(int(arg)):
            job.progress(b"%d" % i)
        return b"done"
    if word == b"error":
        raise powerhose.ErrApplication(arg.decode(), b"detail")
    if word == b"reject":
        raise powerhose.ErrRejected("not this one")
    if word == b"break":
        sys.exit("broken")
    if word == b"fork":
        return fork(arg.decode())
    return job


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    env = os.environ.get
    if env("LEDGER"):
        ledger = os.open(env("LEDGER"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    worker = powerhose.Worker(
        work,
        name=env("NAME"),
        socket=env("SOCKET"),
        kinds=env("KINDS", "").split(),
        window=int(env("WINDOW", "4")),
        max_jobs=int(env("MAXJOBS", "0")),
    )
    sys.exit(worker.run())
