"""Lets other tools install our locks, and installs theirs."""
import json
import os
import shutil

from packaging.utils import canonicalize_name
from projects_lock import read, uv_lock
from projects_work import Failure, quietly, remove


def interop(work, app):
    """Gives for each way "equal", or what went wrong. The lock is for this host."""
    ways = {
        "pip installs ours": lambda: by_pip(work, app, ["-r", app + "/pylock.toml"]),
        "uv installs ours": lambda: by_uv(work, app),
        "pip installs our export": lambda: by_pip(work, app, ["--require-hashes", "-r", exported(work, app)]),
        "we install pip's": lambda: theirs(work, app, pip_lock(work, app)),
        "we install uv's": lambda: theirs(work, app, uvs(work, app)),
    }
    said = {}
    for name, way in ways.items():
        try:
            wanted, got = way()
            odd = sorted(n for n in wanted.keys() | got.keys() if wanted.get(n) != got.get(n))
            said[name] = "equal" if not odd else ", ".join(f"{n} is {got.get(n)}, not {wanted.get(n)}" for n in odd)
        except Failure as err:
            said[name] = str(err)
    return said


def must(argv, **more):
    done = quietly(argv, **more)
    if done.returncode != 0:
        raise Failure(f"{os.path.basename(argv[0])}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def versions(path):
    """Gives the versions that a lock for one target has."""
    return {canonicalize_name(p["name"]): p["version"] for p in read(path)}


def installed(work, env):
    listed = must([*work.pip, "--python", env + "/bin/python", "list", "--format", "json"])
    return {canonicalize_name(p["name"]): p["version"] for p in json.loads(listed)}


def empty(work):
    """Makes an environment without pip."""
    env = work.dir + "/env"
    remove(env)
    must([work.python, "-m", "venv", "--without-pip", env])
    return env


def by_pip(work, app, what):
    env = empty(work)
    must([*work.pip, "--python", env + "/bin/python", "install", "--quiet", "--cache-dir", work.dir + "/pip-cache", *what])
    return versions(app + "/pylock.toml"), installed(work, env)


def by_uv(work, app):
    env = empty(work)
    must([*work.uv, "pip", "sync", "--quiet", "--preview-features", "pylock", "--python", env + "/bin/python",
          "--cache-dir", work.dir + "/uv-cache", app + "/pylock.toml"])
    return versions(app + "/pylock.toml"), installed(work, env)


def exported(work, app):
    path = work.dir + "/requirements.txt"
    with open(path, "w", encoding="utf-8") as f:
        f.write(must([work.binary, "export", "requirements", app]))
    return path


def pip_lock(work, app):
    out = work.dir + "/pip/pylock.toml"
    os.makedirs(os.path.dirname(out), exist_ok=True)
    env = empty(work)
    must([*work.pip, "--python", env + "/bin/python", "lock", "--quiet", "--uploaded-prior-to", work.date,
          "--cache-dir", work.dir + "/pip-cache", "-r", app + "/dependencies.txt", "-o", out])
    return out


def uvs(work, app):
    uv_lock(work, app, None)
    return work.dir + "/uv/pylock.toml"


def theirs(work, app, lock):
    """Installs another tool's lock in a copy of the app."""
    copy = work.dir + "/copy"
    remove(copy)
    shutil.copytree(app, copy, ignore=shutil.ignore_patterns(".appbundle"))
    shutil.copy(lock, copy + "/pylock.toml")
    work.run("install", copy, "--python", work.python)
    return versions(lock), installed(work, copy + "/.appbundle/env")
