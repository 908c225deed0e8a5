package resolve

import (
	"slices"
	"strings"
	"time"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A filter chooses the files of a release.
type filter struct {
	plan  *plan
	group *group
	table *table
	lines []*line // of the user, for this project
}

// choose finds what every target installs, first among the files that are
// locked.
func (f *filter) choose(c *candidate, locked *Locked) {
	if q := f.table.project.Quarantined; q != "" {
		c.reason = reason{Quarantined, q}
		return
	}
	var files []*File
	for i := range f.group.targets {
		file, why := f.file(c, i, locked)
		if file == nil {
			c.reason = why
			return
		}
		files = append(files, file)
	}
	c.files = files
}

// file finds what a target installs.
func (f *filter) file(c *candidate, target int, locked *Locked) (*File, reason) {
	files, why := f.allowed(c, locked != nil, f.group.targets[target])
	if files == nil {
		return nil, why
	}
	if locked != nil {
		files = locked.keep(f.fitting(files, target))
	}
	if best := f.best(files, target); best != nil {
		return best, reason{}
	}
	return nil, reason{NoWheel, f.group.targets[target].Name}
}

// fitting gives the files that a target can install.
func (f *filter) fitting(files []*File, target int) []*File {
	return slices.DeleteFunc(slices.Clone(files), func(file *File) bool {
		if file.Wheel == nil {
			return false
		}
		_, ok := f.group.rankings[target].Rank(file.Wheel)
		return !ok
	})
}

// keep leaves the locked files of those that fit a target, where the lock speaks
// of that target. It does not where none of them fits, or no wheel of them though
// there is one: the source distribution is locked for every target. Nor does it
// where the index has another file under the name of a locked one.
func (l *Locked) keep(files []*File) []*File {
	kept := slices.DeleteFunc(slices.Clone(files), func(file *File) bool { return !file.hasHash(l.Hashes) })
	isWheel := func(file *File) bool { return file.Wheel != nil }
	if len(kept) == 0 || slices.ContainsFunc(files, isWheel) && !slices.ContainsFunc(kept, isWheel) || slices.ContainsFunc(files, l.altered) {
		return files
	}
	return kept
}

// altered reports whether a file has the name of a locked one, and is another.
func (l *Locked) altered(file *File) bool {
	return slices.Contains(l.Files, file.Name) && len(file.Hashes) > 0 && !file.hasHash(l.Hashes)
}

// best picks the best wheel, and a source distribution where there is none.
func (f *filter) best(files []*File, target int) *File {
	names := make([]string, len(files))
	wheels := make([]*pep508.WheelName, len(files))
	for i, file := range files {
		names[i], wheels[i] = file.Name, file.Wheel
	}
	if i := f.group.rankings[target].Best(wheels, names); i >= 0 {
		return files[i]
	}
	var best *File
	for _, file := range files {
		if file.Wheel == nil && (best == nil || file.Name < best.Name) {
			best = file
		}
	}
	return best
}

// allowed gives the files that count for a target, wheels of other platforms
// among them, or says what left none.
func (f *filter) allowed(c *candidate, locked bool, target Target) ([]*File, reason) {
	files := c.release.Files
	if len(files) == 0 {
		return nil, reason{NoFile, ""}
	}
	why := reason{}
	keep := func(ok func(*File) bool, kind FactKind, detail func([]*File) string) bool {
		kept := slices.DeleteFunc(slices.Clone(files), func(file *File) bool { return !ok(file) })
		if len(kept) == 0 {
			why = reason{kind, detail(files)}
		}
		files = kept
		return len(kept) > 0
	}
	text := func(s string) func([]*File) string { return func([]*File) string { return s } }
	direct := false
	for _, l := range f.lines {
		if l.URL == "" && l.Path == "" {
			continue
		}
		direct = true
		if !keep(func(file *File) bool { return l.asksFor(file) }, OtherFile, text(place(l.Pos))) {
			return nil, why
		}
	}
	if hashes, pos := f.hashes(); hashes != nil || f.plan.RequireHashes {
		if !keep(func(file *File) bool { return file.hasHash(hashes) }, NoHash, text(pos)) {
			return nil, why
		}
	}
	if limit := f.plan.ExcludeNewer; !limit.IsZero() {
		old := func(file *File) bool {
			return file.Path != "" || direct || !file.Uploaded.IsZero() && !file.Uploaded.After(limit)
		}
		if !keep(old, TooNew, text(limit.UTC().Format(time.RFC3339))) {
			return nil, why
		}
	}
	if !locked && !f.pinned(c) {
		if !keep(func(file *File) bool { return !file.Yanked }, Yanked, yankedReason) {
			return nil, why
		}
	} else if slices.ContainsFunc(files, func(file *File) bool { return !file.Yanked }) {
		keep(func(file *File) bool { return !file.Yanked }, Yanked, yankedReason)
	}
	if !f.plan.wheels(f.table.name) && !keep(func(file *File) bool { return file.Wheel == nil }, NoSdist, text("")) {
		return nil, why
	}
	if !f.plan.sdists(f.table.name) && !keep(func(file *File) bool { return file.Wheel != nil }, OnlySdist, text("")) {
		return nil, why
	}
	if !keep(func(file *File) bool { return file.RequiresPython.Contains(target.Python, pep440.Allow) }, NeedsPython, pythonOf) {
		return nil, why
	}
	return files, why
}

func (f *filter) pinned(c *candidate) bool {
	return slices.ContainsFunc(f.lines, func(l *line) bool { return pinned(l.Req.Specifiers, c.version) })
}

// hashes gives those that the lines allow, nil where no line has one.
func (f *filter) hashes() (hashes []string, pos string) {
	for _, l := range f.lines {
		for _, h := range l.Hashes {
			hashes = append(hashes, h.Algorithm+":"+h.Hex)
			pos = place(l.Pos)
		}
	}
	return hashes, pos
}

func (l *line) asksFor(f *File) bool {
	if l.Path != "" {
		return f.Path == l.Path
	}
	url, _, _ := strings.Cut(l.URL, "#")
	return f.URL == url || f.URL == l.URL
}

func (f *File) hasHash(hashes []string) bool {
	for algorithm, hex := range f.Hashes {
		if slices.Contains(hashes, algorithm+":"+hex) {
			return true
		}
	}
	return false
}

func yankedReason(files []*File) string {
	for _, f := range files {
		if f.YankedReason != "" {
			return f.YankedReason
		}
	}
	return ""
}

func pythonOf(files []*File) string {
	s := make([]string, len(files))
	for i, f := range files {
		s[i] = f.RequiresPython.String()
	}
	return slices.Max(s)
}
