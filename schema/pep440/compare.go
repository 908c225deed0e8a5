package pep440

import (
	"cmp"
	"slices"
	"strings"
)

// Compare gives -1, 0 or 1 as v is before, equal to, or after w in the order of
// PEP 440. Zeros at the end of a release do not count.
func Compare(v, w Version) int {
	return cmp.Or(comparePublic(v, w), compareLocal(v.local, w.local))
}

// Compare is Compare(v, w).
func (v Version) Compare(w Version) int { return Compare(v, w) }

func comparePublic(v, w Version) int {
	return cmp.Or(
		compareNumber(v.epoch, w.epoch),
		compareRelease(v.release, w.release),
		cmp.Compare(v.preRank(), w.preRank()),
		compareNumber(v.preN, w.preN),
		comparePost(v, w),
		compareDev(v, w),
	)
}

// preRank orders what follows the release: a development release without more
// is before every alpha, a final release after every candidate.
func (v Version) preRank() int {
	switch v.pre {
	case "a":
		return 1
	case "b":
		return 2
	case "rc":
		return 3
	}
	if v.hasDev && !v.hasPost {
		return 0
	}
	return 4
}

func comparePost(v, w Version) int {
	if v.hasPost != w.hasPost {
		return order(v.hasPost)
	}
	return compareNumber(v.post, w.post)
}

func compareDev(v, w Version) int {
	if v.hasDev != w.hasDev {
		return order(w.hasDev)
	}
	return compareNumber(v.dev, w.dev)
}

func order(after bool) int {
	if after {
		return 1
	}
	return -1
}

func compareRelease(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if c := compareNumber(at(a, i), at(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// at reads a release as if zeros went on for ever.
func at(r []string, i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

// compareNumber compares decimal digits without leading zeros.
func compareNumber(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// compareLocal: no local part is before any, numbers are after words.
func compareLocal(a, b []string) int {
	return slices.CompareFunc(a, b, func(x, y string) int {
		nx, ny := isNumber(x), isNumber(y)
		switch {
		case nx != ny:
			return order(nx)
		case nx:
			return compareNumber(trimZeros(x), trimZeros(y))
		}
		return strings.Compare(x, y)
	})
}
