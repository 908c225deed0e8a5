package settings

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A value is what stands behind a key, and where.
type value struct {
	file, section, key, text string
	line                     int
}

// errorf names the place of the value.
func (v value) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: [%s] %s: %s", v.file, v.line, v.section, v.key, fmt.Sprintf(format, args...))
}

// A group is a section of the file.
type group struct {
	name   string // "service:sync-1.5"
	line   int
	values []value
}

// kind is what stands before the colon of the name, and label what is behind it.
func (g *group) kind() (kind, label string) {
	kind, label, _ = strings.Cut(g.name, ":")
	return kind, label
}

// maxFile is the size of a settings file.
const maxFile = 1 << 20

// parse reads sections, keys and values. A line that begins with white space goes
// on with the value before it; a line that begins with # or ; is a comment.
func parse(name string, data []byte) ([]group, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: it is bigger than %d bytes", name, maxFile)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: it is not UTF-8", name)
	}
	var groups []group
	var errs []error
	seen := map[string]int{}
	wrong := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", name, line, fmt.Sprintf(format, args...)))
	}
	var last *value
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxFile+1)
	for n := 1; lines.Scan(); n++ {
		raw := lines.Text()
		text := strings.TrimSpace(raw)
		switch {
		case text == "" || text[0] == '#' || text[0] == ';':
			continue
		case raw[0] == ' ' || raw[0] == '\t':
			if last == nil {
				wrong(n, "it goes on with a value, and there is none before it")
				continue
			}
			last.text = strings.TrimSpace(last.text + " " + text)
			continue
		case text[0] == '[':
			last = nil
			section, ok := strings.CutSuffix(text[1:], "]")
			section = strings.TrimSpace(section)
			if !ok || section == "" {
				wrong(n, "a section is written [NAME]")
				continue
			}
			if at := seen[section]; at != 0 {
				wrong(n, "[%s] is in line %d already", section, at)
			}
			seen[section] = n
			groups = append(groups, group{name: section, line: n})
			continue
		}
		last = nil
		key, v, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok || key == "":
			wrong(n, "a setting is written KEY = VALUE")
		case len(groups) == 0:
			wrong(n, "%q stands before the first section", key)
		default:
			g := &groups[len(groups)-1]
			if i := slices.IndexFunc(g.values, func(v value) bool { return v.key == key }); i >= 0 {
				wrong(n, "[%s] %s is in line %d already", g.name, key, g.values[i].line)
				continue
			}
			g.values = append(g.values, value{file: name, section: g.name, key: key, text: strings.TrimSpace(v), line: n})
			last = &g.values[len(g.values)-1]
		}
	}
	if err := lines.Err(); err != nil {
		wrong(1, "%v", err)
	}
	return groups, errors.Join(errs...)
}

// keys say what is done with the value of each key. A key that ends in a star
// stands for all that begin so.
type keys map[string]func(value) error

// apply sets all values of a section.
func (k keys) apply(g group) []error {
	var errs []error
	for _, v := range g.values {
		set := k[v.key]
		if family, _, ok := strings.Cut(v.key, "."); set == nil && ok {
			set = k[family+".*"]
		}
		if set == nil {
			errs = append(errs, fmt.Errorf("%s:%d: [%s]: unknown key %q%s", v.file, v.line, g.name, v.key, meant(v.key, slices.Collect(maps.Keys(k)))))
			continue
		}
		if err := set(v); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// meant asks whether the nearest of some names was meant, if one is near.
func meant(name string, known []string) string {
	slices.Sort(known)
	best, least := "", len(name)/2+1
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return "; there are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many letters have to be changed, added or taken away.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
