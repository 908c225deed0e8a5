package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
)

// BuildOptions are the settings of [Build].
type BuildOptions struct {
	// Output is the file to write, or the directory that the archive goes into
	// under its own name: when it exists as one, or ends in a slash. "" means
	// the working directory.
	Output string
	// Type is the format. "" means that of the suffix of Output, else TarZst; it is
	// an error when the two say different things.
	Type ArchiveType
	Tool string // name and version of the tool, for the manifest
	// Run runs the command of [build] in dir and waits for it. It is asked only
	// when app.ini has one; the package itself starts no process.
	Run func(ctx context.Context, argv []string, dir string) error
	// NoEnv leaves the environment out: it is made again where the archive is
	// unpacked.
	NoEnv bool
	// Progress is that of ArchiveOptions.
	Progress func(done, total int64)
	// SBOM makes the bill of materials of what is archived; nil leaves it out.
	SBOM func(*App) ([]byte, error)

	fs atomicfile.FS // for tests
}

// A Result is what [Build] wrote.
type Result struct {
	Path     string // of the archive
	Digest   string
	Target   string // "any", "linux_x86_64" or "cp311-linux_x86_64"
	Size     int64  // of the archive
	Files    int
	Bytes    int64     // of all files
	Findings []Finding // warnings
	App      *App      // what was archived
}

// A CheckError says that an application is not built or run because of what is
// wrong with it.
type CheckError struct {
	Findings []Finding // all of them, warnings too
}

// Error counts the findings; whoever prints it prints them too.
func (e *CheckError) Error() string {
	n := 0
	for _, f := range e.Findings {
		if f.Level == Error {
			n++
		}
	}
	if n == 1 {
		return "1 finding is an error"
	}
	return fmt.Sprintf("%d findings are errors", n)
}

// A UsageError says that the caller asked for what there is not.
type UsageError struct {
	Msg string
}

// Error gives the sentence.
func (e *UsageError) Error() string { return e.Msg }

// A CommandError says that the command of [build] failed.
type CommandError struct {
	Argv []string
	Err  error
}

// Error names the command and its end.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: [build] command %q: %v", appFile, strings.Join(e.Argv, " "), e.Err)
}

// Unwrap gives the reason.
func (e *CommandError) Unwrap() error { return e.Err }

// Build writes the archive of an application that [Load] read: it runs the
// command of [build], reads the directory again, demands the outputs and that
// [Check] has no errors (else a [*CheckError]), and puts the archive at its
// place in one step. Whatever fails, the place is what it was, and nothing
// half is left. An archive at the place is replaced.
func Build(ctx context.Context, app *App, opts BuildOptions) (*Result, error) {
	if app.Dir == "" {
		return nil, &UsageError{app.ArchivePath + ": is an archive already"}
	}
	out, err := parseOutput(opts.Output, opts.Type)
	if err != nil {
		return nil, err
	}
	built, findings, err := prepare(ctx, app, out, opts)
	if err != nil {
		return nil, err
	}
	made, err := out.makeDir()
	if err != nil {
		return nil, err
	}
	res, err := built.write(ctx, out.place(built), out.kind, opts)
	if err != nil {
		if made {
			err = withCleanup(err, os.Remove(out.dir))
		}
		return nil, err
	}
	res.Findings = findings
	return res, nil
}

// Prepare does all of [Build] but write: it runs the command of [build], reads the
// directory again and demands what Build demands. It gives the application as it
// is to be packed, without what is at the place of the output, and the warnings.
func Prepare(ctx context.Context, app *App, opts BuildOptions) (*App, []Finding, error) {
	if app.Dir == "" {
		return nil, nil, &UsageError{app.ArchivePath + ": is an archive already"}
	}
	out, err := parseOutput(opts.Output, opts.Type)
	if err != nil {
		return nil, nil, err
	}
	return prepare(ctx, app, out, opts)
}

// prepare gives the App to archive.
func prepare(ctx context.Context, app *App, out *output, opts BuildOptions) (*App, []Finding, error) {
	if argv := app.Config.Build.Command; len(argv) > 0 {
		// What app.ini says is not acted on before it was found good.
		if all := Check(app.without(out, opts.NoEnv)); HasErrors(all) {
			return nil, nil, &CheckError{all}
		}
		if opts.Run == nil {
			return nil, nil, &UsageError{appFile + ": [build] command: there is nothing to run it"}
		}
		if err := opts.Run(ctx, slices.Clone(argv), app.Dir); err != nil {
			return nil, nil, &CommandError{argv, err}
		}
		var err error
		if app, err = Load(app.Dir); err != nil {
			return nil, nil, err
		}
	}
	app = app.without(out, opts.NoEnv)
	app.built = true
	all := Check(app)
	if HasErrors(all) {
		return nil, nil, &CheckError{all}
	}
	return app, all, nil
}

// without gives a copy of a in which a file at the place of the output is left
// out, and its environment where noEnv is set.
func (a *App) without(out *output, noEnv bool) *App {
	b := *a
	b.LeftOut = slices.Clone(a.LeftOut)
	if noEnv {
		b.Environment = nil
		b.leaveOut(func(e *Entry) bool { return e.Path == envDir || inEnv(e.Path) })
	}
	rel, err := filepath.Rel(a.Dir, out.place(&b))
	if err == nil {
		b.leaveOut(func(e *Entry) bool { return e.Path == filepath.ToSlash(rel) })
	}
	return &b
}

// write archives a at path.
func (a *App) write(ctx context.Context, path string, t ArchiveType, opts BuildOptions) (*Result, error) {
	if err := a.fits(path, opts.SBOM != nil); err != nil {
		return nil, err
	}
	sbom, err := a.bill(opts)
	if err != nil {
		return nil, err
	}
	own, digest, err := a.encodeManifest(ArchiveOptions{Type: t, Tool: opts.Tool, SBOM: sbom})
	if err != nil {
		return nil, err
	}
	f, err := opts.fs.Create(path, 0o644)
	if err != nil {
		return nil, err
	}
	w := &countingWriter{f: f}
	if err := a.archive(ctx, t, w, own, opts.Progress); err != nil {
		return nil, withCleanup(err, f.Abort())
	}
	if err := f.Commit(); err != nil {
		return nil, err
	}
	res := &Result{Path: path, Digest: digest, Target: a.Target(), Size: w.n, Bytes: a.size(), App: a}
	for i := range a.Entries {
		if a.Entries[i].Type == File {
			res.Files++
		}
	}
	return res, nil
}

// fits refuses to write what nobody could unpack.
func (a *App) fits(path string, sbom bool) error {
	own := 2 // the manifest and its directory
	if sbom {
		own++
	}
	switch n, size := len(a.Entries)+own, a.size(); {
	case n > safearchive.DefaultEntries:
		return &RefusedError{Archive: path, Reason: fmt.Sprintf("would have %d entries, more than %d", n, safearchive.DefaultEntries)}
	case size > safearchive.DefaultTotal-schema.MaxManifest:
		return &RefusedError{Archive: path, Reason: fmt.Sprintf("would hold %d bytes, more than %d", size, int64(safearchive.DefaultTotal-schema.MaxManifest))}
	}
	return nil
}

// encodeManifest keeps the manifest in memory no longer than it takes.
func (a *App) encodeManifest(opts ArchiveOptions) (own *ownFiles, digest string, err error) {
	m := a.Manifest(opts.Tool)
	m.Compressor = opts.Type.compressor()
	own = &ownFiles{sbom: opts.SBOM}
	if own.sbom != nil {
		m.SBOM = fmt.Sprintf("%x", sha256.Sum256(own.sbom))
	}
	own.manifest, err = m.Encode()
	return own, m.Digest, err
}

// bill has the bill of materials made.
func (a *App) bill(opts BuildOptions) ([]byte, error) {
	if opts.SBOM == nil {
		return nil, nil
	}
	data, err := opts.SBOM(a)
	if err == nil && len(data) > schema.MaxSBOM {
		err = fmt.Errorf("%s: would have %d bytes, more than %d", sbomPath, len(data), schema.MaxSBOM)
	}
	return data, err
}

// A countingWriter knows how many bytes were written.
type countingWriter struct {
	f *atomicfile.File
	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.n += int64(n)
	return n, err
}

// An output is where the archive goes.
type output struct {
	dir  string // absolute
	name string // "" for the archive's own
	kind ArchiveType
	make bool // the directory, where it does not exist
}

// parseOutput decides what -o means, and with it the type of the archive.
func parseOutput(o string, t ArchiveType) (*output, error) {
	if t != "" && !slices.Contains(ArchiveTypes(), t) {
		return nil, &UsageError{fmt.Sprintf("there are no archives of the type %q", string(t))}
	}
	asDir := o == "" || strings.HasSuffix(o, "/") || strings.HasSuffix(o, string(filepath.Separator))
	abs, err := filepath.Abs(o)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	switch {
	case err == nil && info.IsDir():
		return &output{dir: abs, kind: cmp.Or(t, TarZst)}, nil
	case err == nil && asDir:
		return nil, &UsageError{fmt.Sprintf("%s: is no directory", o)}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case asDir:
		return &output{dir: abs, kind: cmp.Or(t, TarZst), make: true}, nil
	}
	suffix, ok := archiveType(filepath.Base(abs))
	switch {
	case !ok && t == "":
		return nil, &UsageError{fmt.Sprintf("%s: an archive is called NAME.tar.zst, NAME.tar.gz, NAME.zip or NAME.tar (a directory ends in a slash)", o)}
	case !ok || t != "" && suffix != t:
		return nil, &UsageError{fmt.Sprintf("%s: an archive of the type %s is called NAME.%s", o, t, t)}
	}
	return &output{dir: filepath.Dir(abs), name: filepath.Base(abs), kind: suffix}, nil
}

func (o *output) place(a *App) string {
	if o.name != "" {
		return filepath.Join(o.dir, o.name)
	}
	return filepath.Join(o.dir, a.ArchiveName(o.kind))
}

// makeDir makes the directory that was asked for with a slash.
func (o *output) makeDir() (made bool, err error) {
	if !o.make {
		return false, nil
	}
	err = os.Mkdir(o.dir, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
