// Package layout guards the project's package table: which packages there
// are, the one idea of each, and which of our own packages it may import. The
// table in docs/ARCHITECTURE.md is printed from it.
//
// [Check] reads every Go file of a source tree, whatever its build tags and
// operating system, and reports
//
//   - a package that the table does not have, and a row without a package;
//   - an import of ours that the row does not allow, with the reason;
//   - an import of a module that nobody decided on, or by a package that is
//     not among the module's users;
//   - a package without a comment;
//   - os/exec outside cmd and outside tests and the packages for them, whose names end
//     with test;
//   - time.Sleep in a test, except in the bubble of testing/synctest, where it
//     takes no time.
//
// Test files may import what their package may, and in addition packages that
// are for tests. Directories named testdata and vendor, those whose name
// starts with a dot or an underscore, and those with a go.mod of their own are
// not part of the tree.
//
// The package knows nothing of what the others do; it is used by its own test
// and by nothing else.
package layout

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// project is the path of the project's own module. What it prefixes is ours; an
// example with a go.mod is a module below it, with a table of its own, to which
// the project's packages are those of somebody else.
const project = "appbundle"

// A Package is a row of the table.
type Package struct {
	Path string   // relative to the module's root
	Idea string   // its one idea
	May  []string // what it may import of ours; "x/..." is x and all below
	Why  string   // why nothing else: the second half of the message
}

// A Module is a module of somebody else and the packages that may import it
// outside of tests.
type Module struct {
	Path   string
	Users  []string
	Record string // of docs/decisions
}

// A Finding is one thing that breaks the table.
type Finding struct {
	File    string // or directory
	Line    int    // 0 for the whole of it
	Message string
}

// String gives FILE:LINE: message.
func (f Finding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Message
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
}

// Check compares the tree of a module with its table, and reports in the order
// of files and lines. The error says that a file could not be read or parsed.
func Check(tree fs.FS, module string, table []Package, modules []Module) ([]Finding, error) {
	c := checker{
		module:  module,
		fset:    token.NewFileSet(),
		rows:    map[string]Package{},
		modules: modules,
	}
	for _, p := range table {
		c.rows[p.Path] = p
	}
	dirs, err := goFiles(tree)
	if err != nil {
		return nil, err
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := c.dir(tree, dir, dirs[dir]); err != nil {
			return nil, err
		}
	}
	for _, p := range table {
		if dirs[p.Path] == nil {
			c.add(p.Path, 0, "is in the table of internal/layout and not in the tree; the table says what there is, not what there will be")
		}
	}
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return c.found, nil
}

// goFiles lists the Go files of every directory that is part of the tree.
func goFiles(tree fs.FS) (map[string][]string, error) {
	dirs := map[string][]string{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && foreign(tree, name) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			dirs[path.Dir(name)] = append(dirs[path.Dir(name)], name)
		}
		return nil
	})
	return dirs, err
}

// foreign reports whether the go command would not look into dir either.
func foreign(tree fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	return err == nil
}

// A checker collects the findings of one tree.
type checker struct {
	module  string
	fset    *token.FileSet
	rows    map[string]Package
	modules []Module
	found   []Finding
}

func (c *checker) add(file string, line int, format string, args ...any) {
	c.found = append(c.found, Finding{File: file, Line: line, Message: fmt.Sprintf(format, args...)})
}

// dir checks one package.
func (c *checker) dir(tree fs.FS, dir string, files []string) error {
	row, known := c.rows[dir]
	if !known {
		c.add(dir, 0, "is not in the table of internal/layout; a new package needs a row there and a record in docs/decisions")
	}
	commented := false
	for _, name := range files {
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(c.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		test := strings.HasSuffix(name, "_test.go")
		if known {
			c.imports(row, f, name, test)
		}
		if test {
			c.sleeps(f, name)
		} else if f.Doc != nil {
			commented = true
		}
	}
	if !commented {
		c.add(dir, 0, "has no package comment; it is the specification: purpose, promise, limits")
	}
	return nil
}

// imports checks what one file of the package asks for.
func (c *checker) imports(row Package, f *ast.File, name string, test bool) {
	for _, spec := range f.Imports {
		line := c.fset.Position(spec.Pos()).Line
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has seen to it
		}
		first, _, _ := strings.Cut(imported, "/")
		target, own := strings.CutPrefix(imported, c.module+"/")
		switch {
		case own:
			if target != row.Path && !matches(target, row.May) && !matches(target, everywhere) {
				c.add(name, line, "%s must not import %s: %s", row.Path, target, row.Why)
			}
		case imported == "os/exec":
			if !test && !strings.HasPrefix(row.Path, "cmd/") && !strings.HasSuffix(row.Path, "test") {
				c.add(name, line, "%s must not import os/exec: its Wait hangs on pipes that grandchildren hold; only cmd runs commands, and runner/internal/proc has its own system calls", row.Path)
			}
		case strings.Contains(first, "."), first == project:
			c.foreignImport(row, imported, name, line, test)
		}
	}
}

// foreignImport checks an import of a module that is not ours.
func (c *checker) foreignImport(row Package, imported, name string, line int, test bool) {
	for _, m := range c.modules {
		if imported != m.Path && !strings.HasPrefix(imported, m.Path+"/") {
			continue
		}
		if !test && !matches(row.Path, m.Users) {
			c.add(name, line, "%s must not import %s: docs/decisions/%s says who uses it", row.Path, m.Path, m.Record)
		}
		return
	}
	c.add(name, line, "%s is of a module that nobody decided on; a new module needs a record in docs/decisions and a row in internal/layout", imported)
}

// matches reports whether target is one of patterns, or below one that ends
// in "/...".
func matches(target string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, tree := strings.CutSuffix(p, "/..."); tree {
			return target == below || strings.HasPrefix(target, below+"/")
		}
		return target == p
	})
}

// sleeps reports each call of time.Sleep that is not inside of a call of
// synctest.Test.
func (c *checker) sleeps(f *ast.File, name string) {
	var bubbles []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isSelector(call.Fun, "synctest", "Test") {
			bubbles = append(bubbles, n)
		}
		return true
	})
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !isSelector(call.Fun, "time", "Sleep") {
			return true
		}
		inside := slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= n.Pos() && n.End() <= b.End() })
		if !inside {
			c.add(name, c.fset.Position(n.Pos()).Line, "a test must not sleep: wait for what it waits for, or run in synctest.Test")
		}
		return true
	})
}

func isSelector(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}
