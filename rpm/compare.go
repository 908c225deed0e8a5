package rpm

import (
	"fmt"
	"slices"
)

// compare reports what was read back otherwise than it was to be written.
func (p *Package) compare(got *Info) error {
	for _, l := range []struct{ what, want, got string }{
		{"name", p.Name, got.Name},
		{"version", p.EVR.String(), got.EVR.String()},
		{"architecture", p.Arch, got.Arch},
		{"summary", p.Summary, got.Summary},
		{"maintainer", p.Maintainer, got.Maintainer},
		{"homepage", p.Homepage, got.Homepage},
		{"script before installation", p.scriptOrNone(p.Scripts.PreInstall), got.Scripts.PreInstall},
		{"script after installation", p.scriptOrNone(p.Scripts.PostInstall), got.Scripts.PostInstall},
		{"script before removal", p.scriptOrNone(p.Scripts.PreRemove), got.Scripts.PreRemove},
		{"script after removal", p.scriptOrNone(p.Scripts.PostRemove), got.Scripts.PostRemove},
		{"script after the transaction", p.scriptOrNone(p.Scripts.PostTransaction), got.Scripts.PostTransaction},
	} {
		if l.want != l.got {
			return fmt.Errorf("the %s is %q, not %q", l.what, l.got, l.want)
		}
	}
	if p.Format == RPM && (got.License != p.License || !got.Time.Equal(p.date())) {
		return fmt.Errorf("it is of %v under the license %q, not of %v under %q", got.Time, got.License, p.date(), p.License)
	}
	requires, provides := normal(p.Requires), normal(p.Provides)
	if p.Format == RPM {
		requires, provides = p.rpmRequires(), p.rpmProvides()
	}
	for _, l := range []struct {
		what      string
		want, got []Relation
	}{
		{"requires", requires, got.Requires}, {"provides", provides, got.Provides}, {"recommends", normal(p.Recommends), got.Recommends},
		{"conflicts", normal(p.Conflicts), got.Conflicts}, {"breaks", normal(p.Breaks), got.Breaks}, {"replaces", normal(p.Replaces), got.Replaces},
		{"obsoletes", nil, got.Obsoletes},
	} {
		if !slices.Equal(l.want, normal(l.got)) {
			return fmt.Errorf("it %s %q, not %q", l.what, l.got, l.want)
		}
	}
	return p.compareFiles(got)
}

func (p *Package) scriptOrNone(text string) string {
	if text == "" {
		return ""
	}
	return p.script(text)
}

func (p *Package) compareFiles(got *Info) error {
	files := make(map[string]File, len(got.Files))
	for _, f := range got.Files {
		files[f.Path] = f
	}
	for _, want := range p.Files {
		f, ok := files[want.Path]
		if !ok {
			return fmt.Errorf("%q is missing", want.Path)
		}
		delete(files, want.Path)
		if p.Format == Deb && want.Kind == License {
			want.Kind = Regular
		}
		if want.Kind == Symlink {
			want.Mode = 0o777
		}
		if f.Kind != want.Kind || f.Mode != want.Mode || f.Owner != owner(want.Owner) || f.Group != owner(want.Group) || f.Link != want.Link || f.Size != want.Size || want.Kind.hasContent() && f.SHA256 != want.SHA256 {
			return fmt.Errorf("%q is a %v of %d bytes, mode %#o, owner %s:%s, link %q; it was a %v of %d bytes, mode %#o, owner %s:%s, link %q",
				f.Path, f.Kind, f.Size, uint32(f.Mode), f.Owner, f.Group, f.Link,
				want.Kind, want.Size, uint32(want.Mode), owner(want.Owner), owner(want.Group), want.Link)
		}
	}
	for name, f := range files {
		if p.Format == RPM || f.Kind != Directory || f.Mode != 0o755 || f.Owner != "root" || f.Group != "root" {
			return fmt.Errorf("%q is in it, and was not in the plan", name)
		}
	}
	return nil
}
