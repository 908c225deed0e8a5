package rpm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"appbundle/install"
)

// A Layout says where the distributions of an application are installed.
type Layout string

// The layouts. A host may have any number of applications in the private one;
// of the system's site directory there is one.
const (
	Private Layout = "private" // and "": below /opt/NAME, for this application alone
	System  Layout = "system"  // where the Python of the system has its own
)

// ErrWhole says why an application cannot be one package in the layout [System].
var ErrWhole = errors.New("one package with everything in the system's directories would have files of many python3-* packages, and be in conflict with each")

// isSystem reports whether distributions leave the application's directory.
func (p *planner) isSystem() bool { return p.in.Layout == System && len(p.in.Dists) > 0 }

// lib64 are the processors for which Python has a directory of its own for native
// code.
var lib64 = []string{"x86_64", "aarch64", "ppc64le", "s390x", "riscv64"}

// installers are the names that INSTALLER of dist-info has for who put it there.
var installers = map[Format]string{RPM: "rpm", Deb: "dpkg"}

// notShipped are the files of dist-info that are wrong where a package manager
// owns the files, or say what somebody typed for this application.
var notShipped = []string{"RECORD", "REQUESTED", "direct_url.json"}

// site gives the directory for the distributions of the system's Python, and of
// those with native code.
func (p *planner) site(native bool) string {
	lib := "lib"
	switch {
	case p.format == Deb:
		return "/usr/lib/python3/dist-packages"
	case native && slices.ContainsFunc(lib64, func(m string) bool { return strings.HasSuffix(p.app.Environment.Platform, "_"+m) }):
		lib = "lib64"
	}
	return "/usr/" + lib + "/python" + p.minor() + "/site-packages"
}

// minor is the version of Python in the names of directories.
func (p *planner) minor() string { return strings.TrimSuffix(p.app.Environment.PythonVersion(), "t") }

// moveOut takes the files of the distributions out of the application's directory.
// What is left there is a virtual environment without packages, which sees those of
// the system and says where they are.
func (p *planner) moveOut() error {
	native := make([]bool, len(p.in.Dists))
	for _, f := range p.files {
		if f.dist >= 0 && f.native != "" {
			native[f.dist] = true
		}
	}
	env := p.home + "/" + install.EnvDir
	kept := p.files[:0]
	for _, f := range p.files {
		rel, inside := strings.CutPrefix(f.Path, env+"/")
		switch {
		case !inside:
			if f.Path == env {
				f.dist = none
			}
		case f.dist >= 0:
			ok, err := p.toSystem(&f, rel, p.site(native[f.dist]))
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		case rel == "bin" || strings.HasPrefix(rel, "bin/"):
			f.dist = none
		default: // directories of the distributions, and what is written anew
			continue
		}
		kept = append(kept, f)
	}
	e := *p.app.Environment
	for _, n := range native {
		if at := p.site(n); !slices.Contains(e.Site, at) {
			e.Site = append(e.Site, at)
		}
	}
	slices.Sort(e.Site)
	stamp, err := e.Encode()
	if err != nil {
		return err
	}
	p.files = append(kept,
		planned{dist: none, File: p.directory(".appbundle")},
		planned{dist: none, File: textFile(env+"/installed.json", Regular, 0o644, string(stamp))},
		planned{dist: none, File: textFile(env+"/pyvenv.cfg", Regular, 0o644, p.config(true))})
	return nil
}

// config is a pyvenv.cfg for the interpreter of the system.
func (p *planner) config(site bool) string {
	return fmt.Sprintf("home = /usr/bin\nimplementation = CPython\nversion_info = %s\ninclude-system-site-packages = %v\n", p.minor(), site)
}

// toSystem gives a file of a distribution its place in the system; ok is false for
// one that has none.
func (p *planner) toSystem(f *planned, rel, site string) (ok bool, err error) {
	d := &p.in.Dists[f.dist]
	if below, ok := strings.CutPrefix(rel, path.Dir(d.Info)+"/"); ok {
		f.Path = site + "/" + below
		switch name := strings.TrimPrefix(rel, d.Info+"/"); {
		case slices.Contains(notShipped, name):
			return false, nil
		case name == "INSTALLER":
			f.File = textFile(f.Path, Regular, 0o644, installers[p.format]+"\n")
		}
		return true, nil
	}
	if below, ok := strings.CutPrefix(rel, "include/site/"); ok {
		rel = "include/" + below
	}
	f.Path = "/usr/" + rel
	if strings.HasPrefix(rel, "bin/") && f.native == "" && f.Kind == Regular {
		return true, p.script(f)
	}
	return true, nil
}

// script makes a script that finds the interpreter beside itself one that names it.
func (p *planner) script(f *planned) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close() // opened for reading: nothing can be lost
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if now := install.ScriptFor(text, p.python()); !bytes.Equal(now, text) {
		f.File = textFile(f.Path, f.Kind, f.Mode, string(now))
	}
	return nil
}

// isShared reports whether a directory of the system is of no distribution: those
// above all of them.
func (p *planner) isShared(dir string) bool {
	return strings.Count(dir, "/") < 3 || slices.ContainsFunc([]string{p.site(false), p.site(true)}, func(site string) bool {
		return dir == site || strings.HasPrefix(site, dir+"/")
	})
}

// systemRelations are those of a distribution that programs of the system may import.
// At which version another is wanted, the application says for all of them.
func (p *planner) systemRelations(pkg *Package, name, version string) error {
	for _, other := range p.needs(name) {
		pkg.Requires = append(pkg.Requires, Relation{Name: p.distName(other)})
	}
	minor := p.minor()
	if p.format == Deb {
		_, n, _ := strings.Cut(minor, ".")
		next, err := strconv.Atoi(n)
		if err != nil {
			return fmt.Errorf("python %s: %w", minor, err)
		}
		pkg.Requires = append(pkg.Requires,
			Relation{Name: "python3", Op: ">=", Version: minor}, Relation{Name: "python3", Op: "<", Version: fmt.Sprintf("3.%d", next+1)})
		return nil
	}
	pkg.Requires = append(pkg.Requires, Relation{Name: "python(abi)", Op: "=", Version: minor})
	v, err := distVersion(version)
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, version, err)
	}
	for _, python := range []string{"3", minor} {
		pkg.Provides = append(pkg.Provides, Relation{Name: "python" + python + "dist(" + name + ")", Op: "=", Version: v})
	}
	return nil
}

// moved warns of what the system's layout shares with the distribution.
func (p *planner) moved() string {
	return fmt.Sprintf("--layout system: the packages %s* install where those of the distribution do: one of the same name is replaced, another with the same files is in conflict",
		p.distName(""))
}
