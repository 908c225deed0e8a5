package resolve

import "appbundle/resolve/internal/pubgrub"

// A Learned is an incompatibility that was derived: not all of its terms are
// true.
type Learned []LearnedTerm

// A LearnedTerm says that a project, or the switch of an extra, is one of a set.
type LearnedTerm struct {
	Name, Extra string
	// Has reports whether the version, as text, is in the set; "" is "not there"
	// or "off", and "on" is a switch that is on.
	Has func(version string) bool
}

// HookLearned calls f with what is learned on a target, until it is called
// again. No two tests may use it at once.
func HookLearned(f func(target string, l Learned)) {
	learnedHook = func(w *world) func(*pubgrub.Incompatibility) {
		if f == nil {
			return nil
		}
		return func(inc *pubgrub.Incompatibility) {
			var l Learned
			for _, t := range inc.Terms {
				e := w.entities[t.Pkg]
				l = append(l, LearnedTerm{e.project.name, e.extra, func(version string) bool {
					if version == "" {
						return t.Set.Has(0)
					}
					if e.extra != "" {
						return t.Set.Has(1)
					}
					for i := range e.project.list {
						if e.project.list[i].version.String() == version {
							return t.Set.Has(i + 1)
						}
					}
					return false
				}})
			}
			f(w.group.targets[0].Name, l)
		}
	}
}
