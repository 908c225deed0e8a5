package resolve

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"appbundle/resolve/internal/pubgrub"
	"appbundle/schema/pep440"
)

// An explanation reads a proof.
type explanation struct {
	world *world
	proof *pubgrub.Incompatibility
}

// about gives the one project of a proof.
func (x *explanation) about() string {
	names := make(map[string]bool)
	each(x.proof, func(_ *pubgrub.Incompatibility, l leaf) {
		names[l.name] = true
		if l.req != nil {
			names[l.req.Key()] = true
		}
	})
	if len(names) != 1 {
		return ""
	}
	for n := range names {
		return n
	}
	return ""
}

// A claim is what several leaves say of one project with the same words.
type claim struct {
	leaf
	set pubgrub.Set
}

// claims joins the leaves that say the same, those about the newest versions
// first.
func (x *explanation) claims() []*claim {
	found := make(map[string]*claim)
	each(x.proof, func(inc *pubgrub.Incompatibility, l leaf) {
		key := strings.Join([]string{string(l.kind), l.name, l.extra, l.detail}, "\x00")
		p := x.world.projects[l.name]
		for _, t := range inc.Terms {
			if l.line != nil || p == nil || t.Pkg != p.pkg {
				continue
			}
			if c := found[key]; c != nil {
				c.set = c.set.Or(t.Set)
			} else {
				found[key] = &claim{l, t.Set}
			}
		}
	})
	list := slices.Collect(maps.Values(found))
	slices.SortFunc(list, func(a, b *claim) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		if d := b.set.Max() - a.set.Max(); d != 0 {
			return d
		}
		return strings.Compare(a.detail+a.extra, b.detail+b.extra)
	})
	return list
}

// maxDemands is how many different requirements of one project for another are
// listed; more are summed up.
const maxDemands = 4

func (x *explanation) demands(list []*claim, to string) []Fact {
	var facts []Fact
	if len(list) <= maxDemands {
		for _, c := range list {
			facts = append(facts, x.fact(c))
		}
		return facts
	}
	first, all := list[0], list[0].set
	for _, c := range list[1:] {
		all = all.Or(c.set)
	}
	f := x.fact(&claim{first.leaf, all})
	f.Detail = ""
	f.Text = fmt.Sprintf("%s %s (%d versions) requires a different %s each, such as %s",
		f.Package, f.Versions, all.Candidates().Len(), to, first.detail)
	return []Fact{f}
}

// fact says a claim.
func (x *explanation) fact(c *claim) Fact {
	f := Fact{Kind: c.kind, Package: c.name, Detail: c.detail}
	if c.extra != "" {
		f.Package += "[" + c.extra + "]"
	}
	p := x.world.projects[c.name]
	set := c.set.Candidates()
	if fit := set.And(p.root); !fit.Empty() {
		set = fit
	}
	f.Versions = p.spell(set)
	f.Text = f.Package + " " + f.Versions + " " + x.verb(c)
	return f
}

func (x *explanation) verb(c *claim) string {
	switch c.kind {
	case Requires:
		return "requires " + c.detail
	case NoFile:
		return "has no file that could be installed"
	case NoWheel:
		return fmt.Sprintf("has no wheel for %s, and no source distribution%s", c.detail, x.tags(c))
	case HostOnly:
		target, tag, _ := strings.Cut(c.detail, " ")
		return fmt.Sprintf("has no wheel for %s%s, and a build here gives %s, which does not fit; --platform host locks for this host", target, x.tags(c), tag)
	case NeedsPython:
		return fmt.Sprintf("requires Python %s, and the target has %s", c.detail, x.world.group.targets[0].Python)
	case Yanked:
		return "is yanked" + because(c.detail)
	case Prerelease:
		return "is a pre-release"
	case TooNew:
		return "was uploaded after " + c.detail + ", or nobody knows when"
	case NoHash:
		if c.detail == "" {
			return "has no hash in any line, and hashes are required"
		}
		return "has none of the hashes that " + c.detail + " gives"
	case OtherFile:
		return "is not the file that " + c.detail + " names"
	case NoSdist:
		return "has no source distribution, and wheels do not count"
	case OnlySdist:
		return "has no wheel that counts, and source distributions do not"
	case Quarantined:
		return "is quarantined" + because(c.detail)
	case ByURL:
		return "requires " + c.detail + ": only a line of yours may ask for a URL"
	}
	return "cannot be used: " + c.detail
}

// maxTags is how many tags of wheels that do not fit are listed.
const maxTags = 4

// tags lists what wheels there are of the newest version of a claim.
func (x *explanation) tags(c *claim) string {
	n := c.set.Max()
	if n < 1 {
		return ""
	}
	tags := wheelTags(x.world.projects[c.name].list[n-1].release)
	if len(tags) == 0 {
		return ""
	}
	return "; there is " + strings.Join(tags, ", ")
}

// wheelTags lists a tag of each wheel of a release.
func wheelTags(r *Release) []string {
	var tags []string
	for _, f := range r.Files {
		if f.Wheel != nil && len(f.Wheel.Tags) > 0 {
			tags = append(tags, f.Wheel.Tags[0])
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if rest := len(tags) - maxTags; rest > 0 {
		tags = append(tags[:maxTags:maxTags], fmt.Sprintf("%d more", rest))
	}
	return tags
}

// nothing gives the facts about a project that has no version to offer: where it
// is unknown, and where nothing fits one demand, or all of the user's.
func (x *explanation) nothing(name string, own []*line, claims []*claim) []Fact {
	p := x.world.projects[name]
	if p == nil {
		return nil
	}
	if p.table.project == nil {
		return []Fact{{Kind: Unknown, Package: name, Text: "no index has a project " + name + "; correct the name, or add the index that has it"}}
	}
	if len(p.list) == 0 {
		return []Fact{{Kind: NoFile, Package: name, Text: fmt.Sprintf("the index lists %s without a file that could be installed", name)}}
	}
	var demands []string
	add := func(specs pep440.Specifiers) {
		if text := written(specs); p.fit(specs).Empty() && !slices.Contains(demands, text) {
			demands = append(demands, text)
		}
	}
	both, lines := p.fit(nil), 0
	for _, l := range own {
		if l.name == name {
			add(l.Req.Specifiers)
			both, lines = both.And(p.fit(l.Req.Specifiers)), lines+1
		}
	}
	for _, c := range claims {
		if c.kind == Requires && c.req.Key() == name {
			add(c.req.Specifiers)
		}
	}
	if len(demands) == 0 && lines > 1 && both.Empty() {
		demands = append(demands, "all of these lines")
	}
	var facts []Fact
	for _, d := range demands {
		facts = append(facts, Fact{Kind: NoVersion, Package: name, Detail: d,
			Text: fmt.Sprintf("no version of %s fits %s; there is %s", name, d, p.spell(p.fit(nil)))})
	}
	return facts
}

// spell names versions: runs of those that could be installed are one.
func (p *project) spell(set pubgrub.Set) string {
	scope := p.usable.Or(set)
	var runs []string
	for c := 1; c <= len(p.list); c++ {
		if !set.Has(c) {
			continue
		}
		last := c
		for n := c + 1; n <= len(p.list) && (set.Has(n) || !scope.Has(n)); n++ {
			if set.Has(n) {
				last = n
			}
		}
		run := p.list[c-1].version.String()
		if last > c {
			run += " to " + p.list[last-1].version.String()
		}
		runs = append(runs, run)
		c = last
	}
	if n := len(runs); n > 4 {
		runs = append(runs[:3:3], fmt.Sprintf("… %s", runs[n-1]))
	}
	return strings.Join(runs, ", ")
}
