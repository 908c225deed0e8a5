package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/rpm"
)

func newBuildCmd(g *globals, out *printer) *cobra.Command {
	var opts bundle.BuildOptions
	o := packageOptions{format: textFormat()}
	kind := choice{}
	for _, t := range bundle.ArchiveTypes() {
		kind.allowed = append(kind.allowed, string(t))
	}
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "write a reproducible archive of an app directory, or Linux packages",
		Long: `Build runs the command that [build] of app.ini names, checks the directory, and
writes an archive of it: NAME-VERSION-TARGET.tar.zst, or another type. The same content
gives the same bytes, and the same digest in each type. It prints the digest of the
content and the archive's path.

With --sign-key it is signed for minisign, and for hosts that trust the key.

An app with a lock is packed with the environment that appbundle install made
of it, for one Python and platform; with --no-env the host makes it.

With --rpm or --deb it writes a package that installs the app at /opt/NAME, with
a unit that runs it under appbundle; with --collection one package for each
dependency as well, and the metadata of a repository. They are dated
SOURCE_DATE_EPOCH. With --layout system these are python3-NAME, and their files
go where the Python of the system has its own: for hosts with one app.

With --spec or --srpm others build the RPM: the sources have the same files as
--rpm packs, and what external-dependencies.txt names to build with is required.

Nothing is written when the check has an error, and nothing half is left
when the build fails or is interrupted.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(opts.NoEnv, kind.value); err != nil {
				return &usageError{err: err}
			}
			opts.Type = bundle.ArchiveType(kind.value)
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				return runBuild(ctx, g, out, dirArg(args), opts, o)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&opts.Output, "output", "o", "",
		"write to `PATH`: a file, or a directory when it exists as one or ends in a slash")
	flags.Var(&kind, "type", "write a `tar.zst`, tar.gz, zip or tar (default: what the suffix of -o says, else tar.zst)")
	flags.BoolVar(&opts.NoEnv, "no-env", false, "leave the environment out")
	flags.BoolVar(&o.rpm, "rpm", false, "write an RPM")
	flags.BoolVar(&o.deb, "deb", false, "write a Debian package")
	flags.BoolVar(&o.collection, "collection", false, "one package for each dependency, and a repository of them")
	flags.StringVar(&o.layout, "layout", string(rpm.Private), "put dependencies into the app's directory, or the system's: `private|system`")
	flags.BoolVar(&o.spec, "spec", false, "write a spec for rpmbuild, and the archive that it names")
	flags.BoolVar(&o.srpm, "srpm", false, "write an RPM of sources for mock, koji, OBS or Copr")
	flags.StringVar(&o.key, "sign", "", "sign packages and repository with the OpenPGP key in `FILE`, or with that of gpg-agent: gpg:FINGERPRINT")
	flags.StringVar(&o.signKey, "sign-key", "", "sign the archive with the minisign key in `FILE`, into ARCHIVE.minisig")
	flags.StringVar(&o.passphrase, "passphrase-file", "", "the passphrase of the key is in `FILE`")
	flags.Var(o.format, "format", "report as `text` or json")
	return cmd
}

func runBuild(ctx context.Context, g *globals, out *printer, dir string, opts bundle.BuildOptions, o packageOptions) error {
	app, err := look(ctx, func() (*bundle.App, error) { return bundle.LoadUpTo(dir, o.maxFile()) })
	if err != nil {
		return err
	}
	if !opts.NoEnv {
		if err := packable(ctx, app, g.answers(), &o); err != nil {
			return err
		}
	}
	opts.Tool = "appbundle " + version
	opts.SBOM = makeBill
	opts.Run = func(ctx context.Context, argv []string, dir string) error {
		return runCommand(ctx, out, argv, dir)
	}
	if o.any() {
		err = runPackages(ctx, g, out, app, opts, o)
	} else {
		err = writeArchive(ctx, out, app, opts, o)
	}
	var findings *bundle.CheckError
	if errors.As(err, &findings) {
		return report(out, app, newCheckReport(findings.Findings, nil), o.format.value, false)
	}
	return err
}

func writeArchive(ctx context.Context, out *printer, app *bundle.App, opts bundle.BuildOptions, o packageOptions) error {
	key, err := secretKey(o.signKey, o.passphrase)
	if err != nil {
		return err
	}
	bar := out.progress("build")
	opts.Progress = bar.update
	res, err := bundle.Build(ctx, app, opts)
	bar.end()
	if err != nil {
		return err
	}
	if !filepath.IsAbs(opts.Output) {
		res.Path = relative(res.Path)
	}
	files := []builtFile{{Path: res.Path, Kind: "archive", Digest: res.Digest}}
	if key != nil {
		at, sum, err := key.Sign(ctx, res.Path, res.Digest)
		if err != nil {
			return err
		}
		files = append(files, builtFile{at, "signature", fmt.Sprintf("sha256:%x", sum)})
	}
	if err := tellBuilt(out, o.format.value, res.App, files); err != nil {
		return err
	}
	if n := len(res.Findings); n > 0 {
		out.remark("%s; see appbundle check", count(n, "warning"))
	}
	out.remark("%s %s for %s: %s, %s, %s in the archive", res.App.Name, res.App.Version, res.Target,
		count(res.Files, "file"), size(res.Bytes), size(res.Size))
	return nil
}

// A builtFile is a file that build wrote: an archive has the digest of what is in it,
// and everything else that of its bytes.
type builtFile struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
}

// fileOf describes a package, or what one is made of.
func fileOf(path string, sum [32]byte) builtFile {
	kind := strings.TrimPrefix(filepath.Ext(path), ".")
	switch {
	case strings.HasSuffix(path, ".src.rpm"):
		kind = "srpm"
	case kind == "gz":
		kind = "sources"
	}
	return builtFile{path, kind, fmt.Sprintf("sha256:%x", sum)}
}

// tellBuilt prints what was written.
func tellBuilt(out *printer, format string, app *bundle.App, files []builtFile) error {
	if format == "json" {
		return out.json(map[string]any{"format": 1, "name": app.Name, "version": app.Version, "target": app.Target(), "files": files})
	}
	for _, f := range files {
		out.print("%s  %s\n", f.Digest, f.Path)
	}
	return nil
}

// relative is path as seen from the working directory, as the user called it.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(here, path)
	if err != nil {
		return path
	}
	return rel
}
