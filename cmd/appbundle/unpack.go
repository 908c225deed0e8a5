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

func newUnpackCmd(g *globals, out *printer) *cobra.Command {
	var noManifest bool
	var python, base string
	cmd := &cobra.Command{
		Use:   "unpack ARCHIVE DIR",
		Short: "make an app directory of an archive",
		Long: `Unpack verifies an archive of any type that build writes, and makes the directory
DIR of it, which must not exist. An environment in it is given an interpreter of this host, which must
have its version; without one, it prints the commands that make the environment.

The directory appears when the last byte has been found good; an archive that
is refused, or is for another host, leaves nothing.

An archive that others made has no manifest to compare it with: --no-manifest takes
it, also as tar.xz or tar.bz2, and keeps its directories. What is not safe to unpack
is refused all the same.

A delta is unpacked over its base, an app directory or an archive: --base names
it. DIR is then a whole copy; nothing in the base changes.

Where the host has a trust file, the archive must be signed with a key that is in it
for the application: see appbundle verify.`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				if cmd.Flags().Changed("base") && (base == "" || noManifest) {
					return &usageError{err: errors.New("--base names a directory or an archive, and its deltas have a manifest")}
				}
				return runUnpack(ctx, g, out, args[0], args[1], python, bundle.UnpackOptions{NoManifest: noManifest, Base: base})
			})
		},
	}
	cmd.Flags().StringVar(&python, "python", "", "give the environment the interpreter `PATH`, or that of a version")
	cmd.Flags().BoolVar(&noManifest, "no-manifest", false,
		"take an archive that others made, which has no manifest")
	cmd.Flags().StringVar(&base, "base", "", "the `DIR|ARCHIVE` that the delta is from")
	return cmd
}

func runUnpack(ctx context.Context, g *globals, out *printer, archive, dir, python string, opts bundle.UnpackOptions) error {
	if dir == "" {
		return &usageError{err: errors.New("DIR is empty")}
	}
	a := &adoption{archive: archive, flag: python}
	if python != "" && python[0] >= '0' && python[0] <= '9' {
		a.flag = "python" + python
	}
	var err error
	if a.signer, err = g.prove(ctx, archive, ""); err != nil {
		return err
	}
	defer a.signer.close()
	opts.Accept, opts.Finish, opts.File = a.accept, a.finish, a.signer.file()
	err = bundle.Unpack(ctx, archive, dir, opts)
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
	host := ""
	if a.python != "" {
		host = ", with " + a.python
	}
	out.remark("%s: %s %s%s", quoteShell(dir), app.Name, app.Version, host)
	if i := app.Entrypoint.Interface; app.Entrypoint.Path != "" && app.Environment == nil && (i == schema.WSGI || i == schema.ASGI) {
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
