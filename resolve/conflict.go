package resolve

import (
	"fmt"
	"slices"
	"strings"

	"appbundle/schema"
)

// A ConflictError says that requirements have no solution, and why.
type ConflictError struct {
	// Target is the name of the first target without a solution.
	Target string
	// Lines are the smallest set of lines that contradict each other, as far as
	// solving again could make it small, in the order of the request.
	Lines []From
	// Facts say why they do, in an order in which they can be read.
	Facts []Fact
	// Remedies were solved: with each of them there is a solution.
	Remedies []Remedy
	// More reports that the other lines have no solution either.
	More bool
	// Steps derive the contradiction from lines and facts, a sentence each.
	Steps []string

	about string // the one project that everything is about, "" for several
}

// A Fact is something that is so and that a contradiction rests on.
type Fact struct {
	Kind     FactKind
	Package  string // "name" or "name[extra]"
	Versions string // "1.0", "1.0 to 1.9"; "" where it is about none
	Detail   string // see FactKind
	Text     string // all of it as a sentence
}

// A Remedy is a change of the request with which there is a solution.
type Remedy struct {
	schema.Pos        // of the line to change, the zero Pos for an option
	Text       string // what to do, in the imperative
	Result     string // what the solution has then, "django 5.2.1"
}

// maxLines is how long the text of a conflict is.
const maxLines = 15

// Error gives the lines, the facts and the remedies in at most 15 lines.
func (e *ConflictError) Error() string { return e.text(maxLines) }

// maxSteps is how many steps are told.
const maxSteps = 60

// Explain gives everything: all facts, and the steps from them to the
// contradiction, of very many the first and the last.
func (e *ConflictError) Explain() string {
	text := e.text(1 << 30)
	steps := e.Steps
	if rest := len(steps) - maxSteps; rest > 0 {
		steps = slices.Concat(steps[:maxSteps/2], []string{fmt.Sprintf("… and %d more steps", rest)}, steps[len(steps)-maxSteps/2:])
	}
	if len(steps) == 0 {
		return text
	}
	return text + "\nstep by step\n  " + strings.Join(steps, "\n  ")
}

func (e *ConflictError) text(limit int) string {
	head := "no versions satisfy every requirement"
	if e.about != "" {
		head = e.about + ": no version satisfies every requirement"
	}
	out := []string{fmt.Sprintf("%s (%s)", head, e.Target)}
	for _, l := range e.Lines {
		out = append(out, fmt.Sprintf("  %s: %s", place(l.Pos), l.Text))
	}
	remedies := e.Remedies
	if len(remedies) > 3 && limit == maxLines {
		remedies = remedies[:3]
	}
	var facts []string
	for _, f := range e.Facts {
		facts = append(facts, f.Text)
	}
	out = cut(out, limit/2, "lines")
	facts = cut(facts, max(limit-len(out)-len(remedies)-3, 2), "facts")
	if len(facts) > 0 {
		out = append(out, "because")
		for _, f := range facts {
			out = append(out, "  "+f)
		}
	}
	if len(remedies) > 0 {
		out = append(out, "there is a solution if you")
		for _, r := range remedies {
			text := "  " + r.Text
			if r.Result != "" {
				text += ", which gives " + r.Result
			}
			out = append(out, text)
		}
	}
	if e.More {
		out = append(out, "the other lines contradict each other too")
	}
	return strings.Join(out, "\n")
}

// cut shortens a list and says by how much.
func cut(list []string, limit int, what string) []string {
	if len(list) <= limit {
		return list
	}
	return append(slices.Clone(list[:limit-1]), fmt.Sprintf("  … and %d more %s", len(list)-limit+1, what))
}

// place gives a file and a line: a column says nothing here.
func place(p schema.Pos) string { return schema.Pos{File: p.File, Line: p.Line}.String() }
