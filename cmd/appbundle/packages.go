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

// maxFile is the size of the largest file that all of them hold.
func (o *packageOptions) maxFile() int64 {
	most := int64(math.MaxInt64)
	for _, f := range o.formats() {
		most = min(most, rpm.MaxFile(f))
	}
	return most
}

// check refuses flags that mean nothing.
func (o *packageOptions) check() error {
	layout := rpm.Layout(o.layout)
	switch {
	case layout != rpm.Private && layout != rpm.System:
		return fmt.Errorf("--layout: %q is none; there are private and system", o.layout)
	case layout == rpm.System && len(o.formats()) > 0 && !o.collection:
		return fmt.Errorf("--layout system: %w: add --collection", rpm.ErrWhole)
	case len(o.formats()) > 0:
		if o.passphrase != "" && o.key == "" {
			return errors.New("--passphrase-file: there is no --sign whose passphrase it could be")
		}
		if o.passphrase != "" && strings.HasPrefix(o.key, agentKey) {
			return errors.New("--passphrase-file: the agent knows the passphrase of its keys")
		}
		return nil
	case layout == rpm.System:
		return errors.New("--layout: of which packages? add --collection, and --rpm or --deb")
	case o.collection:
		return errors.New("--collection: of which packages? add --rpm or --deb")
	case o.key != "" || o.passphrase != "":
		return errors.New("--sign: packages are signed; add --rpm or --deb")
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
	var said []string
	for _, f := range o.formats() { // all, before any is written
		if err := externals(out, built, &in, f); err != nil {
			return err
		}
		var warnings []string
		if plans[f], warnings, err = rpm.Plan(f, in); err != nil {
			return err
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

// externals are the relations that external-dependencies.txt comes to in a format.
func externals(out *printer, app *bundle.App, in *rpm.Input, f rpm.Format) error {
	family := external.RPM
	if f == rpm.Deb {
		family = external.Deb
	}
	machine, err := hostMachine()
	if err != nil {
		return err
	}
	if _, platform, ok := strings.Cut(app.Target(), "_"); ok {
		machine = platform
	}
	t, err := external.Any(family, machine)
	if err == nil && app.Environment != nil {
		t, err = t.WithPython(app.Environment.PythonVersion())
	}
	if err != nil {
		return err
	}
	relations, problems := external.Relations(t, app.External)
	in.External = nil
	for _, r := range relations {
		in.External = append(in.External, rpm.Relation{Name: r.Name, Op: r.Op, Version: r.Version})
	}
	for _, p := range problems {
		out.warn("appbundle: %v", p)
	}
	return nil
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
