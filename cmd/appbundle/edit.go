package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/internal/atomicfile"
	"appbundle/schema"
)

// editOptions are the flags of add and remove.
type editOptions struct {
	external bool
	dryRun   bool
	noLock   bool
	index    string
	format   *choice
}

func (o *editOptions) flags(cmd *cobra.Command, g *globals) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&o.external, "external", false, "edit external-dependencies.txt instead, which no lock depends on")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print what would change in the file, and write nothing")
	flags.BoolVar(&o.noLock, "no-lock", false, "leave pylock.toml as it is")
	flags.StringVar(&o.index, "index-url", "", "take packages from the index at `URL`")
	flags.Var(o.format, "format", "report as `text` or json")
	flags.StringVar(&g.cacheDir, "cache-dir", "", "keep what was fetched in `DIR`")
}

// takesNames refuses a command line without a name.
func takesNames(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("too few arguments: usage: %s", cmd.UseLine())
	}
	return nil
}

// namesAndDir takes the arguments of add and remove apart. A name that is that
// of a directory too, such as the one with the app's own code, stays a name.
func namesAndDir(args []string) (names []string, dir string) {
	last := args[len(args)-1]
	if len(args) > 1 && (last == "." || last == ".." || isPath(last) || isApp(last)) {
		return args[:len(args)-1], last
	}
	return args, "."
}

// isPath reports whether an argument is the path of a directory, and no line of a
// dependency file that has a slash.
func isPath(arg string) bool {
	if !strings.Contains(arg, "/") {
		return false
	}
	st, err := os.Stat(arg)
	return err == nil && st.IsDir() || !strings.ContainsAny(arg, ":@") && !strings.HasSuffix(arg, ".whl")
}

func isApp(dir string) bool {
	for _, file := range []string{"dependencies.txt", "external-dependencies.txt", "app.ini", "bin/app", "bin/app.py"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return true
		}
	}
	return false
}

// A nameError says what is wrong with a name that was typed.
type nameError struct {
	name    string
	problem *schema.Problem
}

func (e *nameError) Error() string {
	p := schema.Problem{Msg: e.problem.Msg, Fix: e.problem.Fix}
	if e.problem.Col > 1 {
		return fmt.Sprintf("%q: column %d: %v", e.name, e.problem.Col, &p)
	}
	return fmt.Sprintf("%q: %v", e.name, &p)
}

// An editReport is the answer of add and remove.
type editReport struct {
	Format  int            `json:"format"`
	File    string         `json:"file"`
	Edits   []editedLine   `json:"edits"`
	Written bool           `json:"written"`
	Lock    map[string]any `json:"lock,omitempty"` // as that of lock; only where there is one
}

type editedLine struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Was  string `json:"was"`
	Is   string `json:"is"`
}

// runEdit changes a dependency file of the app in dir, and locks.
func runEdit(ctx context.Context, g *globals, out *printer, dir string, o editOptions, change func(*bundle.Edit) ([]schema.Edit, error)) error {
	e, err := look(ctx, func() (*bundle.Edit, error) { return bundle.EditDependencies(dir, o.external) })
	if err != nil {
		return err
	}
	edits, err := change(e)
	if err != nil {
		return err
	}
	r := editReport{Format: 1, File: e.Name, Edits: []editedLine{}, Written: !o.dryRun && !bytes.Equal(e.Old, e.Bytes())}
	for _, d := range edits {
		r.Edits = append(r.Edits, editedLine{d.File, d.Line, d.Was, d.Is})
	}
	if o.dryRun {
		if o.format.value == "json" {
			return out.json(r)
		}
		out.print("%s", diff.Diff("a/"+e.Path, e.Old, "b/"+e.Path, e.Bytes()))
		return nil
	}
	a, err := writeEdit(ctx, g, out, dir, o, e)
	if err != nil {
		return err
	}
	if o.format.value == "json" {
		if a != nil {
			r.Lock = a.json()
		}
		return out.json(r)
	}
	for _, d := range edits {
		printEdit(out, d)
	}
	if a != nil {
		return a.tell(out, "text")
	}
	return nil
}

func printEdit(out *printer, d schema.Edit) {
	switch at := (schema.Pos{File: d.File, Line: d.Line}); {
	case d.Was == d.Is:
		out.print("%v: %s is there already\n", at, d.Is)
	case d.Was == "":
		out.print("%v: added %s\n", at, d.Is)
	case d.Is == "":
		out.print("%v: removed %s\n", at, d.Was)
	default:
		out.print("%v: %s is now %s\n", at, d.Was, d.Is)
	}
}

// writeEdit writes what was edited: with the lock, where there is one to make
// again, which it gives.
func writeEdit(ctx context.Context, g *globals, out *printer, dir string, o editOptions, e *bundle.Edit) (*lockAnswer, error) {
	same := bytes.Equal(e.Old, e.Bytes())
	lock, err := lockOf(dir)
	switch missing := (*lockError)(nil); {
	case o.external || o.noLock || errors.As(err, &missing):
		if same {
			return nil, nil
		}
		file, err := replacement(dir, e)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.ReplaceAll(ctx, []atomicfile.Replacement{file}); err != nil {
			return nil, fmt.Errorf("%s is not written: %w", e.Name, err)
		}
		return nil, nil
	case err != nil:
		return nil, err
	case same && unchanged(dir, lock):
		return nil, nil
	}
	again, err := optionsOf(lock)
	if err != nil {
		return nil, err
	}
	again.index, again.edit = o.index, e
	return makeLock(ctx, g, out, dir, again)
}

// replacement is the edited file for the disk. Locking takes its time: what
// somebody wrote into the file meanwhile must not be lost.
func replacement(dir string, e *bundle.Edit) (atomicfile.Replacement, error) {
	at := filepath.Join(dir, filepath.FromSlash(e.Path))
	now, err := os.ReadFile(at)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return atomicfile.Replacement{}, err
	}
	if !bytes.Equal(now, e.Old) {
		return atomicfile.Replacement{}, &schema.Problem{Pos: schema.Pos{File: e.Path}, Msg: "has changed meanwhile", Fix: "try again"}
	}
	return atomicfile.Replacement{Path: at, Data: e.Bytes(), Perm: e.Perm}, nil
}

// optionsOf gives the flags that a lock was made with.
func optionsOf(lock *schema.PyLock) (lockOptions, error) {
	o := lockOptions{resolution: &choice{value: resolutionOf(lock)}, format: textFormat()}
	if lock.Tool == nil {
		return o, nil
	}
	for _, option := range lock.Tool.Options {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "--python":
			o.python = value
		case "--platform":
			o.platforms = append(o.platforms, value)
		case "--pre":
			o.pre = true
		case "--exclude-newer":
			o.newer = value
			if err := o.parseNewer(); err != nil {
				return o, fmt.Errorf("%s: its options: %w", lockFile, err)
			}
		}
	}
	return o, nil
}
