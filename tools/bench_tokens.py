"""Measures the token server of examples/token-app: a user who is known asks for a
token with an assertion, whose certificate is signed by RS256 and whose key is of
DS128, users are in SQLite.

CPU is that of the web server, the Powerhose master and the workers; who asks is
not counted. Beside it stands the least that a server in Python has to do for the
same, see bench_tokens_python.py.
"""
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from bench_lock import PEERS
from bench_powerhose import PATIENCE, ROOT, TOOLS, await_, rounds

APP = ROOT + "/examples/token-app"
WORKERS = 2
KINDS = ("in the server", "workers in Go", "workers in C++", "the same, tokens here")  # the last two are C++


def proportional(pid):
    """MiB of a process, with its share of what several have."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


class Bench:
    def __init__(self, binary, where, users):
        self.binary, self.where, self.users = binary, where, users
        self.dir, self.program = where + "/data", where + "/bench"
        go = os.environ.get("GO", "go")
        for name, package in (("bench", "./internal/bench"), ("worker", "./cmd/crypto-worker")):
            subprocess.run([go, "build", "-o", f"{where}/{name}", package], cwd=APP, check=True)
        subprocess.run(["g++", "-std=c++17", "-O2", "-I", ROOT + "/powerhose/cpp/include", "-o", where + "/cpp",
                        APP + "/workers/cpp/crypto_worker.cpp", "-lcryptopp"], check=True)
        self.worker = {KINDS[1]: where + "/worker", KINDS[2]: where + "/cpp", KINDS[3]: where + "/cpp"}
        self.settings = dict(zip(KINDS, ("here", "workers", "workers", "verify")))
        subprocess.run([self.program, "make", self.dir, str(users)], check=True)
        with open(self.dir + "/distinct.txt") as f:
            self.first = f.readline().split()

    @contextlib.contextmanager
    def running(self, kind):
        """The address of a server of a kind, and its processes. They are ended."""
        procs, env = [], {**os.environ, "POWERHOSE_MASTER": ""}

        def start(argv, **more):
            procs.append(subprocess.Popen(argv, env=env, stderr=log, start_new_session=True, **more))

        with open(self.where + "/log", "w") as log:
            try:
                if kind in self.worker:
                    env["POWERHOSE_MASTER"] = self.where + "/m"
                    start([self.binary, "powerhose", "master", "--quiet", "--listen", self.where + "/m"])
                    for _ in range(WORKERS):
                        start([self.worker[kind]])
                    # It has to be there when the server begins.
                    await_("the master", lambda: os.path.exists(self.where + "/m.status"))
                start([self.program, "serve", f"{self.dir}/{self.settings[kind]}.ini"], stdout=subprocess.PIPE, text=True)
                address = procs[-1].stdout.readline().strip()
                if not address:
                    raise SystemExit(f"{kind}: the server does not start")
                yield address, procs
                for p in procs:
                    if p.poll() is not None:
                        raise SystemExit(f"{p.args}: ended with {p.returncode} while it was measured")
            finally:
                for p in reversed(procs):  # the workers before their master
                    p.send_signal(signal.SIGTERM)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        p.wait(PATIENCE)
                    p.kill()
                    p.wait()
                    if p.stdout:
                        p.stdout.close()

    def load(self, address, pids, name, count, *flags):
        pids = [f"--pid={pid}" for pid in pids]
        run = subprocess.run([self.program, "load", *pids, *flags, address, name, str(count)], stdout=subprocess.PIPE, check=True, text=True)
        return json.loads(run.stdout)

    def ask(self, address):
        """Asks for one token."""
        state, assertion = self.first
        c = http.client.HTTPConnection(address)
        c.request("GET", "/1.0/sync/1.5", headers={"X-Client-State": state, "Authorization": "BrowserID " + assertion})
        status = c.getresponse().status
        c.close()
        return status

    def new_users(self):
        """Gives each user a node, in an empty database; the next ones know them."""
        shutil.rmtree(self.dir + "/state", ignore_errors=True)
        with self.running(KINDS[0]) as (address, procs):
            said = self.load(address, [p.pid for p in procs], self.dir + "/distinct.txt", self.users, "--callers=64")
        return {"new": said["rate"], "new cpu": said["requests"] / said["cpu"]}

    def known(self, kind):
        out, began = {}, time.monotonic()
        with self.running(kind) as (address, procs):
            await_("a token", lambda: self.ask(address) == 200)
            out["start"] = (time.monotonic() - began) * 1e3
            pids = [p.pid for p in procs]
            distinct = self.load(address, pids, self.dir + "/distinct.txt", self.users)
            tenfold = self.load(address, pids, self.dir + "/tenfold.txt", self.users * 2)
            out["memory"] = sum(map(proportional, pids))
            expired = self.load(address, pids, self.dir + "/expired.txt", self.users * 2, "--want=401")
        for name, said in (("distinct", distinct), ("tenfold", tenfold), ("expired", expired)):
            out[name] = said["requests"] / said["cpu"]
            out[name + " rate"] = said["rate"]
        with self.running(kind) as (address, procs):
            await_("a token", lambda: self.ask(address) == 200)
            said = self.load(address, [], self.dir + "/tenfold.txt", self.users * 2, "--callers=256", f"--rate={tenfold['rate'] * 0.7}")
            out["p50"], out["p99"] = said["p50"] * 1e3, said["p99"] * 1e3
        return out

    def python(self):
        """The same work in a process of Python, and behind gunicorn."""
        script, env = TOOLS + "/bench_tokens_python.py", {**os.environ, "PYTHONPATH": TOOLS, "PYTHONDONTWRITEBYTECODE": "1", "BENCH_DIR": self.dir}
        count, out = self.users // 2, {}
        for name in ("distinct", "tenfold"):
            run = subprocess.run([PEERS + "python", "-Wignore", script, self.dir, name + ".txt", str(count)], stdout=subprocess.PIPE, check=True, text=True)
            said = json.loads(run.stdout)
            out[name] = said["requests"] / said["cpu"]
        argv = [PEERS + "python", "-Wignore", "-m", "gunicorn", "--no-control-socket", "--worker-class=gthread", "--threads=4", "--keep-alive=60",
                "--log-level=warning", "-b", "127.0.0.1:0", "-c", "python:bench_tokens_gunicorn", "bench_tokens_python:application"]
        p = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            pid, address = p.stdout.readline().split()
            for name in ("distinct", "tenfold"):
                said = self.load(address, [pid], f"{self.dir}/{name}.txt", count, "--callers=4")
                out["served " + name] = said["requests"] / said["cpu"]
        finally:
            p.terminate()
            p.wait(PATIENCE)
            p.stdout.close()
        return out


def tokens(binary, where, figures, quick):
    b, count = Bench(binary, where, 1000 if quick else 2000), 1 if quick else 5
    programs = {"new users": b.new_users}
    programs.update((kind, lambda kind=kind: b.known(kind)) for kind in KINDS)
    programs["Python"] = b.python
    got = rounds(programs, count)

    def table(title, unit, key, more=()):
        rows = {kind: [r[key] for r in got[kind]] for kind in KINDS}
        for name, theirs in more:
            rows[name] = [r[theirs] for r in got["Python"]]
        figures.add(title, unit, rows)

    for title, key in (("all certificates distinct", "distinct"), ("each certificate ten times", "tenfold")):
        table("tokens: " + title, "per CPU-s", key, (("Python", key), ("Python, gunicorn", "served " + key)))
        table("tokens: " + title + ", at once", "per s", key + " rate")
    table("refusals of expired assertions", "per CPU-s", "expired")
    table("refusals of expired assertions, at once", "per s", "expired rate")
    table("time of a request at 70 % of that load, median", "ms", "p50")
    table("time of a request at 70 % of that load, 99th percentile", "ms", "p99")
    table("from start to the first token", "ms", "start")
    table("memory of all processes (PSS)", "MiB", "memory")
    figures.add("new users", "per s", {"64 callers": [r["new"] for r in got["new users"]]})
    figures.add("new users", "per CPU-s", {"64 callers": [r["new cpu"] for r in got["new users"]]})
    load = os.getloadavg()
    print(f"  load average {load[0]:.1f}, {load[1]:.1f}, {load[2]:.1f}", file=sys.stderr)
