package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"appbundle/bundle"
)

func newDiffCmd(out *printer) *cobra.Command {
	format := textFormat()
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "what changed between two apps",
		Long: `Diff compares two apps, each an app directory or an archive: their files, the
packages that pylock.toml and go.mod pin, the settings of app.ini and the lines of
external-dependencies.txt. A line begins with + for what is new, - for what is gone
and ~ for what changed.

The status is 0 where both have one digest, 1 where they differ, and 3 where one
of them could not be read, also when it is a damaged archive.`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return interruptible(cmd.Context(), func(ctx context.Context) error {
				d, err := look(ctx, func() (*bundle.Difference, error) { return runDiff(args[0], args[1]) })
				if err != nil {
					return err
				}
				return reportDiff(out, d, format.value)
			})
		},
	}
	cmd.Flags().Var(format, "format", "report as `text` or json")
	return cmd
}

func runDiff(old, fresh string) (*bundle.Difference, error) {
	a, err := open(old)
	if err != nil {
		return nil, &uncomparedError{err}
	}
	b, err := open(fresh)
	if err != nil {
		return nil, &uncomparedError{err}
	}
	return bundle.Diff(a, b), nil
}

// An uncomparedError is why there is no difference: never the answer no, which
// says that there is one.
type uncomparedError struct{ err error }

func (e *uncomparedError) Error() string { return e.err.Error() }

// Hint is that of the cause.
func (e *uncomparedError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.err, &h) {
		return h.Hint()
	}
	return ""
}

func reportDiff(out *printer, d *bundle.Difference, format string) error {
	if format == "json" {
		if err := out.json(struct {
			Format int  `json:"format"`
			Equal  bool `json:"equal"`
			*bundle.Difference
		}{1, d.Equal(), d}); err != nil {
			return err
		}
	} else {
		var files [][3]string
		for _, f := range d.Files {
			files = append(files, row(f.Path, stateText(f.Old), stateText(f.New)))
		}
		printRows(out, "files", files)
		printRows(out, "pins", changeRows(d.Pins, "%s %s"))
		printRows(out, "settings", changeRows(d.Settings, "[%s] %s"))
		printRows(out, "external dependencies", changeRows(d.External, "%[2]s"))
		for _, u := range d.Unread {
			out.warn("%s: not compared: %s", u.In, u.Message)
		}
		out.remark("%s %s %s, and %s %s %s", d.Old.Name, d.Old.Version, d.Old.Digest, d.New.Name, d.New.Version, d.New.Digest)
	}
	if !d.Equal() {
		return errNo
	}
	return nil
}

// changeRows names each change by what it is in and its name.
func changeRows(changes []bundle.Change, name string) (rows [][3]string) {
	for _, c := range changes {
		text := func(values []string) *string {
			if len(values) == 0 {
				return nil
			}
			shown := make([]string, len(values))
			for i, v := range values {
				shown[i] = cmp.Or(shownText(v), `""`)
			}
			s := strings.Join(shown, ", ")
			return &s
		}
		rows = append(rows, row(fmt.Sprintf(name, c.In, c.Name), text(c.Old), text(c.New)))
	}
	return rows
}

// row is the mark, the name and what is to be said of a line; nil is for what is not
// there.
func row(name string, old, fresh *string) [3]string {
	switch name = shownText(name); {
	case old == nil:
		return [3]string{"+", name, *fresh}
	case fresh == nil:
		return [3]string{"-", name, *old}
	case *old == *fresh: // a file of the same size
		return [3]string{"~", name, *fresh + ", other content"}
	}
	return [3]string{"~", name, *old + " -> " + *fresh}
}

func stateText(s *bundle.FileState) *string {
	if s == nil {
		return nil
	}
	text := string(s.Type)
	switch {
	case s.Type == bundle.Link:
		text = "link to " + shownText(s.Link)
	case s.Type == bundle.File && s.X:
		text = size(s.Size) + ", executable"
	case s.Type == bundle.File:
		text = size(s.Size)
	}
	return &text
}

// shownText quotes what a terminal would obey.
func shownText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) {
		return strconv.Quote(s)
	}
	return s
}

// printRows prints the lines of a group, the longest names but for outliers in one
// column.
func printRows(out *printer, title string, rows [][3]string) {
	if len(rows) == 0 {
		return
	}
	width := 0
	for _, r := range rows {
		width = max(width, min(len([]rune(r[1])), 60))
	}
	out.print("%s\n", title)
	for _, r := range rows {
		out.print("%s\n", strings.TrimRight(fmt.Sprintf("  %s %-*s  %s", r[0], width, r[1], r[2]), " "))
	}
}
