"""Measures the job system beside brokers of the least recently used worker on
libzmq (in C++ and in Python) and, where there is a Python 2.7, Mozilla's
Powerhose 0.7, in turn.

Four workers answer each job with itself to 64 callers that have one job at a
time, over Unix sockets. CPU is that of all processes, callers too. Ours has
deadlines, registration and every limit as they are by default; the brokers have
nothing of the kind.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from bench_lock import OUT, PEERS

TOOLS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TOOLS)
OLD = OUT + "/powerhose"  # tools/setup bench makes it
WORKERS, CALLERS = 4, 64
PATIENCE = 30  # seconds for anything to start, or to end


def used(pid):
    """CPU seconds of a process and its children that have ended."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def await_(what, ready):
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not there after {PATIENCE} s")
        time.sleep(0.02)


class Bench:
    def __init__(self, binary, where, seconds):
        self.binary, self.where, self.seconds, self.runs = binary, where, seconds, 0
        self.peer = where + "/peer"
        subprocess.run(["g++", "-std=c++17", "-O2", "-I", ROOT + "/powerhose/cpp/include", "-o", self.peer,
                        TOOLS + "/bench_powerhose.cpp", "-lzmq"], check=True)
        self.python = [PEERS + "python", TOOLS + "/bench_powerhose_python.py"]
        self.old = [OLD + "/python", "-Wignore", TOOLS + "/bench_powerhose_old.py"] if os.path.exists(OLD + "/python") else None
        self.env = {**os.environ, "PYTHONPATH": ROOT + "/powerhose/python/src", "PYTHONDONTWRITEBYTECODE": "1"}
        self.old_env = {**os.environ, "PYTHONPATH": OLD + "/lib", "PYTHONDONTWRITEBYTECODE": "1"}

    @contextlib.contextmanager
    def running(self):
        """A directory, what starts a process, and what lists those there are. They are ended."""
        self.runs += 1
        home, procs = f"{self.where}/{self.runs}", []
        os.mkdir(home, 0o700)

        def start(argv, env=None):
            procs.append(subprocess.Popen(argv, env=env or {**self.env, "POWERHOSE_MASTER": home + "/m"}, start_new_session=True))

        try:
            yield home, start, procs
        finally:
            for p in reversed(procs):  # the workers before their master
                p.send_signal(signal.SIGTERM)
            for p in procs:
                try:
                    p.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
            shutil.rmtree(home)

    def load(self, argv, procs, env=None):
        """What callers say, with the CPU seconds of all others."""
        before = sum(used(p.pid) for p in procs)
        run = subprocess.run(argv, stdout=subprocess.PIPE, check=True, env=env or self.env, text=True)
        said = json.loads(run.stdout)
        for p in procs:
            if p.poll() is not None:
                raise SystemExit(f"{p.args}: ended with {p.returncode} while it was measured")
        said["cpu"] = (said["cpu"] + sum(used(p.pid) for p in procs) - before) * 1e5 / said["jobs"]
        return said

    # Each of these gives a program that measures once.

    def ours(self, size, *flags):
        """The master, the workers and the callers of `appbundle powerhose bench`."""
        argv = [self.binary, "powerhose", "bench", "--format", "json", "--size", str(size), "--duration", f"{self.seconds}s", *flags]

        def measure():
            return json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True).stdout)
        return measure

    def separate(self, worker, callers=None, size=100):
        """A master of its own, with our workers in some language and callers in another."""
        def measure():
            with self.running() as (home, start, procs):
                start([self.binary, "powerhose", "master", "--quiet", "--listen", home + "/m"])
                await_("the master", lambda: os.path.exists(home + "/m.status"))
                for i in range(WORKERS):
                    start(worker(f"w{i}"))
                await_("four workers", lambda: self.idle(home + "/m") == WORKERS)
                if callers:
                    return self.load([*self.python, callers, home + "/m", str(CALLERS), str(size), str(self.seconds)], procs)
                argv = [self.binary, "powerhose", "bench", "--format", "json", "--master", home + "/m", "--size", str(size),
                        "--duration", f"{self.seconds}s", "--callers", str(CALLERS)]
                before = sum(used(p.pid) for p in procs)
                said = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True).stdout)
                said["cpu"] += (sum(used(p.pid) for p in procs) - before) * 1e5 / said["jobs"]
                return said
        return measure

    def idle(self, master):
        run = subprocess.run([self.binary, "powerhose", "status", "--master", master, "--format", "json"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
        return sum(w["state"] == "idle" for w in json.loads(run.stdout)["workers"]) if run.returncode == 0 else 0

    def go(self, name):
        return [self.binary, "powerhose", "worker", "--quiet", "--echo", "--name", name]

    def cpp(self, name):
        return [self.peer, "powerhose", name]

    def py(self, name):
        return [*self.python, "worker", name]

    def broker(self, argv, size, how="mux", callers=CALLERS, workers=WORKERS, busy=0):
        """A broker that argv starts, with workers and callers on libzmq in C++."""
        def measure():
            with self.running() as (home, start, procs):
                front, back = f"ipc://{home}/front", f"ipc://{home}/back"
                start([*argv, "broker", front, back])
                await_("the broker", lambda: os.path.exists(home + "/back"))
                for _ in range(workers):
                    start([self.peer, "worker", back, str(busy)])
                return self.load([self.peer, "load", how, front, str(callers), str(size), str(self.seconds)], procs)
        return measure

    def mozilla(self, size, callers):
        def measure():
            with self.running() as (home, start, procs):
                start([*self.old, "broker", home], self.old_env)
                await_("the broker", lambda: os.path.exists(home + "/register"))
                for _ in range(WORKERS):
                    start([*self.old, "worker", home], self.old_env)
                time.sleep(1.5)  # nobody tells when they are registered
                said = [*self.old, "threads", home, str(CALLERS), str(size), str(self.seconds)]
                if callers == "mux":
                    said = [self.peer, "load", "mux", f"ipc://{home}/frontend", str(CALLERS), str(size), str(self.seconds), "NONE:::"]
                out = self.load(said, procs, self.old_env)
                for p in procs:
                    p.kill()  # it would wait for 7.5 s
                return out
        return measure


def rounds(programs, count):
    results = {name: [] for name in programs}
    for n in range(count):
        for name, measure in programs.items():
            results[name].append(measure())
        print(f"  round {n + 1} of {count}", file=sys.stderr, flush=True)
    return results


def table(figures, title, results):
    for key, what, unit, factor in (("rate", "", "jobs/s", 1), ("p50", ", median time of a job", "ms", 1e3),
                                    ("p99", ", 99th percentile", "ms", 1e3), ("cpu", ", CPU of 100,000 jobs", "s", 1)):
        figures.add(title + what, unit, {name: [r[key] * factor for r in all_] for name, all_ in results.items()})


def powerhose(binary, where, figures, quick):
    b, count = Bench(binary, where, 1 if quick else 3), 2 if quick else 7
    brokers = {"C++ broker": [b.peer], "pyzmq broker": b.python}

    def echo(size):
        out = {"appbundle": b.ours(size), "appbundle, separate": b.ours(size, "--separate")}
        out.update((name, b.broker(argv, size)) for name, argv in brokers.items())
        if b.old:
            out["Powerhose 0.7"] = b.mozilla(size, "mux")
        return out

    small = echo(100)
    small["C++ broker, 64 sockets"] = b.broker(brokers["C++ broker"], 100, "req")
    small["separate, C++ workers"] = b.separate(b.cpp)
    small["separate, Python workers"] = b.separate(b.py)
    table(figures, "jobs of 100 bytes", rounds(small, count))
    table(figures, "jobs of 100 KB", rounds(echo(100_000), count))

    python = {"threads": b.separate(b.go, "threads"), "asyncio": b.separate(b.go, "asyncio"), "gevent": b.separate(b.go, "gevent"),
              "gevent, Python workers": b.separate(b.py, "gevent")}
    if b.old:
        python["Powerhose 0.7, threads"] = b.mozilla(100, "threads")
    table(figures, "jobs of 100 bytes, callers in Python", rounds(python, count))

    alone = ["--callers", "1", "--workers", "1", "--busy", "1ms"]
    added = {"appbundle": b.ours(100, *alone), "appbundle, separate": b.ours(100, "--separate", *alone)}
    added.update((name, b.broker(argv, 100, callers=1, workers=1, busy=1000)) for name, argv in brokers.items())
    figures.add("added to a job of 1 ms", "µs", {name: [(r["p50"] - 1e-3) * 1e6 for r in all_] for name, all_ in rounds(added, count).items()},
                "median of a round, one caller and one worker")
