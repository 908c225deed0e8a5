"""Locks an app, and compares each version with that of `uv pip compile`."""
import os
import tomllib

from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version
from projects_work import Failure, median, quietly, remove, timed

# A target by the platform that appbundle and uv call it, with its machine.
TARGETS = {"manylinux_2_28_x86_64": ("x86_64-manylinux_2_28", "x86_64"), "manylinux_2_28_aarch64": ("aarch64-manylinux_2_28", "aarch64")}

# The rules of docs/decisions/0023-where-resolve-differs.md that explain a
# difference which the two answers show by themselves.
NO_BUILD = "no build without permission: {name} {version} has no wheel for this target"
PRERELEASE = "pre-releases named by a dependency come after finals: {name} {version} is a pre-release"


def lock(work, chosen, app):
    """Locks for the default targets, with an empty cache and with a full one."""
    args = ["--exclude-newer", work.date, "--python", work.version]
    if chosen.build and work.builds:
        args.append("--allow-build")
    want = 1 if chosen.conflict or (chosen.build and not work.builds) else 0
    cold, said = timed(lambda: work.run("lock", app, *args, want=want))
    warm = median(work.rounds, lambda: remove(app + "/pylock.toml"), lambda: work.run("lock", app, *args, want=want))
    if want == 0:
        return {"answer": "versions", "args": args, "cold": cold, "warm": warm}
    said = "\n".join(line for line in said.splitlines() if not line.startswith("lock: "))
    explained(chosen, said)
    return {"answer": "no", "args": args, "cold": cold, "warm": warm, "explanation": said}


def explained(chosen, said):
    """A contradiction is told in 15 lines that name the lines of the user."""
    lines = said.splitlines()
    if len(lines) > 15:
        raise Failure(f"the explanation has {len(lines)} lines:\n{said}")
    for part in chosen.conflict:
        if part not in said:
            raise Failure(f"the explanation does not name {part!r}:\n{said}")


def compare(work, chosen, app, locked):
    """Compares the answers for the default targets and for this host."""
    rows = [one(work, chosen, app, locked, platform, *TARGETS[platform]) for platform in TARGETS]
    if locked["answer"] == "versions":
        remove(app + "/pylock.toml")  # nothing is locked for other targets
        work.run("lock", app, *locked["args"], "--platform", "host", "--python", work.python)
    rows.append(one(work, chosen, app, locked, "host", None, os.uname().machine))
    return rows


def one(work, chosen, app, locked, target, platform, machine):
    """Compares the answers for one target."""
    theirs = uv_lock(work, app, platform)
    row = {"target": target, "packages": 0, "equal": 0, "differences": []}
    if locked["answer"] == "no":
        if chosen.conflict:
            if theirs is not None:
                raise Failure(f"{target}: uv finds an answer where there is none")
            return row
        if theirs is None:
            return row
        built = [p for p in theirs.values() if not has_wheel(p, work.version, platform, machine)]
        rule = NO_BUILD.format(**built[0]) if built else ""
        row["differences"].append({"name": "the answer", "ours": "no", "uv": f"{len(theirs)} packages", "rule": rule})
        return row
    if theirs is None:
        raise Failure(f"{target}: uv finds no answer")
    may_build = chosen.build and work.builds
    ours = our_versions(app + "/pylock.toml", work, machine)
    for name in sorted(ours.keys() | theirs.keys()):
        version = theirs[name]["version"] if name in theirs else None
        if ours.get(name) != version:
            rule = rule_of(theirs.get(name), ours.get(name), lambda p: not may_build and not has_wheel(p, work.version, platform, machine))
            row["differences"].append({"name": name, "ours": ours.get(name), "uv": version, "rule": rule})
    row["packages"] = len(ours)
    row["equal"] = sum(name in theirs and theirs[name]["version"] == version for name, version in ours.items())
    return row


def rule_of(theirs, ours, forbidden):
    """Gives the rule that explains a difference, "" where none is known."""
    if theirs and forbidden(theirs):
        return NO_BUILD.format(**theirs)
    if theirs and ours and Version(theirs["version"]).is_prerelease != Version(ours).is_prerelease:
        return PRERELEASE.format(**theirs)
    return ""


def uv_lock(work, app, platform):
    """Gives uv's packages by name, None where it finds no answer."""
    out = f"{work.dir}/uv/pylock.toml"
    os.makedirs(os.path.dirname(out), exist_ok=True)
    remove(out)
    argv = [*work.uv, "pip", "compile", "--quiet", "--python", work.python, "--exclude-newer", work.date, "--cache-dir", work.dir + "/uv-cache",
            "--no-header", "--format", "pylock.toml", "-o", out, app + "/dependencies.txt"]
    if platform:
        argv += ["--python-platform", platform, "--python-version", work.version]
    done = quietly(argv)
    if done.returncode == 1 and "No solution found" in done.stderr:
        return None
    if done.returncode != 0:
        raise Failure(f"uv: {done.stderr.strip()}")
    return {canonicalize_name(p["name"]): p for p in read(out)}


def read(path):
    with open(path, "rb") as f:
        return tomllib.load(f).get("packages", [])


def our_versions(path, work, machine):
    """Gives the versions of a lock for one target, by name."""
    env = {"platform_machine": machine, "sys_platform": "linux", "python_version": work.version, "platform_system": "Linux"}
    return {canonicalize_name(p["name"]): p["version"] for p in read(path) if "marker" not in p or Marker(p["marker"]).evaluate(env)}


def has_wheel(package, python, platform, machine):
    """Reports whether a locked package has a wheel for a target."""
    glibc = int(platform.rpartition("_")[2]) if platform else 40
    minor = tuple(int(n) for n in python.split("."))
    platforms = [f"manylinux_2_{n}_{machine}" for n in range(glibc, 4, -1)]
    platforms += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    tags = {*cpython_tags(minor, platforms=platforms), *compatible_tags(minor, "cp" + python.replace(".", ""), platforms)}
    names = [w.get("name") or w["url"].rpartition("/")[2] for w in package.get("wheels", [])]
    return any(parse_wheel_filename(name)[3] & tags for name in names)
