package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
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

// packageOptions are the flags of build that ask for Linux packages.
type packageOptions struct {
	rpm, deb   bool
	collection bool
	layout     string // private or system
	spec, srpm bool
	key        string // file of the OpenPGP key, or gpg:FINGERPRINT
	passphrase string // file of its passphrase
}

// formats are the kinds of packages that are asked for.
func (o *packageOptions) formats() []rpm.Format {
	var list []rpm.Format
	if o.rpm {
		list = append(list, rpm.RPM)
	}
	if o.deb {
		list = append(list, rpm.Deb)
	}
	return list
}

// planned are the formats for which there is a plan: sources are made of an RPM's.
func (o *packageOptions) planned() []rpm.Format {
	list := o.formats()
	if (o.spec || o.srpm) && !o.rpm {
		list = append([]rpm.Format{rpm.RPM}, list...)
	}
	return list
}

// any reports whether something else than an archive is asked for.
func (o *packageOptions) any() bool { return len(o.planned()) > 0 }

// maxFile is the size of the largest file that all of them hold.
func (o *packageOptions) maxFile() int64 {
	most := int64(math.MaxInt64)
	for _, f := range o.planned() {
		most = min(most, rpm.MaxFile(f))
	}
	return most
}

// check refuses flags that mean nothing.
func (o *packageOptions) check() error {
	if err := o.checkLayout(); err != nil {
		return err
	}
	switch signs := len(o.formats()) > 0 || o.srpm; {
	case o.passphrase != "" && o.key == "" && o.any():
		return errors.New("--passphrase-file: there is no --sign whose passphrase it could be")
	case o.passphrase != "" && strings.HasPrefix(o.key, agentKey):
		return errors.New("--passphrase-file: the agent knows the passphrase of its keys")
	case (o.key != "" || o.passphrase != "") && !signs:
		return errors.New("--sign: packages are signed; add --rpm, --deb or --srpm")
	}
	return nil
}

// checkLayout refuses flags about how many packages there are, and where their files
// are, that do not go together.
func (o *packageOptions) checkLayout() error {
	layout := rpm.Layout(o.layout)
	switch {
	case layout != rpm.Private && layout != rpm.System:
		return fmt.Errorf("--layout: %q is none; there are private and system", o.layout)
	case o.collection && (o.spec || o.srpm):
		return errors.New("--collection: a spec is for one package; build --rpm --collection and --srpm one after the other")
	case layout == rpm.System && (o.spec || o.srpm):
		return errors.New("--layout system: a spec is for one package, and this layout has many; build them with --rpm --collection")
	case layout == rpm.System && o.any() && !o.collection:
		return fmt.Errorf("--layout system: %w: add --collection", rpm.ErrWhole)
	case layout == rpm.System && !o.any():
		return errors.New("--layout: of which packages? add --collection, and --rpm or --deb")
	case o.collection && !o.any():
		return errors.New("--collection: of which packages? add --rpm or --deb")
	}
	return nil
}

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
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	bar := out.progress("package")
	defer bar.end()
	if o.spec || o.srpm {
		bar.note("source of %s", built.Name)
		err := o.writeSource(ctx, out, dir, &rpm.Source{Package: plans[rpm.RPM][0], BuildRequires: build}, signer)
		bar.end()
		if err != nil {
			return err
		}
	}
	for _, f := range o.formats() {
		written := 0
		note := func() { bar.note("%d of %s", written, count(len(plans[f]), "package")) }
		note()
		err = rpm.WriteAll(ctx, dir, plans[f], rpm.Options{Signer: signer}, func(p *rpm.Package, info *rpm.Info) {
			bar.end()
			out.print("sha256:%x  %s\n", info.SHA256, filepath.Join(dir, p.FileName()))
			written++
			note()
		})
		bar.end()
		if err != nil {
			return err
		}
		if o.collection {
			if _, err := rpm.Index(ctx, f, dir, rpm.IndexOptions{Signer: signer, Time: when, Name: built.Name}); err != nil {
				return err
			}
		}
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

// writeSource writes what rpmbuild makes the package of.
func (o *packageOptions) writeSource(ctx context.Context, out *printer, dir string, s *rpm.Source, signer rpm.Signer) error {
	if o.spec {
		files, err := rpm.WriteSpec(ctx, dir, s)
		if err != nil {
			return err
		}
		for _, f := range files {
			out.print("sha256:%x  %s\n", f.SHA256, f.Path)
		}
	}
	if o.srpm {
		at := filepath.Join(dir, s.FileName())
		info, err := rpm.WriteSource(ctx, at, s, rpm.Options{Signer: signer})
		if err != nil {
			return err
		}
		out.print("sha256:%x  %s\n", info.SHA256, at)
	}
	return nil
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
	relations, _ = external.BuildRelations(t, app.External)
	return relationsOf(relations), nil
}

func relationsOf(list []external.Relation) (all []rpm.Relation) {
	for _, r := range list {
		all = append(all, rpm.Relation{Name: r.Name, Op: r.Op, Version: r.Version})
	}
	return all
}

// agentKey is what the name of a key begins with that gpg-agent holds.
const agentKey = "gpg:"

// signer reads the key of --sign, or finds it with the agent.
func (o *packageOptions) signer(ctx context.Context) (rpm.Signer, error) {
	if o.key == "" {
		return nil, nil
	}
	if fingerprint, ok := strings.CutPrefix(o.key, agentKey); ok {
		agent, err := rpm.NewAgent(ctx, fingerprint)
		if err != nil {
			return nil, fmt.Errorf("--sign: %w", err)
		}
		return agent, nil
	}
	var passphrase []byte
	if o.passphrase != "" {
		var err error
		if passphrase, err = os.ReadFile(o.passphrase); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(o.key)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	key, err := rpm.ReadKey(f, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.key, err)
	}
	return key, nil
}
