package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"appbundle/bundle"
	"appbundle/internal/atomicfile"
	"appbundle/resolve"
	"appbundle/resolve/pypi"
	"appbundle/schema"
)

// A lockAnswer is a lock that has been written.
type lockAnswer struct {
	lock  *schema.PyLock
	moves []move
	built []string
}

// makeLock locks the app in dir, or answers --check.
func makeLock(ctx context.Context, g *globals, out *printer, dir string, o lockOptions) (*lockAnswer, error) {
	app, err := look(ctx, func() (*bundle.App, error) { return bundle.SurveyChanged(dir, o.changed()) })
	if err != nil {
		return nil, err
	}
	if err := unlockable(app); err != nil {
		return nil, err
	}
	old, err := readLock(app)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if o.check {
		return nil, checkLock(out, app, old, o.format.value)
	}
	cache, err := g.cacheDirectory()
	if err != nil {
		return nil, err
	}
	req := demand(app)
	if req.Targets, err = o.targets(ctx, app, cache); err != nil {
		return nil, err
	}
	if old != nil && resolutionOf(old) == o.resolution.value { // who asks for others wants others
		req.Locked = resolve.LockedOf(old)
	}
	req.Upgrade, req.UpgradeAll = o.upgrade, o.upgradeAll
	req.Prereleases = req.Prereleases || o.pre
	req.ExcludeNewer = o.excludeNewer
	if s := o.resolution.value; s != "highest" {
		req.Strategy = resolve.Strategy(s)
	}
	src, err := g.sources(ctx, app, o.index, cache, func(msg string) { out.warn("appbundle: %s", msg) })
	if err != nil {
		return nil, err
	}
	b := &builds{app: app, old: old, allow: o.allowBuild, flag: o.python, newer: o.excludeNewer, cache: cache, req: &req}
	src.Build = b.wheel
	res, err := solve(ctx, out, src, b)
	if no := (*resolve.ConflictError)(nil); o.explain && errors.As(err, &no) {
		return nil, &explainedError{no}
	}
	if err != nil {
		return nil, atLine(app, err)
	}
	lock, err := res.PyLock("appbundle")
	if err != nil {
		return nil, err
	}
	lock.File, lock.Tool.Inputs, lock.Tool.Options = lockFile, inputs(app), o.options(req.Targets)
	built, err := writeLock(ctx, app, o, b, res, lock)
	if err != nil {
		return nil, err
	}
	for _, w := range res.Warnings {
		out.warn("appbundle: %v", w)
	}
	warnSources(out, lock)
	warnUpgrade(out, o.upgrade, old, lock)
	return &lockAnswer{lock, moves(old, lock, res, req), built}, nil
}

// writeLock writes a lock with the file that was edited and the wheels that were
// built, which it gives.
func writeLock(ctx context.Context, app *bundle.App, o lockOptions, b *builds, res *resolve.Resolution, lock *schema.PyLock) ([]string, error) {
	data, err := lock.Encode()
	if err != nil {
		return nil, err
	}
	built, err := b.write(res)
	if err != nil {
		return nil, err
	}
	files := []atomicfile.Replacement{{Path: filepath.Join(app.Dir, lockFile), Data: data, Perm: 0o644}}
	what := lockFile + " is not written"
	if o.edit != nil {
		edited, err := replacement(app.Dir, o.edit)
		if err != nil {
			return nil, err
		}
		files = append(files, edited) // behind the lock: after a crash in between, the same command does the rest
		what = o.edit.Name + " and " + lockFile + " are not written"
	}
	if err := atomicfile.ReplaceAll(ctx, files); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return built, b.clean(lock)
}

// changed is the content of the edited file, before it is on the disk.
func (o *lockOptions) changed() map[string][]byte {
	if o.edit == nil {
		return nil
	}
	return map[string][]byte{o.edit.Path: o.edit.Bytes()}
}

// unlockable is what is wrong in the dependency files: nothing is resolved from
// the half of them that can be read.
func unlockable(app *bundle.App) error {
	files := inputs(app)
	var bad []bundle.Finding
	for _, f := range bundle.Check(app) {
		if _, ok := files[f.File]; f.Level == bundle.Error && (ok || f.File == "dependencies.txt") {
			bad = append(bad, f)
		}
	}
	if len(bad) > 0 {
		return &bundle.CheckError{Findings: bad}
	}
	return nil
}

// solve asks the index, and computes the hashes that it does not say.
func solve(ctx context.Context, out *printer, src pypi.Config, b *builds) (*resolve.Resolution, error) {
	index, err := pypi.New(ctx, src)
	if err != nil {
		return nil, err
	}
	defer index.Close()
	bar := out.progress("lock")
	defer bar.end()
	b.prepare(index, bar)
	res, err := resolve.Lock(ctx, &watched{Provider: index, bar: bar}, *b.req)
	if err != nil {
		return nil, err
	}
	return res, digests(ctx, index, res)
}

// digests computes the hashes that an index does not say.
func digests(ctx context.Context, index *pypi.Index, res *resolve.Resolution) error {
	for _, p := range res.Packages {
		for _, f := range p.Files {
			if len(f.Hashes) > 0 {
				continue
			}
			sum, n, err := index.Digest(ctx, f)
			if err != nil {
				return err
			}
			f.Hashes, f.Size = map[string]string{"sha256": sum}, n
		}
	}
	return nil
}
