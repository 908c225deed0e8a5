package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// ErrNoEnvironment says that there is no environment to adopt.
var ErrNoEnvironment = errors.New("there is no environment")

// A MisfitError says that an environment cannot run under an interpreter.
type MisfitError struct {
	For    string // "Python 3.11 on linux_x86_64"
	Host   string // the interpreter and what it is
	Reason string // "" where For and Host say it
}

// Error says both.
func (e *MisfitError) Error() string {
	msg := fmt.Sprintf("the environment is for %s, and %s", e.For, e.Host)
	if e.Reason != "" {
		msg += ": " + e.Reason
	}
	return msg
}

// Adopt makes an environment that was built elsewhere one of this host: it
// compiles the byte code that archives do not carry, and links the interpreter
// at the absolute path python. Nothing is fetched, and no file of a package
// changes. The error is a [*MisfitError] where the interpreter, its C library or
// its processor is none that the wheels were made for.
//
// The caller answers for the files: an archive was compared with its manifest.
func Adopt(ctx context.Context, dir, python, cache string) error {
	env := filepath.Join(dir, EnvDir)
	stamp, err := readStamp(env)
	if err != nil {
		return err
	}
	i, err := Ask(ctx, python, cache)
	if err != nil {
		return err
	}
	if err := Fits(stamp, i); err != nil {
		return err
	}
	if stamp.Bytecode == i.bytecode() {
		if err := compileEnv(ctx, env, i); err != nil {
			return err
		}
	}
	return linkHost(env, i)
}

// readStamp reads what an environment says of itself.
func readStamp(env string) (*schema.Environment, error) {
	at := filepath.Join(env, stampName)
	text, err := os.ReadFile(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", env, ErrNoEnvironment)
	}
	if err != nil {
		return nil, err
	}
	stamp, problems := schema.ParseEnvironment(at, text)
	return stamp, problems.Err()
}

// Fits tells whether an environment can run under an interpreter, by the tags
// of its wheels. The error is a [*MisfitError].
func Fits(e *schema.Environment, i *Interpreter) error {
	host, err := i.Target()
	if err != nil {
		return err
	}
	is := platformName(host.Platform)
	misfit := &MisfitError{
		For:  fmt.Sprintf("Python %s on %s", e.PythonVersion(), e.Platform),
		Host: fmt.Sprintf("%s is Python %s on %s", i.Executable, i.Version(), is),
	}
	// Which musl a wheel needs is said by its name, as with glibc.
	family, _, _ := strings.Cut(e.Platform, "_")
	if i.Version() != e.PythonVersion() || !strings.HasPrefix(is, family+"_") || !strings.HasSuffix(e.Platform, "_"+host.Platform.Arch) {
		return misfit
	}
	ranking := pep425.NewRanking(host.Tags)
	for _, p := range e.Packages {
		name, err := pep508.ParseWheelName(p.File)
		if err != nil {
			return err
		}
		if _, ok := ranking.Rank(&name); !ok {
			misfit.Host = "this host has " + i.Libc
			misfit.Reason = p.File + " does not run there"
			return misfit
		}
	}
	return nil
}

// compileEnv compiles the modules of an environment that has no byte code.
func compileEnv(ctx context.Context, env string, i *Interpreter) error {
	site := filepath.Join(env, "lib", "python"+i.Env.PythonVersion, "site-packages")
	t := &tree{path: env}
	err := filepath.WalkDir(site, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".py") {
			t.files = append(t.files, treeFile{path: siteDir + "/" + filepath.ToSlash(strings.TrimPrefix(path, site+string(filepath.Separator)))})
		}
		return err
	})
	if err != nil {
		return err
	}
	pool := newCompilers(ctx, i)
	err = errors.Join(compileInto(ctx, t.modules(i.CacheTag), site, pool), pool.end())
	if err != nil {
		return err
	}
	return atomicfile.SyncTree(env) // one flush: one a file would take minutes
}

// compileInto compiles modules below site.
func compileInto(ctx context.Context, modules []module, site string, pool *compilers) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(cap(pool.free), len(modules)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(modules) {
					return
				}
				if err := compileAt(ctx, modules[n], site, pool); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func compileAt(ctx context.Context, m module, site string, pool *compilers) error {
	name := strings.TrimPrefix(m.path, siteDir+"/")
	to := filepath.Join(site, filepath.FromSlash(strings.TrimPrefix(m.compiled, siteDir+"/")))
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	data, err := pool.compile(ctx, filepath.Join(site, filepath.FromSlash(name)), name)
	if err != nil || len(data) == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o444), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the first error counts
	}
	return err
}

// linkHost adds what names the host. With the last link there is an environment.
func linkHost(env string, i *Interpreter) error {
	config := filepath.Join(env, configName)
	if _, err := os.Lstat(config); errors.Is(err, fs.ErrNotExist) {
		if err := atomicfile.WriteFile(config, i.config(), 0o644); err != nil {
			return err
		}
	}
	for _, l := range i.links() {
		at := filepath.Join(env, l[1])
		if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(l[0], at); err != nil {
			return err
		}
	}
	return nil
}
