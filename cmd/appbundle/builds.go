package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/install/build"
	"appbundle/resolve"
	"appbundle/resolve/pypi"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// wheelsDir is where the wheels that were built are, in the directory of an app.
const wheelsDir = "wheels"

// maxBuilds is how long a resolution takes that builds.
const maxBuilds = 8 * time.Hour

// builds makes wheels of source distributions while an app is locked: it takes
// the one of the old lock, one that was built before, or builds.
type builds struct {
	app   *bundle.App
	old   *schema.PyLock // nil for none
	allow bool           // something may be built that the old lock does not have
	flag  string         // --python
	newer time.Time      // as --exclude-newer says
	cache string
	req   *resolve.Request

	index *pypi.Index
	bar   *progress
	made  map[string]string // path in the bundle to the file now
}

// prepare makes the request one that counts builds, where there may be any.
func (b *builds) prepare(index *pypi.Index, bar *progress) {
	b.index, b.bar, b.made = index, bar, map[string]string{}
	known := b.old != nil && slices.ContainsFunc(b.old.Packages, func(p schema.LockedPackage) bool { return p.Tool.Built != nil })
	if !b.allow && !known {
		return
	}
	b.req.AllowBuild, b.req.Build, b.req.MaxTime = true, index.Build, maxBuilds
}

// wheel is the hook of package pypi.
func (b *builds) wheel(ctx context.Context, s pypi.Sdist) (*pypi.Wheel, error) {
	if w := b.reuse(&s); w != nil {
		return w, nil
	}
	if !b.allow {
		return nil, &resolve.MetadataError{File: s.Name, Reason: "builds are not allowed (--allow-build)"}
	}
	return b.build(ctx, &s)
}

// reuse gives the wheel that the old lock has of the same source distribution,
// nil where there is none for a target of now, or where it is not what it was.
func (b *builds) reuse(s *pypi.Sdist) *pypi.Wheel {
	if b.old == nil {
		return nil
	}
	for i := range b.old.Packages {
		p := &b.old.Packages[i]
		f, built := p.BuiltFile(), p.Tool.Built
		if f == nil || p.Name != s.Project || built.Sdist.SHA256() != s.Hashes["sha256"] {
			continue
		}
		serves := isPure(f.Wheel) || slices.ContainsFunc(b.req.Targets, func(t resolve.Target) bool { return t.Name == built.Host })
		if sum, n, err := sumInside(b.app.Dir, f.Path); !serves || err != nil || sum != f.SHA256() || f.Size > 0 && n != f.Size {
			continue
		}
		return &pypi.Wheel{Built: resolve.Built{Wheel: inBundle(f), Record: built}, At: filepath.Join(b.app.Dir, filepath.FromSlash(f.Path))}
	}
	return nil
}

func isPure(w *pep508.WheelName) bool {
	return !slices.ContainsFunc(w.Tags, func(tag string) bool { return !strings.HasSuffix(tag, "-any") })
}

func inBundle(f *schema.LockedFile) *resolve.File {
	return &resolve.File{Name: f.Name, Path: f.Path, Hashes: f.Hashes, Size: f.Size, Wheel: f.Wheel}
}

// build runs the build, or finds that it has been run.
func (b *builds) build(ctx context.Context, s *pypi.Sdist) (*pypi.Wheel, error) {
	at, err := s.Get(ctx)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(at); err == nil {
		s.Size = st.Size() // an index need not say it
	}
	python, err := buildInterpreter(b.app, b.flag)
	if err != nil {
		return nil, err
	}
	w, err := build.Make(ctx, build.Request{
		Sdist: at, Name: s.Name, SHA256: s.Hashes["sha256"], Project: s.Project, Version: s.Version,
		Python: python, Cache: b.cache,
		Resolve: func(ctx context.Context, host pep425.Target, requires []*pep508.Requirement) (*schema.PyLock, error) {
			return b.tools(ctx, s, host, requires)
		},
		Fetch:    b.fetch,
		Progress: func(what string) { b.bar.note("%s %s: %s", s.Project, s.Version, what) },
	})
	var no *build.Error
	var conflict *resolve.ConflictError
	switch {
	case errors.As(err, &no):
		return nil, &resolve.BuildError{File: s.Name, Reason: no.Reason, Output: no.Output, Advice: no.Advice}
	case errors.As(err, &conflict):
		return nil, &resolve.BuildError{File: s.Name, Reason: "what it needs to be built is not there: " + conflict.Error()}
	case err != nil:
		return nil, err
	}
	return b.result(s, w)
}

// result says where the wheel is to be, and of what it was made.
func (b *builds) result(s *pypi.Sdist, w *build.Wheel) (*pypi.Wheel, error) {
	name, err := pep508.ParseWheelName(w.Name)
	if err != nil {
		return nil, err
	}
	f := &resolve.File{Name: w.Name, Path: b.place(w.Name, w.SHA256), Hashes: map[string]string{"sha256": w.SHA256}, Size: w.Size, Wheel: &name}
	b.made[f.Path] = w.Path
	return &pypi.Wheel{At: w.Path, Built: resolve.Built{Wheel: f, Record: &schema.LockedBuild{
		Sdist: schema.LockedFile{Name: s.Name, URL: s.URL, Size: s.Size, Hashes: map[string]string{"sha256": s.Hashes["sha256"]}},
		Wheel: w.Name, Host: w.Host, Requires: w.Requires,
	}}}, nil
}

// place gives the path in the bundle for a wheel. What is there stays until the
// new lock is written, because the old one may name it.
func (b *builds) place(name, sum string) string {
	at := path.Join(wheelsDir, name)
	was, _, err := sumInside(b.app.Dir, at)
	if errors.Is(err, os.ErrNotExist) || err == nil && was == sum {
		return at
	}
	return path.Join(wheelsDir, sum[:12], name)
}

// tools resolves what a source distribution needs to be built, to wheels.
func (b *builds) tools(ctx context.Context, s *pypi.Sdist, host pep425.Target, requires []*pep508.Requirement) (*schema.PyLock, error) {
	req := resolve.Request{Targets: []resolve.Target{resolve.NewTarget(host)}, OnlyBinary: []string{":all:"}, ExcludeNewer: b.newer}
	for _, r := range requires {
		req.Requirements = append(req.Requirements, schema.Package{Pos: schema.Pos{File: s.Name}, Text: r.String(), Req: *r, URL: r.URL})
	}
	res, err := resolve.Lock(ctx, b.index, req)
	if err != nil {
		return nil, err
	}
	for _, p := range res.Packages {
		p.Files = []*resolve.File{p.File} // of one target
	}
	if err := digests(ctx, b.index, res); err != nil {
		return nil, err
	}
	lock, err := res.PyLock("appbundle")
	if err != nil {
		return nil, err
	}
	lock.File = "what " + s.Name + " needs to be built"
	for i := range lock.Packages {
		if err := b.local(ctx, lock.Packages[i].Wheels); err != nil {
			return nil, err
		}
	}
	return lock, nil
}

// local takes wheels of this host into the cache, since the environment of a build
// has no path to them.
func (b *builds) local(ctx context.Context, wheels []schema.LockedFile) error {
	for i := range wheels {
		f := &wheels[i]
		if f.Path == "" {
			continue
		}
		at, err := b.index.Get(ctx, inBundle(f))
		if err != nil {
			return err
		}
		if err := install.Keep(ctx, b.cache, f, at); err != nil {
			return err
		}
	}
	return nil
}

func (b *builds) fetch(ctx context.Context, f schema.LockedFile, w io.Writer) error {
	at, err := b.index.Get(ctx, &resolve.File{URL: f.URL, Size: f.Size, Hashes: f.Hashes})
	if err != nil {
		return err
	}
	in, err := os.Open(at)
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	_, err = io.Copy(w, in)
	return err
}
