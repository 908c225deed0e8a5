package bundle

import (
	"io/fs"
	"os"
	"path/filepath"

	"appbundle/schema"
)

// An Edit is a dependency file of an application directory that is being
// changed.
type Edit struct {
	*schema.EditDemands
	Name string      // dependencies.txt or external-dependencies.txt
	Path string      // of the file that has the content, which is where Name leads to
	Old  []byte      // the content on the disk, nil for a file that is not there
	Perm fs.FileMode // for the file; that of now, where there is one

	included []schema.Demand
}

// EditDependencies begins to edit dependencies.txt of the directory dir, or its
// external-dependencies.txt. A file that is not there is empty. The error is the
// [schema.Problems] of a file that cannot be read, or of an app.ini that cannot.
func EditDependencies(dir string, external bool) (*Edit, error) {
	a, err := Survey(dir, nil)
	if err != nil {
		return nil, err
	}
	e := &Edit{Name: dependenciesFile, Path: dependenciesFile, Perm: 0o644}
	begin := schema.EditRequirements
	if external {
		e.Name, e.Path, begin = externalFile, externalFile, schema.EditExternal
	}
	if a.Entry(e.Name) != nil {
		if err := a.unreadable(e.Name).Err(); err != nil {
			return nil, err
		}
		e.Path = a.resolve(e.Name).Path
		at := filepath.Join(a.Dir, filepath.FromSlash(e.Path))
		if e.Old, err = os.ReadFile(at); err != nil {
			return nil, err
		}
		info, err := os.Stat(at)
		if err != nil {
			return nil, err
		}
		e.Perm = info.Mode().Perm()
	}
	var problems schema.Problems
	if e.EditDemands, problems = begin(e.Name, e.Old); len(problems) > 0 {
		return nil, problems
	}
	if external {
		return e, nil
	}
	return e, e.readIncluded(a)
}

// readIncluded finds what other files ask for already.
func (e *Edit) readIncluded(a *App) error {
	for _, d := range a.Dependencies {
		if d.File == dependenciesFile || d.Constraint {
			continue
		}
		data, err := os.ReadFile(filepath.Join(a.Dir, filepath.FromSlash(d.File)))
		if err != nil {
			return err
		}
		file, problems := schema.EditRequirements(d.File, data)
		if len(problems) > 0 {
			return problems
		}
		e.included = append(e.included, file.Demands()...)
	}
	return nil
}

// Included gives the line of an included file for the thing of that key.
func (e *Edit) Included(key string) (schema.Demand, bool) {
	for _, d := range e.included {
		if d.Key == key {
			return d, true
		}
	}
	return schema.Demand{}, false
}
