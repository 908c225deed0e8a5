package rpm

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// debArches are the names that Debian has for processors.
var debArches = map[string]string{
	"x86_64": "amd64", "aarch64": "arm64", "i686": "i386", "armv7l": "armhf", "ppc64le": "ppc64el", "s390x": "s390x", "riscv64": "riscv64",
}

// debLibraries are the packages of Debian that have the sonames of the toolchain.
// Others are found by Input.Library.
var debLibraries = map[string]string{
	"libc.so.6": "libc6", "libm.so.6": "libc6", "libpthread.so.0": "libc6", "libdl.so.2": "libc6", "librt.so.1": "libc6",
	"libutil.so.1": "libc6", "libresolv.so.2": "libc6", "ld-linux-x86-64.so.2": "libc6", "ld-linux-aarch64.so.1": "libc6",
	"libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1", "libgfortran.so.5": "libgfortran5", "libgomp.so.1": "libgomp1",
	"libatomic.so.1": "libatomic1",
}

// readNatives reads what the native code of the application needs and is.
func (p *planner) readNatives() error {
	p.elf = map[string]*ELF{}
	for i := range p.files {
		f := &p.files[i]
		if f.native == "" {
			continue
		}
		in, err := os.Open(f.native)
		if err != nil {
			return err
		}
		e, err := ReadELF(f.Path, in)
		in.Close() // opened for reading: nothing can be lost
		if err != nil {
			return err
		}
		p.machines[f.Path] = f.machine
		if e == nil {
			continue
		}
		p.elf[f.Path] = e
		for _, name := range []string{e.Soname, f.Path[strings.LastIndexByte(f.Path, '/')+1:]} {
			if name != "" {
				p.provided[name] = true
			}
		}
	}
	return nil
}

// natives says for which processor a package is, and adds what its native code
// requires: of others, since what any package of the application carries is found
// beside it.
func (p *planner) natives(pkg *Package) error {
	machine := ""
	var mine []*ELF
	for _, f := range pkg.Files {
		m, ok := p.machines[f.Path]
		if !ok {
			continue
		}
		if machine != "" && m != machine {
			return fmt.Errorf("%s: %s is for %s, and other files of the package are for %s", pkg.Name, f.Path, m, machine)
		}
		machine = m
		if e := p.elf[f.Path]; e != nil {
			mine = append(mine, e)
		}
	}
	if p.format == Deb {
		pkg.Arch = "all"
		if machine != "" {
			pkg.Arch = debArches[machine]
		}
		return p.debLibraries(pkg, mine)
	}
	pkg.Arch = "noarch"
	if machine != "" {
		pkg.Arch = machine
	}
	for _, e := range mine {
		for _, name := range e.requires(func(soname string) bool { return p.provided[soname] }) {
			pkg.Requires = append(pkg.Requires, Relation{Name: name})
		}
	}
	return nil
}

// debLibraries adds the packages that have the sonames, and the oldest C library
// that has all symbols.
func (p *planner) debLibraries(pkg *Package, mine []*ELF) error {
	needs := NeedsOf(mine)
	var names []string
	for _, soname := range needs.Sonames {
		if p.provided[soname] {
			continue
		}
		name, ok := debLibraries[soname]
		if !ok && p.in.Library != nil {
			name, ok = p.in.Library(soname)
		}
		if !ok {
			p.warnings = append(p.warnings, fmt.Sprintf("%s needs %s, and nobody knows which package of Debian has it", pkg.Name, soname))
			continue
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		r := Relation{Name: name}
		if floor := needs.Glibc(); name == "libc6" && floor != "" {
			r.Op, r.Version = ">=", floor
		}
		pkg.Requires = append(pkg.Requires, r)
	}
	return nil
}
