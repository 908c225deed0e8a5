package bundle

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"appbundle/schema"
)

// A Difference is what changed between two applications. Every list is in the
// order of what it names, and empty where nothing changed.
type Difference struct {
	Old   Identity     `json:"old"`
	New   Identity     `json:"new"`
	Files []FileChange `json:"files"` // and directories, and links
	// Pins are the packages of pylock.toml and the modules of go.mod.
	Pins     []Change `json:"pins"`
	Settings []Change `json:"settings"` // the keys of app.ini
	External []Change `json:"external"`
	Unread   []Unread `json:"unread"`
}

// An Identity says which application it is.
type Identity struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Target  string `json:"target"`
	Digest  string `json:"digest"`
}

// A FileChange is an entry that is new (Old is nil), gone (New is nil) or other.
type FileChange struct {
	Path string     `json:"path"`
	Old  *FileState `json:"old,omitempty"`
	New  *FileState `json:"new,omitempty"`
}

// A FileState is what the digest of an application says of one entry.
type FileState struct {
	Type   Type   `json:"type"`
	X      bool   `json:"x,omitempty"`      // of a file: its owner may execute it
	Size   int64  `json:"size,omitempty"`   // of a file
	SHA256 string `json:"sha256,omitempty"` // of a file
	Link   string `json:"link,omitempty"`   // of a link: where it points
}

// A Change is what one name stood for, and what it stands for: versions of a
// package, the value of a setting, lines of external-dependencies.txt. Old is empty
// where it is new, and New where it is gone.
type Change struct {
	In   string   `json:"in"` // the file, or the section of app.ini
	Name string   `json:"name"`
	Old  []string `json:"old"`
	New  []string `json:"new"`
}

// An Unread is a file that cannot be read in one of the two, so that only its bytes
// are compared.
type Unread struct {
	In      string `json:"in"` // "old" or "new"
	File    string `json:"file"`
	Message string `json:"message"`
}

// Equal reports whether the two have one digest.
func (d *Difference) Equal() bool { return d.Old.Digest == d.New.Digest }

// Diff compares two applications, each of a directory or of an archive.
func Diff(old, fresh *App) *Difference {
	d := &Difference{Old: old.identity(), New: fresh.identity(), Unread: []Unread{}}
	d.Files = diffEntries(old.manifestEntries(), fresh.manifestEntries())
	read := func(facts func(*App) facts, files ...string) []Change {
		all := []Change{}
		for _, f := range files {
			a, b := old.unread("old", f), fresh.unread("new", f)
			if d.Unread = append(append(d.Unread, a...), b...); len(a)+len(b) == 0 {
				all = append(all, diffFacts(facts(old), facts(fresh), f)...)
			}
		}
		return all
	}
	d.Pins = read((*App).pins, goModFile, lockFile)
	d.Settings = read((*App).settingFacts, appFile)
	d.External = read((*App).externalFacts, externalFile)
	return d
}

func (a *App) identity() Identity { return Identity{a.Name, a.Version, a.Target(), a.Digest()} }

func diffEntries(old, fresh []schema.ManifestEntry) []FileChange {
	changes := map[string]FileChange{}
	for i := range old {
		changes[old[i].Path] = FileChange{Path: old[i].Path, Old: stateOf(&old[i])}
	}
	for i := range fresh {
		e := &fresh[i]
		c := changes[e.Path]
		if c.Path, c.New = e.Path, stateOf(e); c.Old != nil && *c.Old == *c.New {
			delete(changes, e.Path)
			continue
		}
		changes[e.Path] = c
	}
	all := []FileChange{}
	for _, p := range slices.Sorted(maps.Keys(changes)) {
		all = append(all, changes[p])
	}
	return all
}

func stateOf(e *schema.ManifestEntry) *FileState {
	return &FileState{Type(e.Type), e.X, e.Size, e.SHA256, e.Link}
}

// A fact is one name in one file.
type fact struct{ file, in, name string }

type facts map[fact][]string

// diffFacts compares what two applications say in a file.
func diffFacts(old, fresh facts, file string) []Change {
	var names []fact
	for f, was := range old {
		if f.file == file && !slices.Equal(was, fresh[f]) {
			names = append(names, f)
		}
	}
	for f := range fresh {
		if _, ok := old[f]; f.file == file && !ok {
			names = append(names, f)
		}
	}
	slices.SortFunc(names, func(a, b fact) int { return cmp.Or(cmp.Compare(a.in, b.in), cmp.Compare(a.name, b.name)) })
	var all []Change
	for _, f := range names {
		all = append(all, Change{f.in, f.name, append([]string{}, old[f]...), append([]string{}, fresh[f]...)})
	}
	return all
}

// add keeps the values of a name apart and in order.
func (fs facts) add(file, in, name, value string) {
	f := fact{file, in, name}
	if i, ok := slices.BinarySearch(fs[f], value); !ok {
		fs[f] = slices.Insert(fs[f], i, value)
	}
}

// pins are what the locks say that are a part of the application: a go.mod that is
// left out is in no archive.
func (a *App) pins() facts {
	all := facts{}
	if a.Lock != nil {
		for i := range a.Lock.Packages {
			p := &a.Lock.Packages[i]
			all.add(lockFile, lockFile, p.Name, lockedAs(p))
		}
	}
	if a.GoMod == nil || a.Entry(goModFile) == nil {
		return all
	}
	for _, r := range a.GoMod.Requires {
		all.add(goModFile, goModFile, r.Name, "v"+r.Version.String())
	}
	for _, r := range a.GoMod.Replaces {
		all.add(goModFile, goModFile, r.Name, "=> "+r.Dir)
	}
	return all
}

// lockedAs says which one of a package it is: its version, with the commit of a
// repository; a source tree may have none.
func lockedAs(p *schema.LockedPackage) string {
	version := p.Version
	switch {
	case p.VCS != nil:
		version = strings.TrimSpace(version + " " + p.VCS.CommitID)
	case p.Directory != nil:
		version = cmp.Or(version, p.Directory.Path)
	case p.Archive != nil:
		version = cmp.Or(version, p.Archive.Name)
	}
	return version
}

func (a *App) settingFacts() facts {
	all := facts{}
	ini, _ := schema.ParseINI(appFile, a.settings, schema.Dialect{}) // unread knows the problems
	for i := range ini.Sections {
		s := &ini.Sections[i]
		for _, k := range s.Keys {
			all.add(appFile, s.Name, k.Name, k.Value)
		}
	}
	return all
}

func (a *App) externalFacts() facts {
	all := facts{}
	for i := range a.External {
		all.add(externalFile, externalFile, a.External[i].Name, a.External[i].String())
	}
	return all
}

// unread says why a file of the application cannot be compared by what it says.
func (a *App) unread(in, file string) (all []Unread) {
	if a.Entry(file) == nil {
		return nil
	}
	problems := a.problems[file]
	switch file {
	case appFile: // a key that nobody knows can be compared
		_, problems = schema.ParseINI(file, a.settings, schema.Dialect{})
		problems = append(problems, a.unreadable(file)...)
	case goModFile, externalFile:
		problems = append(slices.Clip(problems), a.unreadable(file)...)
	}
	for _, p := range problems {
		all = append(all, Unread{in, file, p.Error()})
	}
	return all
}
