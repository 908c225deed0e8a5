package schema

import (
	"fmt"
	"strings"
)

// An optionSpec is one option of a requirements file.
type optionSpec struct {
	name, short string
	value       bool   // takes a value
	alone       bool   // pip reads one such option of a line
	refuse      string // why no bundle has it; "" for one that is read
	fix         string
}

const (
	notOurs   = "belongs to the command line"
	buildOnly = "belongs to a build"
)

var optionSpecs = []optionSpec{
	{name: "--index-url", short: "-i", value: true},
	{name: "--extra-index-url", value: true},
	{name: "--find-links", short: "-f", value: true},
	{name: "--no-index"},
	{name: "--pre"},
	{name: "--prefer-binary"},
	{name: "--require-hashes"},
	{name: "--no-binary", value: true},
	{name: "--only-binary", value: true},
	{name: "--requirement", short: "-r", value: true, alone: true},
	{name: "--constraint", short: "-c", value: true, alone: true},
	{name: "--hash", value: true},
	{name: "--editable", short: "-e", value: true, refuse: "cannot be archived: a bundle has no editable dependency", fix: "build a wheel of it, put the wheel into the bundle, and write its path"},
	{name: "--trusted-host", value: true, refuse: "turns the check of certificates off", fix: "use https, or a hash on each line"},
	{name: "--config-settings", value: true, refuse: buildOnly, fix: "build a wheel and depend on it"},
	{name: "--global-option", value: true, refuse: buildOnly, fix: "build a wheel and depend on it"},
	{name: "--install-option", value: true, refuse: buildOnly, fix: "build a wheel and depend on it"},
	{name: "--use-feature", value: true, refuse: notOurs, fix: "remove it"},
	{name: "--no-require-hashes", refuse: notOurs, fix: "remove it"},
	{name: "--pypi-url", value: true, refuse: "is an old name", fix: "write --index-url"},
}

// An option is one that a line has.
type option struct {
	spec  *optionSpec
	value string
	pos   Pos
}

// options reads the options that begin at byte n of the line.
func (p *reqParser) options(l logicalLine, n int) ([]option, bool) {
	words, err := splitWords(l.text[n:])
	if err != nil {
		p.problems.Add(l.posAt(n+err.(*WordError).Offset), "", "%v", err)
		return nil, false
	}
	var out []option
	for i := 0; i < len(words); i++ {
		w := words[i]
		o := option{pos: l.posAt(n + w.off)}
		name, value, glued := w.text, "", false
		if strings.HasPrefix(name, "--") {
			name, value, glued = strings.Cut(name, "=")
		}
		if o.spec = findOption(name); o.spec == nil {
			p.unknownOption(o.pos, w.text, name)
			return nil, false
		}
		if o.spec.refuse != "" {
			p.problems.Add(o.pos, o.spec.fix, "%s %s", o.spec.name, o.spec.refuse)
			return nil, false
		}
		if o.spec.value && !glued && i+1 < len(words) {
			i++
			value, glued = words[i].text, true
			o.pos = l.posAt(n + words[i].off)
		}
		if o.value = value; !p.checkValue(&o, glued) {
			return nil, false
		}
		out = append(out, o)
	}
	return out, true
}

func (p *reqParser) checkValue(o *option, has bool) bool {
	switch {
	case has && !o.spec.value:
		p.problems.Add(o.pos, "", "%s takes no value", o.spec.name)
	case !has && o.spec.value:
		p.problems.Add(o.pos, "", "%s needs a value", o.spec.name)
	case strings.HasPrefix(o.value, "="):
		p.problems.Add(o.pos, fmt.Sprintf("write %s VALUE", o.spec.name), "pip takes the = for a part of the value")
	default:
		return true
	}
	return false
}

func findOption(name string) *optionSpec {
	for i := range optionSpecs {
		if o := &optionSpecs[i]; o.name == name || o.short != "" && o.short == name {
			return o
		}
	}
	return nil
}

func (p *reqParser) unknownOption(pos Pos, text, name string) {
	fix := ""
	if len(text) > 2 && text[0] == '-' && text[1] != '-' {
		if o := findOption(text[:2]); o != nil {
			fix = fmt.Sprintf("write %s VALUE, or delete the - of a name", o.name)
		}
	} else {
		var names []string
		for _, o := range optionSpecs {
			if o.refuse == "" && strings.HasPrefix(o.name, name) && len(name) > 3 {
				fix = fmt.Sprintf("write %s", o.name)
			}
			names = append(names, o.name)
		}
		switch near := Closest(name, names); {
		case fix != "":
		case near != "":
			fix = fmt.Sprintf("did you mean %s?", near)
		default:
			fix = "delete it"
		}
	}
	p.problems.Add(pos, fix, "unknown option %s", quote(text))
}
