package schema

import (
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/mod/modfile"
)

// A GoMod is what a go.mod says of other modules.
type GoMod struct {
	Requires []GoRequire
	Replaces []GoReplace // those by directories, in the order of the file
}

// A GoRequire is a module that go.mod requires.
type GoRequire struct {
	Pos
	Name     string
	Version  *semver.Version // without the v
	Indirect bool            // nothing of the main module imports it
}

// A GoReplace has the source of a module taken from a directory.
type GoReplace struct {
	Pos
	Name string
	Dir  string // relative to that of go.mod, or absolute
}

// ParseGoMod reads a go.mod, also one of a later release of Go: directives that
// nobody knows say nothing of versions.
func ParseGoMod(file string, data []byte) (*GoMod, Problems) {
	var problems Problems
	if len(data) > MaxFile {
		problems.Add(Pos{File: file}, "", "the file has %d bytes, more than %d", len(data), MaxFile)
		return nil, problems
	}
	f, err := modfile.ParseLax(file, data, nil)
	if err != nil {
		goModProblems(file, err, &problems)
		return nil, problems
	}
	g := &GoMod{}
	for _, r := range f.Require {
		at := Pos{File: file, Line: r.Syntax.Start.Line}
		v, err := semver.StrictNewVersion(strings.TrimPrefix(r.Mod.Version, "v"))
		if err != nil {
			problems.Add(at, "run go mod tidy", "%s is no version", quote(r.Mod.Version))
			continue
		}
		g.Requires = append(g.Requires, GoRequire{at, r.Mod.Path, v, r.Indirect})
	}
	for _, s := range f.Syntax.Stmt {
		switch s := s.(type) {
		case *modfile.Line:
			if s.Token[0] == "replace" {
				g.replace(file, s, s.Token[1:])
			}
		case *modfile.LineBlock:
			if s.Token[0] == "replace" {
				for _, l := range s.Line {
					g.replace(file, l, l.Token)
				}
			}
		}
	}
	return g, problems
}

// replace notes a replacement by a directory. The lax parser leaves them out, and a
// strict one refuses what a later release of Go writes.
func (g *GoMod) replace(file string, l *modfile.Line, words []string) {
	for i, w := range words {
		if w != "=>" || i == 0 || i+1 >= len(words) {
			continue
		}
		if dir := unquoted(words[i+1]); modfile.IsDirectoryPath(dir) {
			g.Replaces = append(g.Replaces, GoReplace{Pos{File: file, Line: l.Start.Line}, unquoted(words[0]), dir})
		}
		return
	}
}

func unquoted(word string) string {
	if s, err := strconv.Unquote(word); err == nil {
		return s
	}
	return word
}

// IsInside reports whether the directory is below that of go.mod.
func (r *GoReplace) IsInside() bool {
	dir := path.Clean(r.Dir)
	return !path.IsAbs(dir) && dir != ".." && !strings.HasPrefix(dir, "../") && !strings.ContainsAny(dir, `\:`)
}

// Replace gives the replacement of a module by a directory, nil where there is none.
func (g *GoMod) Replace(name string) *GoReplace {
	for i := range g.Replaces {
		if g.Replaces[i].Name == name {
			return &g.Replaces[i]
		}
	}
	return nil
}

func goModProblems(file string, err error, problems *Problems) {
	const fix = "write what go mod edit accepts"
	var list modfile.ErrorList
	if !errors.As(err, &list) {
		problems.Add(Pos{File: file}, fix, "%v", err)
		return
	}
	for i := range list {
		problems.Add(Pos{File: file, Line: list[i].Pos.Line}, fix, "%v", list[i].Err)
	}
}
