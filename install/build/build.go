// Package build makes wheels of source distributions: the hooks of PEP 517 run in
// an environment that is made for them and thrown away.
//
// [Make] unpacks the source distribution into a directory of its own, reads
// [build-system] of its pyproject.toml, installs what that requires as package
// install does, asks the backend what else it needs, installs that too, and
// takes the wheel that the backend makes. What is required is resolved by the
// caller, to wheels alone: nothing is built in order to build.
//
// # What isolation means
//
// A hook is code of strangers. It runs as the user, and sees
//
//   - an environment of its own, with what it requires and nothing else, and the
//     standard library of the interpreter;
//   - PATH, with that environment first and then the system's programs, LANG,
//     HOME and TMPDIR in the throw-away directory, and SOURCE_DATE_EPOCH; no
//     other variable of the caller, and so no token, proxy or PYTHONPATH;
//   - an umask of 022, an empty standard input, and files that all have one time.
//
// It is not kept from the network, nor from files that the user may read:
// whoever allows builds trusts the authors of what is built.
//
// A hook is the leader of a session. When it ends, or the context does, everything
// in the session is killed, and what has left it is found by its HOME, on Linux.
// When the calling process is killed, the session ends as well, and its directory
// stays in TMPDIR. A hook has [MaxTime].
//
// # The cache
//
// CACHE/builds keeps each wheel under a digest of what made it: the sha256 of the
// source distribution, the interpreter and the host, and the sha256 of every
// package that was there. A build whose digest is known does not run.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appbundle/install"
	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// MaxTime is how long one hook may take.
const MaxTime = 2 * time.Hour

// A Request says what to build, and with what.
type Request struct {
	Sdist   string // path of the source distribution
	Name    string // of the file, which says what kind of archive it is
	SHA256  string // of it, which the caller has compared
	Project string // normalised
	Version pep440.Version

	Python string // absolute path of the interpreter
	Cache  string // the cache directory
	// Resolve finds wheels for the requirements on the host, one for each package.
	Resolve func(ctx context.Context, host pep425.Target, requires []*pep508.Requirement) (*schema.PyLock, error)
	// Fetch is that of [install.Request].
	Fetch func(ctx context.Context, f schema.LockedFile, w io.Writer) error
	// Progress hears what is being done, "asks setuptools.build_meta"; nil means
	// nobody does.
	Progress func(what string)
}

// A Wheel is the outcome of a build.
type Wheel struct {
	Path     string // in the cache; it must not be changed
	Name     string
	SHA256   string
	Size     int64
	Host     string // what it was built on, the name of a target
	Requires []schema.LockedBuildRequirement
	Cached   bool // it was built before
}

// An Error says that a source distribution cannot be built: an answer, as
// opposed to a failure of the disk or the network.
type Error struct {
	Reason string   // "build_wheel: exit status 1"
	Output []string // the last lines of what the build said
	Advice string   // what would help, "" where nobody knows
}

// Error gives the reason.
func (e *Error) Error() string { return e.Reason }

// A builder is one call of Make.
type builder struct {
	*Request
	host   pep425.Target
	full   string // version of the interpreter
	work   string // the throw-away directory
	source string // the directory of the source distribution
	system *schema.BuildSystem
}

// Make builds a wheel, or gives the one that was built before. An [*Error] is
// an answer; so is what Resolve says.
func Make(ctx context.Context, req Request) (w *Wheel, err error) {
	python, err := install.Ask(ctx, req.Python, req.Cache)
	if err != nil {
		return nil, err
	}
	b := &builder{Request: &req, full: python.Env.PythonFullVersion}
	if b.host, err = python.Target(); err != nil {
		return nil, err
	}
	if b.work, err = os.MkdirTemp("", "appbundle-build-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, atomicfile.RemoveAll(b.work)) }()
	for _, dir := range []string{homeDir, tmpDir, outDir} {
		if err := os.Mkdir(filepath.Join(b.work, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if err := b.unpack(ctx); err != nil {
		return nil, answer(err)
	}
	return b.make(ctx)
}

// answer makes an Error of a refusal.
func answer(err error) error {
	var refused *safearchive.RefusedError
	if errors.As(err, &refused) {
		return &Error{Reason: strings.TrimPrefix(err.Error(), refused.Archive+": ")}
	}
	return err
}

// make builds what is unpacked.
func (b *builder) make(ctx context.Context) (*Wheel, error) {
	tools, err := b.Resolve(ctx, b.host, b.system.Requires)
	if err != nil {
		return nil, err
	}
	asked, err := b.also(ctx, tools)
	if err != nil {
		return nil, err
	}
	if len(asked) > 0 {
		if tools, err = b.Resolve(ctx, b.host, append(asked, b.system.Requires...)); err != nil {
			return nil, err
		}
	}
	key, used := b.key("wheel", tools)
	if w := b.kept(key); w != nil {
		w.Host, w.Requires, w.Cached = b.host.Name, used, true
		return w, nil
	}
	if err := b.equip(ctx, tools); err != nil {
		return nil, err
	}
	var name string
	if err := b.hook(ctx, "build_wheel", &name); err != nil {
		return nil, err
	}
	w, err := b.check(ctx, name)
	if err != nil {
		return nil, answer(err)
	}
	w.Host, w.Requires = b.host.Name, used
	return w, b.keep(key, w)
}

// also gives what the backend asks for when it is there.
func (b *builder) also(ctx context.Context, tools *schema.PyLock) ([]*pep508.Requirement, error) {
	key, _ := b.key("requires", tools)
	if asked, ok := b.keptRequires(key); ok {
		return asked, nil
	}
	if err := b.equip(ctx, tools); err != nil {
		return nil, err
	}
	var texts []string
	if err := b.hook(ctx, "get_requires_for_build_wheel", &texts); err != nil {
		return nil, err
	}
	asked, err := requirements(texts)
	if err != nil {
		return nil, &Error{Reason: "get_requires_for_build_wheel: " + err.Error()}
	}
	b.keepRequires(key, texts)
	return asked, nil
}

func requirements(texts []string) ([]*pep508.Requirement, error) {
	if len(texts) > schema.MaxBuildRequires {
		return nil, fmt.Errorf("%d requirements, more than %d", len(texts), schema.MaxBuildRequires)
	}
	var list []*pep508.Requirement
	for _, text := range texts {
		r, err := pep508.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%.100q: %w", text, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// equip makes the environment that the hooks run in.
func (b *builder) equip(ctx context.Context, tools *schema.PyLock) error {
	b.tell("installs what it needs to be built")
	_, err := install.Sync(ctx, install.Request{
		Lock: tools, Dir: b.work, Python: b.Python, Cache: b.Cache, Target: &b.host, Fetch: b.Fetch, Compile: true,
	})
	if err != nil {
		return fmt.Errorf("what it needs to be built: %w", err)
	}
	return nil
}

func (b *builder) tell(what string) {
	if b.Progress != nil {
		b.Progress(what)
	}
}
