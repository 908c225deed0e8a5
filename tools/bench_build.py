"""Measures `appbundle build` beside `tar | zstd -3`, and `appbundle check`
beside sha256sum, in CPU seconds of whole processes, in turn."""
import os
import random
import shutil
import struct
import subprocess
import sys
from typing import NamedTuple

# Runs a command and writes what the kernel says about it and all processes
# that it started; those that it does not wait for come to the helper, as the
# subreaper. A process counts as large as the one that started it, at least, so
# that has to be small.
HELPER = """
import ctypes, os, struct, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
null = os.open(os.devnull, os.O_WRONLY)
start = time.monotonic()
first = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
cpu = wall = memory = status = 0
try:
    while True:
        pid, how, u = os.wait4(-1, 0)
        cpu += u.ru_utime + u.ru_stime
        memory = max(memory, u.ru_maxrss / 1024)
        if pid == first:
            wall, status = time.monotonic() - start, how
except ChildProcessError:
    os.write(1, struct.pack("dddi", cpu, wall, memory, status))
"""


class Cost(NamedTuple):
    cpu: float  # seconds of the command and all that it started
    wall: float  # seconds
    memory: float  # of the largest process, in MiB


def cost(argv, env=None):
    """What a command costs; one that fails is an error."""
    run = subprocess.run([sys.executable, "-ISc", HELPER, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, env=env)
    *figures, status = struct.unpack("dddi", run.stdout)
    if status != 0:
        raise SystemExit(f"{argv}: wait status {status}\n{run.stderr.decode(errors='replace')}")
    return Cost(*figures)


def app(home):
    """An application of nothing."""
    os.makedirs(home + "/bin")
    for name in ("dependencies.txt", "external-dependencies.txt"):
        open(f"{home}/{name}", "w").close()
    with open(home + "/bin/app", "w") as f:
        f.write("#!/bin/sh\n")
    os.chmod(home + "/bin/app", 0o755)
    with open(home + "/app.ini", "w") as f:
        f.write("[app]\nname = tree\nversion = 1.0.0\ninterface = exec\n")


def tree(home, size):
    """An application of size bytes: the sources and programs of Go, which are
    real and on every machine that has this project, and to fill it up what does
    not compress, as media do not."""
    app(home)
    goroot = subprocess.run([os.environ.get("GO", "go"), "env", "GOROOT"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    skip = shutil.ignore_patterns("testdata", "*.pem", "*.syso", "test")  # a package is for one processor
    shutil.copytree(goroot, home + "/lib", ignore=skip, copy_function=shutil.copyfile, symlinks=True)
    left = size - sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(home) for f in fs)
    rnd = random.Random(1)
    os.mkdir(home + "/media")
    while left > 0:
        n = min(left, rnd.choice((20_000, 60_000, 200_000, 1_000_000)))
        with open(f"{home}/media/{left}", "wb") as f:
            f.write(rnd.randbytes(n))
        left -= n


def build(binary, where, figures, quick):
    size, files = made(where)
    ours, theirs = where + "/t.tar.zst", where + "/p.tar.zst"
    commands = {"appbundle": [binary, "build", "-o", ours, where + "/tree"],
                "tar | zstd -3": ["sh", "-c", f"tar -C {where}/tree -cf - . | zstd -q -3 -T1 -f -o {theirs}"]}
    seconds, memory = rounds(commands, 3 if quick else 9)
    figures.add(f"archive of {size / 1e6:.0f} MB in {files} files, level 3", "CPU s", seconds)
    figures.add("memory of that", "MiB", memory, "the largest process")
    figures.add("size of that", "MB", {"appbundle": [os.path.getsize(ours) / 1e6], "tar | zstd -3": [os.path.getsize(theirs) / 1e6]})


def made(where):
    """Makes the tree; gives its size, and how many files it has."""
    size = 500_000_000
    tree(where + "/tree", size)
    return size, sum(len(fs) for _, _, fs in os.walk(where + "/tree"))


# What packs a tree, and what unpacks it, with the format's usual level; {t} is the
# tree, {a} the archive, {d} the directory to unpack into.
FORMATS = {
    "tar.zst": {"tar | zstd": ("tar -C {t} -cf - . | zstd -q -3 -T1 -f -o {a}", "zstd -dqc {a} | tar -C {d} -xf -"),
                "bsdtar": ("bsdtar -C {t} --zstd --options zstd:compression-level=3 -cf {a} .", "bsdtar -C {d} -xf {a}")},
    "tar.gz": {"tar | gzip": ("tar -C {t} -cf - . | gzip -6 >{a}", "gzip -dc {a} | tar -C {d} -xf -"),
               "bsdtar": ("bsdtar -C {t} -czf {a} .", "bsdtar -C {d} -xf {a}")},
    "zip": {"zip": ("cd {t} && rm -f {a} && zip -qry {a} .", "unzip -q {a} -d {d}"),
            "bsdtar": ("bsdtar -C {t} --format zip -cf {a} .", "bsdtar -C {d} -xf {a}")},
    "tar": {"tar": ("tar -C {t} -cf {a} .", "tar -C {d} -xf {a}"), "bsdtar": ("bsdtar -C {t} -cf {a} .", "bsdtar -C {d} -xf {a}")},
}


def formats(binary, where, figures, quick):
    """build and unpack in every format. Ours compares what it unpacks with digests."""
    size, files = made(where)
    n = 2 if quick else 5
    for kind, peers in FORMATS.items():
        place = {who: f"{where}/{i}.{kind}" for i, who in enumerate(("appbundle", *peers))}
        packs = {"appbundle": [binary, "build", "-o", place["appbundle"], where + "/tree"]}
        unpacks = {"appbundle": [binary, "unpack", place["appbundle"], where + "/out"]}
        for who, (pack, unpack) in peers.items():
            names = {"t": where + "/tree", "a": place[who], "d": where + "/out"}
            packs[who] = ["sh", "-c", pack.format(**names)]
            unpacks[who] = ["sh", "-c", "mkdir " + where + "/out && " + unpack.format(**names)]
        seconds, memory = rounds(packs, n)
        figures.add(f"{kind} of {size / 1e6:.0f} MB in {files} files", "CPU s", seconds)
        figures.add("memory of that", "MiB", memory, "the largest process")
        figures.add("size of that", "MB", {who: [os.path.getsize(path) / 1e6] for who, path in place.items()})
        seconds, memory = rounds(unpacks, n, lambda: shutil.rmtree(where + "/out"))
        figures.add(f"{kind} unpacked", "CPU s", seconds, "ours reads every digest and flushes the disk")
        figures.add("memory of that", "MiB", memory, "the largest process")
        for path in place.values():
            os.unlink(path)


def check(binary, where, figures, quick):
    home = where + "/files"
    app(home)
    for i in range(10000):
        os.makedirs(f"{home}/lib/{i // 100}", exist_ok=True)
        with open(f"{home}/lib/{i // 100}/{i}.py", "w") as f:
            f.write(f"value = {i}\n" * 250)
    commands = {"appbundle": [binary, "check", home], "sha256sum": ["find", home, "-type", "f", "-exec", "sha256sum", "{}", "+"]}
    seconds, memory = rounds(commands, 3 if quick else 9)
    figures.add("check of 10,000 files of 3 KB", "CPU s", seconds, "sha256sum only hashes them")
    figures.add("memory of that", "MiB", memory, "the largest process")


def rounds(commands, n, after=lambda: None):
    seconds, memory = {k: [] for k in commands}, {k: [] for k in commands}
    for i in range(n + 1):
        for k, argv in commands.items():
            c = cost(argv)
            after()
            if i > 0:  # the first fills the page cache
                seconds[k].append(c.cpu)
                memory[k].append(c.memory)
    return seconds, memory
