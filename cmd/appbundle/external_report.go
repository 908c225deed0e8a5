package main

import (
	"fmt"
	"strings"

	"appbundle/resolve/external"
	"appbundle/schema"
)

// An externalReport is the answer of external in JSON.
type externalReport struct {
	Format       int                  `json:"format"`
	Target       string               `json:"target"`
	Dependencies []externalDependency `json:"dependencies"`
	Findings     []externalFinding    `json:"findings"`
	Install      []string             `json:"install"` // the words of the command
}

// An externalDependency is one line.
type externalDependency struct {
	schema.Pos
	Name          string   `json:"name"`
	ID            string   `json:"id,omitempty"`
	Applies       bool     `json:"applies"`
	Build         bool     `json:"build"`
	Package       string   `json:"package,omitempty"`
	Wanted        []string `json:"wanted"`
	Requires      []string `json:"requires"`
	BuildRequires []string `json:"build_requires"`
	Missing       *string  `json:"missing,omitempty"` // of --check; "" where it is there
}

// An externalFinding is a doubt about a line.
type externalFinding struct {
	schema.Pos
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// externalAnswers are what is to be told.
type externalAnswers struct {
	target   external.Target
	answers  []external.Answer
	missing  []string // one an answer, see external.Check; nil without --check
	problems schema.Problems
}

// lacking gives the answers that a host lacks, all of them where none was asked.
func (r *externalAnswers) lacking() []external.Answer {
	if r.missing == nil {
		return r.answers
	}
	var out []external.Answer
	for i, why := range r.missing {
		if why != "" {
			out = append(out, r.answers[i])
		}
	}
	return out
}

func (r *externalAnswers) json() externalReport {
	report := externalReport{Format: 1, Target: r.target.Name, Dependencies: []externalDependency{}, Findings: []externalFinding{}}
	report.Install = append([]string{}, external.Install(r.target, r.lacking())...)
	for i := range r.answers {
		a := &r.answers[i]
		d := externalDependency{
			Pos: a.Dep.Pos, Name: a.Dep.Name, ID: a.ID, Applies: a.Applies, Build: a.Build, Package: a.Package,
			Wanted: relations(r.target, a.Wanted), Requires: relations(r.target, a.Requires), BuildRequires: relations(r.target, a.BuildRequires),
		}
		if r.missing != nil {
			d.Missing = &r.missing[i]
		}
		report.Dependencies = append(report.Dependencies, d)
	}
	for _, p := range r.problems {
		report.Findings = append(report.Findings, externalFinding{p.Pos, p.Msg, p.Fix})
	}
	return report
}

// print tells people; install asks for the command alone.
func (r *externalAnswers) print(out *printer, install bool) {
	for _, p := range r.problems {
		out.warn("%s", p.Error())
	}
	command := shellWords(external.Install(r.target, r.lacking()))
	switch {
	case r.missing != nil:
		r.printMissing(out, command)
	case !install:
		r.printAnswers(out)
	case command != "":
		out.print("%s\n", command)
	default:
		out.remark("nothing to install")
	}
}

// printAnswers prints a line for each line of the file.
func (r *externalAnswers) printAnswers(out *printer) {
	for i := range r.answers {
		a := &r.answers[i]
		names := strings.Join(relations(r.target, a.Wanted), ", ")
		switch {
		case names == "":
			names = "nothing on " + r.target.Name
		case a.Build:
			names += " (to build)"
		}
		out.print("%s -> %s\n", a.Dep.Name, names)
	}
}

// printMissing tells what the host lacks, and the command to type.
func (r *externalAnswers) printMissing(out *printer, command string) {
	n := 0
	for i, why := range r.missing {
		if why == "" {
			continue
		}
		n++
		a := &r.answers[i]
		p := schema.Problem{Pos: a.Dep.Pos, Msg: fmt.Sprintf("%s is missing: %s", a.Dep.Name, why)}
		if a.Package != "" {
			p.Fix = "install " + a.Package
		}
		out.print("%s\n", p.Error())
	}
	switch {
	case n == 0:
		out.remark("nothing is missing")
	case command == "":
		out.remark("%d missing", n)
	default:
		out.remark("%d missing; %s", n, command)
	}
}

// relations writes relations as packages of the target do.
func relations(target external.Target, rs []external.Relation) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, r.Format(target.Family))
	}
	return out
}

// shellWords is a command as it can be typed.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; !strings.HasPrefix(w, "-") { // no package is called so
			quoted[i] = quoteShell(w)
		}
	}
	return strings.Join(quoted, " ")
}
