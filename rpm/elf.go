package rpm

import (
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// An ELF is what a program or shared object says of others: the facts from which
// relations are made.
type ELF struct {
	Path    string       // in the package
	Soname  string       // "" for a program; the name of the file where a shared object has none
	Needed  []string     // sonames, in the order of the file
	Needs   []ELFVersion // versions of symbols that it asks for, in the order of the file
	Defines []string     // versions of symbols that it has
	Class64 bool
	gnuHash bool // has the newer hash table and not the older one
	marker  string
}

// An ELFVersion is a version of symbols in a shared object.
type ELFVersion struct{ Soname, Version string }

// maxELFNames bounds what is read from one file.
const maxELFNames = 100_000

// ReadELF reads the dynamic section of an ELF file. It is nil without an error for
// what is no ELF file, and for one that asks for nothing and offers nothing (an
// object file, a static program). A file that begins as one and is damaged is
// an error.
func ReadELF(name string, r io.ReaderAt) (e *ELF, err error) {
	var magic [4]byte
	if n, err := r.ReadAt(magic[:], 0); n < len(magic) {
		if err == io.EOF {
			return nil, nil
		}
		return nil, err
	}
	if string(magic[:]) != elf.ELFMAG {
		return nil, nil
	}
	defer func() {
		// debug/elf does not promise to stand every file.
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("%s: damaged ELF file: %v", name, p)
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("%s: damaged ELF file: %w", name, err)
	}
	if e, err = readELF(name, f); err != nil {
		return nil, fmt.Errorf("%s: damaged ELF file: %w", name, err)
	}
	return e, nil
}

func readELF(name string, f *elf.File) (*ELF, error) {
	if f.Type != elf.ET_DYN && f.Type != elf.ET_EXEC {
		return nil, nil
	}
	if f.SectionByType(elf.SHT_DYNAMIC) == nil {
		return nil, nil
	}
	e := &ELF{Path: name, Class64: f.Class == elf.ELFCLASS64}
	if e.Class64 && f.Machine != elf.EM_ALPHA && f.Machine != elf.EM_ALPHA_STD {
		e.marker = "(64bit)"
	}
	var err error
	if e.Needed, err = f.ImportedLibraries(); err != nil {
		return nil, err
	}
	if err := e.versions(f); err != nil {
		return nil, err
	}
	soname, err := f.DynString(elf.DT_SONAME)
	if err != nil {
		return nil, err
	}
	debug, err := f.DynValue(elf.DT_DEBUG)
	if err != nil {
		return nil, err
	}
	switch {
	case len(soname) > 0:
		e.Soname = soname[0]
	case f.Type == elf.ET_DYN && len(debug) == 0:
		e.Soname = path.Base(name) // which is what it is found by
	}
	old, err := f.DynValue(elf.DT_HASH)
	if err != nil {
		return nil, err
	}
	gnu, err := f.DynValue(elf.DT_GNU_HASH)
	if err != nil {
		return nil, err
	}
	e.gnuHash = len(gnu) > 0 && len(old) == 0
	if len(e.Needed)+len(e.Needs)+len(e.Defines) > maxELFNames {
		return nil, fmt.Errorf("more than %d names", maxELFNames)
	}
	return e, nil
}

// versions reads the versions of symbols, of those that the file needs and of
// its own. Few files have none.
func (e *ELF) versions(f *elf.File) error {
	if f.SectionByType(elf.SHT_GNU_VERNEED) != nil {
		needs, err := f.DynamicVersionNeeds()
		if err != nil {
			return err
		}
		for _, n := range needs {
			for _, v := range n.Needs {
				e.Needs = append(e.Needs, ELFVersion{n.Name, v.Dep})
			}
		}
	}
	if f.SectionByType(elf.SHT_GNU_VERDEF) != nil {
		defines, err := f.DynamicVersions()
		if err != nil {
			return err
		}
		for _, v := range defines {
			if v.Flags&elf.VER_FLG_BASE == 0 {
				e.Defines = append(e.Defines, v.Name)
			}
		}
	}
	return nil
}

// isLibrary reports whether rpm takes a soname for one that packages provide. A
// plugin has a name that no other file asks for.
func isLibrary(soname string) bool {
	if !strings.Contains(soname, ".so") {
		return false
	}
	for _, p := range []string{"lib", "ld.", "ld-", "ld64.", "ld64-"} {
		if strings.HasPrefix(soname, p) {
			return true
		}
	}
	return false
}

// relation gives soname(version)(64bit), or the soname alone.
func (e *ELF) relation(soname, version string) string {
	if version == "" && e.marker == "" {
		return soname
	}
	return soname + "(" + version + ")" + e.marker
}

// Requires gives the requirements of an rpm, sorted: libc.so.6(GLIBC_2.34)(64bit).
func (e *ELF) Requires() []string { return e.requires(func(string) bool { return false }) }

func (e *ELF) requires(inside func(soname string) bool) []string {
	var all []string
	for _, n := range e.Needed {
		if isLibrary(n) && !inside(n) {
			all = append(all, e.relation(n, ""))
		}
	}
	for _, n := range e.Needs {
		if isLibrary(n.Soname) && !inside(n.Soname) {
			all = append(all, e.relation(n.Soname, n.Version))
		}
	}
	if e.gnuHash {
		all = append(all, "rtld(GNU_HASH)")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Provides gives what an rpm with this file offers, sorted: its soname, and each
// version of its symbols. Nothing that only its own package loads is to be
// published.
func (e *ELF) Provides() []string {
	if !isLibrary(e.Soname) {
		return nil
	}
	all := []string{e.relation(e.Soname, "")}
	for _, v := range e.Defines {
		all = append(all, e.relation(e.Soname, v))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Needs are what the ELF files of one package ask of others.
type Needs struct {
	// Requires of an rpm, sorted.
	Requires []string
	// Sonames, sorted, for a format that knows packages and no sonames.
	Sonames []string
	// Versions of symbols, sorted, the highest one of each series of a library:
	// of GLIBC_2.14 and GLIBC_2.34 the latter.
	Versions []ELFVersion
}

// NeedsOf joins what files ask for, and leaves out what one of the files is: the
// libraries that a wheel carries. A file counts as what its soname says, or
// its name.
func NeedsOf(all []*ELF) Needs {
	type object struct {
		name    string
		class64 bool
	}
	own := map[object]bool{}
	for _, e := range all {
		own[object{path.Base(e.Path), e.Class64}] = true
		if e.Soname != "" {
			own[object{e.Soname, e.Class64}] = true
		}
	}
	var n Needs
	highest := map[ELFVersion]string{}
	for _, e := range all {
		inside := func(soname string) bool { return own[object{soname, e.Class64}] }
		n.Requires = append(n.Requires, e.requires(inside)...)
		for _, s := range e.Needed {
			if !inside(s) {
				n.Sonames = append(n.Sonames, s)
			}
		}
		for _, v := range e.Needs {
			series, _, _ := strings.Cut(v.Version, "_")
			key := ELFVersion{v.Soname, series}
			if have, ok := highest[key]; !inside(v.Soname) && (!ok || compareRPM(v.Version, have) > 0) {
				highest[key] = v.Version
			}
		}
	}
	for key, version := range highest {
		n.Versions = append(n.Versions, ELFVersion{key.Soname, version})
	}
	slices.Sort(n.Requires)
	slices.Sort(n.Sonames)
	n.Requires, n.Sonames = slices.Compact(n.Requires), slices.Compact(n.Sonames)
	slices.SortFunc(n.Versions, func(a, b ELFVersion) int {
		return strings.Compare(a.Soname+"\x00"+a.Version, b.Soname+"\x00"+b.Version)
	})
	return n
}

// Glibc gives the oldest release of the GNU C library that has all symbols that
// are asked for, such as 2.34, or "".
func (n Needs) Glibc() string {
	floor := ""
	for _, v := range n.Versions {
		if release, ok := strings.CutPrefix(v.Version, "GLIBC_"); ok && release != "" && isDigit(release[0]) && (floor == "" || compareRPM(release, floor) > 0) {
			floor = release
		}
	}
	return floor
}
