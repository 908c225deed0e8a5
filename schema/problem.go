package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	// MaxFile is the size of the largest file that a decoder reads, in bytes.
	MaxFile = 4 << 20
	// MaxLine is the length of the longest logical line, in bytes.
	MaxLine = 64 << 10
	// MaxProblems is how many problems one decoder reports; a file that has
	// more is no file that somebody wrote.
	MaxProblems = 1000
)

// A Pos is a place in a file: the whole file, a line, or a column of a line.
type Pos struct {
	File string `json:"file,omitempty"` // as the user knows it, "" for no file
	Line int    `json:"line,omitempty"` // from 1; 0 for the whole file
	Col  int    `json:"col,omitempty"`  // from 1, in bytes; 0 for the whole line
}

// String gives the place as FILE, FILE:LINE or FILE:LINE:COL.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// A Problem is one thing that is wrong at one place, with what to do about it.
type Problem struct {
	Pos
	Msg string // what is wrong: lower case, no full stop
	Fix string // the remedy, in the imperative; "" where Msg says it all
}

// Error gives "FILE:LINE:COL: message; remedy".
func (p *Problem) Error() string {
	s := p.Msg
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	if at := p.Pos.String(); at != "" {
		s = at + ": " + s
	}
	return s
}

// Problems are what a decoder found, in the order of the file.
type Problems []*Problem

// Add appends a problem at pos; fix may be empty. After [MaxProblems] it drops
// what comes.
func (ps *Problems) Add(pos Pos, fix, format string, args ...any) {
	if len(*ps) >= MaxProblems {
		return
	}
	*ps = append(*ps, &Problem{Pos: pos, Msg: fmt.Sprintf(format, args...), Fix: fix})
}

// Err is nil when there are no problems, and ps as an error otherwise.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Error gives each problem on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// inOrder gives the problems in the order of the file: some are found only when
// all of it is read.
func (ps Problems) inOrder() Problems {
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return ps
}
