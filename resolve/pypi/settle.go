package pypi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep440"
)

// settle passes over the files of other projects and those whose name occurs
// twice, repairs what they demand of Python, and sorts: newest version first,
// then by name.
func (p *page) settle(project string) {
	before := len(p.offers)
	p.offers = slices.DeleteFunc(p.offers, func(o offer) bool { return o.project != project })
	p.sort()
	p.offers = slices.CompactFunc(p.offers, func(a, b offer) bool { return a.name == b.name })
	p.passed += before - len(p.offers)
	p.repairRequires(project)
}

// sort sorts offers by their version, newest first, then by name. There are far
// fewer versions than files, and an offer is too large to be moved often.
func (p *page) sort() {
	ranks := map[string]int{}
	var versions []pep440.Version
	order := make([]struct{ version, at int }, len(p.offers))
	for i := range p.offers {
		key := p.offers[i].version.Key()
		n, known := ranks[key]
		if !known {
			n = len(versions)
			ranks[key] = n
			versions = append(versions, p.offers[i].version)
		}
		order[i].version, order[i].at = n, i
	}
	newest := make([]int, len(versions))
	for i := range newest {
		newest[i] = i
	}
	slices.SortFunc(newest, func(a, b int) int { return pep440.Compare(versions[b], versions[a]) })
	rank := make([]int, len(versions))
	for i, n := range newest {
		rank[n] = i
	}
	slices.SortFunc(order, func(a, b struct{ version, at int }) int {
		if d := cmp.Compare(rank[a.version], rank[b.version]); d != 0 {
			return d
		}
		return cmp.Or(strings.Compare(p.offers[a.at].name, p.offers[b.at].name), cmp.Compare(a.at, b.at))
	})
	sorted := make([]offer, len(order))
	for i, o := range order {
		sorted[i] = p.offers[o.at]
	}
	p.offers = sorted
}

// repairRequires leaves out what nobody can read, and says so once for a page.
func (p *page) repairRequires(project string) {
	read := map[string]string{}
	bad, first := 0, ""
	for i := range p.offers {
		o := &p.offers[i]
		text, known := read[o.requires]
		if !known {
			_, repaired, err := schema.RepairSpecifiers(o.requires)
			switch {
			case err != nil:
				text = ""
			case repaired != "":
				text = repaired
			default:
				text = o.requires
			}
			read[o.requires] = text
		}
		if text == "" && strings.TrimSpace(o.requires) != "" {
			if bad++; bad == 1 {
				first = fmt.Sprintf("%q of %s", o.requires, o.name)
			}
		}
		o.requires = text
	}
	if bad > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%s: requires-python of %d files cannot be read and is left out, such as %s", project, bad, first))
	}
}
