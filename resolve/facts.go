package resolve

import "slices"

// A rank is how soon a fact is told. Who reads but the first lines has read why
// today's versions do not do.
type rank int

const (
	newest rank = iota // on the way from the lines through the newest versions
	older              // on the way through others
	apart              // about versions that do not count
	numRanks
)

// facts gives what a proof rests on but the lines, in the order of their ranks.
// In each rank it is a project at a time, beginning with those that lines ask
// for.
func (x *explanation) facts(lines []*line) []Fact {
	t := teller{x: x, lines: lines, claims: x.claims()}
	for _, l := range lines {
		t.queues[newest] = append(t.queues[newest], l.name)
	}
	seen := make(map[string]bool)
	for from := range apart {
		for i := 0; i < len(t.queues[from]); i++ { // project lengthens it
			if name := t.queues[from][i]; !seen[name] {
				seen[name] = true
				t.project(name, from)
			}
		}
	}
	return slices.Concat(t.told[:]...)
}

// A teller puts facts in their order.
type teller struct {
	x      *explanation
	lines  []*line
	claims []*claim
	queues [apart][]string // projects, by the rank of who asks for them
	told   [numRanks][]Fact
}

// project tells what is so of a project that was asked for at a rank, and asks
// for those that it requires.
func (t *teller) project(name string, from rank) {
	t.told[from] = append(t.told[from], t.x.nothing(name, t.lines, t.claims)...)
	own := slices.DeleteFunc(slices.Clone(t.claims), func(c *claim) bool { return c.name != name })
	best := top(own)
	asks := make(map[string][]*claim) // by the project that is asked for
	var order []string
	for _, c := range own {
		switch r := max(c.rank(best), from); {
		case c.kind == Requires:
			to := c.req.Key()
			if asks[to] == nil {
				order = append(order, to)
				t.queues[r] = append(t.queues[r], to)
			}
			asks[to] = append(asks[to], c)
		case c.line == nil:
			t.told[r] = append(t.told[r], t.x.fact(c))
		}
	}
	for _, to := range order { // all of the same rank, those of its first
		r := max(asks[to][0].rank(best), from)
		t.told[r] = append(t.told[r], t.x.demands(asks[to], to)...)
	}
}

func (c *claim) rank(best int) rank {
	switch {
	case c.kind == Prerelease || c.kind == Yanked:
		return apart
	case c.set.Max() == best:
		return newest
	}
	return older
}

// top gives the newest version that a claim is about and that counts.
func top(own []*claim) int {
	best := 0
	for _, c := range own {
		if c.rank(0) != apart {
			best = max(best, c.set.Max())
		}
	}
	return best
}
