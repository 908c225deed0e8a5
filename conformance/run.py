#!/usr/bin/env python3
"""Judges an implementation of the appbundle standard by the cases beside this file.

usage: run.py [--digest COMMAND] [--verify COMMAND] [--rules LIST] [--skip GLOB]... [--only GLOB]... [--format text|json] -- COMMAND...

COMMAND checks a directory and prints its report as JSON; README.md says what it has to print, and what the
other two commands are. Prints a line for each case that failed. Ends with 0 when no case failed, 1 when one
did, 2 when it could not judge: wrong arguments, a case that it does not understand, a command that is not there.
"""
import argparse, concurrent.futures, fnmatch, json, os, shlex, shutil, subprocess, sys, tempfile

import cases


def run(command, path, temp):
    """Runs a command with the path for {}, or as its last argument."""
    out = os.path.join(temp, "out", "")
    argv = [w.replace("{}", path).replace("{out}", out) for w in command]
    argv += [] if any("{}" in w for w in command) else [path]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


def findings(done):
    """What a report says, as far as README.md demands it."""
    doc = json.loads(done.stdout)
    if doc["format"] != 1:
        raise ValueError(f"format {doc['format']!r}")
    return [(f["level"], f["rule"], f.get("file", ""), f.get("line", 0)) for f in doc["findings"]]


def show(f):
    return f"{f[0]} {f[1]} {f[2]}" + (f":{f[3]}" if f[3] else "")


def fits(got, want):
    """The same level, rule and file; "-" stands for a name that is not shown as it is."""
    return got[:2] == want[:2] and want[2] in ("-", got[2])


def judge_findings(case, done, rules):
    try:
        every = findings(done)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        return f"no report of format 1 ({err!r}); status {done.returncode}, {done.stderr[-200:]!r}"
    got = [f for f in every if rules is None or f[1] in rules]
    for want in case.findings:
        if not any(fits(f, want) and want[3] in (0, f[3]) for f in got):
            return f"no {show(want)}, but {'; '.join(map(show, got)) or 'nothing'}"
    for f in got:
        if not any(fits(f, want) for want in case.findings):
            return f"{show(f)} is too much"
    want = int(any(f[0] == "error" for f in every))
    return "" if done.returncode == want else f"the status is {done.returncode}, and the report says {want}"


def judge_digest(case, done, _):
    got = done.stdout.decode(errors="replace").split()[:1]
    return "" if got == [case.digest] and done.returncode == 0 else \
        f"the digest is {case.digest}, not {got}; status {done.returncode}, {done.stderr[-200:]!r}"


def judge_archive(case, done, _):
    want = 0 if case.accept else 1
    return "" if done.returncode == want else \
        f"has to be {'accepted' if case.accept else 'refused'}; status {done.returncode}, {done.stderr[-200:]!r}"


JUDGES = {"check": judge_findings, "digest": judge_digest, "verify": judge_archive}


def judge(case, commands, rules):
    """The result and why: passed, failed, or left out."""
    if not commands[case.kind]:
        return "left out", f"no --{case.kind}"
    if rules is not None and any(f[1] not in rules for f in case.findings):
        return "left out", "of a rule that is not asked for"
    with tempfile.TemporaryDirectory() as temp:
        try:
            why = JUDGES[case.kind](case, run(commands[case.kind], case.make(temp), temp), rules)
        except subprocess.TimeoutExpired:
            why = "has no end"
    return ("failed", why) if why else ("passed", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], usage=__doc__.split("usage: ")[1].split("\n")[0])
    for name in ("--digest", "--verify"):
        parser.add_argument(name, type=shlex.split)
    parser.add_argument("--rules", type=lambda s: s.split(","))
    for name in ("--skip", "--only"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    commands = {"check": args.command, "digest": args.digest, "verify": args.verify}
    for command in filter(None, commands.values()):
        if not shutil.which(command[0]):
            parser.error(f"there is no command {command[0]}")
    try:
        every = cases.load()
    except (cases.Malformed, OSError, ValueError, KeyError, TypeError) as err:
        parser.error(f"cases that it does not understand: {err}")
    matches = lambda case, globs: any(fnmatch.fnmatchcase(case.name, g) for g in globs)
    chosen = [c for c in every if (not args.only or matches(c, args.only)) and not matches(c, args.skip)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda c: (c.name, *judge(c, commands, args.rules)), chosen))
    count = {r: sum(got == r for _, got, _ in results) for r in ("passed", "failed", "left out")}
    count["left out"] += len(every) - len(chosen)
    if not count["passed"] + count["failed"]:
        parser.error("no case is left to judge")
    if args.format == "json":
        print(json.dumps({"format": 1, "cases": len(every), "passed": count["passed"], "failed": count["failed"], "left_out": count["left out"],
                          "results": [{"case": n, "result": r, "why": why} for n, r, why in results]}, indent=2))
    else:
        for name, result, why in results:
            if result == "failed":
                print(f"{name}: {why}")
    print(f"{len(every)} cases: " + ", ".join(f"{n} {r}" for r, n in count.items()), file=sys.stderr)
    return int(count["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
