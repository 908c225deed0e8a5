package schema

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A tomlReader collects what is wrong with a file, and the keys that nobody
// asked for.
type tomlReader struct {
	file     string
	lines    map[string]int
	problems *Problems
	unknown  []Located
}

// maxUnknown is how many unknown keys are worth a word.
const maxUnknown = 100

// at gives the place of a path, or of what it is in.
func (r *tomlReader) at(path string) Pos {
	for path != "" {
		if line := r.lines[path]; line > 0 {
			return Pos{File: r.file, Line: line}
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return Pos{File: r.file}
}

// A tomlTable is a table that is being read.
type tomlTable struct {
	r    *tomlReader
	path string
	m    map[string]any
	seen map[string]bool
}

func (r *tomlReader) table(path string, m map[string]any) *tomlTable {
	return &tomlTable{r: r, path: path, m: m, seen: map[string]bool{}}
}

func (t *tomlTable) pos() Pos { return t.r.at(t.path) }

func (t *tomlTable) at(key string) Pos { return t.r.at(join(t.path, key)) }

// bad reports a problem with a key.
func (t *tomlTable) bad(key, format string, args ...any) {
	t.r.problems.Add(t.at(key), "", key+": "+format, args...)
}

// field gives the value of key where it is of type T.
func field[T any](t *tomlTable, key, kind string) (v T, ok bool) {
	t.seen[key] = true
	raw, has := t.m[key]
	if !has {
		return v, false
	}
	if v, ok = raw.(T); !ok {
		t.bad(key, "must be %s", kind)
	}
	return v, ok
}

func (t *tomlTable) str(key string) string {
	s, _ := field[string](t, key, "a string")
	return s
}

// need is str for a key that must be there.
func (t *tomlTable) need(key string) string {
	s, ok := field[string](t, key, "a string")
	if _, has := t.m[key]; !has || ok && s == "" {
		t.r.problems.Add(t.pos(), "", "%s is missing", key)
	}
	return s
}

func (t *tomlTable) bool(key string) bool {
	b, _ := field[bool](t, key, "true or false")
	return b
}

func (t *tomlTable) int(key string) int64 {
	n, _ := field[int64](t, key, "a number")
	if n < 0 {
		t.bad(key, "must not be negative")
	}
	return max(n, 0)
}

func (t *tomlTable) time(key string) time.Time {
	at, ok := field[time.Time](t, key, "a date and time")
	if !ok {
		return time.Time{}
	}
	return at.UTC()
}

func (t *tomlTable) strs(key string) []string {
	list, _ := field[[]any](t, key, "an array of strings")
	var out []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			t.bad(key, "must be an array of strings")
			return nil
		}
		out = append(out, s)
	}
	return out
}

// table gives the table key, nil where there is none.
func (t *tomlTable) table(key string) *tomlTable {
	m, ok := field[map[string]any](t, key, "a table")
	if !ok {
		return nil
	}
	return t.r.table(join(t.path, key), m)
}

// tables gives the elements of an array of tables, of either notation.
func (t *tomlTable) tables(key string, most int) []*tomlTable {
	t.seen[key] = true
	var list []map[string]any
	isGood := true
	switch v := t.m[key].(type) {
	case nil:
	case []map[string]any:
		list = v
	case []any:
		for _, e := range v {
			m, ok := e.(map[string]any)
			list, isGood = append(list, m), isGood && ok
		}
	default:
		isGood = false
	}
	switch {
	case !isGood:
		t.bad(key, "must be an array of tables")
		return nil
	case len(list) > most:
		t.bad(key, "has %d elements, more than %d", len(list), most)
		return nil
	}
	out := make([]*tomlTable, len(list))
	for i, m := range list {
		out[i] = t.r.table(join(t.path, key)+index(i), m)
	}
	return out
}

// end takes note of the keys that nobody asked for.
func (t *tomlTable) end() {
	for _, key := range slices.Sorted(maps.Keys(t.m)) {
		if !t.seen[key] && len(t.r.unknown) < maxUnknown {
			t.r.unknown = append(t.r.unknown, Located{t.at(key), join(t.path, key)})
		}
	}
}
