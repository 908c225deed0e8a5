"""Callers in Python: jobs until a file is there, and a line for each answer.

usage: callers.py plain|asyncio FILE
"""

import asyncio
import itertools
import os
import sys

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


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(sys.argv[2])
    else:
        asyncio.run(concurrent(sys.argv[2]))
