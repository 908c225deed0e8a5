package external

import (
	"fmt"
	"path"
	"regexp"

	"appbundle/schema/pep440"
)

// A Host is what [Check] asks of a machine; [System] is this one. An error
// means that it could not be looked.
type Host interface {
	// Library reports whether the loader finds a library.
	Library(soname string) (bool, error)
	// Command reports whether there is a program: at a path, or on PATH.
	Command(name string) (bool, error)
	// Package gives the version of an installed package, of the package that
	// provides the name, or false.
	Package(name string) (version string, ok bool, err error)
}

// Check says of each answer why a host does not have what it asks for, "" where
// it has: a library by its soname, a program by its path, everything else and
// every version by the package database. An answer whose line does not apply
// asks for nothing.
func Check(answers []Answer, h Host) ([]string, error) {
	missing := make([]string, len(answers))
	for i := range answers {
		a := &answers[i]
		if !a.Applies {
			continue
		}
		var err error
		if missing[i], err = a.missing(h); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// missing is [Check] for one answer.
func (a *Answer) missing(h Host) (string, error) {
	where, there, err := a.seen(h)
	if err != nil || where != "" && !there && a.ID != "" {
		return where, err
	}
	if there && a.Dep.Specifiers == nil {
		return "", nil
	}
	if a.Package == "" {
		return "it has no package", nil
	}
	version, ok, err := h.Package(a.Package)
	switch {
	case err != nil:
		return "", err
	case !ok && there:
		return fmt.Sprintf("it is there, but its version is not known: the package %s is not installed", a.Package), nil
	case !ok && where != "":
		return where + ", and no package " + a.Package, nil
	case !ok:
		return fmt.Sprintf("the package %s is not installed", a.Package), nil
	case a.Dep.Specifiers == nil:
		return "", nil
	}
	if v, ok := upstream(version); ok && a.Dep.Specifiers.Contains(v, pep440.Allow) {
		return "", nil
	}
	return fmt.Sprintf("%s is %s, not %s", a.Package, version, a.Dep.Specifiers), nil
}

// seen looks for the file by which the answer can be told, and says where it
// looked; "" for an answer that has none.
func (a *Answer) seen(h Host) (where string, there bool, err error) {
	switch {
	case a.Soname != "":
		there, err = h.Library(a.Soname)
		return "the loader finds no " + a.Soname, there, err
	case a.Path != "":
		if there, err = h.Command(a.Path); err == nil && !there {
			there, err = h.Command(path.Base(a.Path)) // elsewhere on PATH
		}
		return "there is no command " + path.Base(a.Path), there, err
	}
	return "", false, nil
}

// upstreamVersion is the beginning of a package's version that its authors gave
// it.
var upstreamVersion = regexp.MustCompile(`^(?:[0-9]+:)?([0-9]+(?:\.[0-9]+)*)(?:[~_^.]?(a|alpha|b|beta|rc)\.?([0-9]+))?`)

// upstream reads the version of a package without epoch, revision and what a
// distribution adds: 1:1.2.13.dfsg-1 is 1.2.13, 3.0~rc1-2 is 3.0rc1.
func upstream(version string) (pep440.Version, bool) {
	m := upstreamVersion.FindStringSubmatch(version)
	if m == nil {
		return pep440.Version{}, false
	}
	v, err := pep440.Parse(m[1] + m[2] + m[3])
	return v, err == nil
}
