package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/schema"
	"appbundle/schema/pep508"
)

func newRemoveCmd(g *globals, out *printer) *cobra.Command {
	o := editOptions{format: textFormat()}
	cmd := &cobra.Command{
		Use:   "remove NAME... [DIR]",
		Short: "take dependencies out of dependencies.txt, and lock",
		Long: `Remove takes all lines for each NAME out of dependencies.txt, whatever their
extras, versions and markers: "flask", "go:github.com/x/y". A comment on such a
line goes with it, a comment above it stays.

Where there is a pylock.toml it is made again, and the answer says which packages
nothing asks for any more. Which argument is DIR is decided as by add.`,
		Args: takesNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, dir := namesAndDir(args)
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runEdit(ctx, g, out, dir, o, func(e *bundle.Edit) ([]schema.Edit, error) { return remove(e, names, o.external) })
			})
		},
	}
	o.flags(cmd, g)
	return cmd
}

// remove takes the lines for names out of e.
func remove(e *bundle.Edit, names []string, external bool) ([]schema.Edit, error) {
	gone := map[string]bool{}
	var keys []string
	for _, d := range e.Demands() {
		keys = append(keys, d.Key)
	}
	for _, name := range names {
		key := name
		if !external && pep508.ValidName(name) {
			key = pep508.NormalizeName(name)
		}
		if gone[key] = true; slices.Contains(keys, key) {
			continue
		}
		if there, ok := e.Included(key); ok {
			return nil, &schema.Problem{Pos: there.Pos, Msg: there.Text + " is here, in a file that " + e.Name + " includes", Fix: "remove this line"}
		}
		if d, problems := e.Demand(name); len(problems) == 0 && !d.Bare {
			return nil, &usageError{err: fmt.Errorf("%q is more than a name: all lines for %q are removed, or none", name, d.Key)}
		}
		p := &schema.Problem{Pos: schema.Pos{File: e.Name}, Msg: fmt.Sprintf("there is no %q", name)}
		if near := nearest(key, keys); near != "" {
			p.Fix = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, p
	}
	return e.Remove(func(d schema.Demand) bool { return gone[d.Key] }), nil
}

// nearest gives the key that was probably meant: an identifier of that name, or
// one that is spelled nearly so.
func nearest(key string, keys []string) string {
	for _, k := range keys {
		if strings.HasPrefix(k, "dep:") && strings.EqualFold(path.Base(k), key) {
			return k
		}
	}
	return schema.Closest(key, keys)
}
