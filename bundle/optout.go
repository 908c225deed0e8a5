package bundle

import (
	"slices"

	"appbundle/schema"
)

// optOutRule is the rule about the lines of [check] themselves.
const optOutRule = "AB036"

// firm are the rules that app.ini cannot opt out of: without them a tool does not
// know what the application is, or cannot unpack or install it.
var firm = []string{
	"AB001", "AB002", "AB003", "AB004", "AB005", "AB006", "AB009", "AB010", "AB011",
	"AB015", "AB018", "AB020", "AB023", "AB030", optOutRule,
}

// Firm reports whether app.ini cannot opt out of the rule.
func (r *Rule) Firm() bool { return slices.Contains(firm, r.ID) }

// optOuts are the lines of [check], and which of them were about a finding.
type optOuts struct {
	lines   []schema.OptOut
	globs   []pattern
	matched []bool
}

func newOptOuts(a *App) *optOuts {
	o := &optOuts{lines: a.Config.OptOuts, matched: make([]bool, len(a.Config.OptOuts))}
	for i := range o.lines {
		pt, _ := outputPattern(o.lines[i].Glob)
		o.globs = append(o.globs, pt)
	}
	return o
}

// reason gives why a finding does not count, "" where it does.
func (o *optOuts) reason(f *Finding) string {
	if slices.Contains(firm, f.Rule) {
		return ""
	}
	why := ""
	for i := range o.lines {
		if o.lines[i].Rule == f.Rule && o.globs[i].re != nil && o.globs[i].re.MatchString(f.File) {
			if o.matched[i] = true; why == "" {
				why = o.lines[i].Reason
			}
		}
	}
	return why
}

// check reports the lines that are about nothing. It comes after all other rules.
func (o *optOuts) check(*App) []Finding {
	var all []Finding
	for i, l := range o.lines {
		n := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == l.Rule })
		switch {
		case n < 0:
			all = append(all, findAt(l.Pos, "appbundle explain lists the rules", "[check]: there is no rule %s", l.Rule))
		case rules[n].Firm():
			all = append(all, findAt(l.Pos, "remove the line", "[check]: nobody can opt out of %s", l.Rule))
		case !o.matched[i]:
			all = append(all, findAt(l.Pos, "", "[check]: %s has no finding in %s", l.Rule, l.Glob))
		}
	}
	return all
}
