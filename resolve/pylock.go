package resolve

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// PyLock gives the resolution as a lock. Its tool table has the targets; what
// the lock was made from, inputs and options, is up to the caller.
func (r *Resolution) PyLock(createdBy string) (*schema.PyLock, error) {
	lock := &schema.PyLock{
		CreatedBy: createdBy,
		Tool:      &schema.LockTool{Format: schema.PyLockFormat},
	}
	environments, err := r.environments()
	if err != nil {
		return nil, err
	}
	lock.Environments = environments
	lowest := r.Targets[0]
	for _, t := range r.Targets {
		lock.Tool.Targets = append(lock.Tool.Targets, t.Name)
		if t.Python.Compare(lowest.Python) < 0 {
			lowest = t
		}
	}
	lock.RequiresPython = ">=" + lowest.Env.PythonVersion
	versions := make(map[string]int)
	for _, p := range r.Packages {
		versions[p.Name]++
	}
	for _, p := range r.Packages {
		lock.Packages = append(lock.Packages, r.locked(p, versions))
	}
	return lock, nil
}

func (r *Resolution) locked(p *LockedPackage, versions map[string]int) schema.LockedPackage {
	l := schema.LockedPackage{
		Name:           p.Name,
		Version:        p.Version.String(),
		Marker:         p.Marker,
		RequiresPython: p.Metadata.RequiresPython.String(),
		Index:          p.Index,
		Tool:           schema.LockedPackageTool{License: p.Metadata.License},
	}
	for _, name := range p.Dependencies {
		if versions[name] < 2 {
			l.Dependencies = append(l.Dependencies, schema.LockedDependency{Name: name})
			continue
		}
		for _, other := range r.Packages {
			if other.Name == name && slices.ContainsFunc(other.Targets, func(t string) bool { return slices.Contains(p.Targets, t) }) {
				l.Dependencies = append(l.Dependencies, schema.LockedDependency{Name: name, Version: other.Version.String()})
			}
		}
	}
	for _, f := range p.From {
		l.Tool.From = append(l.Tool.From, place(f.Pos))
	}
	if p.Yanked {
		l.Tool.Yanked = cmp.Or(p.File.YankedReason, "yanked")
	}
	if p.Direct {
		l.Index = ""
	}
	if p.Built != nil {
		l.Tool.Built = p.Built.Record
	}
	for _, f := range p.Files {
		file := schema.LockedFile{
			Name: f.Name, URL: f.URL, Path: f.Path, Size: f.Size, UploadTime: f.Uploaded, Hashes: maps.Clone(f.Hashes), Wheel: f.Wheel,
		}
		switch {
		case p.Direct && (p.Built == nil || f != p.Built.Wheel):
			l.Archive = &file
		case f.Wheel != nil:
			l.Wheels = append(l.Wheels, file)
		case l.Sdist == nil:
			l.Sdist = &file
		}
	}
	return l
}

// environments gives a marker for each target that some marker tells apart from
// the others: its platform, its machine and its Python, and more where these
// are not enough.
func (r *Resolution) environments() ([]schema.LockedMarker, error) {
	var parts [][]pep508.Env
	for _, g := range groups(r.Targets) {
		parts = append(parts, []pep508.Env{r.Targets[g[0]].Env})
	}
	use := []int{0, 1, 2} // as in variables
	for i := len(use); i < len(variables) && !separate(parts, use); i++ {
		use = append(use, i)
	}
	var list []schema.LockedMarker
	for _, part := range parts {
		m, err := pep508.ParseMarker(spell(part, use))
		if err != nil {
			return nil, fmt.Errorf("the environment of a target: %w", err)
		}
		list = append(list, schema.LockedMarker{Marker: m})
	}
	return list, nil
}

// LockedOf gives what a lock chose, for Request.Locked. What has no version or
// is no release of an index is left out.
func LockedOf(lock *schema.PyLock) map[string][]Locked {
	all := make(map[string][]Locked)
	for i := range lock.Packages {
		p := &lock.Packages[i]
		if _, err := pep440.Parse(p.Version); err != nil || p.VCS != nil || p.Directory != nil {
			continue
		}
		l := Locked{Version: p.Version, Marker: p.Marker}
		for _, f := range p.Files() {
			l.Files = append(l.Files, f.Name)
			for algorithm, hex := range f.Hashes {
				l.Hashes = append(l.Hashes, algorithm+":"+hex)
			}
		}
		if b := p.Tool.Built; b != nil {
			l.Hashes = append(l.Hashes, "sha256:"+b.Sdist.SHA256())
		}
		slices.Sort(l.Hashes)
		all[p.Name] = append(all[p.Name], l)
	}
	return all
}
