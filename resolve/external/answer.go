package external

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"appbundle/schema"
)

// An Answer is what one line means for a target.
type Answer struct {
	Dep *schema.External
	ID  string // the neutral name; "" where nobody knows the line's
	// Applies is false where the line's marker is false for the target, or the
	// line can name nothing that the target has. All below is empty then.
	Applies bool
	Build   bool   // it is needed only to build
	Package string // what to install; "" where the target has no such package
	// Wanted is Package with the line's versions.
	Wanted []Relation
	// Requires is what a package asks of the system at run time.
	Requires []Relation
	// BuildRequires is what it takes to build from sources; nothing for what is
	// there at run time only, such as a program.
	BuildRequires []Relation
	// Soname is of the library, and Path of the program, by which a host can tell
	// that it has it; both are "" where only the package database can. A Path
	// without a slash is looked for on PATH.
	Soname, Path string
}

// For answers each line of external-dependencies.txt for a target that
// [ParseTarget] or [Any] made, in the order of the lines. The problems are
// warnings: a name that is in no table, a version for which packages have no
// relation, something that the target does not have.
func For(t Target, deps []schema.External) ([]Answer, schema.Problems) {
	answers := make([]Answer, len(deps))
	var problems schema.Problems
	for i := range deps {
		answers[i] = t.answer(&deps[i], &problems)
	}
	return answers, problems
}

func (t Target) answer(e *schema.External, problems *schema.Problems) Answer {
	a := Answer{Dep: e, Applies: true}
	if e.Marker != nil {
		ok, err := e.Marker.Evaluate(t.Env)
		if err != nil {
			problems.Add(e.Pos, "correct the marker", "%v", err)
		}
		if !ok {
			a.Applies = false
			return a
		}
	}
	if e.Dep != nil && len(e.Dep.Qualifiers)+len(e.Dep.Subpath) > 0 {
		problems.Add(e.Pos, "leave it out, or name the package that you mean", "packages have no relation for what %s says after its version, which is left out", e.Name)
	}
	id := t.identify(e)
	switch m, found := theTable().find(id.name, t.Family); {
	case id.own:
		t.named(&a, id.name, problems)
	case found && (!id.foreign || m.family == ""):
		a.ID, a.Build = m.entry.ID, m.build || id.build
		t.known(&a, m.entry, problems)
	case id.foreign:
		a.Applies = false
		problems.Add(e.Pos, "name what the system has of it, such as dep:generic/openssl", "%s is no package of a system, and is left out", e.Name)
	default:
		t.asWritten(&a, id.name, problems)
	}
	return a
}

// An identity is the name of a line without what PEP 725 puts before it.
type identity struct {
	name    string
	own     bool // it is a package name of the target, and needs no table
	build   bool // of dep:virtual/compiler
	foreign bool // it is an identifier of what no system has packages of
}

// purlFamilies are the types of package URLs that distributions have.
var purlFamilies = map[string]Family{"deb": Deb, "rpm": RPM, "apk": APK, "alpm": ""}

// identify says what a line names.
func (t Target) identify(e *schema.External) identity {
	d := e.Dep
	if d == nil {
		return identity{name: e.Name}
	}
	switch family, system := purlFamilies[d.Type]; {
	case d.Type == "generic":
		return identity{name: d.Name}
	case d.Type == "virtual":
		return identity{name: d.Name, build: d.Namespace[0] == "compiler"}
	case system:
		return identity{name: d.Name, own: family == t.Family}
	case d.Type == "github" || d.Type == "gitlab" || d.Type == "bitbucket":
		// The authors' name for what they make is usually the neutral one.
		return identity{name: strings.ToLower(d.Name), foreign: true}
	}
	return identity{name: e.Name, foreign: true}
}

// debianName is a name that a Debian package may have.
var debianName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// asWritten is the answer for a name that no table has. RPM has sonames and
// what is written as perl(DBI) among its names; others are doubtful.
func (t Target) asWritten(a *Answer, name string, problems *schema.Problems) {
	soname := sonameForm.MatchString(name)
	switch {
	case t.Family == RPM && (soname || strings.Contains(name, "(")):
	case t.Family == Deb && !debianName.MatchString(name):
		a.Applies = false
		problems.Add(a.Dep.Pos, t.remedy(name), "%q is in no table, and cannot be the name of a package: it is left out", name)
		return
	default:
		problems.Add(a.Dep.Pos, t.remedy(name), "%q is in no table, and is taken for the name of a package", name)
	}
	t.named(a, name, problems)
	if soname {
		a.Soname = name
	}
}

// remedy says what to write instead of an unknown name.
func (t Target) remedy(name string) string {
	if near := theTable().suggest(name); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if t.Name == string(t.Family) { // of any release: see Any
		return fmt.Sprintf("write a name that distributions with %s know", t.Name)
	}
	return fmt.Sprintf("write a name that %s knows", t.Name)
}

// named is the answer for the package of a name.
func (t Target) named(a *Answer, name string, problems *schema.Problems) {
	a.Package, a.Path = name, name
	a.Build = isDev(name) || strings.HasPrefix(name, "pkgconfig(")
	a.Wanted = relate(t.Family, name, "", bounds(a.Dep, problems))
	if a.Build {
		a.BuildRequires = a.Wanted
		return
	}
	a.Requires = a.Wanted
	if t.Family == RPM && len(a.Dep.Specifiers) == 0 && sonameForm.MatchString(name) {
		a.Requires = t.requires(names{Soname: name}, nil, a.Wanted)
	}
}

// known is the answer for an entry of the table.
func (t Target) known(a *Answer, e *entry, problems *schema.Problems) {
	n, other := t.names(e)
	bs := bounds(a.Dep, problems)
	if a.Package = n.Run; a.Build {
		a.Package = n.Dev
	}
	if a.Package == "" && n.Dev != "" && !a.Build {
		a.Build, a.Package = true, n.Dev // it has no other
	}
	if a.Package == "" {
		problems.Add(a.Dep.Pos, "exclude it with a marker, or name what takes its place", "%s has no package for %s", t.Name, e.ID)
		return
	}
	a.Wanted = relate(t.Family, a.Package, n.Epoch, bs)
	a.Path = n.Path
	if !a.Build {
		a.Soname = n.Soname
		a.Requires = t.requires(n, bs, a.Wanted)
	}
	a.BuildRequires = t.buildRequires(e, n, bs)
	if n.Run != other.Run && hasName(a.Requires, n.Run) || n.Dev != other.Dev && hasName(a.BuildRequires, n.Dev) {
		problems.Add(a.Dep.Pos, "build a package for each of them", "%s is %s on fedora-41, and has another name on el9", e.ID, a.Package)
	}
}

// requires gives the relation that holds on most hosts of the family.
func (t Target) requires(n names, bs []bound, wanted []Relation) []Relation {
	switch {
	case t.Family != RPM || len(bs) > 0:
		return wanted
	case n.Soname != "" && t.is64():
		return []Relation{{Name: n.Soname + "()(64bit)"}}
	case n.Soname != "":
		return []Relation{{Name: n.Soname}}
	case n.Path != "":
		return []Relation{{Name: n.Path}}
	}
	return wanted
}

// buildRequires gives what a build needs of an entry.
func (t Target) buildRequires(e *entry, n names, bs []bound) []Relation {
	switch {
	case t.Family == RPM && e.PkgConfig != "":
		return []Relation{{Name: "pkgconfig(" + e.PkgConfig + ")"}}
	case n.Dev != "":
		return relate(t.Family, n.Dev, n.Epoch, bs)
	}
	return nil
}

func hasName(rs []Relation, name string) bool {
	for _, r := range rs {
		if r.Name == name && name != "" {
			return true
		}
	}
	return false
}

// Install gives the command that installs what the answers name, as its words;
// nil where they name nothing. Versions are not in it: a distribution has one.
func Install(t Target, answers []Answer) []string {
	command := map[Family][]string{
		Deb: {"apt-get", "install", "-y"},
		RPM: {"dnf", "install", "-y"},
		APK: {"apk", "add"},
	}[t.Family]
	n := len(command)
	for i := range answers {
		if name := answers[i].Package; name != "" && !slices.Contains(command[n:], name) {
			command = append(command, name)
		}
	}
	if len(command) == n {
		return nil
	}
	return command
}
