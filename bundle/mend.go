package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"appbundle/internal/atomicfile"
)

// A mending is a remedy that nobody has to think about.
type mending string

const (
	mendMissing  mending = "made it, empty"
	mendX        mending = "made it executable"
	mendReadable mending = "made it readable for others"
	mendWritable mending = "took the write bit from others"
	mendSpecial  mending = "took its special bits"
	mendCR       mending = "took the carriage returns from the ends of its lines"
)

// by gives the finding with the remedy that [Mend] applies.
func (f Finding) by(m mending) Finding {
	f.mend = m
	return f
}

// Mended is a finding that [Mend] saw to.
type Mended struct {
	Rule string `json:"rule"`
	File string `json:"file"`
	Did  string `json:"did"`
}

// String gives "FILE: ABnnn what was done".
func (m Mended) String() string { return m.File + ": " + m.Rule + " " + m.Did }

// Mend applies the remedies that are safe to a directory that [Load] read: it
// makes empty files where none is, sets modes, and saves scripts with line feeds.
// It touches nothing that has changed since, nothing that [CheckAll] says does not
// count, and nothing that is not in the directory. It gives what it did, also with an error, in
// the order of the findings. Each file is what it was or as it should be, whatever
// fails. The App is that of before: load it again.
func Mend(ctx context.Context, app *App) (did []Mended, err error) {
	if app.Dir == "" {
		return nil, &UsageError{app.ArchivePath + ": nothing in an archive can be mended"}
	}
	for _, f := range Check(app) {
		if f.mend == "" {
			continue
		}
		switch err := app.mend(ctx, &f); {
		case errors.Is(err, fs.ErrNotExist):
			continue // it was the temporary file of a run that was killed, and is cleared
		case err != nil:
			return did, err
		}
		if m := (Mended{f.Rule, f.File, string(f.mend)}); !slices.Contains(did, m) {
			did = append(did, m)
		}
	}
	return did, nil
}

// mend applies the remedy of one finding.
func (a *App) mend(ctx context.Context, f *Finding) error {
	if f.mend == mendMissing {
		at := a.place(f.File)
		_, err := os.Lstat(at)
		switch {
		case err == nil:
			return fmt.Errorf("%s: %w", f.File, ErrChanged)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		return atomicfile.Replace(ctx, at, nil, 0o644)
	}
	e := a.resolve(f.mends())
	if err := a.mendEntry(ctx, e, f.mend); err != nil || f.mend != mendWritable {
		return err
	}
	for i := range a.Entries { // the finding is of the topmost alone
		if e := &a.Entries[i]; e.Mode&0o002 != 0 && e.Type == Dir && strings.HasPrefix(e.Path, f.File+"/") {
			if err := a.mendEntry(ctx, e, f.mend); err != nil {
				return err
			}
		}
	}
	return nil
}

// mendEntry applies a remedy to one entry.
func (a *App) mendEntry(ctx context.Context, e *Entry, how mending) error {
	at := a.place(e.Path)
	info, err := os.Lstat(at)
	if err != nil {
		return err
	}
	if typeOf(info.Mode()) != e.Type {
		return fmt.Errorf("%s: %w", e.Path, ErrChanged)
	}
	if how == mendCR {
		return a.mendLines(ctx, e, info)
	}
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	mode := info.Mode() & bits
	switch how {
	case mendX:
		mode |= 0o100 | mode&0o444>>2
	case mendReadable:
		mode |= 0o004
	case mendWritable:
		mode &^= 0o002
	case mendSpecial:
		mode &^= fs.ModeSetuid
		if e.Type == File {
			mode &= fs.ModePerm
		}
	}
	return atomicfile.FS{}.Chmod(at, mode)
}

// mends is the file that a remedy is for, where the finding is about a line that
// names it.
func (f *Finding) mends() string {
	if f.mendFile != "" {
		return f.mendFile
	}
	return f.File
}

// mendLines saves a script with line feeds: those of all its lines when each ends
// with a carriage return, else that of the first.
func (a *App) mendLines(ctx context.Context, e *Entry, info fs.FileInfo) error {
	text, err := os.ReadFile(a.place(e.Path))
	if err != nil {
		return err
	}
	if sha256.Sum256(text) != e.Sum {
		return fmt.Errorf("%s: %w", e.Path, ErrChanged)
	}
	n := 1
	if bytes.Count(text, []byte("\n")) == bytes.Count(text, []byte("\r\n")) {
		n = -1
	}
	return atomicfile.Replace(ctx, a.place(e.Path), bytes.Replace(text, []byte("\r\n"), []byte("\n"), n), info.Mode().Perm())
}
