package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/export"
)

func newSBOMCmd(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "sbom [DIR|ARCHIVE]",
		Short: "the bill of materials of an app: CycloneDX 1.6",
		Long: `Sbom prints what an app is made of, as CycloneDX 1.6 in JSON: the packages of its
environment with the hashes of their wheels, or those of its lock, the modules
that go.mod requires, and what external-dependencies.txt names.

Build puts the same bill into the archive. That of an archive is printed when all of
the archive has been verified.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				data, err := billOf(ctx, dirArg(args))
				if err != nil {
					return err
				}
				out.print("%s", data)
				return nil
			})
		},
	}
}

// billOf gives the bill in an archive, or makes that of a directory.
func billOf(ctx context.Context, name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		app, err := look(ctx, func() (*bundle.App, error) { return bundle.Load(name) })
		if err != nil {
			return nil, err
		}
		return makeBill(app)
	}
	data, err := bundle.SBOM(ctx, name)
	if err == nil && data == nil {
		err = &bundle.RefusedError{Archive: name, Reason: "has no bill of materials"}
	}
	return data, err
}

// makeBill is how every bill is made.
func makeBill(app *bundle.App) ([]byte, error) { return export.SBOM(app, version) }
