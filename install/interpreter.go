package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"appbundle/internal/atomicfile"
	"appbundle/schema/pep425"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// An Interpreter is what a Python says of itself and of its host.
type Interpreter struct {
	Path       string     `json:"path"`       // as it was asked
	Executable string     `json:"executable"` // of the base installation, versioned where it has such a name
	Env        pep508.Env `json:"env"`
	Threaded   bool       `json:"threaded"`  // built without the global lock
	CacheTag   string     `json:"cache_tag"` // cpython-311
	Magic      string     `json:"magic"`     // of its byte code, in hexadecimal digits
	Bits       int        `json:"bits"`      // of a pointer
	Libc       string     `json:"libc"`      // "glibc 2.36", "musl 1.2", "" on macOS
	MacOS      string     `json:"macos"`     // "14.5", "" elsewhere
}

// question is what an interpreter is asked, once. It runs without site, so that
// nothing installed can answer.
const question = `
import importlib.util, json, os, platform, sys, sysconfig
def full(i):
    v = "%d.%d.%d" % (i.major, i.minor, i.micro)
    return v if i.releaselevel == "final" else v + i.releaselevel[0] + str(i.serial)
libc = ""
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    pass
json.dump({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "env": {
        "implementation_name": sys.implementation.name,
        "implementation_version": full(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
    "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "cache_tag": sys.implementation.cache_tag or "",
    "magic": importlib.util.MAGIC_NUMBER.hex(),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "libc": libc,
    "macos": platform.mac_ver()[0],
}, sys.stdout)
`

// Ask asks the interpreter at the absolute path python what it is. The answer
// is kept in the cache directory for as long as the file and the kernel stay the
// same, but for that of a script, which may start another interpreter each
// time. An empty cache means that it is not kept; that it cannot be kept makes no
// difference but the time that it takes.
func Ask(ctx context.Context, python, cache string) (*Interpreter, error) {
	if !filepath.IsAbs(python) {
		return nil, fmt.Errorf("python: %q is not an absolute path", python)
	}
	key, err := interpreterKey(python)
	if err != nil {
		return nil, err
	}
	if isScript(python) {
		cache = ""
	}
	at := filepath.Join(cache, answersDir, key+".json")
	var known Interpreter
	if cache != "" && readJSON(at, &known) == nil && known.Path == python {
		used(at)
		return &known, nil
	}
	i, err := ask(ctx, python)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", python, err)
	}
	if cache != "" {
		keepAnswer(ctx, cache, at, i)
	}
	return i, nil
}

// answersDir is where the cache has what interpreters said.
const answersDir = "interpreters"

// keepAnswer writes an answer into the cache, if it can.
func keepAnswer(ctx context.Context, dir, at string, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		return // no field can make it fail
	}
	release, err := (&cache{dir: dir}).share(ctx)
	if err != nil {
		return
	}
	defer release()
	if atomicfile.MkdirAll(filepath.Dir(at), 0o755) == nil {
		_ = atomicfile.Replace(ctx, at, text, 0o644)
	}
}

// interpreterKey changes when the interpreter does: with the file that the path
// leads to, a pyvenv.cfg beside it, or the kernel, whose version is a part of
// the answer.
func interpreterKey(python string) (string, error) {
	st, err := os.Stat(python)
	if err != nil {
		return "", err
	}
	kernel, _ := os.ReadFile("/proc/version") // not there on macOS
	cfg, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(python)), "pyvenv.cfg"))
	sum := sha256.Sum256(fmt.Appendf(nil, "1\n%q\n%d %d %d\n%q\n%q\n", python, inode(st), st.Size(), st.ModTime().UnixNano(), kernel, cfg))
	return hex.EncodeToString(sum[:answerSum]), nil
}

// answerSum is how much of a SHA-256 names an answer, in bytes.
const answerSum = 16

// oldestMinor is the minor version of Python 3 that brought byte code without
// times.
const oldestMinor = 7

func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // a program that may only be executed is none
	}
	defer f.Close() // opened for reading: nothing can be lost
	var head [2]byte
	_, err = io.ReadFull(f, head[:])
	return err == nil && string(head[:]) == "#!"
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func ask(ctx context.Context, python string) (*Interpreter, error) {
	c, err := startChild(ctx, python, "-I", "-S", "-c", question)
	if err != nil {
		return nil, err
	}
	text, readErr := io.ReadAll(io.LimitReader(c.out, 1<<20))
	if err := errors.Join(c.end(), readErr); err != nil {
		return nil, err
	}
	i := &Interpreter{Path: python}
	if err := json.Unmarshal(text, i); err != nil {
		return nil, fmt.Errorf("is no Python 3: %w", err)
	}
	if i.Env.ImplementationName != "cpython" {
		return nil, fmt.Errorf("is %s, and only CPython is supported", i.Env.PlatformPythonImplementation)
	}
	if py, _, err := i.version(); err != nil || py.Minor < oldestMinor {
		return nil, fmt.Errorf("is Python %s, and 3.%d and later are supported", i.Env.PythonFullVersion, oldestMinor)
	}
	if i.Executable, err = versioned(i.Executable, i.Env.PythonVersion); err != nil {
		return nil, err
	}
	if i.Env.SysPlatform == "linux" && !strings.HasPrefix(i.Libc, "glibc ") {
		if i.Libc, err = musl(ctx, i.Executable); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// versioned gives the name of an executable that says its version, beside it or
// behind its links: /usr/bin/python3 is another Python after an upgrade of the
// system, /usr/bin/python3.11 never is.
func versioned(executable, version string) (string, error) {
	real, err := filepath.EvalSymlinks(executable)
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(executable), "python"+version)
	if other, err := filepath.EvalSymlinks(beside); err == nil && other == real {
		return beside, nil
	}
	return real, nil
}

// musl gives the version of the loader that an executable asks for.
func musl(ctx context.Context, executable string) (string, error) {
	f, err := elf.Open(executable)
	if err != nil {
		return "", err
	}
	defer f.Close() // opened for reading: nothing can be lost
	loader := ""
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			if err != nil {
				return "", err
			}
			loader = string(bytes.TrimRight(text, "\x00"))
		}
	}
	if !strings.Contains(loader, "ld-musl") {
		return "", fmt.Errorf("has neither glibc nor musl, but the loader %q", loader)
	}
	c, err := startChild(ctx, loader)
	if err != nil {
		return "", err
	}
	_ = c.end() // it explains itself on standard error, with a status of 1
	return muslVersion(c.said)
}

// muslVersion reads what musl's loader says: "musl libc (x86_64)\nVersion 1.2.4".
func muslVersion(said string) (string, error) {
	_, rest, ok := strings.Cut(said, "\nVersion ")
	parts := strings.SplitN(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), ".", 3)
	if !ok || len(parts) < 2 {
		return "", fmt.Errorf("has the loader of musl, which says no version: %q", said)
	}
	return "musl " + parts[0] + "." + parts[1], nil
}

// Target describes the host for which the interpreter was built.
func (i *Interpreter) Target() (pep425.Target, error) {
	py, full, err := i.version()
	if err != nil {
		return pep425.Target{}, err
	}
	p := pep425.Platform{Kind: pep425.MacOS, Arch: i.Env.PlatformMachine}
	release := i.MacOS
	if kind, version, ok := strings.Cut(i.Libc, " "); ok {
		p.Kind, release = pep425.Manylinux, version
		if kind == "musl" {
			p.Kind = pep425.Musllinux
		}
	}
	if i.Bits == 32 { // on a kernel of 64 bits
		switch p.Arch {
		case "x86_64":
			p.Arch = "i686"
		case "aarch64":
			p.Arch = "armv7l"
		}
	}
	major, minor, _ := strings.Cut(release, ".")
	minor, _, _ = strings.Cut(minor, ".")
	var err1, err2 error
	p.Major, err1 = strconv.Atoi(major)
	p.Minor, err2 = strconv.Atoi(minor)
	if err1 != nil || err2 != nil {
		return pep425.Target{}, fmt.Errorf("%s: no platform has the C library %q, macOS %q", i.Path, i.Libc, i.MacOS)
	}
	t := pep425.NewTarget(py, full, p)
	t.Env = i.Env
	return t, nil
}

func (i *Interpreter) version() (pep425.Python, pep440.Version, error) {
	// A build from a branch calls itself "3.14.0a1+".
	full, err := pep440.Parse(strings.TrimSuffix(i.Env.PythonFullVersion, "+"))
	if err != nil {
		return pep425.Python{}, full, fmt.Errorf("%s: %w", i.Path, err)
	}
	py, err := pep425.ParsePython(i.Env.PythonVersion)
	if err != nil {
		return py, full, fmt.Errorf("%s: %w", i.Path, err)
	}
	py.Threaded = i.Threaded
	return py, full, nil
}

// Version gives "3.11", and "3.13t" for one that was built without the global
// lock.
func (i *Interpreter) Version() string {
	if i.Threaded {
		return i.Env.PythonVersion + "t"
	}
	return i.Env.PythonVersion
}

// bytecode names the byte code that the interpreter reads.
func (i *Interpreter) bytecode() string { return i.CacheTag + "-" + i.Magic }
