"""Measures examples/cpu-app: requests with 10 ms of work for the processor, and
requests that wait for 5 ms, at once; the work is done by Powerhose workers, or
in the web processes themselves.

Sixteen clients ask for work, each again as soon as it has its answer. Others
come a hundred times a second, whatever the answers take, and want to wait; what
they wait beyond that is counted from the moment at which they were due. Every
request is a connection of its own, so that any process may take it.
"""
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXAMPLE = os.path.join(ROOT, "examples/cpu-app")
WORKING, RATE = 16, 100
JOBS = ["job%d" % i for i in range(8)]


def cpuapp(binary, where, figures, quick):
    """Throughput of one route and latency of the other, with workers and without."""
    app = prepare(binary, where)
    sys.path.insert(0, os.path.join(EXAMPLE, "bin"))
    sys.dont_write_bytecode = True
    from digest import digest

    answers = {job: digest(job.encode()).decode() for job in JOBS}
    with open(app + "/app.ini") as f:
        ini = f.read()
    alone = ini.partition("[watcher:master]")[0]
    kinds = {
        "Powerhose": (ini, "/cpu"),
        "direct": (alone, "/cpu-direct"),
        "direct, 2 processes": (alone.replace("[watcher:app]\n", "[watcher:app]\nnumprocesses = 2\n"), "/cpu-direct"),
    }
    idle = "nothing else asked"
    seconds = 2 if quick else 5
    rate, median, tail = {k: [] for k in kinds}, {k: [] for k in [*kinds, idle]}, {k: [] for k in [*kinds, idle]}
    with contextlib.ExitStack() as stack:
        ports = {}
        for i, (kind, (text, _)) in enumerate(kinds.items()):
            with open(f"{where}/{i}.ini", "w") as f:
                f.write(text)
            ports[kind] = stack.enter_context(running(binary, app, f"{where}/{i}"))
        for kind, (_, path) in kinds.items():
            asyncio.run(Load(ports[kind], path, answers).run(WORKING, 1))  # whatever is done once
        for _ in range(2 if quick else 9):
            for kind in [*kinds, idle]:
                load = Load(ports.get(kind, ports["Powerhose"]), kinds.get(kind, ("", ""))[1], answers)
                asyncio.run(load.run(0 if kind == idle else WORKING, seconds))
                if kind != idle:
                    rate[kind].append(load.done / seconds)
                load.waits.sort()
                median[kind].append(load.waits[len(load.waits) // 2] * 1000)
                tail[kind].append(load.waits[len(load.waits) * 99 // 100] * 1000)
    figures.add("requests with 10 ms of work", "per s", rate, f"examples/cpu-app, {WORKING} clients and {RATE} requests a second that wait for 5 ms")
    figures.add("median of requests that wait for 5 ms", "ms", median, "at the same time")
    figures.add("p99 of requests that wait for 5 ms", "ms", tail, "at the same time")


def prepare(binary, where):
    """Gives a copy of the example with its environment."""
    app = where + "/cpu-app"
    shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns(".appbundle", ".venv", "__pycache__", "wheels", "pylock.toml"))
    env = dict(os.environ, SOURCE_DATE_EPOCH="315532800", PYTHONDONTWRITEBYTECODE="1")
    build = [ROOT + "/out/wheel/bin/python", "-m", "flit_core.wheel", "--outdir", app + "/wheels", ROOT + "/powerhose/python"]
    for argv in (build, [binary, "lock", app], [binary, "install", app]):
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return app


@contextlib.contextmanager
def running(binary, app, home):
    """Runs the app as home.ini says, and gives the port that it serves on."""
    argv = [binary, "run", "--config", home + ".ini", "--run-dir", home + "/run", "--state-dir", home + "/state", "--bind", "127.0.0.1:0", app]
    proc = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        seen = []
        for line in proc.stderr:
            seen.append(line)
            if "serving on " in line:
                break
        else:
            raise SystemExit("".join(seen) + "the example does not serve")
        threading.Thread(target=proc.stderr.read, daemon=True).start()  # or the pipe fills up
        yield int(seen[-1].rstrip().rstrip("/").rpartition(":")[2])
    finally:
        proc.send_signal(signal.SIGTERM)
        if proc.wait() != 0:
            raise SystemExit("the example ended with status %d" % proc.returncode)


class Load:
    """Clients for some seconds, and what became of their requests."""

    def __init__(self, port, path, answers):
        self.port, self.path, self.answers = port, path, answers
        self.done, self.waits = 0, []

    async def get(self, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
        if " 200 " not in head.partition("\r\n")[0]:
            raise SystemExit(f"GET {path}: {head}\n{body}")
        return body.rstrip()

    async def work(self, n, end):
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            job = JOBS[n % len(JOBS)]
            if await self.get(f"{self.path}?{job}") != self.answers[job]:
                raise SystemExit(f"{self.path}?{job} is answered wrongly")
            if loop.time() < end:
                self.done += 1
            n += 1

    async def wait(self, due):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(due - loop.time())
        await self.get("/io")
        self.waits.append(loop.time() - due)

    async def run(self, working, seconds):
        start = asyncio.get_running_loop().time()
        tasks = [self.work(n, start + seconds) for n in range(working)]
        tasks += [self.wait(start + i / RATE) for i in range(int(seconds * RATE))]
        await asyncio.gather(*tasks)
