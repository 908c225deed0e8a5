package main

import (
	"context"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/schema"
)

func newAddCmd(g *globals, out *printer) *cobra.Command {
	o := editOptions{format: textFormat()}
	cmd := &cobra.Command{
		Use:   "add NAME... [DIR]",
		Short: "write dependencies into dependencies.txt, and lock",
		Long: `Add writes a line for each NAME into dependencies.txt: a requirement as the file
has it ("flask", "flask[async]>=3", "go:github.com/x/y ^1.2", quoted where it has
blanks). A line for the same thing is replaced and keeps its comment; a name
alone changes nothing where there is a line for it. Comments and order stay, and
a list that is sorted stays sorted.

Where there is a pylock.toml it is made again, for the same targets and with the
options that it was made with, and what is pinned stays as long as it fits. Both
files are written together: where there is no solution, both stay as they were.

The last argument is DIR when it is "." or "..", a path with a slash that is no
URL, module or wheel, or a directory with a file of the standard in it.`,
		Args: takesNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, dir := namesAndDir(args)
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runEdit(ctx, g, out, dir, o, func(e *bundle.Edit) ([]schema.Edit, error) { return add(e, names) })
			})
		},
	}
	o.flags(cmd, g)
	return cmd
}

// add writes the lines of names into e.
func add(e *bundle.Edit, names []string) ([]schema.Edit, error) {
	var all []schema.Edit
	for _, name := range names {
		d, problems := e.Demand(name)
		if len(problems) > 0 {
			return nil, &usageError{err: &nameError{name, problems[0]}}
		}
		if there, ok := e.Included(d.Key); ok && d.Bare {
			all = append(all, schema.Edit{Pos: there.Pos, Key: d.Key, Was: there.Text, Is: there.Text})
			continue
		} else if ok {
			return nil, &schema.Problem{Pos: there.Pos, Msg: there.Text + " is here, in a file that " + e.Name + " includes", Fix: "change this line"}
		}
		edits, problems := e.Add(name)
		if len(problems) > 0 {
			return nil, problems
		}
		all = append(all, edits...)
	}
	for _, d := range e.Demands() { // where they are now: a later one may have come above
		for i := range all {
			if all[i].File == d.File && all[i].Key == d.Key && all[i].Is == d.Text {
				all[i].Pos = d.Pos
			}
		}
	}
	return all, nil
}
