package main

import (
	"context"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newVerifyCmd(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "verify ARCHIVE",
		Short: "is this archive whole, and exactly what it says it is?",
		Long: `Verify reads an archive to its end, and compares every entry with the manifest
that comes first. It prints the digest of the content and the archive's path,
as build does. It does not tell who made the archive: compare the digest with
one that you trust.

Of a delta it compares the files that are in it, and prints the digest that it
promises with the one of its base. "appbundle unpack --base" finds out whether
it keeps the promise.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				rep, err := bundle.Verify(ctx, args[0])
				if err != nil {
					return err
				}
				m := rep.Manifest
				if d := m.Delta; d != nil {
					out.print("%s  %s  from %s\n", rep.Digest, args[0], d.Base)
					out.remark("delta: %s %s for %s from %s: %s new or changed, %s; %d deleted", m.Name, m.Version, m.Target, d.Version,
						count(rep.Files, "file"), size(rep.Bytes), len(d.Deleted))
					return nil
				}
				out.print("%s  %s\n", rep.Digest, args[0])
				out.remark("%s %s for %s: %s, %s", m.Name, m.Version, m.Target, count(rep.Files, "file"), size(rep.Bytes))
				return nil
			})
		},
	}
}
