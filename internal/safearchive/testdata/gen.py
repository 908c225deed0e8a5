#!/usr/bin/env python3
"""Writes the hostile and the awkward-but-legal archives, and cases.json, into a directory.

    gen.py OUT [--big]

Needs the standard library and the `zstd` command. The output is the same bytes on every run. --big adds the cases that
expand to gigabytes (they stay small on disk).

A case says what a deployment tool must do with the archive:
  reject   nothing of it may be on disk afterwards, exit status 1 (it is an answer: the archive is hostile or damaged)
  accept   it extracts, and `tree` is what must be there
  limit    rejected because a limit is passed (size, ratio, entries, name length); the limit is named in the message
"""
import gzip, io, json, os, struct, subprocess, sys, tarfile, zipfile, zlib

OUT = sys.argv[1]
BIG = "--big" in sys.argv
os.makedirs(OUT, exist_ok=True)
cases = []


def case(name, data, want, why, tree=None, note=None, fmts=("tar", "tar.gz", "tar.zst")):
    """One case in several containers. data is the bare tar (or the zip itself when fmts is ("zip",))."""
    for f in fmts:
        fn = name + "." + f
        if f == "tar" or f == "zip":
            b = data
        elif f == "tar.gz":
            b = gz(data)
        elif f == "tar.zst":
            b = subprocess.run(["zstd", "-q", "-3", "--no-check", "-T1", "-c"], input=data, capture_output=True, check=True).stdout
        else:
            b = data
        with open(os.path.join(OUT, fn), "wb") as h:
            h.write(b)
        c = {"file": fn, "want": want, "why": why}
        if tree is not None:
            c["tree"] = tree
        if note:
            c["note"] = note
        cases.append(c)


def gz(b, level=9):
    o = io.BytesIO()
    with gzip.GzipFile(fileobj=o, mode="wb", compresslevel=level, mtime=0, filename="") as g:
        g.write(b)
    return o.getvalue()


def member(name, body=b"", type=tarfile.REGTYPE, link="", mode=0o644, uid=0, gid=0, fmt=tarfile.GNU_FORMAT, pax=None, **kw):
    t = tarfile.TarInfo(name)
    t.type, t.linkname, t.mode, t.uid, t.gid, t.size = type, link, mode, uid, gid, len(body)
    if pax:
        t.pax_headers = pax
        fmt = tarfile.PAX_FORMAT
    for k, v in kw.items():
        setattr(t, k, v)
    n = (len(body) + 511) // 512 * 512
    return t.tobuf(fmt, "utf-8", "surrogateescape") + body + b"\0" * (n - len(body))


END = b"\0" * 1024
D = lambda n, **k: member(n, type=tarfile.DIRTYPE, mode=k.pop("mode", 0o755), **k)
L = lambda n, t, **k: member(n, type=tarfile.SYMTYPE, link=t, mode=0o777, **k)
H = lambda n, t, **k: member(n, type=tarfile.LNKTYPE, link=t, **k)
F = member


def tar(*ms):
    return b"".join(ms) + END


def raw(name, typeflag=b"0", size=0, link=b"", mode=b"0000644", magic=b"ustar\x0000", prefix=b"", chksum=None, sizefield=None):
    """A header with every field under our control."""
    b = bytearray(512)
    b[0:len(name)] = name
    b[100:100 + len(mode)] = mode
    b[108:115] = b[116:123] = b"0000000"
    s = sizefield if sizefield is not None else b"%011o" % size
    b[124:124 + len(s)] = s
    b[136:147] = b"00000000000"
    b[156:157] = typeflag
    b[157:157 + len(link)] = link
    b[257:257 + len(magic)] = magic
    b[345:345 + len(prefix)] = prefix
    b[148:156] = b" " * 8
    c = sum(b) if chksum is None else chksum
    b[148:156] = b"%06o\0 " % c
    return bytes(b)


OK = F("app/dependencies.txt", b"flask\n")

# --- paths ---------------------------------------------------------------------------------------------------------
case("path-dotdot", tar(OK, F("../evil", b"x")), "reject", "name climbs out")
case("path-dotdot-inside", tar(OK, F("app/../../evil", b"x")), "reject", "name climbs out after a legal component")
case("path-dotdot-stays", tar(D("app/"), F("app/x/../evil", b"x")), "reject", "a .. component, even one that stays inside; names are canonical or refused")
case("path-absolute", tar(OK, F("/tmp/appbundle-evil", b"x")), "reject", "absolute name")
case("path-double-slash", tar(F("app//x", b"x")), "reject", "empty component: not canonical", fmts=("tar",))
case("path-dot-component", tar(F("./app/x", b"x")), "accept", "leading ./ is what GNU tar writes; it is stripped", tree={"app/x": "x"})
case("path-only-dots", tar(D("./"), D("app/"), F("app/x", b"1")), "accept", "./ entry itself is skipped", tree={"app/x": "1"}, fmts=("tar",))
case("path-empty-name", raw(b"") + END, "reject", "empty name", fmts=("tar",))
case("path-nul", tar(F("app/x", b"x", pax={"path": "app/a\0b"})), "reject", "NUL in a pax path", fmts=("tar",))
case("path-newline", tar(F("app/a\nb", b"x")), "reject", "control character in a name: breaks every list, manifest and spec file")
case("path-backslash", tar(F("app\\..\\..\\evil", b"x")), "reject", "backslash in a name")
case("path-drive", tar(F("C:/evil", b"x")), "reject", "drive letter", note="legal on Linux; refused so that one archive means one tree", fmts=("tar",))
case("path-invalid-utf8", raw(b"app/\xff\xfe", size=0) + END, "reject", "name is not UTF-8", fmts=("tar",))
case("path-component-255", tar(F("app/" + "n" * 255, b"x")), "accept", "the longest component a Linux file system takes", tree={"app/" + "n" * 255: "x"}, fmts=("tar",))
case("path-component-256", tar(F("app/" + "n" * 256, b"x")), "limit", "component longer than 255 bytes", fmts=("tar",))
case("path-5000", tar(F("app/" + "d/" * 2500 + "f", b"x")), "limit", "path longer than PATH_MAX", fmts=("tar",))
case("path-deep-1000", tar(F("d/" * 1000 + "f", b"x")), "limit", "nesting deeper than the limit (default 100)", fmts=("tar",))
case("path-trailing-dot-space", tar(F("app/x. ", b"x")), "accept", "odd but legal on Linux", tree={"app/x. ": "x"}, fmts=("tar",))
case("path-unicode", tar(F("app/ünï/文.txt", b"x")), "accept", "UTF-8 names", tree={"app/ünï/文.txt": "x"})
case("path-case-collision", tar(F("app/Readme", b"1"), F("app/README", b"2")), "reject", "two names that fold to one", note="legal on ext4, lost on a case-insensitive host; the rule is a setting that defaults to refuse")
case("path-nfc-nfd", tar(F("app/\u00e9", b"1"), F("app/e\u0301", b"2")), "reject", "two names equal after Unicode normalisation", fmts=("tar",))
case("path-duplicate", tar(F("app/x", b"good"), F("app/x", b"evil")), "reject", "the same name twice; which one was verified?")
case("path-file-then-dir", tar(F("app/x", b"1"), F("app/x/y", b"2")), "reject", "a file used as a directory")
case("path-dir-then-file", tar(D("app/x/"), F("app/x", b"1")), "reject", "a directory replaced by a file")
case("path-bidi", tar(F("app/\u202egnp.exe", b"x")), "reject", "bidirectional override in a name", fmts=("tar",))

# --- links ---------------------------------------------------------------------------------------------------------
case("link-absolute", tar(L("app/x", "/etc/passwd")), "reject", "absolute symlink target", note="a venv's bin/python is one: `build` must not write it, or must record it as an interpreter requirement")
case("link-escape", tar(L("app/x", "../../etc/passwd")), "reject", "target climbs out")
case("link-inside", tar(F("app/a", b"1"), L("app/b", "a")), "accept", "relative link that stays inside", tree={"app/a": "1", "app/b": "->a"})
case("link-inside-up", tar(F("lib/a", b"1"), L("bin/b", "../lib/a")), "accept", "up and down again, inside", tree={"lib/a": "1", "bin/b": "->../lib/a"})
case("link-dangling", tar(L("app/b", "nothing")), "accept", "dangling but inside", tree={"app/b": "->nothing"}, note="`check` may warn")
case("link-write-through", tar(L("app/out", "/tmp"), F("app/out/appbundle-evil", b"x")), "reject", "write through a symlink made by the archive")
case("link-write-through-rel", tar(L("app/out", "../.."), F("app/out/evil", b"x")), "reject", "the same, relative")
case("link-write-through-inside", tar(D("app/real/"), L("app/out", "real"), F("app/out/f", b"x")), "reject", "the same although it stays inside: a name must not pass a link")
case("link-chain", tar(L("a", "b"), L("b", "../"), F("a/evil", b"x")), "reject", "two links, each harmless by prefix test")
case("link-to-parent-then-dotdot", tar(D("a/"), D("a/b/"), L("x", "a/b/.."), L("y", "x/.."), F("y/evil", b"x")), "reject", "textual cleaning of the target is wrong: x/.. is not .")
case("link-loop", tar(L("a", "b"), L("b", "a")), "reject", "a loop; nothing can ever be read there", fmts=("tar",))
case("link-self", tar(L("a", "a")), "reject", "points to itself", fmts=("tar",))
case("link-replaces-dir", tar(D("app/"), F("app/x", b"1"), L("app", "/tmp")), "reject", "a link over an existing directory")
case("link-empty-target", tar(L("a", "")), "reject", "empty target", fmts=("tar",))
case("hard-escape", tar(H("app/x", "/etc/passwd")), "reject", "hard link out of the tree")
case("hard-dotdot", tar(H("app/x", "../../../../etc/passwd")), "reject", "hard link out of the tree, relative")
case("hard-through-link", tar(L("app/l", "/etc"), H("app/x", "app/l/passwd")), "reject", "hard link through a symlink")
case("hard-forward", tar(H("app/x", "app/y"), F("app/y", b"1")), "reject", "target comes later")
case("hard-inside", tar(F("app/a", b"1"), H("app/b", "app/a")), "accept", "becomes a second regular file of the same content", tree={"app/a": "1", "app/b": "1"})
case("hard-then-write", tar(F("app/a", b"1"), H("app/b", "app/a"), F("app/b", b"2")), "reject", "duplicate name; with O_TRUNC it would rewrite app/a")

# --- kinds and modes -----------------------------------------------------------------------------------------------
case("kind-chardev", tar(member("app/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)), "reject", "character device")
case("kind-blockdev", tar(member("app/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0)), "reject", "block device")
case("kind-fifo", tar(member("app/pipe", type=tarfile.FIFOTYPE)), "reject", "fifo: a reader would hang")
case("kind-cont", tar(member("app/c", b"1", type=tarfile.CONTTYPE)), "accept", "type 7 is read as a regular file", tree={"app/c": "1"}, fmts=("tar",))
case("kind-unknown", tar(OK) [:-1024] + raw(b"app/q", typeflag=b"Q") + END, "reject", "unknown type flag", fmts=("tar",))
case("kind-gnu-sparse-pax", tar(F("app/s", b"", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "../evil", "GNU.sparse.realsize": "1"})), "reject", "sparse entry; its real name is in another field", fmts=("tar",))
case("kind-gnu-multivol", raw(b"app/m", typeflag=b"M") + END, "reject", "continuation of another volume", fmts=("tar",))
case("mode-setuid", tar(F("app/su", b"x", mode=0o4755)), "reject", "setuid")
case("mode-setgid-dir", tar(D("app/d", mode=0o2775)), "reject", "setgid directory", fmts=("tar",))
case("mode-sticky", tar(D("app/d", mode=0o1777)), "reject", "sticky, world-writable", fmts=("tar",))
case("mode-world-writable", tar(F("app/w", b"x", mode=0o666)), "accept", "modes are 0644 or 0755 after extraction", tree={"app/w": "x"}, note="the execute bit is the only one kept", fmts=("tar",))
case("mode-000", tar(D("app/", mode=0), F("app/x", b"1", mode=0)), "accept", "unreadable modes are normalised, so that the tree can be removed again", tree={"app/x": "1"}, fmts=("tar",))
case("owner-foreign", tar(F("app/x", b"1", uid=12345, gid=54321, uname="nobody", gname="wheel")), "accept", "owner is ignored: files belong to who extracts", tree={"app/x": "1"}, fmts=("tar",))
case("xattr-capability", tar(F("app/x", b"1", pax={"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00"})), "reject", "file capability in a pax record", fmts=("tar",))
case("xattr-acl", tar(F("app/x", b"1", pax={"SCHILY.acl.access": "user::rwx,user:0:rwx"})), "reject", "ACL in a pax record", fmts=("tar",))

# --- damage and parser differences ---------------------------------------------------------------------------------
good = tar(D("app/"), F("app/x", b"1" * 2000))
case("cut-body", good[:1800], "reject", "ends inside a body", fmts=("tar", "tar.gz"))
case("cut-header", good[:700], "reject", "ends inside a header", fmts=("tar",))
case("cut-no-end", good[:-1024], "reject", "no end-of-archive blocks: cannot be told from a cut one", fmts=("tar", "tar.gz", "tar.zst"))
case("cut-one-zero-block", good[:-512], "reject", "one zero block instead of two", fmts=("tar",))
case("trailing-garbage", good + b"garbage" * 100, "reject", "bytes after the end", fmts=("tar",))
case("second-archive", good + tar(F("../evil", b"x")), "reject", "a second archive behind the end blocks (tar -i reads it)", fmts=("tar", "tar.gz"))
case("checksum-bad", raw(b"app/x", chksum=1) + END, "reject", "header checksum", fmts=("tar",))
case("size-negative", raw(b"app/x", sizefield=b"\xff" * 12) + END, "reject", "negative base-256 size", fmts=("tar",))
case("size-huge", raw(b"app/x", sizefield=b"\x80" + b"\0" * 3 + struct.pack(">Q", 1 << 62)) + END, "limit", "claims 4 EiB", fmts=("tar",))
case("size-pax-vs-ustar", tar(F("app/x", b"A" * 512 + raw(b"../evil", size=0), pax={"size": "1024"})), "accept", "the pax size wins", tree={"app/x": "*1024"}, fmts=("tar",))
case("size-dir-with-body", raw(b"app/", typeflag=b"5", size=512) + raw(b"../evil") + END, "reject", "a directory with a body; readers differ on skipping it", fmts=("tar",))
case("size-link-with-body", raw(b"app/l", typeflag=b"2", size=512, link=b"x") + raw(b"../evil") + END, "reject", "a link with a body", fmts=("tar",))
case("pax-global-path", tar(member("app/x", b"1")) [:-1024] + tarfile.TarInfo.create_pax_global_header({"path": "../evil"}) + F("app/y", b"2") + END, "reject", "a global header that renames what follows", fmts=("tar",))
case("pax-unknown-key", tar(F("app/x", b"1", pax={"VENDOR.thing": "v"})), "accept", "unknown vendor key ignored", tree={"app/x": "1"}, fmts=("tar",))
case("pax-linkpath", tar(L("app/x", "a", pax={"linkpath": "/etc/passwd"})), "reject", "the real target is in the pax record", fmts=("tar",))
case("gnu-longname-evil", raw(b"././@LongLink", typeflag=b"L", size=8) + b"../evil\0".ljust(512, b"\0") + raw(b"app/x") + END, "reject", "the real name is in the GNU long-name record", fmts=("tar",))
case("gnu-longname-huge", raw(b"././@LongLink", typeflag=b"L", size=1 << 20) + b"a" * (1 << 20) + raw(b"app/x") + END, "limit", "a 1 MiB name", fmts=("tar", "tar.gz"))
case("pax-huge", raw(b"PaxHeaders/x", typeflag=b"x", size=4 << 20) + b"%d comment=%s\n" % ((4 << 20), b"a" * ((4 << 20) - 8 - len(b"comment=") - 1 + 0)) + raw(b"app/x") + END, "limit", "a pax record of 4 MiB", fmts=("tar.gz",))
case("v7-no-magic", raw(b"app/x", magic=b"") + END, "accept", "pre-POSIX header", tree={"app/x": ""}, fmts=("tar",))
case("empty", b"", "reject", "no bytes at all", fmts=("tar", "tar.gz"))
case("empty-archive", END, "accept", "an archive of nothing", tree={}, fmts=("tar", "tar.gz", "tar.zst"), note="`deploy` then fails its own check: no bin/app")

# --- compressors ---------------------------------------------------------------------------------------------------
def put(fn, b, want, why, **k):
    with open(os.path.join(OUT, fn), "wb") as h:
        h.write(b)
    cases.append(dict({"file": fn, "want": want, "why": why}, **k))

g = gz(good)
put("gz-crc.tar.gz", g[:-8] + b"\0\0\0\0" + g[-4:], "reject", "gzip CRC wrong: the last file is already on disk when this is seen, so extract to a staging directory")
put("gz-size.tar.gz", g[:-4] + b"\0\0\0\1", "reject", "gzip length field wrong")
put("gz-cut.tar.gz", g[:-9], "reject", "gzip cut inside the stream")
put("gz-members.tar.gz", gz(good[:512]) + gz(good[512:]), "accept", "two gzip members are one stream", tree={"app/x": "*2000"})
put("gz-trailing.tar.gz", g + b"\0" * 100 + b"junk", "reject", "bytes behind the gzip stream")
put("gz-name-evil.tar.gz", g[:3] + b"\x08" + g[4:10] + b"../../evil\0" + g[10:], "accept", "the FNAME field is ignored", tree={"app/x": "*2000"})
put("not-an-archive.tar.gz", b"<html>404</html>", "reject", "magic does not fit the name")
put("zip-named-tar.tar", b"PK\x03\x04" + b"\0" * 600, "reject", "magic does not fit the name")
z = subprocess.run(["zstd", "-q", "-3", "-T1", "-c"], input=good, capture_output=True, check=True).stdout
put("zst-cut.tar.zst", z[:-5], "reject", "zstd frame cut")
put("zst-checksum.tar.zst", z[:-4] + b"\0\0\0\0", "reject", "zstd content checksum wrong")
put("zst-frames.tar.zst", subprocess.run(["zstd", "-q", "-c"], input=good[:512], capture_output=True).stdout + subprocess.run(["zstd", "-q", "-c"], input=good[512:], capture_output=True).stdout, "accept", "two frames are one stream", tree={"app/x": "*2000"})
put("zst-skippable.tar.zst", b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"abcd" + z, "accept", "a skippable frame first", tree={"app/x": "*2000"})
put("zst-window-2g.tar.zst", b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\0\0", "limit", "frame asks for a window of 2 GiB")
put("zst-dictionary.tar.zst", b"\x28\xb5\x2f\xfd" + b"\x01" + bytes([0x58]) + b"\x2a" + b"\x01\0\0", "reject", "needs a dictionary nobody has")

# bombs: small here, big there
zeros = tar(F("app/zeros", b"\0" * (64 << 20)))
put("bomb-64m.tar.gz", gz(zeros), "limit", "64 MiB out of 64 KiB: ratio above 200", note="with limits at their defaults this one is accepted; run with a total limit of 32 MiB")
put("bomb-entries.tar.gz", gz(b"".join(raw(b"d/%06d" % i) for i in range(200000)) + END), "limit", "200,000 empty files; run with an entry limit of 100,000")
if BIG:
    c = zlib.compressobj(9, zlib.DEFLATED, 31)
    hd = raw(b"app/zeros", sizefield=b"\x80" + b"\0" * 3 + struct.pack(">Q", 20 << 30))
    o = [c.compress(hd)] + [c.compress(b"\0" * (1 << 24)) for _ in range(20 * 64)] + [c.compress(END), c.flush()]
    put("bomb-20g.tar.gz", b"".join(o), "limit", "20 GiB of zeros")

# --- zip -----------------------------------------------------------------------------------------------------------
def zipb(*ms, comment=b""):
    o = io.BytesIO()
    with zipfile.ZipFile(o, "w", zipfile.ZIP_DEFLATED) as z:
        z.comment = comment
        for name, body, attr in ms:
            i = zipfile.ZipInfo("x", (1980, 1, 1, 0, 0, 0))
            i.filename, i.external_attr, i.create_system, i.compress_type = name, attr << 16, 3, zipfile.ZIP_DEFLATED
            z.writestr(i, body)
    return o.getvalue()

Z = lambda n, d, w, y, **k: case("zip-" + n, d, w, y, fmts=("zip",), **k)
Z("good", zipb(("app/x", b"1", 0o100644), ("bin/app", b"#!/bin/sh\n", 0o100755)), "accept", "plain", tree={"app/x": "1", "bin/app": "#!/bin/sh\n"})
Z("dotdot", zipb(("app/x", b"1", 0o100644), ("../evil", b"x", 0o100644)), "reject", "climbs out")
Z("absolute", zipb(("/tmp/appbundle-evil", b"x", 0o100644)), "reject", "absolute")
Z("backslash", zipb(("app\\..\\..\\evil", b"x", 0o100644)), "reject", "backslash")
Z("symlink-escape", zipb(("app/l", b"../../etc", 0o120777), ("app/l/evil", b"x", 0o100644)), "reject", "symlink in the unix mode, then a write through it")
Z("symlink-absolute", zipb(("app/l", b"/etc/passwd", 0o120777)), "reject", "absolute symlink")
Z("symlink-huge-target", zipb(("app/l", b"a" * 100000, 0o120777)), "limit", "target longer than PATH_MAX")
Z("setuid", zipb(("app/su", b"x", 0o104755)), "reject", "setuid")
Z("fifo", zipb(("app/p", b"", 0o010644)), "reject", "fifo in the unix mode")
Z("device", zipb(("app/d", b"", 0o020644)), "reject", "device in the unix mode")
Z("duplicate", zipb(("app/x", b"good", 0o100644), ("app/x", b"evil", 0o100644)), "reject", "same name twice")
Z("case-collision", zipb(("app/x", b"1", 0o100644), ("APP/X", b"2", 0o100644)), "reject", "names that fold to one")
zg = bytearray(zipb(("app/x", b"1", 0o100644)))
p = zg.rindex(b"app/x")
Z("name-differs", bytes(zg[:p]) + b"../ev" + bytes(zg[p + 5:]), "reject", "central and local names differ")
p = zg.index(b"PK\x01\x02")
zz = bytearray(zg); zz[p + 24:p + 28] = struct.pack("<I", 0x7fffffff)
Z("size-lie", bytes(zz), "reject", "central directory claims 2 GiB for one byte")
zz = bytearray(zg); zz[p + 16:p + 20] = b"\0\0\0\0"
Z("crc", bytes(zz), "reject", "CRC wrong")
zz = bytearray(zg); zz[p + 8] |= 1; zz[6] |= 1
Z("encrypted", bytes(zz), "reject", "encrypted entry")
Z("prefixed", b"#!/usr/bin/env python3\n" + bytes(zg), "accept", "a zip may have a prefix (zipapp); offsets are relative to the archive", tree={"app/x": "1"})
Z("two-directories", bytes(zg) + zipb(("../evil", b"x", 0o100644)), "reject", "two end records; readers disagree which is the archive")
Z("cut", bytes(zg[:-10]), "reject", "end record cut")
Z("trailing", bytes(zg) + b"junk", "reject", "bytes behind the end record")
Z("method-99", bytes(zg).replace(b"\x08\x00\x00\x00\x21\x00", b"\x63\x00\x00\x00\x21\x00"), "reject", "unknown method")
Z("overlap", None or bytes(zg), "accept", "control for the overlap case in bombs", tree={"app/x": "1"})

def overlap(n=300, size=1 << 20):
    """Many central entries that share one compressed body (the shape of the non-recursive zip bombs)."""
    c = zlib.compressobj(9, zlib.DEFLATED, -15); body = b"\0" * size
    comp = c.compress(body) + c.flush(); crc = zlib.crc32(body)
    name = b"a000"
    loc = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(comp), size, len(name), 0) + name + comp
    cd = b""
    for i in range(n):
        nm = b"a%03d" % i
        cd += struct.pack("<4s6H3L5H2L", b"PK\1\2", 0x314, 20, 0, 8, 0, 33, crc, len(comp), size, len(nm), 0, 0, 0, 0, 0o100644 << 16, 0) + nm
    return loc + cd + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, len(cd), len(loc), 0)

Z("overlap-bomb", overlap(), "reject", "300 entries over one body: overlapping data")
Z("bomb-ratio", zipb(("app/zeros", b"\0" * (64 << 20), 0o100644)), "limit", "64 MiB out of 64 KiB; run with a total limit of 32 MiB")
Z("empty", b"PK\5\6" + b"\0" * 18, "accept", "an archive of nothing", tree={})

with open(os.path.join(OUT, "cases.json"), "w") as h:
    json.dump(cases, h, indent=1, ensure_ascii=False)
    h.write("\n")
print(len(cases), "archives", {w: sum(c["want"] == w for c in cases) for w in ("reject", "accept", "limit")})
