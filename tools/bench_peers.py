"""Measures appbundle's supervisor beside circusd, supervisord and runit.

All run the same child, a small C program that reports its pid on a datagram
socket and waits.
"""
import contextlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

PEERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "out/peers/bin/")

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


SLOW_SECTION = "[watcher:slow]"


class Bench:
    def __init__(self, binary, where):
        self.binary, self.dir, self.count = binary, where, 0
        self.child = where + "/child"
        subprocess.run(["gcc", "-O1", "-static", "-o", self.child, "-xc", "-"], input=CHILD.encode(), check=True)

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
        argv = getattr(self, "conf_" + kind)(home, path, n, slow)
        start = time.monotonic()
        proc = subprocess.Popen(argv, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        run = Run(kind, home, proc, sock)
        try:
            run.pids = [run.report() for _ in range(n + (1 if slow else 0))]
            run.took = time.monotonic() - start
            yield run
        finally:
            run.clean_up()
            sock.close()

    def conf_appbundle(self, home, path, n, slow):
        os.makedirs(home + "/app/bin")
        for name in ("dependencies.txt", "external-dependencies.txt"):
            open(f"{home}/app/{name}", "w").close()
        with open(home + "/app/bin/app", "w") as f:
            f.write("#!/bin/sh\nexit 1\n")
        os.chmod(home + "/app/bin/app", 0o755)
        with open(home + "/app/app.ini", "w") as f:
            f.write("[app]\nname = bench\nversion = 1.0.0\n"
                    f"[watcher:app]\ncmd = {self.child} {path}\nnumprocesses = {n}\nflapping.attempts = 1000\n")
            if slow:
                f.write(f"{SLOW_SECTION}\ncmd = {self.child} {path} stubborn\ngraceful_timeout = 5\n")
        return [self.binary, "run", "--run-dir", home + "/run", "--state-dir", home + "/state", home + "/app"]

    def conf_circusd(self, home, path, n, slow):
        with open(home + "/circus.ini", "w") as f:
            f.write(f"[circus]\ncheck_delay = 1\nendpoint = ipc://{home}/c\npubsub_endpoint = ipc://{home}/p\nmulticast_endpoint = \"\"\n"
                    f"[watcher:w]\ncmd = {self.child} {path}\nnumprocesses = {n}\n")
            if slow:
                f.write(f"[watcher:slow]\ncmd = {self.child} {path} stubborn\ngraceful_timeout = 5\n")
        return [PEERS + "circusd", home + "/circus.ini"]

    def conf_supervisord(self, home, path, n, slow):
        with open(home + "/s.conf", "w") as f:
            f.write(f"[supervisord]\nnodaemon = true\nlogfile = {home}/log\npidfile = {home}/pid\nminfds = 4096\n")
            if os.getuid() == 0:
                f.write("user = root\n")
            f.write(f"[unix_http_server]\nfile = {home}/c\n[supervisorctl]\nserverurl = unix://{home}/c\n"
                    "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
                    f"[program:w]\ncommand = {self.child} {path}\nprocess_name = %(process_num)d\nnumprocs = {n}\nautorestart = true\nstartsecs = 0\n")
            if slow:
                f.write(f"[program:slow]\ncommand = {self.child} {path} stubborn\nstopwaitsecs = 5\n")
        return [PEERS + "supervisord", "-c", home + "/s.conf"]

    def conf_runit(self, home, path, n, slow):
        for i in range(n + (1 if slow else 0)):
            d = f"{home}/sv/{'slow' if i == n else i}"
            os.makedirs(d)
            with open(d + "/run", "w") as f:
                f.write(f"#!/bin/sh\nexec {self.child} {path}{' stubborn' if i == n else ''}\n")
            os.chmod(d + "/run", 0o755)
        return ["runsvdir", home + "/sv"]


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

    def stubborn(self):
        """The pid of the stubborn child; it is no victim of replace from now on."""
        for pid in self.pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as f:
                if "stubborn" in f.read():
                    self.pids.remove(pid)
                    self.pids.append(pid)
                    return pid
        return None

    def slow_stop(self):
        """Begins to stop the stubborn child, which takes five seconds but for
        runit, which waits for ever."""
        home = self.home
        if self.kind == "appbundle":  # its section is gone
            with open(home + "/app/app.ini") as f:
                text = f.read()
            with open(home + "/app/app.ini", "w") as f:
                f.write(text.partition(SLOW_SECTION)[0])
            os.kill(self.proc.pid, signal.SIGHUP)
            return
        argv = {"circusd": [PEERS + "circusctl", "--endpoint", f"ipc://{home}/c", "stop", "slow"],
                "supervisord": [PEERS + "supervisorctl", "-c", home + "/s.conf", "stop", "slow"],
                "runit": ["sv", "-w", "0", "down", home + "/sv/slow"]}[self.kind]
        subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

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

    def stop(self, limit=40):
        """Ends the supervisor as its manual says, and gives the seconds until
        no process of it, and no child, is left. runsvdir has no such command:
        HUP makes it tell every runsv to stop, and it ends at once itself."""
        fds = []
        for pid in self.pids + self.supervisors():
            with contextlib.suppress(OSError):
                fds.append(os.pidfd_open(pid))
        start = time.monotonic()
        if self.proc.poll() is None:
            os.kill(self.proc.pid, signal.SIGHUP if self.kind == "runit" else signal.SIGTERM)
        late = [fd for fd in fds if not select.select([fd], [], [], max(0, start + limit - time.monotonic()))[0]]
        took = time.monotonic() - start
        for fd in late:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        for fd in fds:
            os.close(fd)
        self.proc.wait()
        self.pids = []
        return None if late else took

    def clean_up(self):
        stubborn = self.stubborn()
        if stubborn:  # not every supervisor ends before it does
            with contextlib.suppress(ProcessLookupError):
                os.kill(stubborn, signal.SIGKILL)
        self.stop(10)


ALL = ("appbundle", "runit", "circusd", "supervisord")


def replacement(binary, where, figures, quick):
    b = Bench(binary, where)
    results = {k: [] for k in ALL}
    with contextlib.ExitStack() as stack:
        runs = {k: stack.enter_context(b.running(k, 1)) for k in ALL}
        for _ in range(5 if quick else 15):
            for k in ALL:
                results[k].append(runs[k].replace() * 1000)
    figures.add("replacement of a killed process", "ms", results)


def replacement_beside(binary, where, figures, quick):
    b = Bench(binary, where)
    results = {k: [] for k in ALL}
    for _ in range(1 if quick else 4):
        for k in ALL:
            with b.running(k, 1, slow=True) as run:
                slow = run.stubborn()
                time.sleep(1)  # all are ready for commands
                run.slow_stop()
                for _ in range(2):  # each within the five seconds, where it is quick
                    if os.path.exists(f"/proc/{slow}"):
                        results[k].append(run.replace() * 1000)
    figures.add("replacement while another watcher takes 5 s to stop", "ms", results)


def start_stop(binary, where, figures, quick):
    b = Bench(binary, where)
    start, stop, memory = ({k: [] for k in ALL} for _ in range(3))
    for _ in range(2 if quick else 5):
        for k in ALL:
            with b.running(k, 200) as run:
                start[k].append(run.took)
                time.sleep(1.5)
                memory[k].append(run.pss())
                took = run.stop()
                if took is None:
                    raise SystemExit(f"{k}: did not end in 40 s")
                stop[k].append(took)
    figures.add("start of 200 processes", "s", start, "until the last one reports")
    figures.add("stop of 200 processes", "s", stop, "until the last one and the supervisor itself have ended (runit: every runsv)")
    figures.add("memory with 200 processes", "MiB", memory, "PSS of all processes of the supervisor, the guard too")


def idle(binary, where, figures, quick):
    b = Bench(binary, where)
    seconds = 10 if quick else 30
    with contextlib.ExitStack() as stack:
        runs = {k: stack.enter_context(b.running(k, 10)) for k in ALL}
        time.sleep(3)
        before = {k: runs[k].switches() for k in ALL}
        time.sleep(seconds)
        results = {k: [(runs[k].switches() - before[k]) / seconds] for k in ALL}
    figures.add("wake-ups while idle, 10 processes", "per s", results, f"context switches over {seconds} s")
