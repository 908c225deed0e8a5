"""A build backend for tests: a wheel with one module, which has the name of the
package and the variables of the source distribution's hook.py."""
import base64, hashlib, os, zipfile


def _run():
    with open("PKG-INFO") as f:
        said = dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line)
    v = {"name": said["Name"], "version": said["Version"], "tag": "py3-none-any", "requires": [], "text": said["Version"]}
    if os.path.exists("hook.py"):
        with open("hook.py") as f:
            exec(f.read(), v)
    return v


def get_requires_for_build_wheel(config_settings=None):
    if not os.path.exists("build-requires.txt"):
        return []
    with open("build-requires.txt") as f:
        return f.read().split()


def build_wheel(directory, config_settings=None, metadata_directory=None):
    print("tinyback builds")
    v = _run()
    stem = v["name"] + "-" + v["version"]
    info = stem + ".dist-info/"
    files = {
        v["name"] + ".py": "version = %r\n" % v["text"],
        info + "METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (v["name"], v["version"])
        + "".join("Requires-Dist: %s\n" % r for r in v["requires"]),
        info + "WHEEL": "Wheel-Version: 1.0\nGenerator: tinyback\nRoot-Is-Purelib: true\nTag: %s\n" % v["tag"],
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (path, digest, len(text.encode()))
    files[info + "RECORD"] = record + info + "RECORD,,\n"
    file = "%s-%s.whl" % (stem, v["tag"])
    with zipfile.ZipFile(os.path.join(directory, file), "w") as z:
        for path, text in files.items():
            z.writestr(zipfile.ZipInfo(path), text)
    return file
