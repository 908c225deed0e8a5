package main

import (
	"context"
	"slices"
	"sync/atomic"

	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A move is one package whose versions in the lock are not what they were.
type move struct {
	Name   string   `json:"name"`
	Was    []string `json:"was"`
	Is     []string `json:"is"`
	Reason string   `json:"reason"`
}

// moves compares two locks; old may be nil.
func moves(old, lock *schema.PyLock, res *resolve.Resolution, req resolve.Request) []move {
	was, is := versionsOf(old), versionsOf(lock)
	list := []move{}
	for _, name := range union(was, is) {
		if slices.Equal(was[name], is[name]) {
			continue
		}
		m := move{Name: name, Was: append([]string{}, was[name]...), Is: append([]string{}, is[name]...)}
		switch {
		case len(m.Is) == 0:
			m.Reason = "nothing asks for it any more"
		case len(m.Was) == 0:
			m.Reason = askedBy(res, name, nil)
		case req.UpgradeAll:
			m.Reason = "--upgrade"
		case resolutionOf(old) != resolutionOf(lock):
			m.Reason = "--resolution " + resolutionOf(lock)
		case slices.Contains(req.Upgrade, name):
			m.Reason = "--upgrade-package " + name
		default:
			m.Reason = askedBy(res, name, m.Was)
			if m.Reason == "" {
				m.Reason = m.Was[0] + " does not count any more"
			}
		}
		list = append(list, m)
	}
	return list
}

// warnUpgrade warns of names of --upgrade-package that mean nothing: a typing
// error would otherwise look like a package without a newer version.
func warnUpgrade(out *printer, names []string, old, lock *schema.PyLock) {
	known := union(versionsOf(old), versionsOf(lock))
	for _, name := range names {
		if !slices.Contains(known, name) {
			out.warn("appbundle: --upgrade-package %s: nothing asks for such a package", name)
		}
	}
}

// versionsOf gives the versions of each name in the order of the lock.
func versionsOf(lock *schema.PyLock) map[string][]string {
	all := map[string][]string{}
	if lock == nil {
		return all
	}
	for i := range lock.Packages {
		p := &lock.Packages[i]
		all[p.Name] = append(all[p.Name], p.Version)
	}
	return all
}

func union(a, b map[string][]string) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// askedBy says who asks for a package: a line of the user before another
// package. Where the package had versions, it is who does not take one of them.
func askedBy(res *resolve.Resolution, name string, was []string) string {
	for _, s := range res.Solutions {
		p := s.Find(name)
		if p == nil {
			continue
		}
		for _, f := range p.From {
			if r, err := pep508.Parse(f.Text); was == nil || err == nil && excludes(r.Specifiers, was) {
				return schema.Pos{File: f.File, Line: f.Line}.String() + " asks for " + f.Text
			}
		}
		for _, by := range s.Packages {
			for _, e := range by.Requires {
				if e.Name != name {
					continue
				}
				if r, err := pep508.Parse(e.Requirement); was == nil || err == nil && excludes(r.Specifiers, was) {
					return by.Name + " " + by.Version.String() + " asks for " + e.Requirement
				}
			}
		}
	}
	return ""
}

// excludes reports whether none of the versions fits.
func excludes(s pep440.Specifiers, versions []string) bool {
	return !slices.ContainsFunc(versions, func(v string) bool { return s.ContainsText(v, pep440.Allow) })
}

// tell is the answer of lock: a line a package that moved.
func (a *lockAnswer) tell(out *printer, format string) error {
	if format == "json" {
		return out.json(a.json())
	}
	for _, m := range a.moves {
		switch {
		case len(m.Was) == 0:
			out.print("+ %s %s: %s\n", m.Name, versionList(m.Is), m.Reason)
		case len(m.Is) == 0:
			out.print("- %s %s: %s\n", m.Name, versionList(m.Was), m.Reason)
		default:
			out.print("  %s %s -> %s: %s\n", m.Name, versionList(m.Was), versionList(m.Is), m.Reason)
		}
	}
	for _, path := range a.built {
		out.remark("%s: built", path)
	}
	moved := "nothing moved"
	if len(a.moves) > 0 {
		moved = count(len(a.moves), "package") + " moved"
	}
	out.remark("%s: %s for %s; %s", lockFile, count(len(a.lock.Packages), "package"), count(len(a.lock.Tool.Targets), "target"), moved)
	return nil
}

func (a *lockAnswer) json() map[string]any {
	return map[string]any{
		"format": 1, "lock": lockFile, "packages": len(a.lock.Packages), "targets": a.lock.Tool.Targets, "moves": a.moves, "built": append([]string{}, a.built...),
	}
}

// warnSources tells what nothing can be installed from.
func warnSources(out *printer, lock *schema.PyLock) {
	for i := range lock.Packages {
		if p := &lock.Packages[i]; len(p.Wheels) == 0 && p.Sdist != nil {
			out.warn("appbundle: %s has no wheel, and nothing is built when it is installed (AB022); --allow-build makes one now", versioned(p))
		}
	}
}

// versionList joins the versions that several targets have.
func versionList(versions []string) string {
	s := versions[0]
	for _, v := range versions[1:] {
		s += " and " + v
	}
	return s
}

// A watched provider shows how much was asked of it.
type watched struct {
	resolve.Provider
	bar                *progress
	projects, releases atomic.Int64
}

func (w *watched) Project(ctx context.Context, name string) (*resolve.Project, error) {
	p, err := w.Provider.Project(ctx, name)
	w.bar.note("%s, %s read", count(int(w.projects.Add(1)), "project"), count(int(w.releases.Load()), "release"))
	return p, err
}

func (w *watched) Metadata(ctx context.Context, name string, r *resolve.Release, f *resolve.File) (*resolve.Metadata, error) {
	m, err := w.Provider.Metadata(ctx, name, r, f)
	w.bar.note("%s, %s read", count(int(w.projects.Load()), "project"), count(int(w.releases.Add(1)), "release"))
	return m, err
}
