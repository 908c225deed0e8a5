"""Where `tools/projects` works: apps, caches, and the programs that it calls."""
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time


class Failure(Exception):
    """Something that has to work did not."""


class Work:
    def __init__(self, where, binary, python, date, rounds, with_interop):
        self.dir, self.binary, self.date, self.rounds, self.interop = where, binary, date, rounds, with_interop
        self.python = output([python, "-c", "import sys; print(sys.executable)"]).strip()
        self.version = output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
        # It looks at the host's certificates, as appbundle and pip do.
        self.uv = [os.path.join(os.path.dirname(sys.executable), "uv"), "--system-certs"]
        self.pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        self.cache = where + "/cache"
        self.builds = "--allow-build" in output([binary, "lock", "--help"])

    def app(self, chosen):
        """Makes the directory of a set's app."""
        app = f"{self.dir}/{chosen.name}"
        entry = "bin/app" if chosen.executable else "bin/app.py"
        files = {"dependencies.txt": chosen.dependencies + "\n", "external-dependencies.txt": "python3\n", entry: chosen.app, **chosen.files}
        for name, text in files.items():
            os.makedirs(os.path.dirname(f"{app}/{name}"), exist_ok=True)
            with open(f"{app}/{name}", "w", encoding="utf-8") as f:
                f.write(text)
        os.chmod(f"{app}/{entry}", 0o755 if chosen.executable else 0o644)
        return app

    def run(self, command, app, *args, want=0):
        """Runs appbundle, which has to end with the status that is wanted, and
        gives what it says on standard error."""
        cache = [] if command == "check" else ["--cache-dir", self.cache]
        done = quietly([self.binary, command, *args, *cache, app])
        if done.returncode != want:
            raise Failure(f"{command}: status {done.returncode}, not {want}: {done.stderr.strip()}")
        return done.stderr

    def clean(self):
        """Takes away what the next set does not need."""
        for name in os.listdir(self.dir):
            shutil.rmtree(f"{self.dir}/{name}", ignore_errors=True)


def quietly(argv, **more):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)


def output(argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def timed(call):
    """Gives the seconds that a call took, and what it gave."""
    start = time.monotonic()
    result = call()
    return time.monotonic() - start, result


def median(rounds, prepare, call):
    """Gives the median of the seconds of several calls."""
    times = []
    for _ in range(rounds):
        prepare()
        times.append(timed(call)[0])
    return statistics.median(times)


def remove(path):
    """Removes a file or a directory, where there is one."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
