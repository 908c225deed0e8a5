package schema

import (
	"regexp"
	"strings"
)

// A Process is a line of a Procfile: "NAME: COMMAND".
type Process struct {
	Pos
	Name    string
	Command string // for a shell
}

var processLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):[ \t]*(.+)$`)

// maxProcesses is how many lines a Procfile has.
const maxProcesses = 1000

// ParseProcfile reads a Procfile. Empty lines and those that begin with "#" say
// nothing; a name that occurs twice is a problem.
func ParseProcfile(file string, data []byte) ([]Process, Problems) {
	var problems Problems
	var all []Process
	seen := map[string]bool{}
	for _, l := range textLines(file, data, &problems) {
		text := strings.TrimSpace(l.text)
		if text == "" || text[0] == '#' {
			continue
		}
		at := Pos{File: file, Line: l.no}
		m := processLine.FindStringSubmatch(text)
		switch {
		case m == nil:
			problems.Add(at, "write NAME: COMMAND", "%s is no process", quote(text))
		case seen[m[1]]:
			problems.Add(at, "give it another name", "%s occurs twice", quote(m[1]))
		case len(all) == maxProcesses:
			problems.Add(at, "", "the file has more than %d processes", maxProcesses)
			return all, problems
		default:
			seen[m[1]] = true
			all = append(all, Process{at, m[1], m[2]})
		}
	}
	return all, problems
}
