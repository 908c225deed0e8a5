"""What `tools/bench --only powerhose` measures in Python: our worker, our
callers, and a broker of the least recently used worker on pyzmq.

    bench_powerhose_python.py worker NAME
    bench_powerhose_python.py broker FRONT BACK
    bench_powerhose_python.py threads|asyncio|gevent MASTER CALLERS SIZE SECONDS
"""
import collections
import json
import resource
import sys
import time


def worker(name):
    import powerhose
    powerhose.Worker(bytes, name=name).run()


def broker(front_at, back_at):
    """It is that of bench_powerhose.cpp in Python."""
    import zmq
    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    for socket, at in ((front, front_at), (back, back_at)):
        socket.sndhwm = socket.rcvhwm = 0
        socket.bind(at)
    ready, all_ = zmq.Poller(), zmq.Poller()
    for poller in ready, all_:
        poller.register(back, zmq.POLLIN)
    all_.register(front, zmq.POLLIN)
    idle = collections.deque()
    while True:
        (all_ if idle else ready).poll()
        try:
            while True:
                worker, empty, *answer = back.recv_multipart(zmq.DONTWAIT, copy=False)
                if len(answer) > 1:
                    front.send_multipart(answer, copy=False)
                idle.append((worker, empty))
        except zmq.Again:
            pass
        try:
            while idle:
                job = front.recv_multipart(zmq.DONTWAIT, copy=False)
                back.send_multipart([*idle.popleft(), *job], copy=False)
        except zmq.Again:
            pass


class Took:
    """Callers that each have one job at a time, from now to an end."""

    def __init__(self, size, seconds):
        self.job, self.each = b"x" * size, []
        self.start = time.perf_counter()
        self.end = self.start + seconds
        self.cpu = self.processor()

    @staticmethod
    def processor():
        u = resource.getrusage(resource.RUSAGE_SELF)
        return u.ru_utime + u.ru_stime

    def call(self, execute):
        now = time.perf_counter()
        while now < self.end:
            if execute(self.job) != self.job:
                raise SystemExit("a wrong answer")
            before, now = now, time.perf_counter()
            self.each.append(now - before)

    async def call_async(self, execute):
        now = time.perf_counter()
        while now < self.end:
            if await execute(self.job) != self.job:
                raise SystemExit("a wrong answer")
            before, now = now, time.perf_counter()
            self.each.append(now - before)

    def report(self):
        took, jobs = time.perf_counter() - self.start, sorted(self.each)
        print(json.dumps({"rate": len(jobs) / took, "p50": jobs[len(jobs) // 2], "p99": jobs[len(jobs) * 99 // 100], "jobs": len(jobs),
                          "cpu": self.processor() - self.cpu}))


def threads(master, callers, size, seconds):
    import threading
    import powerhose
    with powerhose.JobRunner(master) as runner:
        runner.execute(b"it is there")
        took = Took(size, seconds)
        all_ = [threading.Thread(target=took.call, args=(runner.execute,)) for _ in range(callers)]
        for t in all_:
            t.start()
        for t in all_:
            t.join()
        took.report()


def with_gevent(*args):
    from gevent import monkey
    monkey.patch_all()
    threads(*args)


def with_asyncio(master, callers, size, seconds):
    import asyncio
    import powerhose.aio

    async def main():
        async with powerhose.aio.JobRunner(master) as runner:
            await runner.execute(b"it is there")
            took = Took(size, seconds)
            await asyncio.gather(*(took.call_async(runner.execute) for _ in range(callers)))
            took.report()

    asyncio.run(main())


if __name__ == "__main__":
    role, *args = sys.argv[1:]
    if role in ("worker", "broker"):
        {"worker": worker, "broker": broker}[role](*args)
    else:
        master, callers, size, seconds = args
        {"threads": threads, "asyncio": with_asyncio, "gevent": with_gevent}[role](master, int(callers), int(size), float(seconds))
