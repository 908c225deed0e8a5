package resolve

import (
	"slices"

	"appbundle/schema"
)

// A Graph is who needs whom in a lock, as far as the lock says it: that of
// another tool may have neither dependencies nor the lines that ask.
type Graph struct {
	lock   *schema.PyLock
	byName map[string][]*schema.LockedPackage
}

// NewGraph reads the dependencies of a lock, which must not change after.
func NewGraph(lock *schema.PyLock) *Graph {
	g := &Graph{lock: lock, byName: make(map[string][]*schema.LockedPackage)}
	for i := range lock.Packages {
		p := &lock.Packages[i]
		g.byName[p.Name] = append(g.byName[p.Name], p)
	}
	return g
}

// Roots are the packages that a line of the user asks for, in the order of the
// lock. Where the lock knows no lines they are those that no other one needs.
func (g *Graph) Roots() []*schema.LockedPackage {
	needed := make(map[*schema.LockedPackage]bool)
	var asked, rest []*schema.LockedPackage
	for i := range g.lock.Packages {
		for _, p := range g.Needs(&g.lock.Packages[i]) {
			needed[p] = true
		}
	}
	for i := range g.lock.Packages {
		p := &g.lock.Packages[i]
		if len(p.Tool.From) > 0 {
			asked = append(asked, p)
		} else if !needed[p] {
			rest = append(rest, p)
		}
	}
	if len(asked) > 0 {
		return asked
	}
	return rest
}

// Needs are the packages that p requires on some target, in their order. Of a
// name with several versions that are all possible, it is all of them.
func (g *Graph) Needs(p *schema.LockedPackage) []*schema.LockedPackage {
	var list []*schema.LockedPackage
	for _, d := range p.Dependencies {
		for _, q := range g.byName[d.Name] {
			if d.Version == "" || d.Version == q.Version {
				list = append(list, q)
			}
		}
	}
	return list
}

// Why gives, for every root that leads to the package of that normalised name, a
// shortest chain from the root to it, both included. It is empty for a name that
// is not in the lock.
func (g *Graph) Why(name string) [][]*schema.LockedPackage {
	var chains [][]*schema.LockedPackage
	for _, root := range g.Roots() {
		if chain := g.chain(root, name); chain != nil {
			chains = append(chains, chain)
		}
	}
	return chains
}

func (g *Graph) chain(root *schema.LockedPackage, name string) []*schema.LockedPackage {
	by := map[*schema.LockedPackage]*schema.LockedPackage{root: nil}
	for todo := []*schema.LockedPackage{root}; len(todo) > 0; todo = todo[1:] {
		p := todo[0]
		if p.Name == name {
			var chain []*schema.LockedPackage
			for ; p != nil; p = by[p] {
				chain = append(chain, p)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, q := range g.Needs(p) {
			if _, seen := by[q]; !seen {
				by[q] = p
				todo = append(todo, q)
			}
		}
	}
	return nil
}
