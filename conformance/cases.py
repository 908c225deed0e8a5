"""Reads the cases below cases/ and lays them out on the disk; README.md says what they mean."""
import base64, gzip, io, json, os, re, tarfile, zipfile
from pathlib import Path

HERE = Path(__file__).parent / "cases"


class Malformed(Exception):
    """A case that this program does not understand: it judges nobody by a half of it."""


class Case:
    """kind is "check", "digest" or "verify"; make(dir) lays the case out and gives its path."""

    def __init__(self, name, kind, make, findings=(), digest="", accept=False):
        self.name, self.kind, self.make = name, kind, make
        self.findings, self.digest, self.accept = list(findings), digest, accept


def load():
    found = []
    for file in sorted(HERE.glob("*/*.txtar")):
        found += directory_cases(file)
    for file in sorted(HERE.glob("*.json")):
        doc = json.loads(file.read_text("utf-8"))
        if doc.get("format") != 1:
            raise Malformed(f"{file.name}: format {doc.get('format')!r}, not 1")
        found += (archive_cases if "archives" in doc else text_cases)(file, doc)
    names = [c.name for c in found]
    if len(set(names)) != len(names):
        raise Malformed("two cases of one name: " + ", ".join(sorted({n for n in names if names.count(n) > 1})))
    return found


def only(where, doc, *keys):
    if unknown := set(doc) - set(keys):
        raise Malformed(f"{where}: unknown key {sorted(unknown)[0]!r}")


# Directories: a txtar, whose comment has the directives.

def txtar(text):
    """The comment, and the files as a dict."""
    parts = re.split(r"(?m)^-- (.*) --\n", text)
    return parts[0], dict(zip(parts[1::2], parts[2::2]))


def words(line):
    """Blanks separate; a word in double quotes is a JSON string, in which \\udcXX is the byte XX."""
    return [json.loads(w) if w[0] == '"' else w for w in re.findall(r'"(?:[^"\\]|\\.)*"|\S+', line)]


def directory_cases(file):
    name = f"{file.parent.name}/{file.stem}"
    comment, files = txtar(file.read_bytes().decode("utf-8"))
    lines = [words(l) for l in comment.splitlines() if l.strip() and not l.startswith("#")]
    base, findings, digest, conforms, steps = None, [], "", False, []
    if lines[:1] != [["format", "1"]]:
        raise Malformed(f"{name}: the first directive is not: format 1")
    for word, *args in lines[1:]:
        if word == "on" and len(args) == 1:
            base = args[0]
        elif word == "conforms" and not args:
            conforms = True
        elif word in ("error", "warning") and len(args) == 2:
            path, _, line = args[1].rpartition(":") if re.search(r":\d+$", args[1]) else (args[1], "", 0)
            findings.append((word, args[0], path, int(line)))
        elif word == "digest" and len(args) == 1:
            digest = args[0]
        elif len(args) == STEPS.get(word, (-1,))[0]:
            steps.append((word, args))
        else:
            raise Malformed(f"{name}: unknown directive {word} with {len(args)} words")
    if not (conforms or findings or digest) or conforms and findings:
        raise Malformed(f"{name}: it has to say either conforms or findings")

    def make(temp):
        return lay_out(os.path.join(temp, "shop"), base, files, steps)
    found = [Case(name, "check", make, findings)] if conforms or findings else []
    return found + ([Case(name + "#digest", "digest", make, digest=digest)] if digest else [])


def lay_out(top, base, files, steps=()):
    """Files of the base, then what steps remove, then the case's own files, then the other steps."""
    os.makedirs(top, exist_ok=True)
    if base:
        comment, below = txtar((HERE / "base" / (base + ".txtar")).read_bytes().decode("utf-8"))
        more = [words(l) for l in comment.splitlines() if l.split(" ")[0] in STEPS]
        lay_out(top, None, below, [(w, a) for w, *a in more])
    for word, args in steps:
        if word == "remove":
            os.remove(os.path.join(top, args[0]))
    for path, text in files.items():
        write(os.path.join(top, path), text.encode("utf-8"))
    for word, args in steps:
        if word != "remove":
            STEPS[word][1](os.path.join(top, args[-1] if word == "mode" else args[0]), *args)
    return top


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o644)


def decode(path):
    data = Path(path).read_bytes()
    write(path, base64.b64decode(data))


STEPS = {  # how many words follow, and what is done
    "remove": (1, None),
    "dir": (1, lambda path, _: os.makedirs(path, 0o755)),
    "link": (2, lambda path, _, target: os.symlink(target, path)),
    "fifo": (1, lambda path, _: os.mkfifo(path, 0o644)),
    "mode": (2, lambda path, mode, _: os.chmod(path, int(mode, 8))),
    "text": (2, lambda path, _, text: write(path, text.encode("utf-8", "surrogateescape"))),
    "base64": (1, lambda path, _: decode(path)),
}


# One file with many texts.

def text_cases(file, doc):
    only(file.name, doc, "format", "about", "on", "file", "rule", "before", "texts")
    for c in doc["texts"]:
        only(f"{file.name}: {c.get('name')}", c, "name", "text", "accept", "line", "prose", "production")
        if type(c["accept"]) is not bool:
            raise Malformed(f"{file.name}: {c['name']}: accept is neither true nor false")
        findings = [] if c["accept"] else [("error", doc["rule"], doc["file"], c.get("line", 0))]

        def make(temp, text=doc.get("before", "") + c["text"]):
            top = lay_out(os.path.join(temp, "shop"), doc["on"], {})
            write(os.path.join(top, doc["file"]), text.encode("utf-8", "surrogateescape"))
            return top
        yield Case(f"{file.stem}/{c['name']}", "check", make, findings)


# Archives: the members of a tar, in a zstd stream that does not compress.

def archive_cases(file, doc):
    only(file.name, doc, "format", "about", "archives")
    for c in doc["archives"]:
        where = f"{file.name}: {c.get('name')}"
        only(where, c, "name", "about", "accept", "members", "as", "again", "end", "after", "cut")
        if type(c["accept"]) is not bool:
            raise Malformed(f"{where}: accept is neither true nor false")
        for m in c["members"]:
            only(where, m, "path", "type", "mode", "text", "times", "json", "base64", "to", "uid", "time")

        if c.get("as", "tar.zst") not in PACKED:
            raise Malformed(f"{where}: as is none of {', '.join(PACKED)}")

        def make(temp, c=c):
            path = os.path.join(temp, "shop-1.0.0-any." + c.get("as", "tar.zst"))
            write(path, archive(c))
            return path
        yield Case(f"{file.stem}/{c['name']}", "verify", make, accept=c["accept"])


TYPES = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE,
         "fifo": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE}


def archive(c):
    data = PACKED[c.get("as", "tar.zst")](c)
    return data[:len(data) - c.get("cut", 0)] + base64.b64decode(c.get("after", ""))


def content(m):
    if "json" in m:
        return json.dumps(m["json"]).encode()
    return (m.get("text", "").encode("utf-8", "surrogateescape") or base64.b64decode(m.get("base64", ""))) * m.get("times", 1)


def mode(m):
    return int(m["mode"], 8) if "mode" in m else {"dir": 0o755, "link": 0o777}.get(m.get("type"), 0o644)


def as_tar(c):
    out = io.BytesIO()
    for m in c["members"]:
        body, info = content(m), tarfile.TarInfo(m["path"])
        info.type, info.linkname, info.size, info.mode = TYPES[m.get("type", "file")], m.get("to", ""), len(body), mode(m)
        info.uid, info.mtime = m.get("uid", 0), m.get("time", 0)
        out.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + body + b"\0" * (-len(body) % 512))
    out.write(b"\0" * c.get("end", 1024))
    return out.getvalue() * (2 if c.get("again") else 1)


def as_zip(c):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for m in c["members"]:
            kind = m.get("type", "file")
            info = zipfile.ZipInfo(m["path"] + "/" * (kind == "dir"))
            info.create_system, info.external_attr = 3, ({"dir": 0o040000, "link": 0o120000}.get(kind, 0o100000) | mode(m)) << 16
            z.writestr(info, m["to"].encode() if kind == "link" else content(m))
    return out.getvalue()


def stored(data):
    """A zstd frame (RFC 8878) of raw blocks, with a window of 2 MiB."""
    blocks = [data[i:i + 0x20000] for i in range(0, len(data), 0x20000)] or [b""]
    head = [(len(b) << 3 | (b is blocks[-1])).to_bytes(3, "little") for b in blocks]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(h + b for h, b in zip(head, blocks))


PACKED = {"tar.zst": lambda c: stored(as_tar(c)), "tar.gz": lambda c: gzip.compress(as_tar(c), mtime=0), "tar": as_tar, "zip": as_zip}
