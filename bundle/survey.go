package bundle

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"appbundle/schema"
)

// Survey reads of the application directory dir what is needed to run it: its
// files of the standard, its entrypoint, its environments and the names of
// the others. Unlike [Load] it does not read what the others contain: the App
// is good for [Watchers], and has no digest. cfg takes the place of app.ini
// unless it is nil.
//
// The error says that the directory could not be read, or is the
// [schema.Problems] of app.ini, of a dependencies.txt that cannot be read, or
// of an entrypoint that leads out of the directory.
func Survey(dir string, cfg *schema.Config) (*App, error) { return survey(dir, cfg, nil) }

// SurveyChanged is [Survey] of the directory as it would be if the files of
// changed, by their paths, had that content. A file that is not there is one of
// the application then.
func SurveyChanged(dir string, changed map[string][]byte) (*App, error) {
	return survey(dir, nil, changed)
}

func survey(dir string, cfg *schema.Config, changed map[string][]byte) (*App, error) {
	a, err := list(dir, false)
	if err != nil {
		return nil, err
	}
	a.index()
	for p, data := range changed {
		if e := a.Entry(p); e != nil {
			e.Size = int64(len(data))
			continue
		}
		a.Entries = append(a.Entries, Entry{Path: p, Type: File, Size: int64(len(data))})
	}
	slices.SortFunc(a.Entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	a.index()
	r := newFileReader(a.seed)
	read := func(names []string) (map[string][]byte, error) {
		kept := map[string][]byte{}
		for _, name := range names {
			e := a.resolve(name)
			if e == nil || e.Type != File || e.Size > schema.MaxFile {
				continue
			}
			if data, ok := changed[e.Path]; ok {
				kept[name] = data
				continue
			}
			data, err := r.read(a.Dir, e, true)
			if err != nil {
				return nil, err
			}
			kept[name] = data
		}
		return kept, nil
	}
	kept, err := read(append([]string{dependenciesFile, externalFile, appFile}, entrypoints[:]...))
	if err != nil {
		return nil, err
	}
	if err := a.understand(cfg, kept, read); err != nil {
		return nil, err
	}
	if err := a.surveyEnvironment(); err != nil {
		return nil, err
	}
	a.Envs = a.findEnvs()
	return a, a.surveyProblems().Err()
}

// surveyProblems are what makes it pointless to run the application.
func (a *App) surveyProblems() schema.Problems {
	ps := a.problems[appFile]
	if a.hasAppCommand() {
		return ps
	}
	ps = append(ps, a.unreadable(dependenciesFile)...)
	if p := a.Entrypoint.Path; p != "" {
		if e := a.resolve(p); e == nil || e.Type != File {
			ps.Add(schema.Pos{File: p}, "make it a file", "is no file of the application")
		}
	}
	return ps
}

// surveyEnvironment reads what the environment says of itself, whose files are
// not listed.
func (a *App) surveyEnvironment() error {
	f, err := os.Open(filepath.Join(a.Dir, filepath.FromSlash(envFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // opened for reading: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, schema.MaxEnvironment+1))
	if err != nil {
		return err
	}
	// One that nobody understands is none of ours, and install replaces it.
	a.Environment, a.problems[envFile] = schema.ParseEnvironment(envFile, data)
	return nil
}
