package schema

import (
	"cmp"
	"slices"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// lockedBuild reads [packages.tool.appbundle.built] of the package p, whose
// files are known.
func lockedBuild(t *tomlTable, p *LockedPackage) *LockedBuild {
	b := &LockedBuild{Pos: t.pos(), Wheel: t.need("wheel"), Host: t.need("host")}
	if s := t.table("sdist"); s == nil {
		t.r.problems.Add(t.pos(), "", "sdist is missing")
	} else {
		b.Sdist = builtSdist(s)
	}
	if !slices.ContainsFunc(p.Wheels, func(f LockedFile) bool { return f.Name == b.Wheel && f.Path != "" }) {
		t.bad("wheel", "%s is no wheel of %s in the bundle", quote(b.Wheel), p.Name)
	}
	for _, r := range t.tables("requires", MaxLockedPackages) {
		need := LockedBuildRequirement{Name: r.need("name"), Version: r.need("version"), SHA256: r.need("sha256")}
		if need.Name != "" && !pep508.IsNormalName(need.Name) {
			r.bad("name", "%s is no normalised name", quote(need.Name))
		}
		if _, err := pep440.Parse(need.Version); need.Version != "" && err != nil {
			r.bad("version", "%v", err)
		}
		if need.SHA256 != "" && !sha256Text.MatchString(need.SHA256) {
			r.bad("sha256", "%s is no SHA-256 in lower-case hexadecimal digits", quote(need.SHA256))
		}
		r.end()
		b.Requires = append(b.Requires, need)
	}
	t.end()
	return b
}

// builtSdist reads what a wheel was built of. It is not installed from, so that
// it needs no place.
func builtSdist(t *tomlTable) LockedFile {
	f := LockedFile{Pos: t.pos(), Name: t.need("name"), URL: t.str("url"), Size: t.int("size"), Hashes: digests(t, "hashes", isHash)}
	if f.URL != "" && !isFileURL(f.URL) {
		t.bad("url", "%s is no URL of https, http or file", quote(f.URL))
	}
	if f.SHA256() == "" {
		t.r.problems.Add(f.Pos, "", "the source distribution has no sha256")
	}
	t.end()
	return f
}

func (w *tomlWriter) built(b *LockedBuild) {
	w.line("\n[packages.tool.appbundle.built]")
	w.text("wheel", b.Wheel)
	w.text("host", b.Host)
	w.line("sdist = " + b.Sdist.inline(true))
	requires := slices.Clone(b.Requires)
	slices.SortFunc(requires, func(a, b LockedBuildRequirement) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.SHA256, b.SHA256))
	})
	var lines []string
	for _, r := range requires {
		lines = append(lines, inline(pair{"name", r.Name}, pair{"version", r.Version}, pair{"sha256", r.SHA256}))
	}
	w.lines("requires", lines)
}

// BuiltFile gives the wheel that was built, nil where none was.
func (p *LockedPackage) BuiltFile() *LockedFile {
	if p.Tool.Built == nil {
		return nil
	}
	for i := range p.Wheels {
		if f := &p.Wheels[i]; f.Name == p.Tool.Built.Wheel && f.Path != "" {
			return f
		}
	}
	return nil
}
