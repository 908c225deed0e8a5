package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

// version is stamped by the build (make build VERSION=…).
var version = "0.1.0-dev"

func newVersionCmd(out *printer) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version, the Go release and the platform",
		Args:  takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			out.print("appbundle %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
