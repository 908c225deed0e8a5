package external

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"appbundle/schema"
)

// An entry is one system dependency under the names that families have for it.
type entry struct {
	ID        string   `json:"id"` // the neutral name
	Aliases   []string `json:"aliases"`
	PkgConfig string   `json:"pkg_config"`
	Debian    names    `json:"debian"`
	Fedora    names    `json:"fedora"`
	EL        names    `json:"el"` // what differs from Fedora's
	Alpine    names    `json:"alpine"`
}

// names are what one distribution has for an entry, each "" where it has none.
type names struct {
	Run    string `json:"run"` // the package at run time
	Dev    string `json:"dev"` // the package to build with
	Soname string `json:"soname"`
	Path   string `json:"path"`  // of the program
	Epoch  string `json:"epoch"` // of the packages' versions, "0" for none where Fedora's has one
}

// over gives n with what base has in place of what n leaves out.
func (n names) over(base names) names {
	for _, f := range []struct{ own, base *string }{
		{&n.Run, &base.Run}, {&n.Dev, &base.Dev}, {&n.Soname, &base.Soname}, {&n.Path, &base.Path}, {&n.Epoch, &base.Epoch},
	} {
		if *f.own == "" {
			*f.own = *f.base
		}
	}
	return n
}

//go:embed names.json
var namesJSON []byte

// A table finds entries by all that they are called.
type table struct {
	entries []*entry
	neutral map[string]*entry  // by id and alias
	byName  map[string][]match // by package, pkg-config module and soname
	words   []string           // ids and aliases, for suggestions
}

// A match is an entry that a name may mean.
type match struct {
	entry  *entry
	build  bool
	family Family // whose package has the name, "" for other names
}

// theTable is the embedded table; the tests decode it, so it can be.
var theTable = sync.OnceValue(func() *table {
	t, err := readTable(namesJSON)
	if err != nil {
		panic(err)
	}
	return t
})

// The grammars of what the table may have: a name that came from it is never
// quoted.
var (
	tableWord   = regexp.MustCompile(`^[a-z0-9][a-z0-9+._-]*$`)
	packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]+$`)
	sonameForm  = regexp.MustCompile(`^lib[A-Za-z0-9+._-]+\.so(\.[A-Za-z0-9.]+)?$`)
	pathForm    = regexp.MustCompile(`^/usr/s?bin/[A-Za-z0-9+._-]+$`)
	epochForm   = regexp.MustCompile(`^[0-9]$`)
)

// readTable decodes a table; every key must be known.
func readTable(data []byte) (*table, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var file struct {
		Format  int      `json:"format"`
		Entries []*entry `json:"entries"`
	}
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("names.json: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("names.json: something follows the table")
	}
	if file.Format != 1 {
		return nil, fmt.Errorf("names.json: format %d is none that is known", file.Format)
	}
	t := &table{entries: file.Entries, neutral: map[string]*entry{}, byName: map[string][]match{}}
	for _, e := range t.entries {
		if err := t.add(e); err != nil {
			return nil, fmt.Errorf("names.json: %s: %v", e.ID, err)
		}
	}
	return t, nil
}

// add checks e and puts it under its names.
func (t *table) add(e *entry) error {
	for _, word := range append([]string{e.ID}, e.Aliases...) {
		if !tableWord.MatchString(word) {
			return fmt.Errorf("%q is no name", word)
		}
		if other := t.neutral[word]; other != nil {
			return fmt.Errorf("%q is %s already", word, other.ID)
		}
		t.neutral[word] = e
		t.words = append(t.words, word)
	}
	for _, n := range []struct {
		names
		family Family
	}{{e.Debian, Deb}, {e.Fedora, RPM}, {e.EL, RPM}, {e.Alpine, APK}} {
		for _, f := range []struct {
			value string
			form  *regexp.Regexp
		}{{n.Run, packageName}, {n.Dev, packageName}, {n.Soname, sonameForm}, {n.Path, pathForm}, {n.Epoch, epochForm}} {
			if f.value != "" && !f.form.MatchString(f.value) {
				return fmt.Errorf("%q does not match %s", f.value, f.form)
			}
		}
		t.name(n.Run, match{e, false, n.family})
		t.name(n.Dev, match{e, true, n.family})
		t.name(n.Soname, match{e, false, ""})
	}
	if e.PkgConfig != "" {
		t.name("pkgconfig("+e.PkgConfig+")", match{e, true, ""})
	}
	return nil
}

func (t *table) name(name string, m match) {
	if name != "" && !slices.Contains(t.byName[name], m) {
		t.byName[name] = append(t.byName[name], m)
	}
}

// find says what name means: a neutral name first, then a package of the
// family, then one of another family. What may be needed at run time is
// preferred, since it is what a build needs as well.
func (t *table) find(name string, family Family) (match, bool) {
	if e := t.neutral[strings.ToLower(name)]; e != nil {
		return match{entry: e, build: e.buildOnly() || isDev(name)}, true
	}
	best, found := match{}, false
	rank := func(m match) int {
		r := 0
		if m.family == family {
			r += 2
		}
		if !m.build {
			r++
		}
		return r
	}
	for _, m := range t.byName[name] {
		if !found || rank(m) > rank(best) {
			best, found = m, true
		}
	}
	return best, found
}

// isDev reports whether a name is that of what is built with, in every family.
func isDev(name string) bool {
	return strings.HasSuffix(name, "-dev") || strings.HasSuffix(name, "-devel")
}

// buildOnly reports whether nothing of the entry is for run time.
func (e *entry) buildOnly() bool {
	return e.Debian.Run == "" && e.Fedora.Run == "" && e.Alpine.Run == ""
}

// suggest gives the name that an unknown one is most likely a misspelling of.
func (t *table) suggest(name string) string { return schema.Closest(name, t.words) }

// Library gives the package of Debian 12 that has a soname, such as zlib1g for
// libz.so.1. ok is false where the table has no library of that name.
func Library(soname string) (name string, ok bool) {
	for _, e := range theTable().entries {
		if soname != "" && e.Debian.Soname == soname {
			return e.Debian.Run, true
		}
	}
	return "", false
}
