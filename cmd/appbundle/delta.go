package main

import (
	"context"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newDeltaCmd(out *printer) *cobra.Command {
	var opts bundle.DeltaOptions
	kind := choice{}
	for _, t := range bundle.ArchiveTypes() {
		kind.allowed = append(kind.allowed, string(t))
	}
	cmd := &cobra.Command{
		Use:   "delta OLD NEW",
		Short: "write what makes one archive of another",
		Long: `Delta compares two archives of an app, and writes an archive of the files that
are new or changed and a list of what was deleted:
NAME-VERSION-TARGET.from-OLDVERSION.tar.zst, or another type. "appbundle unpack
--base" makes the app directory of it, where the old one is.

It prints the digest of NEW and the delta's path. Both archives are verified;
the same two give the same bytes. Nothing half is left when it fails.`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				opts.Type, opts.Tool = bundle.ArchiveType(kind.value), "appbundle "+version
				res, err := bundle.Delta(ctx, args[0], args[1], opts)
				if err != nil {
					return err
				}
				out.print("%s  %s\n", res.Digest, relative(res.Path))
				out.remark("from %s: %s new or changed, %s; %d deleted; %s packed",
					res.Base, count(res.Files, "file"), size(res.Bytes), res.Deleted, size(res.Size))
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&opts.Output, "output", "o", "",
		"write to `PATH`: a file, or a directory when it exists as one or ends in a slash")
	flags.Var(&kind, "type", "write a `tar.zst`, tar.gz, zip or tar (default: what the suffix of -o says, else tar.zst)")
	return cmd
}
