package resolve

import (
	"fmt"
	"slices"

	"appbundle/schema"
	"appbundle/schema/pep425"
)

// A group is targets with the same environment for markers: they get the same
// versions, because no marker could tell them apart.
type group struct {
	targets  []Target
	rankings []*pep425.Ranking
}

func newGroup(targets []Target) *group {
	g := &group{targets: targets}
	for _, t := range targets {
		g.rankings = append(g.rankings, pep425.NewRanking(t.Tags))
	}
	return g
}

// applies reports whether a line counts for the group.
func (g *group) applies(l *line) (bool, error) {
	ok, err := l.Req.Marker.Evaluate(g.targets[0].Env)
	if err != nil {
		return false, &schema.Problem{Pos: l.Pos, Msg: fmt.Sprintf("%q: %v", l.Text, err)}
	}
	return ok, nil
}

// linesOf gives the lines and constraints of a project that count for the group.
func (g *group) linesOf(p *plan, name string) []*line {
	var lines []*line
	for _, l := range slices.Concat(p.lines, p.constraints) {
		if l.name == name {
			if ok, err := g.applies(l); ok && err == nil {
				lines = append(lines, l)
			}
		}
	}
	return lines
}
