#!/usr/bin/env python3
"""Makes applications of the sources of real projects, and checks them.

    tools/projects_check.py BINARY [--only NAME[,NAME]] [--format text|json|markdown]

Sources come from the index that pip is configured for, and from the proxy that
Go is configured for; version and hash are pinned. Each is unpacked, laid out by
`appbundle init` and checked; where init finds nothing that fits, a few written
files and the paths that are taken away make a second layout of it. The text has
the whole difference between the sources and the layout. The status is 1 where
the last layout of a project has an error or a warning.
"""
import argparse
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

from bench_index import JSON, configured
from projects_sources import SOURCES
from projects_work import Failure, output, quietly


def fetch(source, where):
    """Gives the path of the archive, which has the pinned hash."""
    if source.kind == "go":
        told = output(["go", "mod", "download", "-json", f"{source.name}@v{source.version}"])
        path = json.loads(told)["Zip"]
    else:
        index, certificates = configured(sys.executable)
        tls = ssl.create_default_context(cafile=certificates)
        page = f"{index}/{source.name.lower()}/"
        ask = urllib.request.Request(page, headers={"Accept": JSON})
        with urllib.request.urlopen(ask, timeout=60, context=tls) as r:
            files = [f for f in json.load(r)["files"] if f["hashes"].get("sha256") == source.sha256]
        if not files:
            raise Failure(f"the index has no source of {source.name} {source.version} with the pinned hash")
        path = f"{where}/{files[0]['filename']}"
        with urllib.request.urlopen(urllib.parse.urljoin(page, files[0]["url"]), timeout=60, context=tls) as r, open(path, "wb") as f:
            shutil.copyfileobj(r, f)
    with open(path, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != source.sha256:
            raise Failure(f"{os.path.basename(path)} does not have the pinned hash")
    return path


def unpack(binary, archive, where):
    """Unpacks an archive, and gives the directory of the project in it."""
    done = quietly([binary, "--quiet", "unpack", "--no-manifest", archive, where])
    if done.returncode:
        raise Failure(f"unpack: {done.stderr.strip()}")
    while len(os.listdir(where)) == 1:
        where = f"{where}/{os.listdir(where)[0]}"
    return where


def check(binary, app):
    """The findings of check, without their remedies."""
    done = quietly([binary, "check", "--format", "json", app])
    if done.returncode not in (0, 1):
        raise Failure(f"check: status {done.returncode}: {done.stderr.strip()}")
    return [{k: f.get(k) for k in ("rule", "level", "file", "message")} for f in json.loads(done.stdout)["findings"]]


def difference(sources, app):
    """What a layout has that the sources have not, and the other way round."""
    done = quietly(["diff", "-ruN", sources, app], errors="replace")
    if done.returncode > 1:
        raise Failure(f"diff: {done.stderr.strip()}")
    return done.stdout.replace(sources, "a").replace(app, "b")


def write(source, app):
    """Lays a project out by hand: what is taken away, and what is written."""
    for path in source.without:
        (shutil.rmtree if os.path.isdir(f"{app}/{path}") else os.remove)(f"{app}/{path}")
    for path, (mode, text) in source.files.items():
        os.makedirs(os.path.dirname(f"{app}/{path}"), exist_ok=True)
        with open(f"{app}/{path}", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f"{app}/{path}", mode)


def examine(binary, source, where):
    row = {"name": source.name, "version": source.version, "kind": source.framework, "guess": source.guess,
           "layouts": [], "failures": []}
    try:
        sources = unpack(binary, fetch(source, where), f"{where}/sources")
        for by in ["init"] + (["hand"] if source.files or source.without else []):
            app = f"{where}/{by}/{source.name.rpartition('/')[2].lower()}"
            shutil.copytree(sources, app, symlinks=True)
            layout = {"by": by, "said": ""}
            if by == "hand":
                write(source, app)
            if by == "init" or source.init_too:
                done = quietly([binary, "init", app])
                if done.returncode not in (0, 1):
                    raise Failure(f"init: status {done.returncode}: {done.stderr.strip()}")
                layout["said"] = (done.stdout + done.stderr).replace(app + "/", "")
            layout["findings"], layout["difference"] = check(binary, app), difference(sources, app)
            row["layouts"].append(layout)
        row["failures"] += [f"{f['file']}: {f['rule']} {f['message']}" for f in row["layouts"][-1]["findings"]]
    except (Failure, OSError, subprocess.CalledProcessError) as err:
        row["failures"].append(str(err))
    return row


def count(layout, level):
    return sum(f["level"] == level for f in layout["findings"])


def text(row):
    print(f"== {row['name']} {row['version']}")
    for layout in row["layouts"]:
        print(f"-- laid out by {layout['by']}: {count(layout, 'error')} errors, {count(layout, 'warning')} warnings")
        for f in layout["findings"]:
            print(f"   {f['level']} {f['file']}: {f['rule']} {f['message']}")
        print(layout["said"] + layout["difference"])
    for line in row["failures"]:
        print(f"  FAILED {line}")
    sys.stdout.flush()


PAGE = """
## What init and check make of sources

Each row is the source archive of a release, unpacked with `appbundle unpack --no-manifest` and laid out as an application: by `appbundle init`
and, where that finds nothing that fits, by a few files that `tools/projects_sources.py` has. The counts are of `appbundle check`: of what init
made, then of what was written. The applications are checked, and not run. `make projects-check` shows every difference from the sources.
"""


def markdown(rows):
    print(PAGE)
    print("| project | version | what | what init guessed | errors | warnings |")
    print("|" + " --- |" * 6)
    for row in rows:
        levels = [", then ".join(str(count(layout, level)) for layout in row["layouts"]) for level in ("error", "warning")]
        print(f"| {row['name']} | {row['version']} | {row['kind']} | {row['guess']} | {levels[0]} | {levels[1]} |")
    told = [f"* {row['name']}, laid out by {layout['by']}: `{f['file']}`: {f['level']} {f['rule']}, {f['message']}"
            for row in rows for layout in row["layouts"] for f in layout["findings"]]
    print("\nEvery finding:\n\n" + "\n".join(told) if told else "\nThere is no finding.")
    for row in rows:
        for line in row["failures"]:
            print(f"* **failed**: {row['name']}: {line}")


def main():
    ap = argparse.ArgumentParser(description="makes applications of the sources of real projects, and checks them")
    ap.add_argument("binary")
    names = [s.name for s in SOURCES]
    ap.add_argument("--only", default=",".join(names), metavar="NAMES", help="of: " + ", ".join(names))
    ap.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    args = ap.parse_args()
    chosen = args.only.split(",")
    for name in chosen:
        if name not in names:
            ap.error(f"there is no project {name!r}")
    rows = []
    for source in SOURCES:
        if source.name in chosen:
            print(f"examining: {source.name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="projects-") as where:
                rows.append(examine(os.path.abspath(args.binary), source, where))
            if args.format == "text":
                text(rows[-1])
    if args.format == "json":
        json.dump({"format": 1, "projects": rows}, sys.stdout, indent=1)
        print()
    elif args.format == "markdown":
        markdown(rows)
    sys.exit(1 if any(row["failures"] for row in rows) else 0)


if __name__ == "__main__":
    main()
