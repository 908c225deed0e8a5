package install

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"appbundle/schema/pep508"
)

// A Dist is one distribution of an environment with the files that it brought.
type Dist struct {
	Name    string // normalised
	Version string
	Info    string   // its dist-info directory, from the environment: "lib/python3.11/site-packages/flask-3.1.3.dist-info"
	Files   []string // from the environment, with slashes, sorted: byte code as well
}

// Dists lists the distributions of the environment of the application in dir, by
// name. Of two that have the same file, the first has it, as when it was
// installed. Files that are not there, such as byte code of another Python, are
// left out.
func Dists(dir string) ([]Dist, error) {
	env := filepath.Join(dir, EnvDir)
	stamp, err := readStamp(env)
	if err != nil {
		return nil, err
	}
	site := "lib/python" + strings.TrimSuffix(stamp.PythonVersion(), "t") + "/site-packages"
	infos, err := filepath.Glob(filepath.Join(globQuote(env), site, "*.dist-info"))
	if err != nil {
		return nil, err
	}
	byName := map[string]string{}
	for _, info := range infos {
		name, _, _ := strings.Cut(filepath.Base(info), "-")
		byName[pep508.NormalizeName(name)] = path.Join(site, filepath.Base(info))
	}
	taken := map[string]bool{}
	var list []Dist
	for _, p := range stamp.Packages { // by name
		d := Dist{Name: p.Name, Version: p.Version, Info: byName[p.Name]}
		if d.Info == "" {
			return nil, fmt.Errorf("%s: %s %s is in %s and not there", env, p.Name, p.Version, stampName)
		}
		if err := d.read(env, taken); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Dist) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// read takes the files of RECORD that are not taken yet.
func (d *Dist) read(env string, taken map[string]bool) error {
	err := eachRecorded(filepath.Join(env, filepath.FromSlash(d.Info)), func(file, _ string) error {
		p := path.Join(path.Dir(d.Info), file)
		if !filepath.IsLocal(p) {
			return fmt.Errorf("%s: RECORD has %q, which is outside of the environment", d.Info, file)
		}
		if taken[p] {
			return nil
		}
		_, err := os.Lstat(filepath.Join(env, filepath.FromSlash(p)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			taken[p] = true
			d.Files = append(d.Files, p)
		}
		return err
	})
	slices.Sort(d.Files)
	return err
}
