#!/usr/bin/env python3
"""Compares the ABNF of docs/STANDARD.md with the cases: what has to be accepted fits the grammar, and what has to be
refused does not, but for the texts that are marked "prose", which a sentence of the standard refuses.

usage: grammar.py

It needs the module abnf, which reads RFC 5234 and RFC 7405.
"""
import json, re, sys

import abnf

import cases
import reference


class Grammar(abnf.Rule):
    """The rules of the standard."""


def blocks():
    return re.findall(r"(?ms)^```abnf\n(.*?)^```$", reference.STANDARD.read_text("utf-8"))


def fits(rule, text):
    try:
        Grammar(rule).parse_all(text)
        return True
    except abnf.ParseError:
        return False


def texts():
    """name, production, what is to be parsed, and whether it has to fit."""
    for file in sorted(cases.HERE.glob("*.json")):
        doc = json.loads(file.read_text("utf-8"))
        for c in doc.get("texts", ()):
            name, fit = f"{file.stem}/{c['name']}", c["accept"] or c.get("prose", False)
            if doc["file"] == "app.ini":
                if c.get("production") == "app-ini":
                    yield name, "app-ini", [c["text"]], fit
                elif "production" in c:
                    yield name, c["production"], [c["text"].splitlines()[-1].partition("=")[2].strip()], fit
                continue
            production = {"dependencies.txt": "dependency", "external-dependencies.txt": "external"}[doc["file"]]
            data = c["text"].encode("utf-8", "surrogateescape")
            lines = [line for _, line in reference.logical_lines(data, production == "dependency")]
            hides = None in lines and not c.get("prose")
            yield name, production, ["\0" if hides else line for line in lines if hides or line], fit
    for file in sorted(cases.HERE.glob("*/*.txtar")):
        _, files = cases.txtar(file.read_text("utf-8"))
        for line in files.get(".appbundleignore", "").splitlines():
            yield f"{file.parent.name}/{file.stem}", "ignore-line", [line], line != "[ab"
    sample = re.search(r"(?ms)^\$ sha256sum <<'END'\n(.*?)^> END$", reference.STANDARD.read_text("utf-8"))[1].replace("> ", "")
    yield "the digest's example", "list", [sample], True
    yield "a list without its end", "list", [sample[:-1]], False
    yield "an upper-case digest", "digest", ["ab1:" + "A" * 64], False
    for target, fit in {"any": True, "linux_x86_64": True, "cp311-linux_aarch64": True, "cp313t-musllinux_1_2_x86_64": True,
                        "linux": False, "ANY": False, "win_amd64": False}.items():
        yield f"the target {target}", "archive-name", [f"my-shop-1.0.0-rc.1-{target}.tar.zst"], fit
        yield f"a delta for {target}", "delta-name", [f"my-shop-1.0.0-rc.1-{target}.from-0.9.0.zip"], fit


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__.split("\n")[3])
    Grammar.load_grammar("".join(blocks()).replace("\n", "\r\n"))
    count, wrong, used = 0, 0, set()
    for name, production, lines, fit in texts():
        count += 1
        used.add(production)
        if all(fits(production, line) for line in lines) != fit:
            wrong += 1
            print(f"{name}: {'does not fit' if fit else 'fits'} the production {production}")
    print(f"{count} texts, {len(used)} productions, {wrong} differences", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
