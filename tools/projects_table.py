"""The rows of `tools/projects`, as text, JSON, or a table for the documents."""
import json
import os
import platform
import sys

from projects_work import output

LINE = "{:16}{:>9}  {:14}{:>10}{:>7}{:>14}{:>7}  {:10}{:15}{}"  # a row of the text


class Table:
    """Collects rows and, as text, prints each as soon as it is known."""

    def __init__(self, form, date):
        self.form, self.date, self.rows, self.failed, self.about = form, date, [], False, {}

    def begin(self, work):
        self.about = {"date": self.date, "python": output([work.python, "-c", "import platform; print(platform.python_version())"]).strip(),
                      "uv": output([*work.uv, "--version"]).split()[1], "pip": output([*work.pip, "--version"]).split()[1],
                      "allow-build": work.builds}
        self.machine = {"processors": os.cpu_count(), "kernel": platform.release(), "arch": platform.machine()}
        if self.form == "text":
            print(f"as on {self.date}, Python {self.about['python']}, uv {self.about['uv']}, pip {self.about['pip']}")
            print(LINE.format("set", "packages", "equal to uv", "lock cold", "warm", "install cold", "warm", "imported", "served by", "interop"))

    def add(self, row):
        self.rows.append(row)
        self.failed = self.failed or bool(row["failures"])
        if self.form == "text":
            self.text(row)

    def text(self, row):
        c = cells(row)
        print(LINE.format(row["set"], *c.values()).rstrip())
        for line in notes(row):
            print(f"    {line}")
        for line in row["failures"]:
            print("  FAILED " + line.replace("\n", "\n    "))
        sys.stdout.flush()

    def end(self):
        if self.form == "json":
            json.dump({"format": 1, **self.about, "machine": self.machine, "sets": self.rows}, sys.stdout, indent=1)
            print()
        elif self.form == "markdown":
            self.markdown()

    def markdown(self):
        a = self.about
        print(PAGE.format(**a, processors=self.machine["processors"], built="is used where a set needs builds" if a["allow-build"] else "is not there yet"))
        head = ["dependencies.txt", "packages", "equal to uv's", "lock, cold", "lock, warm", "install, warm", "imported", "served by", "interop"]
        print("| " + " | ".join(head) + " |")
        print("|" + " --- |" * len(head))
        for row in self.rows:
            c = cells(row)
            names = "<br>".join(f"`{d}`" for d in row["dependencies"])
            print(f"| {names} | {c['packages']} | {c['equal']} | {c['lock cold']} | {c['lock warm']} | {c['install warm']} | "
                  f"{c['imported']} | {c['served']} | {c['interop']} |")
        for row in self.rows:
            told = [f"* {line}" for line in notes(row)] + [f"* **failed**: {line}" for line in row["failures"]]
            if told:
                print(f"\n`{row['dependencies'][0]}`:\n")
                print("\n".join(told))
            if "explanation" in row.get("lock", ()) and not told:
                print(f"\n`{row['dependencies'][0]}` has no solution, and uv finds none:\n\n```\n{row['lock']['explanation'].strip()}\n```")


PAGE = """# Real projects

<!-- Generated: (make -s projects PROJECTS="--interop --format markdown"; make -s projects-check PROJECTS="--format markdown") > docs/PROJECTS.md -->

What `appbundle lock`, `install` and `run` make of applications of real projects, as the index was on {date}: with Python {python},
beside uv {uv} and pip {pip}, on {processors} shared processors. Each row is an application directory with these lines in
`dependencies.txt` and a small entrypoint that uses them.

* *equal to uv's*: versions that are those of `uv pip compile`, over three targets: the two default ones and the host. Where a version
  differs, the rule of [0023](decisions/0023-where-resolve-differs.md) that explains it is named below. `--allow-build` {built}.
* *lock* is for the two default targets, *install* for the host; seconds of wall time, cold with an empty cache, warm the median of three
  without the lock or the environment.
* *imported*: modules that `.appbundle/env/bin/python` imports. *served by*: `appbundle run` answered an HTTP request through that server,
  and ended with status 0 after TERM.
* *interop*: ways between tools that install the same versions: pip and uv install our `pylock.toml`, pip installs our `export requirements`
  with `--require-hashes`, and we install the locks of `pip lock` and of `uv pip compile`.
"""


def cells(row):
    """The columns of a row, "" where there is nothing to say."""
    c = dict.fromkeys(("packages", "equal", "lock cold", "lock warm", "install cold", "install warm", "imported", "served", "interop"), "")
    if "lock" in row:
        c["lock cold"], c["lock warm"] = f"{row['lock']['cold']:.2f}", f"{row['lock']['warm']:.2f}"
    if "targets" in row:
        host = row["targets"][-1]
        c["packages"] = str(host["packages"] or "")
        n, of = sum(t["equal"] for t in row["targets"]), sum(t["packages"] for t in row["targets"])
        c["equal"] = f"{n} of {of}" if of else "no solution" if not host["differences"] else "see below"
    if "install" in row:
        c["install cold"], c["install warm"] = f"{row['install']['cold']:.2f}", f"{row['install']['warm']:.2f}"
        c["imported"] = f"{len(row['install']['imported'])} of {len(row['install']['imported'])}"
    if row.get("served"):
        c["served"] = row["served"]["server"]
    if "interop" in row:
        c["interop"] = f"{sum(v == 'equal' for v in row['interop'].values())} of {len(row['interop'])}"
    return c


def notes(row):
    """What a rule explains, a line for all targets."""
    said = {}
    for t in row.get("targets", ()):
        for d in t["differences"]:
            if d["rule"]:
                said.setdefault(f"{d['name']} is {d['ours']}, uv's is {d['uv']}; {d['rule']}", []).append(t["target"])
    return [f"{', '.join(targets)}: {text}" for text, targets in said.items()]
