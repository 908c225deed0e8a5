"""Measures `appbundle lock` and `appbundle install` beside uv and pip, on sets of
packages as they were on one day, in turn.

All ask the index of bench_index.py, so that the network is the same for each:
an answer takes DELAY, and has the validators that the real index sent.
"""
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

from bench_build import cost
from bench_index import Index, configured

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "out")
PEERS = OUT + "/peers/bin/"
PYTHON = os.path.realpath(sys.executable)  # no script in front of it, which would count
DELAY = 0.02  # seconds
DAY = "2026-11-20"  # what was uploaded later does not exist
PLATFORM = "manylinux_2_28_x86_64", "x86_64-manylinux_2_28"  # in our words and in uv's

SETS = {
    "flask": ["flask"],
    "django": ["django", "psycopg", "celery"],
    "pyramid": ["pyramid", "cornice"],
    "fastapi": ["fastapi", "uvicorn"],
    "boto": ["boto3", "botocore", "aiobotocore", "s3fs"],
    "scipy": ["scipy", "pandas", "scikit-learn"],
}
HUNDRED = [p for packages in SETS.values() for p in packages] + ["jupyterlab", "sphinx"]  # together

# What takes so long that a few rounds have to do.
SLOW = {("lock", "boto", "uv"): 2, ("install", "pip"): 3, ("lock", "scipy", "pip"): 3}


class Program:
    """One of those that are measured: its command, and what comes before it and is not counted."""

    def __init__(self, argv, before=lambda: None, rounds=None):
        self.argv, self.before, self.rounds = argv, before, rounds


class Bench:
    def __init__(self, binary, where, index):
        self.binary, self.where, self.index = binary, where, index
        self.aside = where + "/aside"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "APPBUNDLE_"))}
        self.env = {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1",
                    "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}

    def app(self, name, packages):
        home = f"{self.where}/{name}"
        os.makedirs(home + "/bin")
        for file, text in (("dependencies.txt", "\n".join(packages) + "\n"), ("external-dependencies.txt", ""),
                           ("bin/app", "#!/usr/bin/env python3\n"),
                           ("app.ini", f"[app]\nname = {name}\nversion = 1.0.0\ninterface = exec\n")):
            with open(f"{home}/{file}", "w") as f:
                f.write(text)
        os.chmod(home + "/bin/app", 0o755)
        return home

    def cache(self, program):
        return f"{self.where}/cache-{program}"

    def remover(self, *paths):
        """What puts files and directories aside. They are removed after the
        last round: ext4 is slow to make directories where many were just
        removed, for it passes over inodes that became free in the last five
        seconds."""
        def remove():
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    os.makedirs(self.aside, exist_ok=True)
                    os.rename(path, tempfile.mkdtemp(dir=self.aside) + "/was")
        return remove

    def ours(self, command, home, *flags):
        return [self.binary, command, "--cache-dir", self.cache("appbundle"), "--python", PYTHON, *flags, home]

    def lock(self, home, *platforms):
        return self.ours("lock", home, "--index-url", self.index.url, "--exclude-newer", DAY, *(w for p in platforms for w in ("--platform", p)))

    def uv_lock(self, home):
        return [PEERS + "uv", "pip", "compile", "--generate-hashes", "--quiet", "--cache-dir", self.cache("uv"), "--python", PYTHON,
                "--python-platform", PLATFORM[1], "--default-index", self.index.url, "--exclude-newer", DAY + "T23:59:59Z",
                "-o", home + "/uv.txt", home + "/dependencies.txt"]

    def pip_lock(self, home):
        return [PEERS + "pip", "lock", "--quiet", "--cache-dir", self.cache("pip"), "--index-url", self.index.url,
                "--uploaded-prior-to", DAY + "T23:59:59Z", "-o", home + "/pylock.pip.toml", "-r", home + "/dependencies.txt"]

    def locks(self, name, home):
        """The programs that lock an app. pip is not given the boto set: each of the
        hundreds of versions to try would be a whole wheel of 14 MB for it."""
        lock = home + "/pylock.toml"
        programs = {
            "appbundle": Program(self.lock(home, PLATFORM[0]), self.remover(lock)),
            "appbundle, 2 targets": Program(self.lock(home), self.remover(lock)),
            "uv": Program(self.uv_lock(home), self.remover(home + "/uv.txt"), SLOW.get(("lock", name, "uv"))),
        }
        if name != "boto":
            programs["pip lock"] = Program(self.pip_lock(home), self.remover(home + "/pylock.pip.toml"), SLOW.get(("lock", name, "pip")))
        return programs

    def environment(self, at):
        """What makes a new virtual environment, for those that want one."""
        def make():
            self.remover(at)()
            subprocess.run([PEERS + "uv", "venv", "--quiet", "--python", PYTHON, at], check=True, env=self.env)
        return make

    def installs(self, home):
        """The programs that install what the lock of an app says, each into an environment that is new."""
        venv = home + "/venv"
        sync = [PEERS + "uv", "pip", "sync", "--quiet", "--cache-dir", self.cache("uv"), "--python", venv, "--default-index", self.index.url]
        return {
            "appbundle": Program(self.ours("install", home), self.remover(home + "/.appbundle")),
            "uv, no byte code": Program([*sync, home + "/pylock.toml"], self.environment(venv)),
            "uv": Program([*sync, "--compile-bytecode", home + "/pylock.toml"], self.environment(venv)),
            "pip": Program([PEERS + "pip", "--python", venv, "install", "--quiet", "--cache-dir", self.cache("pip"), "--index-url", self.index.url,
                            "--require-hashes", "--no-deps", "-r", home + "/requirements.txt"], self.environment(venv), SLOW["install", "pip"]),
        }

    def run(self, argv, **kwargs):
        return subprocess.run(argv, check=True, env=self.env, stdout=kwargs.pop("stdout", subprocess.DEVNULL), **kwargs)

    def locked(self, name, packages):
        """An app with a lock for this host, made now, and the same as a requirements file."""
        home = self.app(name, packages)
        self.run(self.lock(home, "host"), stderr=subprocess.DEVNULL)
        with open(home + "/requirements.txt", "w") as f:
            self.run([self.binary, "export", "requirements", home], stdout=f)
        return home

    def measure(self, figures, title, programs, rounds, note=""):
        """Adds the figures of programs, in turn. A round in which the index had to record something does not count."""
        costs = {k: [] for k in programs}
        for i in range(rounds):
            for name, p in programs.items():
                if i >= (p.rounds or rounds):
                    continue
                for _ in range(20):
                    before = self.index.recorded
                    p.before()
                    os.sync()  # who flushes pays for nobody else's writes
                    c = cost(p.argv, self.env)
                    if self.index.recorded == before:
                        break
                else:
                    raise SystemExit(f"{title}: {name} asks for something new each time")
                costs[name].append(c)
        shutil.rmtree(self.aside, ignore_errors=True)
        for unit, values in (("CPU s", lambda c: c.cpu), ("s", lambda c: c.wall), ("MiB", lambda c: c.memory)):
            figures.add(title, unit, {k: [values(c) for c in v] for k, v in costs.items()}, note if unit == "CPU s" else "")

    def warm(self, programs):
        """Fills the caches."""
        for p in programs.values():
            p.before()
            self.run(p.argv)

    def cold(self, programs, *names):
        """The programs of these names, each with an empty cache."""
        def emptied(p, cache):
            empty = self.remover(cache)

            def before():
                p.before()
                empty()
            return Program(p.argv, before, p.rounds)

        return {k: emptied(programs[k], self.cache(k.partition(",")[0])) for k in names}


@contextlib.contextmanager
def bench(binary, where):
    url, certificates = configured(PEERS + "python")
    with Index(url, certificates, OUT + "/index", DELAY) as index:
        yield Bench(binary, where, index)


def rounds(quick):
    return 2 if quick else 10


def lock(binary, where, figures, quick):
    with bench(binary, where) as b:
        for name, packages in SETS.items():
            programs = b.locks(name, b.app(name, packages))
            b.warm(programs)
            b.measure(figures, f"lock of {', '.join(packages)}, warm cache", programs, rounds(quick))


def install(binary, where, figures, quick):
    note = "the environments of uv and pip are made before"
    with bench(binary, where) as b:
        for name, packages in SETS.items():
            programs = b.installs(b.locked(name, packages))
            b.warm(programs)
            b.measure(figures, f"install of {', '.join(packages)}, warm cache", programs, rounds(quick), note)


def cold(binary, where, figures, quick):
    with bench(binary, where) as b:
        for name, packages in SETS.items():
            home = b.locked(name, packages)
            programs = b.cold(b.locks(name, home), "appbundle", "uv")
            b.measure(figures, f"lock of {', '.join(packages)}, empty cache", programs, rounds(quick))
            home = b.locked(name + "-install", packages)
            programs = b.cold(b.installs(home), "appbundle", "uv, no byte code", "uv")
            b.measure(figures, f"install of {', '.join(packages)}, empty cache", programs, rounds(quick), "appbundle compiles byte code")


def lock_check(binary, where, figures, quick):
    with bench(binary, where) as b:
        home = b.app("hundred", HUNDRED)
        b.run(b.lock(home), stderr=subprocess.DEVNULL)
        with open(home + "/pylock.toml") as f:
            n = f.read().count("[[packages]]\n")
        programs = {"appbundle": Program([binary, "lock", "--check", home])}
        b.measure(figures, f"lock --check of {n} packages", programs, rounds(quick))
