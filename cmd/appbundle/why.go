package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"appbundle/bundle"
	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep508"
)

func newWhyCmd(out *printer) *cobra.Command {
	format := textFormat()
	cmd := &cobra.Command{
		Use:   "why NAME [DIR]",
		Short: "who asks for a package of the lock",
		Long: `Why gives, for each line of dependencies.txt that leads to the package NAME, the
shortest way from the line to it. The status is 1 where the lock has no such
package.`,
		Args: takes(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runWhy(out, args[0], dirArg(args[1:]), format.value)
		},
	}
	cmd.Flags().Var(format, "format", "report as `text` or json")
	return cmd
}

func runWhy(out *printer, name, dir, format string) error {
	lock, err := lockOf(dir)
	if err != nil {
		return err
	}
	name = pep508.NormalizeName(name)
	chains := resolve.NewGraph(lock).Why(name)
	if format == "json" {
		type link struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		}
		type way struct {
			From  []string `json:"from"`
			Chain []link   `json:"chain"`
		}
		ways := []way{}
		for _, chain := range chains {
			w := way{From: append([]string{}, chain[0].Tool.From...)}
			for _, p := range chain {
				w.Chain = append(w.Chain, link{p.Name, p.Version})
			}
			ways = append(ways, w)
		}
		if err := out.json(struct {
			Format int    `json:"format"`
			Name   string `json:"name"`
			Ways   []way  `json:"ways"`
		}{1, name, ways}); err != nil {
			return err
		}
		if len(ways) == 0 {
			return errNo
		}
		return nil
	}
	if len(chains) == 0 {
		return &absentError{name, lock}
	}
	for _, chain := range chains {
		var names []string
		for _, p := range chain {
			names = append(names, versioned(p))
		}
		out.print("%s%s\n", from(chain[0]), strings.Join(names, " -> "))
	}
	return nil
}

// lockOf reads the lock of the app in dir, which need not be whole otherwise.
func lockOf(dir string) (*schema.PyLock, error) {
	lock, err := readLock(&bundle.App{Dir: dir})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &lockError{dir, "there is none"}
	}
	return lock, err
}

// from is where the user asks for p, for the beginning of a line.
func from(p *schema.LockedPackage) string {
	if len(p.Tool.From) == 0 {
		return ""
	}
	return strings.Join(p.Tool.From, ", ") + ": "
}

func versioned(p *schema.LockedPackage) string { return strings.TrimSpace(p.Name + " " + p.Version) }

// An absentError says that a lock has no package of a name, or does not say who
// needs it.
type absentError struct {
	name string
	lock *schema.PyLock
}

func (e *absentError) Error() string {
	for i := range e.lock.Packages {
		if e.lock.Packages[i].Name == e.name {
			return fmt.Sprintf("%s: it does not say who needs %s", lockFile, e.name)
		}
	}
	return fmt.Sprintf("%s: there is no package %q", lockFile, e.name)
}
