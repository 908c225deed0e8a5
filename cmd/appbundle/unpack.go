package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/schema"
)

func newUnpackCmd(out *printer) *cobra.Command {
	var opts bundle.UnpackOptions
	cmd := &cobra.Command{
		Use:   "unpack ARCHIVE DIR",
		Short: "make an app directory of an archive",
		Long: `Unpack verifies an archive and makes the directory DIR of it, which must not
exist. For a Python app it prints the commands that make the environment.

The directory appears when the last byte has been found good; an archive that
is refused leaves nothing.`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runUnpack(ctx, out, args[0], args[1], opts)
			})
		},
	}
	cmd.Flags().BoolVar(&opts.NoManifest, "no-manifest", false,
		"take an archive that others made: it has no manifest to compare it with")
	return cmd
}

func runUnpack(ctx context.Context, out *printer, archive, dir string, opts bundle.UnpackOptions) error {
	if dir == "" {
		return &usageError{err: errors.New("DIR is empty")}
	}
	err := bundle.Unpack(ctx, archive, dir, opts)
	if errors.Is(err, fs.ErrExist) {
		return &existsError{dir}
	}
	if err != nil {
		return err
	}
	app, err := bundle.Survey(dir, nil)
	if err != nil {
		out.remark("%s: unpacked; appbundle check tells what it is", quoteShell(dir))
		return nil
	}
	out.remark("%s: %s %s, %s", quoteShell(dir), app.Name, app.Version, count(len(app.Entries), "entry"))
	if i := app.Entrypoint.Interface; app.Entrypoint.Path != "" && (i == schema.WSGI || i == schema.ASGI) {
		out.print("cd %s && %s\n", quoteShell(dir), strings.Join(app.MakeEnv(), "\n"))
	}
	return nil
}

// An existsError says that there is something where a directory is to appear.
type existsError struct{ dir string }

func (e *existsError) Error() string { return fmt.Sprintf("%s is there already", quoteShell(e.dir)) }
func (e *existsError) Unwrap() error { return fs.ErrExist }
func (e *existsError) Hint() string {
	return "name a directory that does not exist, or remove it first"
}

// quoteShell gives s as one word of a POSIX shell, as it is where it can be.
// Behind cd a name that begins with a dash would be an option.
func quoteShell(s string) string {
	if strings.HasPrefix(s, "-") {
		s = "./" + s
	}
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+,:@%=", r))
	}) < 0
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
