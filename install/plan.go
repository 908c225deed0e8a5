package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// A plan is what an environment is to hold.
type plan struct {
	req    *Request
	python *Interpreter
	target pep425.Target
	wheels []planned // by name
}

// A planned wheel is one package with the file that it is installed from.
type planned struct {
	p    *schema.LockedPackage
	file *schema.LockedFile
}

func (w *planned) String() string { return w.p.Name + " " + w.p.Version }

// makePlan chooses packages and wheels. Every package without one is a problem.
func makePlan(ctx context.Context, req *Request) (*plan, error) {
	python, err := Ask(ctx, req.Python, req.Cache)
	if err != nil {
		return nil, err
	}
	p := &plan{req: req, python: python}
	if p.target, err = p.chooseTarget(); err != nil {
		return nil, err
	}
	packages, err := req.Lock.Select(p.target.Env, p.target.Python)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, p.target.Name)
	}
	ranking := pep425.NewRanking(p.target.Tags)
	var problems schema.Problems
	for _, pkg := range packages {
		file, why := choose(pkg, ranking)
		if file == nil {
			fix := "lock a wheel of it for " + p.target.Name
			if pkg.Sdist != nil {
				fix = "appbundle lock --allow-build makes a wheel of it"
			}
			problems.Add(pkg.Pos, fix, "%s %s %s", pkg.Name, pkg.Version, why)
			continue
		}
		p.wheels = append(p.wheels, planned{pkg, file})
	}
	slices.SortFunc(p.wheels, func(a, b planned) int { return strings.Compare(a.p.Name, b.p.Name) })
	return p, problems.Err()
}

func (p *plan) chooseTarget() (pep425.Target, error) {
	host, err := p.python.Target()
	if err != nil || p.req.Target == nil {
		return host, err
	}
	if want := p.req.Target.Env.PythonVersion; want != host.Env.PythonVersion {
		return host, fmt.Errorf("%s is Python %s, and the target %s needs %s", p.req.Python, host.Env.PythonVersion, p.req.Target.Name, want)
	}
	return *p.req.Target, nil
}

// choose gives the file that a package is installed from, or why there is none.
func choose(p *schema.LockedPackage, ranking *pep425.Ranking) (file *schema.LockedFile, why string) {
	wheels := p.Wheels
	if p.Archive != nil && p.Archive.Wheel != nil {
		wheels = []schema.LockedFile{*p.Archive}
	}
	switch {
	case p.VCS != nil || p.Directory != nil:
		return nil, "is a source tree, and only wheels are installed"
	case len(wheels) == 0:
		return nil, "has only a source distribution, and only wheels are installed"
	}
	parsed, names := make([]*pep508.WheelName, len(wheels)), make([]string, len(wheels))
	for i := range wheels {
		parsed[i], names[i] = wheels[i].Wheel, wheels[i].Name
	}
	i := ranking.Best(parsed, names)
	if i < 0 {
		return nil, fmt.Sprintf("has no wheel that fits this target, of %d", len(wheels))
	}
	if wheels[i].SHA256() == "" {
		return nil, "has a wheel without a sha256"
	}
	return &wheels[i], ""
}

func (p *plan) installed() []Installed {
	out := make([]Installed, len(p.wheels))
	for i, w := range p.wheels {
		out[i] = Installed{w.p.Name, w.p.Version, w.file.Name, w.file.SHA256()}
	}
	return out
}

// A prepared wheel is in the cache with all that an environment needs of it.
type prepared struct {
	*planned
	tree     *tree
	bytecode *bytecode // nil without byte code
}

// prepare brings every wheel into the cache.
func (p *plan) prepare(ctx context.Context, c *cache, res *Result) ([]prepared, error) {
	out := make([]prepared, len(p.wheels))
	pool := newCompilers(ctx, p.python)
	var done, fetched, compiled atomic.Int64
	err := p.each(ctx, func(ctx context.Context, i int) error {
		w := &p.wheels[i]
		t, made, err := c.wheel(ctx, w.file, func(to io.Writer) error { return p.get(ctx, w, to) })
		if err != nil {
			return err
		}
		if !t.isOf(w.file.Wheel) {
			return &schema.Problem{Pos: w.file.Pos, Msg: fmt.Sprintf("the file with this sha256 is a wheel of %s %s", t.name, t.version)}
		}
		out[i] = prepared{planned: w, tree: t}
		if made {
			fetched.Add(1)
		}
		if p.req.Compile {
			b, made, err := c.bytecode(ctx, w.file.SHA256(), t, pool)
			if err != nil {
				return err
			}
			out[i].bytecode = b
			if made {
				compiled.Add(1)
			}
		}
		if n := done.Add(1); p.req.Progress != nil {
			p.req.Progress(Progress{int(n), len(p.wheels), w.String()})
		}
		return nil
	})
	switch endErr := pool.end(); {
	case err == nil:
		err = endErr
	case errors.Is(err, errEnded) && endErr != nil:
		err = fmt.Errorf("%w: %w", err, endErr)
	}
	res.Fetched, res.Compiled = int(fetched.Load()), int(compiled.Load())
	return out, err
}

// each calls do for every wheel, several at once, until one fails. It gives the
// first error; what the others say after it is a consequence.
func (p *plan) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := p.req.Workers
	if workers <= 0 {
		workers = max(8, 2*runtime.GOMAXPROCS(0))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(p.wheels)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(p.wheels) || ctx.Err() != nil {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(fmt.Errorf("%s: %w", &p.wheels[i], err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// get writes the file of a wheel to w.
func (p *plan) get(ctx context.Context, w *planned, to io.Writer) error {
	if w.file.Path != "" {
		in, err := os.OpenInRoot(p.req.Dir, w.file.Path)
		if errors.Is(err, os.ErrNotExist) {
			return &schema.Problem{Pos: w.file.Pos, Msg: w.file.Path + " is missing", Fix: "put it back, or lock again"}
		}
		if err != nil {
			return err
		}
		defer in.Close() // opened for reading: nothing can be lost
		_, err = io.Copy(to, in)
		return err
	}
	u, err := url.Parse(w.file.URL)
	switch {
	case err != nil:
		return err
	case u.Scheme == "file":
		return errors.New("the lock names a file of the host that made it; copy the wheel into the application and lock again")
	case p.req.Offline || p.req.Fetch == nil:
		return fmt.Errorf("%s is not in the cache, and nothing may be fetched", w.file.Name)
	}
	return p.req.Fetch(ctx, *w.file, to)
}
