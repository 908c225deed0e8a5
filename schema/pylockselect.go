package schema

import (
	"errors"
	"fmt"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// ErrNotCovered says that a lock was not made for an environment.
var ErrNotCovered = errors.New("the lock does not cover this environment")

// Select gives the packages that the environment env, with the full version of
// its Python, installs, in the order of the lock. Where env names no dependency
// groups, the default ones count. The error wraps [ErrNotCovered] where the lock
// is not for that environment, and is a [*Problem] where the lock contradicts
// itself.
func (l *PyLock) Select(env pep508.Env, python pep440.Version) ([]*LockedPackage, error) {
	if env.DependencyGroups == nil {
		env.DependencyGroups = l.DefaultGroups
	}
	if !allows(l.RequiresPython, python) {
		return nil, fmt.Errorf("%s: %w: it is for Python %s, not %s", l.File, ErrNotCovered, l.RequiresPython, python)
	}
	if err := l.covers(env); err != nil {
		return nil, err
	}
	var out []*LockedPackage
	at := map[string]Pos{}
	for i := range l.Packages {
		p := &l.Packages[i]
		ok, err := p.Marker.Evaluate(env)
		if err != nil {
			return nil, &Problem{Pos: p.Pos, Msg: fmt.Sprintf("%s: %v", p.Name, err)}
		}
		if !ok {
			continue
		}
		if first, twice := at[p.Name]; twice {
			return nil, &Problem{Pos: p.Pos, Msg: fmt.Sprintf("%s occurs twice for one environment, here and at %s", p.Name, first), Fix: "lock again"}
		}
		at[p.Name] = p.Pos
		if !allows(p.RequiresPython, python) {
			return nil, fmt.Errorf("%s: %w: %s %s needs Python %s, not %s", p.Pos, ErrNotCovered, p.Name, p.Version, p.RequiresPython, python)
		}
		out = append(out, p)
	}
	return out, nil
}

// covers looks for env among the environments of the lock.
func (l *PyLock) covers(env pep508.Env) error {
	for _, e := range l.Environments {
		ok, err := e.Marker.Evaluate(env)
		if err != nil {
			return &Problem{Pos: e.Pos, Msg: fmt.Sprintf("environments: %v", err)}
		}
		if ok {
			return nil
		}
	}
	if len(l.Environments) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w: none of its environments is Python %s on %s %s", l.File, ErrNotCovered, env.PythonVersion, env.SysPlatform, env.PlatformMachine)
}

// allows reports whether the specifiers allow a Python, pre-releases included.
// The reader has checked that they parse.
func allows(specifiers string, python pep440.Version) bool {
	if specifiers == "" {
		return true
	}
	list, err := pep440.ParseSpecifiers(specifiers)
	return err == nil && list.Contains(python, pep440.Allow)
}

// For gives the short form of the lock for one environment: what it installs.
func (l *PyLock) For(env pep508.Env, python pep440.Version) (*Lock, error) {
	packages, err := l.Select(env, python)
	if err != nil {
		return nil, err
	}
	short := &Lock{}
	for _, p := range packages {
		short.Packages = append(short.Packages, Pin{Name: p.Name, Version: p.Version})
	}
	return short, nil
}
