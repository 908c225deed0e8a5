package bundle

import (
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxHops is how many links the kernel follows in one path.
const maxHops = 40

// A folder gives the form under which two names are one for a file system
// that ignores case or normalises Unicode.
type folder struct{ fold cases.Caser }

func (f folder) key(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return norm.NFD.String(f.fold.String(norm.NFD.String(s)))
		}
	}
	return strings.ToLower(s)
}

// A linkWalker says where links lead, by walking their targets as a kernel
// would: x/.. is the parent of what x points to. Archives are read by the same
// rule, so that what passes here is accepted there.
type linkWalker struct {
	app  *App
	hops int
}

// target gives the path where the target of a link in dir leads; "" is the
// application directory, and missing says that there is nothing. why is the
// end of a sentence when the link must not be.
func (w *linkWalker) target(dir, target string) (at string, missing bool, why string) {
	if w.hops++; w.hops > maxHops {
		return "", false, "is part of a loop or of a chain that is too long"
	}
	if path.IsAbs(target) {
		return "", false, "is absolute"
	}
	at = dir
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			if missing || !w.isDir(at) {
				return "", false, "has a .. behind a name that is no directory of the application"
			}
			if at == "" {
				return "", false, "leaves the application directory"
			}
			at = parent(at)
			continue
		case missing:
			continue
		}
		next := w.app.Entry(path.Join(at, part))
		if next == nil {
			missing = true
			continue
		}
		at = next.Path
		if next.Type == Link {
			if at, missing, why = w.target(parent(next.Path), next.Link); why != "" {
				return "", false, why
			}
		}
	}
	return at, missing, ""
}

func (w *linkWalker) isDir(p string) bool {
	if p == "" {
		return true
	}
	e := w.app.Entry(p)
	return e != nil && e.Type == Dir
}

// parent is the directory of p, "" for the application directory.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
