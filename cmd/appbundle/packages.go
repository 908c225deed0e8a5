package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/resolve/external"
	"appbundle/rpm"
)

// packageDir is where packages are written: -o, which is always a directory.
func packageDir(output string) (string, error) {
	dir := cmp.Or(output, ".")
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return "", &bundle.UsageError{Msg: fmt.Sprintf("%s: is no directory, and packages have their own names", output)}
	}
	return filepath.Clean(dir), nil
}

// sourceDate is SOURCE_DATE_EPOCH, which packages are dated; 1970 without it.
func (g *globals) sourceDate() (time.Time, error) {
	text := g.env("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<32 {
		return time.Time{}, &usageError{err: fmt.Errorf("SOURCE_DATE_EPOCH: %q is no number of seconds since 1970", text)}
	}
	return time.Unix(n, 0).UTC(), nil
}

// runPackages builds Linux packages of an app directory.
func runPackages(ctx context.Context, g *globals, out *printer, app *bundle.App, opts bundle.BuildOptions, o packageOptions) error {
	dir, err := packageDir(opts.Output)
	if err != nil {
		return err
	}
	signer, err := o.signer(ctx)
	if err != nil {
		return err
	}
	when, err := g.sourceDate()
	if err != nil {
		return err
	}
	opts.Output = dir + "/"
	built, findings, err := bundle.Prepare(ctx, app, opts)
	if err != nil {
		return err
	}
	in := rpm.Input{App: built, Time: when, Collection: o.collection, Layout: rpm.Layout(o.layout), Library: external.Library}
	if built.Environment != nil {
		if in.Dists, err = install.Dists(built.Dir); err != nil {
			return err
		}
		if in.Compiled, err = compiled(ctx, built, g.answers()); err != nil {
			return err
		}
	}
	plans := map[rpm.Format][]*rpm.Package{}
	var build []rpm.Relation // what rpmbuild needs
	var said []string
	for _, f := range o.planned() { // all, before any is written
		builds, err := externals(out, built, &in, f)
		if err != nil {
			return err
		}
		var warnings []string
		if plans[f], warnings, err = rpm.Plan(f, in); err != nil {
			return err
		}
		if f == rpm.RPM {
			build = builds
		}
		for _, w := range warnings {
			if !slices.Contains(said, w) {
				out.warn("appbundle: %s", w)
			}
		}
		said = append(said, warnings...)
	}
	index := rpm.IndexOptions{Signer: signer, Time: when, Name: built.Name}
	if o.collection {
		for _, f := range o.formats() {
			if err := index.Check(f, dir); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	files, err := o.write(ctx, out, dir, plans, &rpm.Source{BuildRequires: build}, index)
	if err != nil {
		return err
	}
	if err := tellBuilt(out, o.format.value, built, files); err != nil {
		return err
	}
	if n := len(findings); n > 0 {
		out.remark("%s; see appbundle check", count(n, "warning"))
	}
	return nil
}

// compiled is the byte code of the app's own modules, for the Python of its
// environment: nothing is written below the prefix when the app runs.
func compiled(ctx context.Context, app *bundle.App, cache string) ([]install.Compiled, error) {
	python, err := os.Readlink(filepath.Join(app.Dir, install.EnvDir, "bin/python"))
	if err != nil {
		return nil, err
	}
	var sources []string
	for i := range app.Entries {
		e := &app.Entries[i]
		if e.Type == bundle.File && strings.HasSuffix(e.Path, ".py") && !strings.HasPrefix(e.Path, install.EnvDir+"/") {
			sources = append(sources, e.Path)
		}
	}
	return install.Compile(ctx, python, cache, app.Dir, sources)
}

// write writes all that is asked for, and then lets it appear together.
func (o *packageOptions) write(ctx context.Context, out *printer, dir string, plans map[rpm.Format][]*rpm.Package, source *rpm.Source, index rpm.IndexOptions) (files []builtFile, err error) {
	var batch rpm.Batch
	defer func() { err = errors.Join(err, batch.Abort()) }()
	bar := out.progress("package")
	defer bar.end()
	options := rpm.Options{Signer: index.Signer}
	if o.spec || o.srpm {
		source.Package = plans[rpm.RPM][0]
		bar.note("source of %s", source.Package.Name)
		sources, err := o.writeSource(ctx, &batch, dir, source, options)
		if err != nil {
			return nil, err
		}
		for _, f := range sources {
			files = append(files, fileOf(f.Path, f.SHA256))
		}
	}
	for _, f := range o.formats() {
		written := 0
		note := func() { bar.note("%d of %s", written, count(len(plans[f]), "package")) }
		note()
		err = batch.WriteAll(ctx, dir, plans[f], options, func(p *rpm.Package, info *rpm.Info) {
			files = append(files, fileOf(filepath.Join(dir, p.FileName()), info.SHA256))
			written++
			note()
		})
		if err != nil {
			return nil, err
		}
		if o.collection {
			if _, err := batch.Index(ctx, f, dir, index); err != nil {
				return nil, err
			}
		}
	}
	if err := batch.Commit(); err != nil {
		return nil, err
	}
	return files, nil
}

// writeSource writes what rpmbuild makes the package of.
func (o *packageOptions) writeSource(ctx context.Context, batch *rpm.Batch, dir string, s *rpm.Source, options rpm.Options) (files []rpm.SourceFile, err error) {
	if o.spec {
		if files, err = batch.WriteSpec(ctx, dir, s); err != nil {
			return nil, err
		}
	}
	if o.srpm {
		at := filepath.Join(dir, s.FileName())
		info, err := batch.WriteSource(ctx, at, s, options)
		if err != nil {
			return nil, err
		}
		files = append(files, rpm.SourceFile{Path: at, SHA256: info.SHA256})
	}
	return files, nil
}

// externals sets the relations that external-dependencies.txt comes to in a format, and
// gives those of who builds.
func externals(out *printer, app *bundle.App, in *rpm.Input, f rpm.Format) (build []rpm.Relation, err error) {
	family := external.RPM
	if f == rpm.Deb {
		family = external.Deb
	}
	machine, err := hostMachine()
	if err != nil {
		return nil, err
	}
	if _, platform, ok := strings.Cut(app.Target(), "_"); ok {
		machine = platform
	}
	t, err := external.Any(family, machine)
	if err == nil && app.Environment != nil {
		t, err = t.WithPython(app.Environment.PythonVersion())
	}
	if err != nil {
		return nil, err
	}
	relations, problems := external.Relations(t, app.External)
	in.External = relationsOf(relations)
	for _, p := range problems {
		out.warn("appbundle: %v", p)
	}
	answers, _ := external.For(t, app.External)
	for i := range answers {
		if answers[i].Build { // what is needed at run time too is not needed to pack it
			build = append(build, relationsOf(answers[i].BuildRequires)...)
		}
	}
	return build, nil
}

func relationsOf(list []external.Relation) (all []rpm.Relation) {
	for _, r := range list {
		op := r.Op
		if op == "<<" || op == ">>" { // dpkg's words
			op = op[1:]
		}
		all = append(all, rpm.Relation{Name: r.Name, Op: op, Version: r.Version})
	}
	return all
}
