#!/usr/bin/env python3
"""A checker of appbundle directories that was written from docs/STANDARD.md alone.

usage: reference.py check DIR | digest DIR

It covers the files, the grammars of dependencies.txt and external-dependencies.txt, the keys of app.ini, the
entrypoint, links, names, types and the digest: what the text says about these is enough to write a program.
It shows no mercy to slow inputs and no remedies; "appbundle check" is for production.
"""
import ast, hashlib, json, os, re, stat, sys, unicodedata
from pathlib import Path

STANDARD = Path(__file__).resolve().parent.parent / "docs" / "STANDARD.md"
ENTRYPOINTS = ("bin/app", "bin/app.py", "bin/wsgiapp", "bin/wsgiapp.py")
LEFT_OUT = ".git .hg .svn .venv venv node_modules .tox .nox .mypy_cache .pytest_cache .ruff_cache".split()
FILES = ("dependencies.txt", "external-dependencies.txt", "app.ini")
LIMIT = 4 << 20


# What belongs to an application, and its identity.

def glob(pattern):
    """A pattern of .appbundleignore, without "!" and the slashes at its ends, as a regular expression."""
    out, i = "", 0
    while i < len(pattern):
        start = i == 0 or pattern[i - 1] == "/"
        cls = re.match(r"\[([!^]?)(\]?(?:\[:\w+:\]|\\.|[^\]\\])*)\]", pattern[i:], re.S)
        if start and pattern.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif start and pattern[i:] == "**":
            out, i = out + ".+", i + 2
        elif pattern[i] == "*":
            out, i = out + "[^/]*", i + len(re.match(r"\*+", pattern[i:])[0])
        elif pattern[i] == "[":
            if not cls:
                return None
            inside = cls[2].replace("[:digit:]", "0-9").replace("[:alpha:]", "A-Za-z").replace("[", r"\[")
            inside = r"\]" + inside[1:] if inside.startswith("]") else inside
            out, i = out + f"(?!/)[{'^' if cls[1] else ''}{inside}]", i + len(cls[0])
        else:
            i += pattern[i] == "\\"
            if i == len(pattern):
                return None
            out, i = out + ("[^/]" if pattern[i] == "?" and pattern[i - 1:i] != "\\" else re.escape(pattern[i])), i + 1
    return re.compile(out + r"\Z", re.S)


def ignore(top):
    """A function that says whether a path is named by .appbundleignore."""
    patterns = []
    file = os.path.join(top, ".appbundleignore")
    for line in re.split("\r?\n", open(file, encoding="utf-8-sig").read() if os.path.exists(file) else ""):
        line = re.sub(r"(?<!\\) +$", "", line)
        if line and line[0] != "#":
            keep, line = line[0] == "!", line.removeprefix("!")
            body = line.removesuffix("/")
            if body.strip("/") and (regex := glob(body.removeprefix("/"))):
                patterns.append((regex, keep, line.endswith("/"), "/" in body))

    def named(path, is_dir):
        for regex, keep, dirs, whole in reversed(patterns):
            if (is_dir or not dirs) and regex.match(path if whole else path.rpartition("/")[2]):
                return not keep
        return False
    return named


def listing(top):
    """path -> lstat, of what belongs to the application."""
    found, named = {}, ignore(top)

    def walk(directory):
        for name in os.listdir(os.path.join(top, directory)):
            path = os.path.join(directory, name)
            st = os.lstat(os.path.join(top, path))
            in_env = path.startswith(".appbundle/env/")
            if name == "__pycache__" or name.endswith(".pyc") or path in (".appbundle/manifest.json", ".appbundle/sbom.cdx.json") \
                    or (path.startswith(".appbundle/env/bin/python") if in_env else name in LEFT_OUT) \
                    or named(path, stat.S_ISDIR(st.st_mode)):
                continue
            found[path] = st
            if stat.S_ISDIR(st.st_mode):
                walk(path)
    walk("")
    if not any(p.startswith(".appbundle/") for p in found):
        found.pop(".appbundle", None)
    own = re.compile(re.escape(app_name(top)) + r"-[0-9][^/]*-(any|(cp3[0-9]+t?-)?(linux|musllinux_\d+_\d+)_[a-z0-9_]+)(\.from-[0-9][^/]*)?\.(tar\.zst|tar\.gz|zip|tar)(\.minisig)?")
    for path in [p for p in found if own.fullmatch(p.rpartition("/")[2]) and stat.S_ISREG(found[p].st_mode)]:
        del found[path]
        while (path := path.rpartition("/")[0]) and not any(p.startswith(path + "/") for p in found):
            del found[path]
    return found


def app_name(top):
    name = dict(k for _, s, k, _ in settings(read(top, "app.ini")) if s == "app").get("name") or os.path.basename(os.path.abspath(top))
    return re.sub("[-_.]+", "-", name).lower()


def digest(top):
    lines = []
    for path, st in sorted(listing(top).items(), key=lambda e: os.fsencode(e[0])):
        full, quoted = os.path.join(top, path), json.dumps(path, ensure_ascii=False)
        if stat.S_ISDIR(st.st_mode):
            lines.append(f"d {quoted}\n")
        elif stat.S_ISLNK(st.st_mode):
            lines.append(f"l {quoted} {json.dumps(os.readlink(full), ensure_ascii=False)}\n")
        else:
            content = Path(full).read_bytes()
            lines.append(f"f {'x' if st.st_mode & 0o100 else '-'} {hashlib.sha256(content).hexdigest()} {len(content)} {quoted}\n")
    return "ab1:" + hashlib.sha256("".join(lines).encode()).hexdigest()


# The grammars. The names are those of the ABNF.

NAME = "[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
EXTRAS = rf"\[[ \t]*(?:{NAME}(?:[ \t]*,[ \t]*{NAME})*[ \t]*)?\]"
BARE = r"(?:\d+!)?\d+(?:\.\d+)*(?:[._-]?(?:alpha|a|beta|b|preview|pre|c|rc)(?:[._-]?\d+)?)?(?:-\d+|[._-]?(?:post|rev|r)" \
       r"(?:[._-]?\d+)?)?(?:[._-]?dev(?:[._-]?\d+)?)?"
VERSION = f"v?{BARE}"
LOCAL = r"(?:\+[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)?"
SPECIFIER = rf"(?:[=!]=[ \t]*(?:v?(?:\d+!)?\d+(?:\.\d+)*\.\*|{VERSION}{LOCAL})|(?:<=|>=|<|>|~=(?=[ \t]*v?(?:\d+!)?\d+\.\d))[ \t]*{VERSION}|===[ \t]*[!-\"$-(*+\--:<-~]+)"
SPECIFIERS = rf"(?i:{SPECIFIER}(?:[ \t]*,[ \t]*{SPECIFIER})*(?:[ \t]*,)?)"
VERSIONS = {f"{kind}_{n}" for kind, n in (("python", "version"), ("python", "full_version"), ("implementation", "version"), ("platform", "release"))}
WORDS = {f"platform_{n}" for n in ("system", "version", "machine", "python_implementation")} | {"os_name", "sys_platform", "implementation_name", "extra"}
OPERAND = rf"(?:(?<!\w)(?:{'|'.join(sorted(VERSIONS | WORDS, reverse=True))})(?!\w)|\"[^\"\\]*\"|'[^'\\]*')"
COMPARISON = re.compile(rf"({OPERAND})[ \t]*(===|==|~=|!=|<=|>=|<|>|in(?!\w)|not[ \t]*in(?!\w))[ \t]*({OPERAND})")
URL_CHARS = "[^\\s\"<>`\\x7f-\U0010ffff]"
WHEEL_NAME = rf"({NAME})-{VERSION}{LOCAL}(?:-\d\w*)?(?:-[A-Za-z0-9_.]+){{3}}\.whl"
HASH = r"(?:sha256[:=][0-9A-Fa-f]{64}|sha384[:=][0-9A-Fa-f]{96}|sha512[:=][0-9A-Fa-f]{128})"
GO = r"go:[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/(?:\.*[A-Za-z0-9_~-])+)*"
NPM = r"npm:(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*"
PARTIAL = r"v?(?:[xX*]|\d+)(?:\.(?:[xX*]|\d+)(?:\.(?:[xX*]|\d+)(?:-[A-Za-z0-9.-]+)?(?:\+[A-Za-z0-9.-]+)?)?)?"
CONDITION = rf"(?:(?:=|!=|>=|=>|<=|=<|<|>|~>|~|\^)?[ \t]*{PARTIAL})"
CONDITIONS = rf"(?:{CONDITION}(?:(?:[ \t]*,[ \t]*|[ \t]+){CONDITION})*|{PARTIAL}[ \t]+-[ \t]+{PARTIAL})"
RANGE = rf"{CONDITIONS}(?:[ \t]*\|\|[ \t]*{CONDITIONS})*"
SETTING = re.compile(r"(--index-url|--extra-index-url|--find-links|--no-binary|--only-binary)(?:=|[ \t]+)([^\s\"'\\=][^\s\"'\\]*)"
                     r"|(-i|-f)[ \t]+([^\s\"'\\=][^\s\"'\\]*)|(?:--no-index|--prefer-binary|--pre|--require-hashes)(?![^ \t])")

INCLUDE = r"(?:(?:--requirement|--constraint)(?:=|[ \t]+)|(?:-r|-c)[ \t]+)([^\s=]\S*)"


def fits(pattern, text):
    return re.fullmatch(pattern, text, re.S)


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


def is_marker(text):
    def one(m):
        return "\0" if {m[1], m[3]} & (VERSIONS | WORDS) and (m[2] not in ("~=", "===") or m[1] in VERSIONS) else "?"
    text = COMPARISON.sub(one, text)
    group = r"\0(?:[ \t]*(?:and|or)[ \t]*\0)*"
    while re.search(rf"\([ \t]*{group}[ \t]*\)", text):
        text = re.sub(rf"\([ \t]*{group}[ \t]*\)", "\0", text)
    return bool(fits(rf"[ \t]*{group}[ \t]*", text))


def is_url(text, secure=True):
    """No secret in it, and https, http with a hash or on the loopback interface, or git at a commit."""
    m = fits(rf"(https|http|git\+https|git\+ssh)://([^/]*@)?([^/@:]+)({URL_CHARS}*)", text)
    if not m or not fits(f"{URL_CHARS}+", text):
        return False
    user, _, password = (m[2] or "")[:-1].partition(":")
    secret = "" if m[1] == "git+ssh" and not password else password or user
    if re.sub(r"\$\{[A-Z0-9_]+\}", "", secret):
        return False
    if m[1].startswith("git"):
        return bool(fits(r"[^#]+@[0-9a-f]{40}(#.*)?", text))
    return m[1] == "https" or not secure or m[3] in ("localhost", "127.0.0.1") or bool(re.search(rf"[#&]{HASH.replace('[:=]', '=')}", text))


def is_inside(path):
    return not path.startswith(("/", "file:")) and not os.path.normpath(path).startswith("..") and "${" not in path


def is_reference(text, name, hashed):
    if not re.match(r"[a-z+]+:", text):
        wheel = fits(r"(?:\./)?(?:[\w.+!-]+/)*([\w.+!-]+\.whl)", text)
        if not wheel or not is_inside(text):
            return False
        base = wheel[1]
    else:
        if not is_url(text, secure=not hashed):
            return False
        base = re.sub("[?#].*", "", text).rpartition("/")[2]
    if base.endswith(".whl"):
        wheel = fits(f"(?i:{WHEEL_NAME})", base)
        return bool(wheel) and (name is None or normal(wheel[1]) == normal(name))
    return True


def is_requirement(text, hashed):
    direct = fits(rf"({NAME})(?:[ \t]*{EXTRAS})?[ \t]*@[ \t]*(\S+)(?:[ \t]+;(.*))?", text)
    if direct:
        return is_reference(direct[2], direct[1], hashed) and (direct[3] is None or is_marker(direct[3]))
    named = fits(rf"{NAME}(?:[ \t]*{EXTRAS})?(?:[ \t]*(?:{SPECIFIERS}|\([ \t]*{SPECIFIERS}[ \t]*\)))?(?:[ \t]*;(.*))?", text)
    if named:
        return named[1] is None or is_marker(named[1])
    bare = fits(r"(\S+)(?:[ \t]+;[ \t]+(.*))?", text)
    return bool(bare) and (bare[2] is None or is_marker(bare[2])) and is_reference(bare[1], None, hashed)


def is_dependency(line):
    if line.startswith(("go:", "npm:")):
        return fits(rf"(?:{GO}|{NPM})(?:[ \t]+{RANGE})?", line)
    if include := fits(INCLUDE, line):
        return is_inside(include[1]) and "://" not in include[1]
    if line.startswith("-"):
        rest = SETTING.sub(lambda m: "" if is_setting(m) else "?", line)
        return not rest.strip()
    m = fits(rf"(.*?)((?:[ \t]+--hash(?:=|[ \t]+){HASH.replace('[:=]', ':')})*)", line)
    return is_requirement(m[1], bool(m[2]))


def is_setting(m):
    value = m[2] or m[4] or ""
    if m[1] in ("--no-binary", "--only-binary"):
        return all(v in (":all:", ":none:") or fits(NAME, v) for v in value.split(","))
    if m[1] == "--find-links" or m[3] == "-f":
        return is_url(value) if "://" in value else is_inside(value)
    return not value or value.startswith("http") and is_url(value)


DEP_TYPES = set("alpm apk bazel bitbucket bitnami brew cargo chrome-extension cocoapods composer conan conda cpan cran deb docker gem generic github gitlab golang hackage hex "
                "huggingface julia luarocks maven mlflow npm nuget oci opam otp pub pypi qpkg rpm swid swift vscode-extension yocto".split())


def is_identifier(text):
    part, compare = r"(?:[A-Za-z0-9._~+:-]|%[0-9A-Fa-f]{2})+", rf"(?i:(?:>=|>|<=|<)[ \t]*{VERSION}|==[ \t]*(?:{VERSION}{LOCAL}|v?(?:\d+!)?\d+(?:\.\d+)*\.\*))"
    m = fits(rf"dep:([A-Za-z0-9-]+)/({part}(?:/{part})*)(?:@[ \t]*(?:{part}|{compare}(?:[ \t]*,[ \t]*{compare})*))?(?:\?([^#]*))?(?:#/*({part}(?:/{part})*)/*)?", text)
    if not m:
        return False
    kind, parts, fields = m[1].lower(), m[2].split("/"), m[3].split("&") if m[3] is not None else []
    decoded = [re.sub(b"%(..)", lambda x: bytes([int(x[1], 16)]), p.encode()) for p in parts + (m[4] or "x").split("/")]
    if any(d in (b".", b"..") or b"/" in d or HIDDEN.search(d.decode("utf-8", "surrogateescape")) for d in decoded) or len(parts) > 20:
        return False
    keys = [f.partition("=")[0] for f in fields]
    if len(set(keys)) < len(keys) or not all(fits(rf"[a-z][a-z0-9._-]*=(?:/|{part})+", f) for f in fields):
        return False
    if kind == "virtual":
        return bool(fits("(?:compiler|interface)/[a-z0-9][a-z0-9._+-]*", m[2]))
    return kind in DEP_TYPES and (kind not in ("bitbucket", "github", "gitlab") or len(parts) > 1)


def is_external(line):
    head, semicolon, marker = line.partition(";")
    name = r"[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+])?(?:\([A-Za-z_][A-Za-z0-9_+:-]*\))?"
    named = rf"{name}(?:[ \t]*(?:{SPECIFIERS}|\([ \t]*(?:{SPECIFIERS}|(?i:{BARE}))[ \t]*\)))?"
    head = head.rstrip(" \t")
    return bool(is_identifier(head) if head.startswith("dep:") else fits(named, head)) and (not semicolon or is_marker(marker))


# Lines.

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\udc80-\udcff]")


def lines(data):
    """(number, text), with None for a line that hides something."""
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        yield number, None if HIDDEN.search(line.replace("\t", "")) else line


def logical_lines(data, joined):
    """The lines of a dependency file without comments; None for one that must not be."""
    number, before = 0, ""
    for n, line in lines(data):
        number = number if before else n
        if line is None or before and re.match(r"[ \t]*#", line):
            yield n, None
            before = ""
            continue
        if joined and line.endswith("\\") and not re.match(r"[ \t]*#", line):
            before += line.rstrip("\\")
            continue
        line, before = re.sub(r"(^|[ \t])#.*", "", before + line).strip(" \t"), ""
        if line:
            yield number, line


def read(top, path):
    try:
        return Path(top, path).read_bytes()
    except OSError:
        return b""


# app.ini

KEYS = set(re.findall(r"^\| `\[(\w+)\]` \| `([^`]+)`", STANDARD.read_text("utf-8"), re.M))


def settings(data):
    """(line, section, (key, value), complaint), once for each line of a value; the key of a header is empty."""
    section, key, seen = None, None, {}
    for n, line in lines(data):
        if line is None:
            yield n, section, ("", ""), "hides something"
        elif not line.strip() or line.strip()[0] in "#;":
            continue
        elif line[0] in " \t":
            yield n, section, (key[1], line.strip()) if key else ("", ""), "" if key else "continues nothing"
        elif line[0] == "[":
            m = fits(r"\[([^\]]*)\][ \t]*([#;].*)?", line)
            name, key = m[1].strip() if m else "", None
            yield n, name, ("", ""), "" if m and name not in seen else "no section, or twice"
            section, seen[name] = name, True
        else:
            m = fits(r"([^=:]*[^=: \t])[ \t]*[=:](.*)", line)
            key = m and (section, m[1])
            yield n, section, (m[1], m[2].strip()) if m else ("", ""), "" if m and section is not None and key not in seen else "no setting, or twice"
            seen[key] = True


def is_output(top):
    """A function that says whether the command of [build] is to make a path."""
    outputs = [v for _, s, (key, v), _ in settings(read(top, "app.ini")) if (s, key) == ("build", "outputs") and v]
    return lambda path: any(glob(o.strip("/")).match(path) for o in outputs)


def app_ini(top):
    """The lines of app.ini that break AB006 by what a section or key is called."""
    for n, section, (key, _), why in settings(read(top, "app.ini")):
        kind, colon, item = (section or "").partition(":")
        known = section in ("app", "build", "package", "supervisor", "check", "env") if not colon else \
            kind == "env" and item.strip() or kind in ("watcher", "socket") and fits(r"[A-Za-z0-9_.-]{1,64}", item.strip())
        if key and kind == "env":
            known = known and fits("[A-Za-z_][A-Za-z0-9_]*", key)
        elif key:
            known = known and (kind, re.sub("^rlimit_.*", "rlimit_NAME", re.sub(r"^AB\d{3}$", "ABNNN", key))) in KEYS
        if why or not known:
            yield n


# The rules.

def follow(entries, top, directory, target, hops=0):
    """Where a target leads: a path and whether something is there; None where it must not lead."""
    if hops > 40 or target.startswith("/") or not target:
        return None
    at, there = directory, True
    for part in target.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not there or at == "" or not stat.S_ISDIR(entries[at].st_mode):
                return None
            at = os.path.dirname(at)
            continue
        at = os.path.join(at, part)
        there = there and at in entries
        if there and stat.S_ISLNK(entries[at].st_mode):
            led = follow(entries, top, os.path.dirname(at), os.readlink(os.path.join(top, at)), hops + 1)
            if led is None:
                return None
            at, there = led
    return at, there


def has_bad_name(path):
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return bool(re.search("[\x00-\x1f\x7f-\x9f\\\\\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", path)) or bool(re.match("[A-Za-z]:", path)) \
        or any(len(part.encode()) > 255 for part in path.split("/")) or len(path.encode()) > 4096 or path.count("/") >= 100


def binds_application(source):
    """Whether the tokens of a script bind application outside of every def and class."""
    def names(node):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((a.asname or a.name.partition(".")[0]).replace("*", "application") for a in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        for child in ast.iter_child_nodes(node):
            yield from names(child)
    try:
        return "application" in names(ast.parse(source))
    except (SyntaxError, ValueError):
        return False


def is_script(path, first, source):
    """Whether the entrypoint is a script: by its name, its first line, or what it binds."""
    if path.endswith(".py"):
        return True
    if first.startswith(b"#!"):
        return any(fits(rb"python(\d+(\.\d+)?)?", w.rpartition(b"/")[2]) for w in first[2:].split()[:2])
    return binds_application(source)


def check(top):
    entries, found = listing(top), set()

    def find(rule, path, line=0, level="error"):
        found.add((level, rule, path, line))

    for rule, name in zip(("AB001", "AB002"), FILES):
        st = entries.get(name)
        if not st or not stat.S_ISREG(st.st_mode) or st.st_size > LIMIT:
            find(rule, name)
    ini = entries.get("app.ini")
    if ini and not stat.S_ISREG(ini.st_mode):
        find("AB006", "app.ini")
    files = ["dependencies.txt"]
    for file in files:
        for n, line in logical_lines(read(top, file), True):
            if line is None or not is_dependency(line):
                find("AB004", file, n)
            elif include := fits(INCLUDE, line):
                path = os.path.normpath(os.path.join(os.path.dirname(file), include[1]))
                files += [path] if path in entries and path not in files else []
    for n, line in logical_lines(read(top, "external-dependencies.txt"), False):
        if line is None or not is_external(line):
            find("AB005", "external-dependencies.txt", n)
    for n in app_ini(top):
        find("AB006", "app.ini", n)
    if not any(f[1] == "AB006" for f in found) and not any(s == "app" and k[0] == "version" for _, s, k, _ in settings(read(top, "app.ini"))):
        find("AB014", "app.ini", level="warning")

    stated = dict(k for _, s, k, _ in settings(read(top, "app.ini")) if s == "app").get("interface")
    there = [p for p in ENTRYPOINTS if p in entries and not stat.S_ISDIR(entries[p].st_mode)]
    if len(there) == 1:
        led = (there[0], True) if not stat.S_ISLNK(entries[there[0]].st_mode) else \
            follow(entries, top, "bin", os.readlink(os.path.join(top, there[0])))
        if not led or not led[1] or not stat.S_ISREG(entries[led[0]].st_mode):
            find("AB003", there[0])
        else:
            source = read(top, led[0])
            executable = (stated or ("" if is_script(there[0], source.split(b"\n")[0], source) else "exec")) == "exec"
            if executable and not entries[led[0]].st_mode & 0o100:
                find("AB003", there[0])
    elif there:
        find("AB003", there[1])
    elif os.path.exists(os.path.join(top, ".appbundle/manifest.json")) or not any(map(is_output(top), ENTRYPOINTS)):
        near = [p for p in entries if p.lower() in ENTRYPOINTS]
        for p in near or ["bin/app"]:
            find("AB003", p)

    folded = {}
    for path, st in sorted(entries.items(), key=lambda e: os.fsencode(e[0])):
        kind = stat.S_IFMT(st.st_mode)
        if has_bad_name(path):
            find("AB010", path)
        else:
            fold = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
            if os.path.dirname(folded.setdefault(fold, path)) == os.path.dirname(path) and folded[fold] != path:
                find("AB010", path)
        if kind == stat.S_IFLNK:
            if follow(entries, top, os.path.dirname(path), os.readlink(os.path.join(top, path))) is None:
                find("AB009", path)
        elif kind not in (stat.S_IFREG, stat.S_IFDIR) or st.st_mode & (0o7000 if kind == stat.S_IFREG else 0o4000):
            find("AB011", path)
        if kind in (stat.S_IFREG, stat.S_IFDIR) and not st.st_mode & 0o4 and not path.startswith(".appbundle/env/"):
            find("AB012", path, level="warning")
    return found


def main(argv):
    if len(argv) != 3 or argv[1] not in ("check", "digest"):
        sys.exit(__doc__.split("\n")[2])
    if argv[1] == "digest":
        print(digest(argv[2]))
        return 0
    found = [{"level": level, "rule": rule, "file": path, "line": line, "message": "breaks the rule"} for level, rule, path, line in sorted(check(argv[2]))]
    print(json.dumps({"format": 1, "findings": found, "errors": sum(f["level"] == "error" for f in found),
                      "warnings": sum(f["level"] == "warning" for f in found)}))
    return int(any(f["level"] == "error" for f in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
