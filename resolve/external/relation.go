package external

import (
	"cmp"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep440"
)

// A Relation is one thing that a package requires, in the spelling of its
// family.
type Relation struct {
	Name    string // a package, a path, a soname with its mark, pkgconfig(X)
	Op      string // "", or the family's: "<<" for dpkg is "<" for rpm and apk
	Version string // with its epoch; "" with Op
}

// Format gives the relation as f writes it: "libssl3 (>= 3)" for dpkg,
// "openssl-libs >= 1:3" for rpm, "libssl3>=3" for apk.
func (r Relation) Format(f Family) string {
	switch {
	case r.Op == "":
		return r.Name
	case f == Deb:
		return fmt.Sprintf("%s (%s %s)", r.Name, r.Op, r.Version)
	case f == APK:
		return r.Name + r.Op + r.Version
	}
	return r.Name + " " + r.Op + " " + r.Version
}

// Relations gives what a package of t's family requires of the system at run
// time, sorted, each once. What is needed only to build is left out; see
// [BuildRelations].
func Relations(t Target, deps []schema.External) ([]Relation, schema.Problems) {
	answers, problems := For(t, deps)
	return collect(answers, func(a *Answer) []Relation { return a.Requires }), problems
}

// BuildRelations gives what is needed to build the application from its
// sources, for BuildRequires and Build-Depends: for a library its pkg-config
// module in an RPM, where it has one, and otherwise the -dev or -devel package;
// and the tools that are asked for. A module's version is not that of a package,
// so it has none.
func BuildRelations(t Target, deps []schema.External) ([]Relation, schema.Problems) {
	answers, problems := For(t, deps)
	return collect(answers, func(a *Answer) []Relation { return a.BuildRequires }), problems
}

func collect(answers []Answer, part func(*Answer) []Relation) []Relation {
	out := []Relation{}
	for i := range answers {
		out = append(out, part(&answers[i])...)
	}
	slices.SortFunc(out, func(a, b Relation) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Version, b.Version))
	})
	return slices.Compact(out)
}

// A bound is one comparison with a version, as PEP 440 writes it: >=, <=, >, <
// or ==. A bound that is before leaves out pre-releases of the version too.
type bound struct {
	op      string
	version pep440.Version
	before  bool
}

// bounds takes specifiers apart; what cannot be said with bounds is told.
func bounds(e *schema.External, problems *schema.Problems) []bound {
	var out []bound
	for _, sp := range e.Specifiers {
		v, prefix, ok := sp.Version()
		switch {
		case !ok || sp.Op == "!=":
			problems.Add(e.Pos, "say which versions are good, such as >=2,<3", "packages have no relation for %q, which is left out", sp.String())
		case sp.Op == "~=":
			out = append(out, bound{">=", v, false}, bound{"<", following(v, len(v.Release())-1), true})
		case prefix:
			out = append(out, bound{">=", v, false}, bound{"<", following(v, len(v.Release())), true})
		case sp.Op == "===":
			out = append(out, bound{"==", v, false})
		default:
			out = append(out, bound{sp.Op, v, sp.Op == "<" && !v.IsPrerelease()})
		}
	}
	return out
}

// following gives the release after all that begin with the first n numbers of
// v's.
func following(v pep440.Version, n int) pep440.Version {
	numbers := v.Release()[:n]
	last, _ := new(big.Int).SetString(numbers[n-1], 10) // they are digits
	numbers[n-1] = last.Add(last, big.NewInt(1)).String()
	text := strings.Join(numbers, ".")
	if v.Epoch() != "0" {
		text = v.Epoch() + "!" + text
	}
	return pep440.MustParse(text)
}

// relate gives the relations of a package whose versions have epoch.
func relate(f Family, name, epoch string, bs []bound) []Relation {
	if len(bs) == 0 {
		return []Relation{{Name: name}}
	}
	var out []Relation
	for _, b := range bs {
		v := spell(f, b.version)
		switch e := cmp.Or(strings.TrimLeft(b.version.Epoch(), "0"), strings.TrimLeft(epoch, "0")); {
		case e != "" && f != APK: // which has none
			v = e + ":" + v
		}
		add := func(op, version string) { out = append(out, Relation{name, op, version}) }
		switch f {
		case Deb:
			// A Debian version goes on with the revision, and 3.0-1 is greater than
			// 3.0; what comes before 3.0.0 is still 3.0.
			switch {
			case b.op == "==":
				add(">=", v)
				add("<<", v+".0~")
			case b.op == "<=":
				add("<<", v+".0~")
			case b.op == ">":
				add(">=", v+".0~")
			case b.before:
				add("<<", v+"~")
			case b.op == "<":
				add("<<", v)
			default:
				add(b.op, v)
			}
		case APK:
			op := b.op
			if op == "==" {
				op = "~" // the release, whatever its revision
			}
			add(op, v)
		default:
			op := strings.TrimPrefix(b.op, "=")
			if b.op == "==" {
				op = "="
			}
			if b.before {
				v += "~"
			}
			add(op, v)
		}
	}
	return out
}

// suffix takes what follows the release of a version in normal form apart.
var suffix = regexp.MustCompile(`^(?:(a|b|rc)([0-9]+))?(?:\.post([0-9]+))?(?:\.dev([0-9]+))?$`)

// apkPre are the names that apk has for pre-releases.
var apkPre = map[string]string{"a": "_alpha", "b": "_beta", "rc": "_rc"}

// spell writes a version so that the family orders it as PEP 440 does; the
// epoch is left out.
func spell(f Family, v pep440.Version) string {
	release := strings.Join(v.Release(), ".")
	m := suffix.FindStringSubmatch(strings.TrimPrefix(v.Public(), v.Base()))
	if m == nil {
		return release // not of a version in normal form
	}
	pre, n, post, dev := m[1], m[2], m[3], m[4]
	var b strings.Builder
	b.WriteString(release)
	plus := map[Family]string{Deb: "+", RPM: "^"}[f]
	if pre != "" && f == APK {
		b.WriteString(apkPre[pre] + n)
	} else if pre != "" {
		b.WriteString("~" + pre + n)
	}
	if post != "" && f == APK {
		b.WriteString("_p" + post)
	} else if post != "" {
		b.WriteString(plus + "post" + post)
	}
	if dev != "" && f != APK { // which cannot order them
		if pre == "" && post == "" {
			b.WriteByte('~')
		}
		b.WriteString("~dev" + dev)
	}
	if l := v.Local(); l != "" && f != APK {
		b.WriteString(plus + "local." + l)
	}
	return b.String()
}
