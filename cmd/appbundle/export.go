package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newExportCmd(out *printer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export KIND",
		Short: "the lock in other formats",
		Long:  `Export writes to standard output what other tools read.`,
		Args:  knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{err: fmt.Errorf("too few arguments: usage: %s requirements [DIR]", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "requirements [DIR]",
		Short: "the lock as a requirements file with hashes",
		Long: `Requirements writes the lock as a requirements file in which every package has
its version and its hashes: pip install --require-hashes -r FILE.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lock, err := lockOf(dirArg(args))
			if err != nil {
				return err
			}
			text, err := lock.Requirements()
			if err != nil {
				return err
			}
			out.print("%s", text)
			return nil
		},
	})
	return cmd
}
