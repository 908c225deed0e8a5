// Package pep425 knows wheel tags: which of them fit a CPython on a platform,
// which of several wheels is the best one, and what a target such as
// manylinux_2_28_x86_64 means for tags and for markers.
//
// [Tags] lists what fits, best first: the interpreter's own ABI on each
// platform, then the stable ABI (abi3, or abi3t without a global lock), then
// wheels for the interpreter without an ABI, then the stable ABI of older
// interpreters, then pure Python for a platform, then pure Python for any. A
// [Ranking] of such a list chooses among files.
//
// A [Platform] says which platforms fit, best first. The plain linux_ARCH comes
// before every manylinux and musllinux: such a wheel was built for the host at
// hand. A glibc wheel never fits musl, nor the other way round. macOS counts by
// major versions since 11, and 10.16 is 11.0.
//
// # Limits
//
// CPython 3 only, and glibc 2 and musl 1 only. A minor version is at most
// [MaxMinor]; nothing else bounds the length of a list.
//
// The package knows nothing of the host that it runs on, and keeps no state.
package pep425

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxMinor is the highest minor version of a Python, a C library or a system.
const MaxMinor = 999

// A Python is a CPython 3.
type Python struct {
	Minor    int
	Threaded bool // built without the global lock: cp313t
}

// ParsePython reads "3.11", "3.11.4", "cp311", "3.13t" or "cp313t". A patch
// version is no part of a tag and dropped.
func ParsePython(s string) (Python, error) {
	text, threaded := strings.CutSuffix(s, "t")
	minor, isTag := strings.CutPrefix(text, "cp3")
	if !isTag {
		rest, ok := strings.CutPrefix(text, "3.")
		if minor, _, _ = strings.Cut(rest, "."); !ok {
			minor = ""
		}
	}
	n, ok := number(minor)
	if !ok {
		return Python{}, fmt.Errorf("%q is no version of CPython 3; write 3.11, or cp311", s)
	}
	return Python{Minor: n, Threaded: threaded}, nil
}

// Tag gives the Python tag: cp311.
func (p Python) Tag() string { return "cp3" + strconv.Itoa(p.Minor) }

// ABI gives the ABI tag: cp311, or cp313t.
func (p Python) ABI() string {
	if p.Threaded {
		return p.Tag() + "t"
	}
	return p.Tag()
}

// Version gives the version as python_version has it: 3.11.
func (p Python) Version() string { return "3." + strconv.Itoa(p.Minor) }

// firstStable is the minor version that brought the stable ABI.
const firstStable = 2

// Tags lists every tag that fits, best first, for the platforms that fit, best
// first.
func Tags(p Python, platforms []string) []string {
	var tags []string
	add := func(python, abi string) {
		for _, platform := range platforms {
			tags = append(tags, python+"-"+abi+"-"+platform)
		}
	}
	stable := "abi3"
	if p.Threaded {
		stable = "abi3t"
	}
	add(p.Tag(), p.ABI())
	if p.Minor >= firstStable {
		add(p.Tag(), stable)
	}
	add(p.Tag(), "none")
	for minor := p.Minor - 1; minor >= firstStable; minor-- {
		add(Python{Minor: minor}.Tag(), stable)
	}
	generic := []string{"py3" + strconv.Itoa(p.Minor), "py3"}
	for minor := p.Minor - 1; minor >= 0; minor-- {
		generic = append(generic, "py3"+strconv.Itoa(minor))
	}
	for _, python := range generic {
		add(python, "none")
	}
	platforms = []string{"any"}
	add(p.Tag(), "none")
	for _, python := range generic {
		add(python, "none")
	}
	return tags
}

// number reads a decimal number up to MaxMinor, without a sign or leading zeros.
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n <= MaxMinor && strconv.FormatUint(n, 10) == s
}
