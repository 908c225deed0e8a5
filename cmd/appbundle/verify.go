package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newVerifyCmd(g *globals, out *printer) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify ARCHIVE",
		Short: "is this archive whole, and exactly what it says it is?",
		Long: `Verify reads an archive to its end, and compares every entry with the manifest
that comes first. It prints the digest of the content and the archive's path,
as build does. It does not tell who made the archive: compare the digest with
one that you trust, or have it signed.

With --key the archive must have a signature by that key, in ARCHIVE.minisig: of
build --sign-key, or of minisign. Without --key it must be signed with a key of the
trust file, where there is one: /etc/appbundle/trust, else appbundle/trust in
$XDG_CONFIG_HOME or ~/.config, with a line GLOB KEY for each key and the names of the
applications it is for. The signature is checked before anything is decoded.

Of a delta it compares the files that are in it, and prints the digest that it
promises with the one of its base. "appbundle unpack --base" finds out whether
it keeps the promise.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				p, err := g.prove(ctx, args[0], key)
				if err != nil {
					return err
				}
				defer p.close()
				rep, err := bundle.VerifyFile(ctx, args[0], p.file())
				if err != nil {
					return err
				}
				if err := errors.Join(p.name(rep.Manifest.Name), p.still()); err != nil {
					return err
				}
				tellVerified(out, rep)
				if p != nil {
					out.remark("signed with the key %s", p.Key.ID())
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "demand a signature by this minisign `KEY`: the file of a public key, or its line")
	return cmd
}

// tellVerified prints what a good archive is.
func tellVerified(out *printer, rep *bundle.VerifyReport) {
	m := rep.Manifest
	if d := m.Delta; d != nil {
		out.print("%s  %s  from %s\n", rep.Digest, rep.Archive, d.Base)
		out.remark("delta: %s %s for %s from %s: %s new or changed, %s; %d deleted", m.Name, m.Version, m.Target, d.Version,
			count(rep.Files, "file"), size(rep.Bytes), len(d.Deleted))
		return
	}
	out.print("%s  %s\n", rep.Digest, rep.Archive)
	out.remark("%s %s for %s: %s, %s", m.Name, m.Version, m.Target, count(rep.Files, "file"), size(rep.Bytes))
}
