package watch

import "strings"

// Table gives the steps as a Markdown table, a row a phase, for the docs.
func Table() string {
	var b strings.Builder
	b.WriteString("| |")
	for _, k := range kindNames {
		b.WriteString(" " + k + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", int(numKinds)) + "\n")
	for phase, row := range steps {
		b.WriteString("| **" + phaseNames[phase] + "** |")
		for _, st := range row {
			b.WriteString(" " + st.name + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
