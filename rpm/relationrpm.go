package rpm

import (
	"slices"
	"strings"
)

// rpmRequires gives what an rpm requires, with what rpmbuild adds: features of rpm
// that reading it takes, and the shell of its scripts.
func (p *Package) rpmRequires() []Relation {
	all := slices.Clone(p.Requires)
	feature := func(name, since string) {
		all = append(all, Relation{Name: "rpmlib(" + name + ")", Op: "<=", Version: since})
	}
	feature("CompressedFileNames", "3.0.4-1")
	feature("FileDigests", "4.6.0-1")
	feature("PayloadFilesHavePrefix", "4.0-1")
	if p.Compression != Gzip {
		feature("PayloadIsZstd", "5.4.18-1")
	}
	versions := p.EVR.Version + p.EVR.Release
	for _, list := range [][]Relation{p.Requires, p.Provides, p.Recommends, p.Conflicts} {
		for _, r := range list {
			if versions += r.Version; strings.HasPrefix(r.Name, "(") {
				feature("RichDependencies", "4.12.0-1")
			}
		}
	}
	if strings.Contains(versions, "~") {
		feature("TildeInVersions", "4.10.0-1")
	}
	if strings.Contains(versions, "^") {
		feature("CaretInVersions", "4.15.0-1")
	}
	if p.hasConfig() {
		all = append(all, p.configRelation())
	}
	if p.Scripts != (Scripts{}) {
		all = append(all, Relation{Name: "/bin/sh", Pre: true})
	}
	return normal(all)
}

// rpmProvides gives what an rpm provides, with itself, and itself of its architecture.
func (p *Package) rpmProvides() []Relation {
	all := append(slices.Clone(p.Provides), Relation{Name: p.Name, Op: "=", Version: p.EVR.String()})
	if isa := arches[RPM][p.Arch]; isa != "" {
		all = append(all, Relation{Name: p.Name + "(" + isa + ")", Op: "=", Version: p.EVR.String()})
	}
	if p.hasConfig() {
		all = append(all, p.configRelation())
	}
	return normal(all)
}

func (p *Package) hasConfig() bool {
	return slices.ContainsFunc(p.Files, func(f File) bool { return f.Kind == Config })
}

// configRelation ties configuration files to the package that has them.
func (p *Package) configRelation() Relation {
	return Relation{Name: "config(" + p.Name + ")", Op: "=", Version: p.EVR.String()}
}

// setRelations writes a list with the flags that rpmbuild gives it.
func setRelations(h header, l relationTag, list []Relation) {
	delete(h, l.names)
	delete(h, l.versions)
	delete(h, l.flags)
	if len(list) == 0 {
		return
	}
	var names, versions []string
	var flags []uint32
	for _, r := range list {
		var f uint32
		for bits, op := range operators {
			if op == r.Op {
				f = uint32(bits)
			}
		}
		switch {
		case strings.HasPrefix(r.Name, "rpmlib("):
			f |= senseRpmlib
		case strings.HasPrefix(r.Name, "config("):
			f |= senseConfig
		}
		if r.Pre && l.names == tagRequires {
			f |= sensePre &^ (1 << 6)
		}
		names, versions, flags = append(names, r.Name), append(versions, r.Version), append(flags, f)
	}
	h.setStrings(l.names, names)
	h.setStrings(l.versions, versions)
	h.setInts(l.flags, flags...)
}

// normal gives relations sorted, each once.
func normal(list []Relation) []Relation {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b Relation) int { return strings.Compare(a.key(), b.key()) })
	return slices.Compact(sorted)
}

// key orders relations.
func (r Relation) key() string {
	key := r.Name + "\x00" + r.Version + "\x00" + r.Op
	if r.Pre {
		key += "\x00"
	}
	return key
}
