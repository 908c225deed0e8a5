package layout

import (
	"fmt"
	"strings"
)

// everywhere lists what every package may import.
var everywhere = []string{"internal/atomicfile", "internal/invariant"}

// table has a row for every package of the tree, in the order in which data
// flows.
var table = []Package{
	{
		Path: "schema",
		Idea: "every file format that is read or written: Go types that keep file, line and column, strict decoding, embedded JSON Schema",
		May:  []string{"schema/..."},
		Why:  "a format knows nothing of what is done with it: decode, encode, position, nothing else",
	},
	{
		Path: "schema/pep440",
		Idea: "Python versions and specifiers (PEP 440)",
		Why:  "a grammar stands alone",
	},
	{
		Path: "schema/pep508",
		Idea: "Python names, requirements and markers (PEP 508)",
		May:  []string{"schema/pep440"},
		Why:  "a grammar stands on other grammars only",
	},
	{
		Path: "schema/pep425",
		Idea: "wheel tags: what fits a Python on a platform, and the best of several wheels (PEP 425)",
		May:  []string{"schema/pep440", "schema/pep508"},
		Why:  "a grammar stands on other grammars only",
	},
	{
		Path: "bundle",
		Idea: "an app directory: load once; check, list, digest, archive, extract and verify share that one walk; which processes it is",
		May:  []string{"schema/...", "internal/safearchive"},
		Why:  "an app directory can be judged and archived on a host that could never run it",
	},
	{
		Path: "scaffold",
		Idea: "a conforming directory made of a project that is there, or of nothing: guesses with their lines",
		May:  []string{"schema/...", "bundle"},
		Why:  "a project is read and never run, and what to make of it is known without an index",
	},
	{
		Path: "resolve",
		Idea: "which versions and which files: provider, solver, explanation",
		May:  []string{"schema/...", "internal/fetch", "resolve/internal/..."},
		Why:  "an answer depends on what a provider says and on nothing else",
	},
	{
		Path: "resolve/internal/pubgrub",
		Idea: "one candidate of each package, so that no incompatibility holds: PubGrub over bit sets",
		Why:  "the solver knows neither versions nor Python",
	},
	{
		Path: "resolve/pypi",
		Idea: "the provider of Python packages: indexes that speak the simple API, and directories of wheels",
		May:  []string{"resolve", "schema/...", "internal/fetch"},
		Why:  "it says what there is; what is chosen is decided in resolve",
	},
	{
		Path: "resolve/external",
		Idea: "system dependencies by name: what a distribution calls them, what packages require, what a host has of them",
		May:  []string{"schema/..."},
		Why:  "a name is looked up; nothing is solved, fetched or run for it",
	},
	{
		Path: "install",
		Idea: "an environment made from a lock and nothing else: cache, wheels, byte code, atomic switch",
		May:  []string{"schema/...", "internal/fetch", "internal/safearchive"},
		Why:  "what is installed is decided by the lock, and by nobody who could resolve again",
	},
	{
		Path: "install/build",
		Idea: "a wheel of a source distribution: the hooks of PEP 517 in an environment that is thrown away",
		May:  []string{"install", "schema/...", "internal/safearchive"},
		Why:  "what a build requires is resolved by its caller, and installed as everything is",
	},
	{
		Path: "trust",
		Idea: "who made an archive: minisign signatures, and the keys that a host trusts",
		May:  nil,
		Why:  "a signature is of bytes, and is checked before anybody decodes them",
	},
	{
		Path: "export",
		Idea: "an app in the words of others: a CycloneDX bill of materials",
		May:  []string{"schema/...", "bundle"},
		Why:  "what others are told is a pure function of the app and its lock",
	},
	{
		Path: "rpm",
		Idea: "Linux packages: which they are, written, read back and signed; repositories",
		May:  []string{"schema/...", "bundle", "resolve", "install"},
		Why:  "a package is made of what is in the bundle and its lock, and runs nothing",
	},
	{
		Path: "resolve/internal/resolvetest",
		Idea: "universes as text, and a provider over them, for tests",
		May:  []string{"schema/...", "resolve"},
		Why:  "a universe is what a provider says",
	},
	{
		Path: "runner",
		Idea: "keep processes alive: the supervisor as a library and as a daemon",
		May:  []string{"schema/...", "runner/internal/..."},
		Why:  "the supervisor takes schema.Watcher values and does not care where they come from",
	},
	{
		Path: "runner/internal/watch",
		Idea: "the policy of one watcher: a pure function of state and event",
		May:  []string{"schema"},
		Why:  "the policy is pure: no process, no clock, no file",
	},
	{
		Path: "runner/internal/proc",
		Idea: "every system call about processes: start, wait, signal, cgroup, guard",
		May:  []string{"schema"},
		Why:  "system calls know no policy",
	},
	{
		Path: "powerhose",
		Idea: "jobs for workers in any language: masters, workers, callers",
		May:  []string{"powerhose/internal/...", "internal/zmq"},
		Why:  "workers are started, watched and replaced by the supervisor, which does not know them either",
	},
	{
		Path: "powerhose/cpp",
		Idea: "the worker in C++: headers, and their tests",
		May:  []string{"powerhose/internal/wire", "internal/zmq"},
		Why:  "a worker knows the protocol, and nothing of how a master decides; its tests play masters over TCP",
	},
	{
		Path: "powerhose/conformance",
		Idea: "the same faults for workers in Go, Python and C++: tests with real processes",
		May:  []string{"powerhose", "powerhose/internal/wire"},
		Why:  "what is promised is seen from outside; peers made of bytes know the protocol",
	},
	{
		Path: "powerhose/internal/dispatch",
		Idea: "what a master decides: a state machine without sockets, goroutines and clocks",
		May:  []string{"powerhose/internal/wire"},
		Why:  "decisions are pure: what happened comes in, what is to be done goes out",
	},
	{
		Path: "powerhose/internal/wire",
		Idea: "the job protocol in bytes: heads, and what workers on stdin read and write",
		Why:  "what meets hostile bytes stays small and alone",
	},
	{
		Path: "tools/package",
		Idea: "the packages of appbundle itself",
		May:  []string{"rpm"},
		Why:  "it is built, and packs what it is given",
	},
	{
		Path: "cmd/appbundle",
		Idea: "flags in, exit status out: a file a subcommand, each a thin call of a package above",
		May:  []string{"schema/...", "bundle", "scaffold", "resolve", "resolve/pypi", "resolve/external", "install", "install/build", "rpm", "export", "trust", "runner", "powerhose", "internal/fetch"},
		Why:  "a command calls the libraries' front doors, so that another Go program can do what it does",
	},
	{
		Path: "internal/safearchive",
		Idea: "tar and zip of strangers: names, links, limits",
		Why:  "what meets hostile bytes stays small and alone",
	},
	{
		Path: "internal/fetch",
		Idea: "HTTP with limits, retries and cache",
		Why:  "it moves bytes and does not know what they mean",
	},
	{
		Path: "internal/zmq",
		Idea: "ZeroMQ sockets that are fast and lose nothing in silence; the only user of zmq4",
		Why:  "it moves messages and does not know what they mean",
	},
	{
		Path: "internal/atomicfile",
		Idea: "write, fsync, rename: the old file or the new one, never a half",
		Why:  "everything may import it, so it imports nothing",
	},
	{
		Path: "internal/invariant",
		Idea: "checks that are on under the race detector",
		Why:  "everything may import it, so it imports nothing",
	},
	{
		Path: "internal/layout",
		Idea: "the guard of this table",
		Why:  "the guard reads source text and nothing else",
	},
}

// modules has a row for every module that the code imports.
var modules = []Module{
	{"github.com/BurntSushi/toml", []string{"schema"}, "0020-toml.md"},
	{"github.com/spf13/cobra", []string{"cmd/appbundle"}, "0001-cobra.md"},
	{"github.com/spf13/cobra/doc", nil, "0015-man-pages.md"},
	{"github.com/spf13/pflag", []string{"cmd/appbundle"}, "0001-cobra.md"},
	{"github.com/mholt/archiver/v4", []string{"bundle", "internal/safearchive", "rpm"}, "0002-archiver.md"},
	{"github.com/Masterminds/semver/v3", []string{"schema", "bundle"}, "0003-semver.md"},
	{"github.com/klauspost/compress", []string{"bundle", "internal/safearchive", "rpm"}, "0004-klauspost-compress.md"},
	{"github.com/goreleaser/nfpm/v2", []string{"rpm"}, "0025-nfpm.md"},
	{"github.com/ProtonMail/go-crypto", []string{"rpm"}, "0025-nfpm.md"},
	{"github.com/CycloneDX/cyclonedx-go", []string{"export"}, "0062-cyclonedx.md"},
	{"aead.dev/minisign", []string{"trust"}, "0063-minisign.md"},
	{"github.com/go-zeromq/zmq4", []string{"internal/zmq"}, "0030-zmq4.md"},
	{"golang.org/x/crypto", []string{"internal/zmq"}, "0031-x-crypto.md"},
	{"golang.org/x/mod", []string{"schema"}, "0055-go-mod.md"},
	{"golang.org/x/sys", []string{"bundle", "internal/...", "runner/...", "cmd/appbundle"}, "0005-x-sys.md"},
	{"golang.org/x/text", []string{"schema", "bundle", "internal/safearchive"}, "0006-x-text.md"},
	{"golang.org/x/net/html", []string{"resolve/pypi"}, "0022-x-net-html.md"},
	{"golang.org/x/term", []string{"cmd/appbundle"}, "0007-x-term.md"},
	{"github.com/rogpeppe/go-internal/diff", []string{"cmd/appbundle"}, "0065-edited-by-lines.md"},
	{"github.com/owenrumney/go-sarif/v3", nil, "0068-sarif-and-junit.md"},
	{"github.com/xeipuuv/gojsonschema", nil, "0068-sarif-and-junit.md"},
	{"github.com/rogpeppe/go-internal", nil, "0008-testscript.md"},
	{"golang.org/x/tools/txtar", nil, "0008-testscript.md"},
}

// tables are those of the project and of the examples that are modules.
var tables = []struct {
	dir      string
	module   string
	packages []Package
	modules  []Module
}{
	{".", project, table, modules},
	{"examples/token-app", project + "/examples/token-app", tokenApp, tokenAppModules},
}

// Markdown prints the tables for docs/ARCHITECTURE.md.
func Markdown() string {
	var b strings.Builder
	rows(&b, table)
	fmt.Fprintf(&b, "\nEvery package may import `%s`.\n", strings.Join(everywhere, "` and `"))
	for _, t := range tables[1:] {
		fmt.Fprintf(&b, "\nOf the project `%s` imports the package `powerhose` alone. Its own packages:\n\n", t.dir)
		rows(&b, t.packages)
	}
	return b.String()
}

func rows(b *strings.Builder, packages []Package) {
	b.WriteString("| package | its one idea | may import of ours |\n|---|---|---|\n")
	for _, p := range packages {
		may := "–"
		if len(p.May) > 0 {
			may = "`" + strings.Join(p.May, "`, `") + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", p.Path, p.Idea, may)
	}
}
