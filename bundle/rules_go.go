package bundle

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/Masterminds/semver/v3"

	"appbundle/schema"
)

// goModFile says of which modules, at which versions, Go code is built: it is the
// lock of such an application.
const goModFile = "go.mod"

// readGoMod reads a go.mod that is left out of the application: what is built from
// the source tree is built by it.
func (a *App) readGoMod(files map[string][]byte) error {
	if !slices.Contains(a.LeftOut, goModFile) {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(a.Dir, goModFile), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, schema.MaxFile+1))
	files[goModFile] = data
	return err
}

// understandGoMod decodes go.mod, where it was read.
func (a *App) understandGoMod(files map[string][]byte) {
	if data, ok := files[goModFile]; ok {
		a.GoMod, a.problems[goModFile] = schema.ParseGoMod(goModFile, data)
	}
}

// checkGoMod compares the lines of Go modules with go.mod.
func checkGoMod(a *App) []Finding {
	all := findings(a.problems[goModFile])
	if a.GoMod == nil {
		return all
	}
	required := map[string]*schema.GoRequire{}
	for i := range a.GoMod.Requires {
		required[a.GoMod.Requires[i].Name] = &a.GoMod.Requires[i]
	}
	stated := map[string]bool{}
	for i := range a.Dependencies {
		if a.Dependencies[i].Constraint {
			continue
		}
		for _, m := range a.Dependencies[i].Modules {
			if m.Ecosystem != "go" {
				continue
			}
			stated[m.Name] = true
			r := required[m.Name]
			if r == nil {
				all = append(all, findAt(m.Pos, "remove the line, or go get "+m.Name, "%s is not required by go.mod", m.Name))
				continue
			}
			if !allows(&m, r.Version) {
				all = append(all, findAt(m.RangePos, "correct the range, or go get another version", "go.mod requires %s %s, which is not in %s", m.Name, r.Version, m.Range))
			}
		}
	}
	for _, r := range a.GoMod.Requires {
		if r.Indirect || stated[r.Name] || a.GoMod.Replace(r.Name) != nil {
			continue
		}
		all = append(all, findAt(r.Pos, "write go:"+r.Name+" ^"+r.Version.String()+" in "+dependenciesFile, "requires %s, which is not in %s", r.Name, dependenciesFile))
	}
	return all
}

// allows reports whether a version is in the range of a line, or would be without
// its pre-release part: a commit without a version has one.
func allows(m *schema.Module, v *semver.Version) bool {
	allowed, err := m.Constraints()
	return err == nil && (allowed.Check(v) || allowed.Check(semver.New(v.Major(), v.Minor(), v.Patch(), "", "")))
}

// checkGoReplace looks whether what is packed can be built where it is unpacked.
func checkGoReplace(a *App) []Finding {
	if a.GoMod == nil || a.Entry(goModFile) == nil || a.Entry("vendor/modules.txt") != nil {
		return nil
	}
	var all []Finding
	for i := range a.GoMod.Replaces {
		if r := &a.GoMod.Replaces[i]; !r.IsInside() {
			all = append(all, findAt(r.Pos, "leave go.mod and the sources out in "+ignoreFile+", or run go mod vendor", "replaces %s by %s, which is outside the directory", r.Name, r.Dir))
		}
	}
	return all
}
