package bundle

import (
	"path"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

// stdlib are the modules of Python 3.9 and every later one that are found on
// sys.path, but for those that no program imports.
var stdlib = strings.Fields(`
	abc argparse array ast asyncio base64 bdb binascii bisect bz2 cProfile calendar cmath cmd code codecs codeop
	collections colorsys compileall concurrent configparser contextlib contextvars copy copyreg csv ctypes curses
	dataclasses datetime dbm decimal difflib dis doctest email encodings enum fcntl filecmp fileinput fnmatch
	fractions ftplib functools genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html
	http imaplib importlib inspect io ipaddress json keyword linecache locale logging lzma mailbox math mimetypes
	mmap modulefinder multiprocessing netrc ntpath numbers opcode operator optparse os pathlib pdb pickle
	pickletools pkgutil platform plistlib poplib posixpath pprint profile pstats pty pwd py_compile pydoc pyexpat
	queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex
	shutil signal site smtplib socket socketserver sqlite3 ssl stat statistics string stringprep struct subprocess
	symtable sysconfig syslog tarfile tempfile termios textwrap threading timeit token tokenize tomllib trace
	traceback tracemalloc tty types typing unicodedata unittest urllib uuid warnings wave weakref webbrowser
	wsgiref xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
`)

// checkShadows looks for modules beside the entrypoint, which sys.path has
// before everything else, with a name that others import.
func checkShadows(a *App) []Finding {
	var all []Finding
	for i := range a.Entries {
		e := &a.Entries[i]
		module, ok := moduleOf(e)
		if !ok || e.Path == a.Entrypoint.Path {
			continue
		}
		what := ""
		switch _, pinned := a.Pins[pep508.NormalizeName(module)]; {
		case slices.Contains(stdlib, module):
			what = "of Python's library"
		case pinned || a.isLocked(pep508.NormalizeName(module)):
			what = "of a dependency"
		default:
			continue
		}
		all = append(all, find(e.Path, "rename it", "hides the module %s %s from all that runs in bin", module, what))
	}
	return all
}

// moduleOf names the module that an entry of bin is for Python, or the package
// whose __init__.py it is.
func moduleOf(e *Entry) (name string, ok bool) {
	p, ok := strings.CutPrefix(e.Path, "bin/")
	if !ok || e.Type != File && e.Type != Link {
		return "", false
	}
	if name, ok := strings.CutSuffix(p, "/__init__.py"); ok {
		return name, !strings.Contains(name, "/")
	}
	return strings.TrimSuffix(p, ".py"), path.Ext(p) == ".py" && !strings.Contains(p, "/")
}

func (a *App) isLocked(name string) bool {
	return a.Lock != nil && slices.ContainsFunc(a.Lock.Packages, func(p schema.LockedPackage) bool { return p.Name == name })
}

// checkPython reports what no Python reads.
func checkPython(a *App) []Finding {
	ep := &a.Entrypoint
	if b := ep.Binding; b.Broken != "" && (ep.Interface != schema.Exec || ep.Shebang != nil && ep.Shebang.IsPython()) {
		return []Finding{findAt(schema.Pos{File: ep.Path, Line: b.BrokenLine}, "", "%s", b.Broken)}
	}
	return nil
}
