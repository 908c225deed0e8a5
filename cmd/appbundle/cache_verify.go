package main

import (
	"context"

	"github.com/spf13/cobra"

	"appbundle/install"
)

func newCacheVerifyCmd(g *globals, out *printer) *cobra.Command {
	fix, format := false, textFormat()
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "is what is in the cache what was put there?",
		Long: `Verify reads the cache, and prints what is damaged, one entry a line: somebody
wrote to a file that environments share, or the disk did. The status is 1 then.
With --fix it removes damaged entries, so that they are fetched anew; an
environment that was made from one has to be removed and made anew.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return verifyCache(ctx, g, out, fix, format.value)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&fix, "fix", false, "remove what is damaged")
	flags.Var(format, "format", "report as `text` or json")
	return cmd
}

func verifyCache(ctx context.Context, g *globals, out *printer, fix bool, format string) error {
	dir, err := g.cachePlace()
	if err != nil {
		return err
	}
	bar := out.progress("verify")
	looked := 0
	tell := out.tellWait(dir)
	found, err := install.Verify(ctx, install.VerifyRequest{
		Dir: dir, Remove: fix,
		Waits:    func() { bar.end(); tell() },
		Progress: func(done int) { looked = done; bar.note("%s", count(done, "entry")) },
	})
	bar.end()
	if err != nil {
		return err
	}
	if err := tellDamage(out, dir, found, fix, format); err != nil {
		return err
	}
	if len(found) == 0 {
		out.remark("%s is whole: %s", dir, count(looked, "entry"))
		return nil
	}
	if fix {
		out.remark("%s removed", count(len(found), "damaged entry"))
		return nil
	}
	out.remark("%s of %d; appbundle cache verify --fix removes them", count(len(found), "damaged entry"), looked)
	return errNo
}

func tellDamage(out *printer, dir string, found []install.Damage, fixed bool, format string) error {
	if format != "json" {
		for i := range found {
			out.print("%s\n", &found[i])
		}
		return nil
	}
	list := []map[string]string{}
	for _, d := range found {
		list = append(list, map[string]string{"kind": d.Kind, "sha256": d.SHA256, "name": d.Name, "file": d.File, "reason": d.Reason})
	}
	return out.json(map[string]any{"format": 1, "cache": dir, "damaged": list, "fixed": fixed})
}
