package rpm

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/resolve"
)

// Prefix is where applications are installed, each in a directory of its name.
const Prefix = "/opt"

// An Input is an application that is to be packaged.
type Input struct {
	App *bundle.App // of a directory, with its environment; checked
	// Dists are those of the environment, as [install.Dists] lists them.
	Dists []install.Dist
	// Compiled is the byte code of the application's own modules.
	Compiled []install.Compiled
	// External are the relations that external-dependencies.txt comes to.
	External []Relation
	Time     time.Time // what everything is dated: SOURCE_DATE_EPOCH
	// Collection asks for a package of each distribution of the environment, and
	// one for the directories that they share.
	Collection bool
	Layout     Layout // of a collection: where its distributions are installed
	// Library names the package of Debian that has a soname, beside those of the
	// toolchain; nil knows no others.
	Library func(soname string) (pkg string, ok bool)
}

// Plan says which packages an application becomes, with every file, relation and
// script: one that carries everything or, of a collection, NAME-filesystem,
// NAME-python3-DIST for each distribution, and NAME, which requires them at
// exactly their versions. In the layout [System] they are python3-DIST and NAME. It
// reads what the environment holds beside the entries of the App, byte code above
// all, and native code for what it requires.
//
// The warnings are what somebody has to know who installs them.
func Plan(format Format, in Input) (packages []*Package, warnings []string, err error) {
	p := &planner{
		format: format, in: in, app: in.App, home: Prefix + "/" + in.App.Name,
		owner: map[string]int{}, provided: map[string]bool{}, machines: map[string]string{},
	}
	packages, err = p.plan()
	return packages, p.warnings, err
}

func (p *planner) plan() (packages []*Package, err error) {
	in := &p.in
	if in.Layout == System && !in.Collection {
		return nil, ErrWhole
	}
	if err := p.refuse(); err != nil {
		return nil, err
	}
	if err := p.collect(); err != nil {
		return nil, err
	}
	if err := p.readNatives(); err != nil {
		return nil, err
	}
	if in.Collection && len(in.Dists) > 0 {
		if p.isSystem() {
			p.warnings = append(p.warnings, p.moved())
		} else {
			packages = append(packages, p.filesystem())
		}
		for i := range in.Dists {
			d, err := p.dist(i)
			if err != nil {
				return nil, err
			}
			packages = append(packages, d)
		}
	}
	app, err := p.application()
	if err != nil {
		return nil, err
	}
	packages = append(packages, app)
	for _, pkg := range packages {
		if err := p.finish(pkg); err != nil {
			return nil, err
		}
		if err := p.complete(pkg); err != nil {
			return nil, err
		}
	}
	return packages, nil
}

// A planner makes the packages of one application for one format.
type planner struct {
	format Format
	in     Input
	app    *bundle.App
	home   string // /opt/NAME

	files []planned
	owner map[string]int // path in the environment to index of Dists

	elf      map[string]*ELF   // by path in the package
	machines map[string]string // of native code, by path in the package
	provided map[string]bool   // sonames of all packages
	warnings []string
}

// A planned file is one of the application's directory, and the distribution that
// brought it: none, or shared for what several need.
type planned struct {
	File
	dist    int
	native  string // path on the disk of native code
	machine string // that it is for
}

const none, shared = -1, -2

// collect lists all files below the prefix.
func (p *planner) collect() error {
	for i := range p.in.Dists {
		for _, f := range p.in.Dists[i].Files {
			p.owner[install.EnvDir+"/"+f] = i
		}
	}
	seen := map[string]bool{}
	for i := range p.app.Entries {
		e := &p.app.Entries[i]
		seen[e.Path] = true
		p.add(e)
	}
	for i := range p.in.Dists {
		for _, f := range p.in.Dists[i].Files {
			at := install.EnvDir + "/" + f
			if seen[at] {
				continue
			}
			if err := p.addUnlisted(at, i); err != nil {
				return err
			}
			for dir := path.Dir(at); !seen[dir]; dir = path.Dir(dir) {
				seen[dir] = true
				p.files = append(p.files, planned{File: p.directory(dir), dist: i})
			}
		}
	}
	for _, c := range p.in.Compiled {
		if dir := path.Dir(c.Path); !seen[dir] {
			seen[dir] = true
			p.files = append(p.files, planned{File: p.directory(dir), dist: none})
		}
		p.files = append(p.files, planned{File: textFile(p.home+"/"+c.Path, Regular, 0o644, string(c.Data)), dist: none})
	}
	if p.app.Environment != nil {
		p.addInterpreter()
	}
	if p.isSystem() {
		if err := p.moveOut(); err != nil {
			return err
		}
	}
	slices.SortStableFunc(p.files, func(a, b planned) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

func (p *planner) directory(rel string) File {
	return File{Path: p.home + "/" + rel, Kind: Directory, Mode: 0o755}
}

// add takes an entry of the application.
func (p *planner) add(e *bundle.Entry) {
	at := filepath.Join(p.app.Dir, filepath.FromSlash(e.Path))
	f := planned{File: File{Path: p.home + "/" + e.Path, Mode: 0o644, Size: e.Size, SHA256: e.Sum}, dist: none}
	switch e.Type {
	case bundle.Dir:
		f.File = p.directory(e.Path)
	case bundle.Link:
		f.Kind, f.Link, f.Mode, f.Size = Symlink, e.Link, 0o777, 0
	default:
		if e.X {
			f.Mode = 0o755
		}
		f.Open = func() (io.ReadCloser, error) { return os.Open(at) }
		if e.ELF {
			f.native, f.machine = at, e.Machine
		}
	}
	if dist, ok := p.owner[e.Path]; ok {
		f.dist = dist
		if strings.Contains(e.Path, ".dist-info/licenses/") {
			f.Kind = License
		}
	} else if in := e.Path == install.EnvDir || strings.HasPrefix(e.Path, install.EnvDir+"/"); in && e.Path != install.EnvDir+"/installed.json" {
		f.dist = shared
	}
	p.files = append(p.files, f)
}

// addUnlisted takes a file of a distribution that is no entry of the application:
// byte code.
func (p *planner) addUnlisted(rel string, dist int) error {
	at := filepath.Join(p.app.Dir, filepath.FromSlash(rel))
	data, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	p.files = append(p.files, planned{dist: dist, File: File{
		Path: p.home + "/" + rel, Mode: 0o644, Size: int64(len(data)), SHA256: sha256.Sum256(data),
		Open: func() (io.ReadCloser, error) { return os.Open(at) },
	}})
	return nil
}

// python is the interpreter of the distribution that the packages are for.
func (p *planner) python() string { return "/usr/bin/python" + p.app.Environment.PythonVersion() }

// addInterpreter adds the links to it and, for a Python that demands it, where it
// is: what the entries leave out because it is the host's.
func (p *planner) addInterpreter() {
	env := p.home + "/" + install.EnvDir
	if at := env + "/pyvenv.cfg"; !slices.ContainsFunc(p.files, func(f planned) bool { return f.Path == at }) {
		p.files = append(p.files, planned{dist: shared, File: textFile(at, Regular, 0o644, p.config(false))})
	}
	for _, l := range [][2]string{
		{"bin/python", p.python()},
		{"bin/python3", "python"},
		{"bin/python" + p.app.Environment.PythonVersion(), "python"},
	} {
		p.files = append(p.files, planned{dist: shared, File: File{Path: env + "/" + l[0], Kind: Symlink, Link: l[1], Mode: 0o777}})
	}
}

// textFile makes a file of a text that the plan wrote.
func textFile(at string, kind Kind, mode fs.FileMode, s string) File {
	return File{Path: at, Kind: kind, Mode: mode, Size: int64(len(s)), SHA256: sha256.Sum256([]byte(s)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(s))), nil }}
}

// base makes a package with what all of an application share.
func (p *planner) base(name string, evr EVR) *Package {
	c := &p.app.Config.Package
	return &Package{
		Format: p.format, Name: name, EVR: evr, License: p.app.Config.App.License,
		Homepage: c.Homepage, Maintainer: c.Maintainer, Time: p.in.Time,
	}
}

func (p *planner) release() string { return strconv.Itoa(max(p.app.Config.Package.Release, 1)) }

// distRelease is the release of the packages of distributions. The same version for
// another Python has other files, in other directories, and so has to be another
// package: a newer one for a newer Python.
func (p *planner) distRelease() string { return "1." + p.app.Environment.Python }

const filesystemRelease = "1"

// needFilesystem is the relation to the directories for the Python of the environment.
func (p *planner) needFilesystem() Relation {
	return Relation{Name: p.app.Name + "-filesystem", Op: "=", Version: p.app.Environment.PythonVersion() + "-" + filesystemRelease}
}

// takesOver lets a package of a collection have the files that the application had
// when it was one package. An rpm needs no leave: the release before goes with them.
func (p *planner) takesOver(pkg *Package) {
	if p.format == Deb {
		pkg.Replaces = append(pkg.Replaces, Relation{Name: p.app.Name})
	}
}

// bars keeps the application that has its environment itself from being installed
// beside the packages of a collection, which have the same files. apt may remove them
// for it, and dnf where it is told to: an rpm that obsoletes them would do so for every
// host with a collection.
//
// A deb has to name all of them. apt may remove some after it unpacked the application,
// and dpkg leaves a file to a package that replaces the application, unless the
// application replaces that one: the file would then be removed with it.
func (p *planner) bars(pkg *Package) {
	pkg.Conflicts = append(pkg.Conflicts, Relation{Name: p.app.Name + "-filesystem"})
	if p.format != Deb {
		return
	}
	for i := range p.in.Dists {
		pkg.Conflicts = append(pkg.Conflicts, Relation{Name: p.app.Name + "-python3-" + p.in.Dists[i].Name})
	}
	pkg.Replaces = append(pkg.Replaces, pkg.Conflicts...)
}

// filesystem makes the package of the directories that the others share.
func (p *planner) filesystem() *Package {
	pkg := p.base(p.app.Name+"-filesystem", EVR{Version: p.app.Environment.PythonVersion(), Release: filesystemRelease})
	pkg.Summary = "Directories of " + p.app.Name
	pkg.Description = fmt.Sprintf("The directories that the packages of %s share, and the link to their interpreter.", p.app.Name)
	pkg.Files = append(pkg.Files, File{Path: p.home, Kind: Directory, Mode: 0o755}, p.directory(".appbundle"))
	for _, f := range p.files {
		if f.dist == shared && !p.isInside(f.Path) {
			pkg.Files = append(pkg.Files, f.File)
		}
	}
	pkg.Requires = p.needPython()
	p.takesOver(pkg)
	return pkg
}

// isInside reports whether a directory of the environment is one of a
// distribution, and not one that all have.
func (p *planner) isInside(at string) bool {
	if p.isSystem() {
		return !p.isShared(at)
	}
	rel := strings.TrimPrefix(at, p.home+"/"+install.EnvDir+"/")
	switch parts := strings.Split(rel, "/"); {
	case at == p.home+"/"+install.EnvDir, len(parts) == 1:
		return false
	case parts[0] == "bin":
		return false
	case parts[0] == "lib":
		return len(parts) > 3
	}
	return true
}

// needPython are the relations to the interpreter.
func (p *planner) needPython() []Relation {
	v := p.app.Environment.PythonVersion()
	if p.format == Deb {
		return []Relation{{Name: "python" + v}}
	}
	return []Relation{{Name: p.python()}, {Name: "python(abi)", Op: "=", Version: v}}
}

// distName is the name of the package of a distribution.
func (p *planner) distName(name string) string {
	if p.isSystem() {
		return "python3-" + name
	}
	return p.app.Name + "-python3-" + name
}

// dist makes the package of one distribution.
func (p *planner) dist(i int) (*Package, error) {
	d := &p.in.Dists[i]
	evr, err := FromPEP440(p.format, d.Version)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", d.Name, d.Version, err)
	}
	evr.Release = p.distRelease()
	pkg := p.base(p.distName(d.Name), evr)
	pkg.License, pkg.Homepage = p.license(d.Name), ""
	pkg.Summary = fmt.Sprintf("%s %s for %s", d.Name, d.Version, p.app.Name)
	dirs := map[string]bool{}
	for _, f := range p.files {
		if f.dist != i {
			continue
		}
		pkg.Files = append(pkg.Files, f.File)
		for dir := path.Dir(f.Path); p.isInside(dir) && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for dir := range dirs {
		if !slices.ContainsFunc(pkg.Files, func(f File) bool { return f.Path == dir }) {
			pkg.Files = append(pkg.Files, File{Path: dir, Kind: Directory, Mode: 0o755})
		}
	}
	if p.isSystem() {
		pkg.Description = fmt.Sprintf("The Python distribution %s %s, which %s requires, for the Python of the system.", d.Name, d.Version, p.app.Name)
		return pkg, p.systemRelations(pkg, d.Name, d.Version)
	}
	pkg.Description = fmt.Sprintf("The Python distribution %s %s, in the environment of %s.", d.Name, d.Version, p.app.Name)
	p.privateRelations(pkg, d.Name, evr)
	return pkg, nil
}

// privateRelations are those of a distribution that only the application imports.
// At which version another is wanted the application alone says, for all of them:
// else the same version of one would have other relations when the pin of
// another moves, and be another package of the same name.
func (p *planner) privateRelations(pkg *Package, name string, evr EVR) {
	pkg.Requires = append(pkg.Requires, p.needFilesystem())
	p.takesOver(pkg)
	if p.format == RPM {
		pkg.Provides = append(pkg.Provides, Relation{Name: "bundled(python3dist(" + name + "))", Op: "=", Version: versionOf(evr)})
	}
	for _, other := range p.needs(name) {
		pkg.Requires = append(pkg.Requires, Relation{Name: p.distName(other)})
	}
}

// needs lists the distributions of the environment that one asks for.
func (p *planner) needs(name string) []string {
	if p.app.Lock == nil {
		return nil
	}
	var list []string
	g := resolve.NewGraph(p.app.Lock)
	for i := range p.app.Lock.Packages {
		l := &p.app.Lock.Packages[i]
		if l.Name != name || l.Version != p.version(name) {
			continue
		}
		for _, n := range g.Needs(l) {
			if p.version(n.Name) == n.Version && !slices.Contains(list, n.Name) {
				list = append(list, n.Name)
			}
		}
	}
	return list
}

// version is that of a distribution of the environment, "" for none.
func (p *planner) version(name string) string {
	for i := range p.in.Dists {
		if p.in.Dists[i].Name == name {
			return p.in.Dists[i].Version
		}
	}
	return ""
}

func (p *planner) license(name string) string {
	if p.app.Lock != nil {
		for i := range p.app.Lock.Packages {
			if l := &p.app.Lock.Packages[i]; l.Name == name {
				return l.Tool.License
			}
		}
	}
	return ""
}

// exactly is the relation to the package of a distribution at its version, for the
// Python of the environment.
func (p *planner) exactly(name string) (Relation, error) {
	evr, err := FromPEP440(p.format, p.version(name))
	if err != nil {
		return Relation{}, fmt.Errorf("%s %s: %w", name, p.version(name), err)
	}
	evr.Release = p.distRelease()
	return Relation{Name: p.distName(name), Op: "=", Version: evr.String()}, nil
}

// versionOf gives an EVR without its release, as relations have it.
func versionOf(e EVR) string {
	e.Release = ""
	return e.String()
}

// application makes the package of the application itself.
func (p *planner) application() (*Package, error) {
	evr, err := FromSemver(p.format, p.app.Version)
	if err != nil {
		return nil, fmt.Errorf("version %s: %w", p.app.Version, err)
	}
	evr.Release = p.release()
	pkg := p.base(p.app.Name, evr)
	c := &p.app.Config.App
	pkg.Summary = cmp.Or(strings.TrimSuffix(c.Description, "."), "Application "+p.app.Name)
	pkg.Description = cmp.Or(c.Description, "The application "+p.app.Name+".") + "\n\nIt runs under the supervisor of appbundle, as the unit " + p.app.Name + ".service."
	pkg.Requires = append(slices.Clone(p.in.External), Relation{Name: "appbundle"})
	whole := !p.in.Collection || len(p.in.Dists) == 0
	pkg.Files = append(pkg.Files, File{Path: p.home, Kind: Directory, Mode: 0o755})
	for _, f := range p.files {
		if whole || f.dist == none && (p.isSystem() || f.Path != p.home+"/.appbundle") {
			pkg.Files = append(pkg.Files, f.File)
		}
	}
	if p.app.Environment != nil && whole {
		pkg.Files = append(pkg.Files, p.directory(".appbundle"))
		pkg.Requires = append(pkg.Requires, p.needPython()...)
	}
	if p.app.Environment != nil && (whole || p.isSystem()) {
		p.bars(pkg)
	}
	if !whole {
		if p.isSystem() {
			pkg.Requires = append(pkg.Requires, p.needPython()...)
		} else {
			pkg.Requires = append(pkg.Requires, p.needFilesystem())
		}
		for i := range p.in.Dists {
			r, err := p.exactly(p.in.Dists[i].Name)
			if err != nil {
				return nil, err
			}
			pkg.Requires = append(pkg.Requires, r)
		}
	}
	p.host(pkg)
	return pkg, nil
}

// finish sorts, decides the architecture and adds what native code requires.
func (p *planner) finish(pkg *Package) error {
	slices.SortStableFunc(pkg.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	pkg.Files = slices.CompactFunc(pkg.Files, func(a, b File) bool { return a.Path == b.Path })
	pkg.Maintainer = cmp.Or(pkg.Maintainer, "nobody <nobody@localhost>")
	pkg.License = cmp.Or(pkg.License, "unknown")
	return p.natives(pkg)
}
