"""Measures `appbundle build --rpm` and `--deb` beside nfpm, rpmbuild and
dpkg-deb, in turn, all with zstd at level 3 and of the same files.

The peers get a directory with the files as they are to be installed, which is
made before and not counted. nfpm and dpkg-deb check nothing; ours checks the
application, finds out what it requires, and reads back what it wrote.
"""
import os
import re
import subprocess

from bench_build import tree
from bench_lock import OUT, Program, bench

NFPM = OUT + "/nfpm/nfpm"
VERSION = "1.0.0"


def unpacked(package, root):
    """The files of an rpm, in a directory of their own."""
    os.makedirs(root)
    subprocess.run(["sh", "-c", 'rpm2cpio "$1" | cpio -idm --quiet', "sh", os.path.abspath(package)], cwd=root, check=True)


def query(package, *what):
    return subprocess.run(["rpm", "-qp", *what, package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True).stdout


class Tools:
    """The peers, each with what it wants to be told, for packages with the files of one root."""

    def __init__(self, where):
        self.where = where

    def file(self, name, text):
        path = f"{self.where}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def nfpm_config(self, name, root, arch="amd64", version=VERSION, requires=()):
        contents = "".join(f'- {{src: "{root}/{d}", dst: "/{d}", type: tree}}\n' for d in sorted(os.listdir(root)) if d != "DEBIAN")
        return self.file(f"nfpm/{name}.yaml", f'name: {name}\narch: {arch}\nplatform: linux\nversion: "{version}"\nversion_schema: none\nrelease: "1"\n'
                         "maintainer: nobody <nobody@localhost>\ndescription: measured\nlicense: MIT\nmtime: 1970-01-01T00:00:00Z\n"
                         f"depends: {list(requires)}\ncontents:\n{contents}rpm: {{compression: 'zstd:3'}}\ndeb: {{compression: 'zstd:3'}}\n")

    def nfpm(self, packager, name, root, to):
        return [NFPM, "package", "-p", packager, "-f", self.nfpm_config(name, root), "-t", to]

    def rpmbuild(self, name, root, to):
        """Without %install, the build root is taken as it is; without %clean it is left."""
        files = "".join(f"/{d}\n" for d in sorted(os.listdir(root)) if d != "DEBIAN")
        spec = self.file(f"rpmbuild/{name}.spec", f"Name: {name}\nVersion: {VERSION}\nRelease: 1\nSummary: measured\nLicense: MIT\nAutoReqProv: no\n"
                         f"%description\nmeasured\n%files\n%defattr(-,root,root)\n{files}")
        defined = {"_topdir": self.where + "/rpmbuild", "_binary_payload": "w3.zstdio", "_rpmdir": to, "_rpmfilename": name + ".rpm",
                   "debug_package": "%{nil}", "_build_id_links": "none", "__os_install_post": "%{nil}"}
        return ["rpmbuild", "-bb", "--quiet", "--noclean", "--buildroot", root, *(w for k, v in defined.items() for w in ("--define", f"{k} {v}")), spec]

    def dpkg_deb(self, name, root, to):
        os.makedirs(root + "/DEBIAN", exist_ok=True)
        with open(root + "/DEBIAN/control", "w") as f:
            f.write(f"Package: {name}\nVersion: {VERSION}\nArchitecture: amd64\nMaintainer: nobody <nobody@localhost>\nDescription: measured\n")
        return ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "-b", root, to]


def one(b, figures, title, home, root, count):
    """The figures of one package, as an rpm and as a deb."""
    name, to = os.path.basename(home), b.where + "/packages"
    os.makedirs(to, exist_ok=True)
    tools = Tools(b.where)
    for kind, peer in (("rpm", "rpmbuild"), ("deb", "dpkg-deb")):
        theirs, native = f"{to}/{name}-nfpm.{kind}", f"{to}/{name}.{kind}"
        last = tools.rpmbuild(name, root, to) if kind == "rpm" else tools.dpkg_deb(name, root, native)
        programs = {"appbundle": Program([b.binary, "build", "--" + kind, "-o", f"{to}/{name}-{kind}", home]),
                    "nfpm": Program(tools.nfpm(kind, name, root, theirs)), peer: Program(last)}
        b.warm(programs)
        b.measure(figures, f"{kind} of {title}", programs, count)
        (ours,) = (e.path for e in os.scandir(f"{to}/{name}-{kind}") if e.name.endswith("." + kind))
        figures.add(f"size of the {kind} of {title}", "MB", {k: [os.path.getsize(f) / 1e6] for k, f in (("appbundle", ours), ("nfpm", theirs), (peer, native))})


def packages(binary, where, figures, quick):
    with bench(binary, where) as b:
        b.env["APPBUNDLE_CACHE_DIR"] = b.cache("appbundle")
        size, home, root = 484_000_000, where + "/tree", where + "/root"
        tree(home, size)
        os.makedirs(root + "/opt")
        subprocess.run(["cp", "-al", home, root + "/opt/tree"], check=True)
        files = sum(len(fs) for _, _, fs in os.walk(home))
        one(b, figures, f"{size / 1e6:.0f} MB in {files} files", home, root, 2 if quick else 5)

        home = b.locked("flaskapp", ["flask", "gunicorn"])
        b.run(b.ours("install", home))
        b.run([binary, "build", "--rpm", "-o", where + "/one", home], stderr=subprocess.DEVNULL)
        (whole,) = os.scandir(where + "/one")
        unpacked(whole.path, where + "/flask-root")
        one(b, figures, "flask and gunicorn with an application", home, where + "/flask-root", 3 if quick else 20)
        collection(b, figures, home, 3 if quick else 20)


def collection(b, figures, home, count):
    """A package for each distribution. nfpm is called for each, and its packages are no repository."""
    ours, theirs = b.where + "/ours", b.where + "/theirs"
    os.makedirs(theirs)
    both = [b.binary, "build", "--rpm", "--deb", "--collection", "-o", b.where + "/both", home]
    mine = [b.binary, "build", "--rpm", "--collection", "-o", ours, home]
    b.run(mine, stderr=subprocess.DEVNULL)
    tools, configs = Tools(b.where), []
    for package in sorted(e.path for e in os.scandir(ours) if e.name.endswith(".rpm")):
        name, version, arch = query(package, "--qf", "%{NAME} %{VERSION} %{ARCH}").split()
        root = f"{b.where}/roots/{name}"
        unpacked(package, root)
        requires = [r for r in query(package, "--requires").splitlines() if not re.match(r"rpmlib\(|config\(", r)]
        configs.append(tools.nfpm_config(name, root, {"noarch": "all"}.get(arch, "amd64"), version, requires))
    calls = 'nfpm=$1 to=$2; shift 2; for f; do "$nfpm" package -p rpm -f "$f" -t "$to" || exit 1; done'
    nfpm = ["sh", "-c", calls, "sh", NFPM, theirs, *configs]
    programs = {"appbundle": Program(mine), "nfpm": Program(nfpm),
                "nfpm, createrepo_c": Program(["sh", "-c", f"({calls}) && createrepo_c -q {theirs}", *nfpm[3:]]),
                "appbundle, rpm and deb": Program(both)}
    b.warm(programs)
    b.measure(figures, f"collection of {len(configs)} rpms", programs, count)
