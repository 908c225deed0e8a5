package rpm

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

var fieldName = regexp.MustCompile(`^[!-,.-9;-~][!-9;-~]*$`)

// parseControl reads one paragraph.
func parseControl(b []byte) (fields []Field, err error) {
	seen := map[string]bool{}
	for line := range strings.Lines(strings.TrimRight(string(b), "\n")) {
		line = strings.TrimRight(line, "\r\n")
		if !printable(strings.ReplaceAll(line, "\t", " ")) {
			return nil, malformed("has control characters in its control file: %.100q", line)
		}
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if len(fields) == 0 {
				return nil, malformed("has a control file that begins with white space")
			}
			fields[len(fields)-1].Value += "\n" + line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !fieldName.MatchString(name) {
			return nil, malformed("has %.100q in its control file", line)
		}
		if seen[strings.ToLower(name)] {
			return nil, malformed("has the field %s twice", name)
		}
		seen[strings.ToLower(name)] = true
		fields = append(fields, Field{name, strings.TrimSpace(value)})
	}
	return fields, nil
}

// Field gives a field of the control file of a deb, "" where there is none.
func (p *Info) Field(name string) string {
	for _, f := range p.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// fillDeb takes what the control archive says.
func (p *Info) fillDeb(members map[string][]byte) error {
	p.Format = Deb
	var err error
	if p.Fields, err = parseControl(members["control"]); err != nil {
		return err
	}
	p.Name, p.Arch = p.Field("Package"), p.Field("Architecture")
	if !debName.MatchString(p.Name) || len(p.Name) > maxName {
		return malformed("has the name %.100q", p.Name)
	}
	if !isWord(p.Arch) {
		return malformed("has the architecture %.100q", p.Arch)
	}
	if p.EVR, err = ParseEVR(p.Field("Version")); err == nil {
		err = p.EVR.check(Deb)
	}
	if err != nil {
		return malformed("has the version %.100q: %v", p.Field("Version"), err)
	}
	p.Summary, p.Description, _ = strings.Cut(p.Field("Description"), "\n")
	p.Homepage, p.Maintainer, p.Section, p.Source = p.Field("Homepage"), p.Field("Maintainer"), p.Field("Section"), p.Field("Source")
	if size := p.Field("Installed-Size"); size != "" {
		n, err := strconv.ParseInt(size, 10, 42)
		if err != nil || n < 0 {
			return malformed("has the installed size %.100q", size)
		}
		p.Installed = n * 1024
	}
	for _, l := range []struct {
		field string
		to    *[]Relation
	}{
		{"Depends", &p.Requires}, {"Pre-Depends", &p.Requires}, {"Provides", &p.Provides}, {"Recommends", &p.Recommends}, {"Suggests", &p.Suggests},
		{"Conflicts", &p.Conflicts}, {"Breaks", &p.Breaks}, {"Replaces", &p.Replaces}, {"Enhances", &p.Enhances},
	} {
		list, err := parseDebRelations(p.Field(l.field), l.field == "Pre-Depends")
		if err != nil {
			return malformed("has the field %s: %v", l.field, err)
		}
		*l.to = append(*l.to, list...)
	}
	p.Scripts = Scripts{PreInstall: string(members["preinst"]), PostInstall: string(members["postinst"]), PreRemove: string(members["prerm"]), PostRemove: string(members["postrm"])}
	return nil
}

var debRelation = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9+.-]*(?::[a-z0-9-]+)?)\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s()]+)\s*\))?\s*(\[[^\]]*\])?\s*$`)

// parseDebRelations reads a list with commas.
func parseDebRelations(s string, pre bool) (all []Relation, err error) {
	for item := range strings.SplitSeq(s, ",") {
		item = strings.Join(strings.Fields(item), " ")
		if item == "" {
			continue
		}
		if strings.Contains(item, "|") {
			all = append(all, Relation{Name: item, Pre: pre})
			continue
		}
		m := debRelation.FindStringSubmatch(item)
		if m == nil {
			return nil, errors.New(strconv.Quote(item[:min(len(item), 100)]) + " is no relation")
		}
		op := m[2]
		if op == "<<" || op == ">>" {
			op = op[:1]
		}
		all = append(all, Relation{Name: m[1], Op: op, Version: m[3], Pre: pre})
	}
	return all, nil
}
