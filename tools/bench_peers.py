#!/usr/bin/env python3
"""Measures appbundle beside its peers, interleaved, in one run on one machine.

    bench_peers.py BINARY [--quick] [--only NAME[,NAME]]

The supervisors run the same child, a small C program that reports its pid on a
datagram socket and waits. A figure is the median of the rounds with the lowest
and the highest beside it; a round takes each program once, in turn. A peer
that is missing is an error: `make bench` installs them all.
"""
import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

CHILD = r"""
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <signal.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_DGRAM, 0), pid = getpid();
    strncpy(a.sun_path, argv[1], sizeof a.sun_path - 1);
    sendto(s, &pid, sizeof pid, 0, (struct sockaddr *)&a, sizeof a);
    close(s);
    if (argc > 2) signal(SIGTERM, SIG_IGN);
    for (;;) pause();
}
"""


class Bench:
    def __init__(self, binary, peers, quick):
        self.binary, self.peers, self.quick = os.path.abspath(binary), peers, quick
        self.dir = tempfile.mkdtemp(prefix="bench-")
        self.child = os.path.join(self.dir, "child")
        subprocess.run(["gcc", "-O1", "-static", "-o", self.child, "-xc", "-"], input=CHILD.encode(), check=True)
        self.count = 0

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    @contextlib.contextmanager
    def running(self, kind, n, slow=False):
        """A supervisor of n children, all of them up, and how long that took."""
        self.count += 1
        home = os.path.join(self.dir, f"{kind}{self.count}")
        os.makedirs(home)
        path = os.path.join(home, "s")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(path)
        sock.settimeout(60)
        argv, env = getattr(self, "conf_" + kind)(home, path, n, slow)
        start = time.monotonic()
        proc = subprocess.Popen(argv, cwd=home, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        run = Run(kind, home, proc, sock)
        try:
            run.pids = [run.report() for _ in range(n + (1 if slow else 0))]
            run.took = time.monotonic() - start
            yield run
        finally:
            run.stop()
            sock.close()

    def conf_appbundle(self, home, path, n, slow):
        os.makedirs(home + "/app/bin")
        for name in ("dependencies.txt", "external-dependencies.txt"):
            open(f"{home}/app/{name}", "w").close()
        with open(home + "/app/bin/app", "w") as f:
            f.write("#!/bin/sh\nexit 1\n")
        os.chmod(home + "/app/bin/app", 0o755)
        with open(home + "/app/app.ini", "w") as f:
            f.write(f"[app]\nname = bench\nversion = 1.0.0\n[watcher:app]\ncmd = {self.child} {path}\nnumprocesses = {n}\n"
                    "flapping.attempts = 1000\n")
            if slow:
                f.write(f"[watcher:slow]\ncmd = {self.child} {path} stubborn\ngraceful_timeout = 5\n")
        return [self.binary, "run", "--run-dir", home + "/run", "--state-dir", home + "/state", home + "/app"], os.environ

    def conf_circusd(self, home, path, n, slow):
        with open(home + "/circus.ini", "w") as f:
            f.write(f"[circus]\ncheck_delay = 1\nendpoint = ipc://{home}/c\npubsub_endpoint = ipc://{home}/p\nmulticast_endpoint = \"\"\n"
                    f"[watcher:w]\ncmd = {self.child} {path}\nnumprocesses = {n}\n")
        return [self.peers + "/bin/circusd", home + "/circus.ini"], os.environ

    def conf_supervisord(self, home, path, n, slow):
        with open(home + "/s.conf", "w") as f:
            f.write(f"[supervisord]\nnodaemon = true\nlogfile = {home}/log\npidfile = {home}/pid\nminfds = 4096\nuser = root\n"
                    f"[program:w]\ncommand = {self.child} {path}\nprocess_name = %(process_num)d\nnumprocs = {n}\nautorestart = true\nstartsecs = 0\n")
        return [self.peers + "/bin/supervisord", "-c", home + "/s.conf"], os.environ

    def conf_runit(self, home, path, n, slow):
        for i in range(n + (1 if slow else 0)):
            d = f"{home}/sv/{i}"
            os.makedirs(d)
            with open(d + "/run", "w") as f:
                f.write(f"#!/bin/sh\nexec {self.child} {path}{' stubborn' if i == n else ''}\n")
            os.chmod(d + "/run", 0o755)
        return ["runsvdir", home + "/sv"], os.environ


class Run:
    def __init__(self, kind, home, proc, sock):
        self.kind, self.home, self.proc, self.sock, self.pids = kind, home, proc, sock, []

    def report(self):
        return struct.unpack("i", self.sock.recv(4))[0]

    def replace(self):
        """Kills a child and gives the seconds until its replacement reports."""
        time.sleep(1.3)  # a life over a second: no back-off anywhere
        victim = self.pids[0]
        start = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        self.pids[0] = self.report()
        return time.monotonic() - start

    def slow_stop(self):
        """Begins to stop the stubborn child."""
        if self.kind == "appbundle":
            with open(self.home + "/app/app.ini", "a") as f:
                f.write("max_retry = 6\n")
            os.kill(self.proc.pid, signal.SIGHUP)
        else:
            subprocess.run(["sv", "-w", "0", "down", self.home + "/sv/" + str(len(self.pids) - 1)], stdout=subprocess.DEVNULL)

    def supervisors(self):
        """The pids of the supervisor's own processes."""
        out, todo = [], [self.proc.pid]
        while todo:
            pid = todo.pop()
            try:
                if not os.readlink(f"/proc/{pid}/exe").endswith("/child"):
                    out.append(pid)
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as f:
                        todo += [int(p) for p in f.read().split()]
            except OSError:
                continue
        return out

    def pss(self):
        total = 0
        for pid in self.supervisors():
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        return total / 1024

    def switches(self):
        total = 0
        for pid in self.supervisors():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status") as f:
                    total += sum(int(x) for x in re.findall(r"ctxt_switches:\s+(\d+)", f.read()))
        return total

    def stop(self):
        """Stops everything and gives the seconds until all children are gone."""
        fds = []
        for pid in self.pids:
            with contextlib.suppress(OSError):
                fds.append(os.pidfd_open(pid))
        start = time.monotonic()
        own = self.supervisors()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.proc.pid, signal.SIGHUP if self.kind == "runit" else signal.SIGTERM)
        import select
        for fd in fds:
            if not select.select([fd], [], [], 40)[0]:
                print(f"{self.kind}: a child did not end", file=sys.stderr)
            os.close(fd)
        took = time.monotonic() - start
        try:
            self.proc.wait(40)
        except subprocess.TimeoutExpired:
            pass
        for pid in own:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.proc.wait()
        self.pids = []
        return took


def show(title, unit, results, note=""):
    print(f"\n{title}{' (' + note + ')' if note else ''}")
    for kind, values in results.items():
        if values:
            print(f"  {kind:12} {statistics.median(values):10.4g} {unit}   ({min(values):.4g} to {max(values):.4g}, {len(values)} rounds)")
    sys.stdout.flush()


ALL = ("appbundle", "runit", "circusd", "supervisord")


def replacement(b):
    rounds = 5 if b.quick else 15
    results = {k: [] for k in ALL}
    with contextlib.ExitStack() as stack:
        runs = {k: stack.enter_context(b.running(k, 1)) for k in ALL}
        for _ in range(rounds):
            for k in ALL:
                results[k].append(runs[k].replace() * 1000)
    show("replacement of a killed process", "ms", results)


def replacement_beside(b):
    results = {"appbundle": [], "runit": []}
    for _ in range(3 if b.quick else 5):
        for k in results:
            with b.running(k, 1, slow=True) as run:
                stubborn = [p for p in run.pids if "stubborn" in open(f"/proc/{p}/cmdline").read()]
                run.pids.sort(key=lambda p: p in stubborn)
                run.slow_stop()
                for _ in range(3):
                    results[k].append(run.replace() * 1000)
    show("replacement while another watcher takes 5 s to stop", "ms", results)


def start_stop(b):
    rounds = 2 if b.quick else 5
    start, stop, memory = ({k: [] for k in ALL} for _ in range(3))
    for _ in range(rounds):
        for k in ALL:
            with b.running(k, 200) as run:
                start[k].append(run.took)
                time.sleep(1.5)
                memory[k].append(run.pss())
                stop[k].append(run.stop())
    show("start of 200 processes", "s", start)
    show("stop of 200 processes", "s", stop)
    show("memory with 200 processes", "MiB", memory, "PSS of all processes of the supervisor")


def idle(b):
    seconds = 10 if b.quick else 30
    results = {k: [] for k in ALL}
    with contextlib.ExitStack() as stack:
        runs = {k: stack.enter_context(b.running(k, 10)) for k in ALL}
        time.sleep(3)
        before = {k: runs[k].switches() for k in ALL}
        time.sleep(seconds)
        for k in ALL:
            results[k].append((runs[k].switches() - before[k]) / seconds)
    show("context switches while idle, 10 processes", "per s", results, f"over {seconds} s")


def tree(b):
    """500 MB: 60 % that compresses like code, 40 % that does not."""
    home = os.path.join(b.dir, "tree")
    os.makedirs(home + "/bin")
    for name in ("dependencies.txt", "external-dependencies.txt"):
        open(f"{home}/{name}", "w").close()
    with open(home + "/bin/app", "w") as f:
        f.write("#!/bin/sh\n")
    os.chmod(home + "/bin/app", 0o755)
    with open(home + "/app.ini", "w") as f:
        f.write("[app]\nname = tree\nversion = 1.0.0\ninterface = exec\n")
    import random
    rnd = random.Random(1)
    words = [bytes(rnd.choices(b"abcdefghijklmnopqrstuvwxyz_(). ", k=rnd.randint(2, 12))) for _ in range(4000)]
    text = b" ".join(rnd.choices(words, k=1 << 20))
    noise = rnd.randbytes(1 << 22)
    for i in range(8000):
        os.makedirs(f"{home}/lib/{i // 100}", exist_ok=True)
        with open(f"{home}/lib/{i // 100}/{i}", "wb") as f:
            size = rnd.choice((2000, 8000, 30000, 60000, 200000))
            at = rnd.randrange(1 << 21)
            f.write(noise[at:at + size] if i % 5 < 2 else text[at:at + size])
    return home


def cpu(argv, shell=False):
    """CPU seconds and the largest resident set of a command and its children, in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        p = subprocess.run(argv, shell=shell)
        u = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(w, struct.pack("ddi", u.ru_utime + u.ru_stime, u.ru_maxrss / 1024, p.returncode))
        os._exit(0)
    os.waitpid(pid, 0)
    seconds, rss, status = struct.unpack("ddi", os.read(r, 64))
    os.close(r)
    os.close(w)
    if status != 0:
        raise SystemExit(f"{argv}: status {status}")
    return seconds, rss


def build(b):
    home = tree(b)
    size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(home) for f in fs)
    commands = {"appbundle": ([b.binary, "build", "--quiet", "-o", b.dir + "/t.tar.zst", home], False),
                "tar | zstd -3": (f"tar -C {home} -cf - . | zstd -q -3 -T1 -f -o {b.dir}/p.tar.zst", True)}
    seconds, memory = {k: [] for k in commands}, {k: [] for k in commands}
    for _ in range(3 if b.quick else 7):
        for k, (argv, shell) in commands.items():
            s, m = cpu(argv, shell)
            seconds[k].append(s)
            memory[k].append(m)
    show(f"archive of {size >> 20} MiB, level 3", "CPU s", seconds)
    show("memory of that", "MiB", memory, "the largest process")
    print(f"  sizes: appbundle {os.path.getsize(b.dir + '/t.tar.zst') >> 20} MiB, tar | zstd {os.path.getsize(b.dir + '/p.tar.zst') >> 20} MiB")


def check(b):
    home = os.path.join(b.dir, "files")
    shutil.copytree(os.path.join(b.dir, "tree") if os.path.isdir(os.path.join(b.dir, "tree")) else tree(b), home,
                    ignore=shutil.ignore_patterns("lib"))
    for i in range(10000):
        os.makedirs(f"{home}/lib/{i // 100}", exist_ok=True)
        with open(f"{home}/lib/{i // 100}/{i}.py", "w") as f:
            f.write(f"value = {i}\n" * 50)
    commands = {"appbundle": ([b.binary, "check", home], False), "sha256sum": (f"find {home} -type f -exec sha256sum {{}} +", True)}
    seconds = {k: [] for k in commands}
    for _ in range(3 if b.quick else 9):
        for k, (argv, shell) in commands.items():
            seconds[k].append(cpu(argv, shell)[0])
    show("check of 10,000 files", "CPU s", seconds, "sha256sum of them beside it")


FIGURES = {"replacement": replacement, "beside": replacement_beside, "start": start_stop, "idle": idle, "build": build, "check": check}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("binary")
    ap.add_argument("--peers", required=True, help="a virtual environment with circus and supervisor")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--only", default=",".join(FIGURES))
    args = ap.parse_args()
    b = Bench(args.binary, os.path.abspath(args.peers), args.quick)
    try:
        for name in args.only.split(","):
            FIGURES[name](b)
    finally:
        b.close()


if __name__ == "__main__":
    main()
