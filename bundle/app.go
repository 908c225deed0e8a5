package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appbundle/internal/safearchive"
	"appbundle/schema"
	"appbundle/schema/pep508"
)

// The files of the standard.
const (
	dependenciesFile = "dependencies.txt"
	externalFile     = "external-dependencies.txt"
	appFile          = "app.ini"
)

// An App is everything that was learned from an application directory or an
// archive of one. It never changes and may be shared between goroutines.
type App struct {
	Dir         string // absolute; "" for an archive
	ArchivePath string // as it was called; "" for a directory
	Name        string // as app.ini says, else the manifest, else the directory's, normalised as PEP 503 does
	Version     string // as app.ini says, else the manifest, else "0.0.0"

	Config       *schema.Config   // with the defaults where there is no app.ini
	Dependencies []DependencyFile // dependencies.txt and what it includes, in the order of reading

	External []schema.External
	// Pins are the distributions that dependencies.txt and the files it
	// includes ask for, by normalised name, each with its version where the
	// line demands exactly one and "" otherwise.
	Pins       map[string]string
	Entrypoint Entrypoint
	Entries    []Entry  // in canonical order
	LeftOut    []string // what is in the directory and not in the application
	Envs       []Env    // environments to run in, best first; none in an archive
	// Environment is what .appbundle/env says of itself, nil where there is none.
	Environment *schema.Environment
	// Lock is pylock.toml, nil where there is none that can be read. Survey does
	// not read it.
	Lock *schema.PyLock
	// GoMod is go.mod, also one that is left out, nil where there is none that can
	// be read. Survey does not read it.
	GoMod *schema.GoMod

	file     *os.File                   // the archive, nil to open it
	problems map[string]schema.Problems // of the files of the standard
	includes []include
	settings []byte // app.ini
	// unrecorded are the files of the environment that are of no package.
	unrecorded []Finding
	byPath     map[string]int // index in Entries
	seed       maphash.Seed
	built      bool // what [build] outputs names must be there
}

// Load reads the application directory dir, every file once. The error says
// that it could not be read, or wraps [ErrChanged] when somebody wrote to it
// meanwhile; what is wrong with the application is for [Check] to say.
func Load(dir string) (*App, error) { return LoadUpTo(dir, math.MaxInt64) }

// A SizeError names a file that is larger than what it is for can hold.
type SizeError struct {
	Path string
	Size int64
	Most int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%v: has %d bytes, and may have %d", schema.Pos{File: e.Path}, e.Size, e.Most)
}

// LoadUpTo is [Load] for a purpose that has a limit for the size of a file: a larger
// one is a [*SizeError], before any is read.
func LoadUpTo(dir string, most int64) (*App, error) {
	a, err := list(dir, true)
	if err != nil {
		return nil, err
	}
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Size > most {
			return nil, &SizeError{e.Path, e.Size, most}
		}
	}
	kept, err := a.hashFiles(isStandardFile)
	if err != nil {
		return nil, err
	}
	if err := a.readGoMod(kept); err != nil {
		return nil, err
	}
	if err := a.understand(nil, kept, a.rereadFiles); err != nil {
		return nil, err
	}
	a.Envs = a.findEnvs()
	return a, nil
}

// list walks the directory, its environment as well when env is set, and reads
// nothing of its files.
func list(dir string, env bool) (*App, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	w, err := walk(abs, env)
	if err != nil {
		return nil, err
	}
	a := &App{Dir: abs, Entries: w.entries, LeftOut: w.left, seed: maphash.MakeSeed()}
	a.built = slices.Contains(w.left, manifestPath) // it was unpacked
	return a, nil
}

// Open reads the application in an archive, without unpacking it. The error
// is that of safearchive where the archive is refused.
func Open(archive string) (*App, error) { return OpenFile(archive, nil) }

// OpenFile is Open for an archive that is open already, as for [VerifyFile].
func OpenFile(archive string, f *os.File) (*App, error) {
	a := &App{ArchivePath: archive, file: f, seed: maphash.MakeSeed(), built: true}
	kept, err := a.scan(isStandardFile, true)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(a.Entries, func(x, y Entry) int { return cmp.Compare(x.Path, y.Path) })
	return a, a.understand(nil, kept, func(names []string) (map[string][]byte, error) {
		return a.scan(func(e *Entry) bool { return slices.Contains(names, e.Path) }, false)
	})
}

// isStandardFile tells which files are read for what they say.
func isStandardFile(e *Entry) bool {
	switch e.Path {
	case dependenciesFile, externalFile, appFile, goModFile:
		return e.Size <= schema.MaxFile
	case lockFile:
		return e.Size <= schema.MaxPyLock
	case envFile:
		return e.Size <= schema.MaxEnvironment
	}
	if isRecord(e.Path) {
		return e.Size <= maxRecord
	}
	return e.Size <= schema.MaxFile && slices.Contains(entrypoints, e.Path)
}

// scan reads the archive from front to back, and adds its entries when add is
// set. It returns the contents that keep asks for.
func (a *App) scan(keep func(*Entry) bool, add bool) (map[string][]byte, error) {
	f, done, err := opened(a.ArchivePath, a.file)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := safearchive.Open(context.Background(), a.ArchivePath, f, safearchive.OpenOptions{})
	if err != nil {
		return nil, explainForeign(err)
	}
	defer r.Close()
	kept := map[string][]byte{}
	files := newFileReader(a.seed)
	seen := map[string]int{}
	sbom := false // there is a bill of materials
	for first := true; ; first = false {
		se, err := r.Next()
		if errors.Is(err, io.EOF) {
			return kept, nil
		}
		if err != nil {
			return nil, err
		}
		if se.Path == manifestPath {
			if first && isManifest(se) {
				m, _, err := parseManifest(a.ArchivePath, r, se)
				if err != nil {
					return nil, err
				}
				if m.Delta != nil {
					return nil, newDeltaError(a.ArchivePath, m)
				}
				a.Name, a.Version, sbom = m.Name, m.Version, m.SBOM != ""
			}
			continue
		}
		if se.Path == sbomPath && sbom {
			continue // readers that verify have compared it
		}
		e := entryOf(se)
		if i, ok := seen[se.Hard]; ok && se.Hard != "" && add {
			from := a.Entries[i]
			from.Path, from.X = e.Path, e.X
			e = from
		} else if e.Type == File && se.Hard == "" {
			data, err := files.archived(r, &e, keep(&e))
			if err != nil {
				return nil, err
			}
			if data != nil {
				kept[e.Path] = data
			}
		}
		if add {
			seen[e.Path] = len(a.Entries)
			a.Entries = append(a.Entries, e)
		}
	}
}

// entryOf gives an archive's entry the mode that it gets when it is unpacked.
func entryOf(se safearchive.Entry) Entry {
	e := Entry{Path: se.Path, X: se.X, Size: se.Size, Link: se.Link}
	switch se.Type {
	case safearchive.Dir:
		e.Type, e.Mode = Dir, fs.ModeDir|0o755
	case safearchive.Link:
		e.Type, e.Mode = Link, fs.ModeSymlink|0o777
	default:
		e.Type, e.Mode = File, 0o644
		if e.X {
			e.Mode = 0o755
		}
	}
	return e
}

// rereadFiles reads files that the walk saw, once more.
func (a *App) rereadFiles(names []string) (map[string][]byte, error) {
	r := newFileReader(a.seed)
	kept := map[string][]byte{}
	for _, name := range names {
		e := *a.Entry(name)
		before := e.check
		data, err := r.read(a.Dir, &e, true)
		if err == nil && e.check != before {
			err = fmt.Errorf("%s: %w", name, ErrChanged)
		}
		if err != nil {
			return nil, err
		}
		kept[name] = data
	}
	return kept, nil
}

// Entry gives the entry of that path, nil where there is none.
func (a *App) Entry(p string) *Entry {
	if i, ok := a.byPath[p]; ok {
		return &a.Entries[i]
	}
	return nil
}

// index makes Entry find what is in Entries.
func (a *App) index() {
	a.byPath = make(map[string]int, len(a.Entries))
	for i := range a.Entries {
		a.byPath[a.Entries[i].Path] = i
	}
}

// understand decodes the files of the standard; cfg takes the place of app.ini
// unless it is nil.
func (a *App) understand(cfg *schema.Config, files map[string][]byte, read func([]string) (map[string][]byte, error)) error {
	a.index()
	a.problems = map[string]schema.Problems{}
	if err := a.followLinks(files, read); err != nil {
		return err
	}
	a.settings = files[appFile]
	if a.Config = cfg; cfg == nil {
		a.Config, a.problems[appFile] = schema.ParseAppINI(appFile, files[appFile])
		a.problems[appFile] = append(a.problems[appFile], a.unreadable(appFile)...)
	}
	// What the manifest of an archive says comes behind app.ini.
	a.Name = cmp.Or(a.Config.App.Name, a.Name)
	a.Version = cmp.Or(a.Config.App.Version, a.Version, "0.0.0")
	if a.Name == "" {
		a.Name = a.defaultName()
	}
	if a.Dir != "" {
		a.leaveOutArchives()
	}
	a.Entrypoint = a.findEntrypoint(files)
	a.readLock(files)
	a.understandGoMod(files)
	if data, ok := files[externalFile]; ok {
		a.External, a.problems[externalFile] = schema.ParseExternal(externalFile, data)
	}
	return a.readDependencies(files, read)
}

// defaultName makes a name of the directory's or the archive's.
func (a *App) defaultName() string {
	base := filepath.Base(a.Dir)
	if a.Dir == "" {
		base = filepath.Base(a.ArchivePath)
		base, _, _ = strings.Cut(base, ".tar")
	}
	var b strings.Builder
	for _, r := range strings.ToLower(base) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	name := strings.Trim(pep508.NormalizeName(b.String()), "-")
	return cmp.Or(name, "app")
}

// unreadable says why the content of a file of the standard cannot be known,
// though there is something of its name.
func (a *App) unreadable(name string) (ps schema.Problems) {
	at := schema.Pos{File: name}
	e := a.Entry(name)
	if e == nil {
		return nil
	}
	to := a.resolve(name)
	switch {
	case e.Type == Link && (to == nil || to.Type != File):
		ps.Add(at, "make it a plain file", "is a link that leads to no file of the application")
	case e.Type != Link && e.Type != File:
		ps.Add(at, "make it a plain file", "is a %s", kindOf(e))
	case to.Size > schema.MaxFile:
		ps.Add(at, "make it shorter", "has %d bytes, more than %d", to.Size, schema.MaxFile)
	}
	return ps
}

// kindOf names the kind of an entry in a sentence.
func kindOf(e *Entry) string {
	switch e.Type {
	case Dir:
		return "directory"
	case Special:
		return specialName(e.Mode)
	}
	return string(e.Type)
}

// resolve follows p through the links of the application as the kernel does.
// It gives nil for what is not there and for what leaves the directory.
func (a *App) resolve(p string) *Entry {
	w := linkWalker{app: a}
	at, missing, why := w.target("", p)
	if missing || why != "" {
		return nil
	}
	return a.Entry(at)
}
