package schema

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"appbundle/schema/pep508"
)

// Encode writes the lock: the same bytes for the same lock, whatever the order
// of its slices and maps, one file a line. Packages come by name, version and
// marker, files by name. User names and passwords are cut out of URLs. What it
// writes, [ParsePyLock] reads; a lock that this would refuse is an error.
func (l *PyLock) Encode() ([]byte, error) {
	w := &tomlWriter{}
	w.text("lock-version", PyLockVersion)
	w.list("environments", markerTexts(l.Environments), false)
	w.optional("requires-python", l.RequiresPython)
	w.list("extras", sorted(l.Extras), true)
	w.list("dependency-groups", sorted(l.DependencyGroups), true)
	w.list("default-groups", sorted(l.DefaultGroups), true)
	w.text("created-by", l.CreatedBy)
	if len(l.Packages) == 0 {
		w.line("packages = []")
	}
	for _, p := range l.inOrder() {
		w.locked(p)
	}
	w.tool(l.Tool)
	if _, problems := ParsePyLock(cmp.Or(l.File, "pylock.toml"), w.b.Bytes()); len(problems) > 0 {
		return nil, problems[0]
	}
	return w.b.Bytes(), nil
}

func (l *PyLock) inOrder() []*LockedPackage {
	out := make([]*LockedPackage, len(l.Packages))
	for i := range l.Packages {
		out[i] = &l.Packages[i]
	}
	slices.SortStableFunc(out, func(a, b *LockedPackage) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(markerText(a.Marker), markerText(b.Marker)))
	})
	return out
}

func markerText(m *pep508.Marker) string {
	if m == nil {
		return ""
	}
	return m.String()
}

func markerTexts(list []LockedMarker) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Marker.String())
	}
	return sorted(out)
}

// sorted gives a sorted copy with each element once.
func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// A tomlWriter writes the few forms that a lock needs.
type tomlWriter struct{ b bytes.Buffer }

func (w *tomlWriter) line(s string) { w.b.WriteString(s + "\n") }

func (w *tomlWriter) text(key, value string) { w.line(key + " = " + tomlString(value)) }

func (w *tomlWriter) optional(key, value string) {
	if value != "" {
		w.text(key, value)
	}
}

// list writes an array of strings, on a line or an element a line. An empty one
// that may be left out is.
func (w *tomlWriter) list(key string, values []string, always bool) {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = tomlString(v)
	}
	if always {
		w.line(key + " = [" + strings.Join(quoted, ", ") + "]")
		return
	}
	w.lines(key, quoted)
}

// lines writes an array with an element a line, or nothing.
func (w *tomlWriter) lines(key string, elements []string) {
	if len(elements) == 0 {
		return
	}
	w.line(key + " = [")
	for _, e := range elements {
		w.line("    " + e + ",")
	}
	w.line("]")
}

func (w *tomlWriter) locked(p *LockedPackage) {
	w.line("\n[[packages]]")
	w.text("name", p.Name)
	w.optional("version", p.Version)
	w.optional("marker", markerText(p.Marker))
	w.optional("requires-python", p.RequiresPython)
	var needs []string
	for _, d := range p.Dependencies {
		needs = append(needs, inline(pair{"name", d.Name}, pair{"version", d.Version}))
	}
	w.lines("dependencies", sorted(needs))
	w.optional("index", withoutUser(p.Index))
	if v := p.VCS; v != nil {
		w.line("vcs = " + inline(pair{"type", v.Type}, pair{"url", withoutUser(v.URL)}, pair{"path", v.Path},
			pair{"requested-revision", v.RequestedRevision}, pair{"commit-id", v.CommitID}, pair{"subdirectory", v.Subdirectory}))
	}
	if d := p.Directory; d != nil {
		w.line("directory = " + inline(pair{"path", d.Path}, pair{"editable", d.Editable}, pair{"subdirectory", d.Subdirectory}))
	}
	if p.Archive != nil {
		w.line("archive = " + p.Archive.inline(false))
	}
	if p.Sdist != nil {
		w.line("sdist = " + p.Sdist.inline(true))
	}
	files := slices.Clone(p.Wheels)
	slices.SortStableFunc(files, func(a, b LockedFile) int { return cmp.Compare(a.Name, b.Name) })
	wheels := make([]string, len(files))
	for i := range files {
		wheels[i] = files[i].inline(true)
	}
	w.lines("wheels", wheels)
	w.packageTool(p.Tool)
}

func (w *tomlWriter) packageTool(t LockedPackageTool) {
	if len(t.From) == 0 && t.Yanked == "" && t.License == "" && t.Built == nil {
		return
	}
	if len(t.From) > 0 || t.Yanked != "" || t.License != "" {
		w.line("\n[packages.tool.appbundle]")
	}
	if len(t.From) > 0 {
		w.list("from", sorted(t.From), true)
	}
	w.optional("yanked", t.Yanked)
	w.optional("license", t.License)
	if t.Built != nil {
		w.built(t.Built)
	}
}

func (w *tomlWriter) tool(t *LockTool) {
	if t == nil {
		return
	}
	w.line("\n[tool.appbundle]")
	w.line("format = " + strconv.Itoa(PyLockFormat))
	w.list("targets", sorted(t.Targets), true)
	w.list("options", sorted(t.Options), true)
	w.line("\n[tool.appbundle.inputs]")
	for _, name := range slices.Sorted(maps.Keys(t.Inputs)) {
		w.text(tomlString(name), t.Inputs[name])
	}
}

// inline writes the file as a table on one line.
func (f *LockedFile) inline(named bool) string {
	var sums []pair
	for _, alg := range slices.Sorted(maps.Keys(f.Hashes)) {
		sums = append(sums, pair{alg, f.Hashes[alg]})
	}
	pairs := []pair{
		{"upload-time", f.UploadTime}, {"url", withoutUser(f.URL)}, {"path", f.Path},
		{"size", f.Size}, {"subdirectory", f.Subdirectory}, {"hashes", sums},
	}
	if named {
		pairs = append([]pair{{"name", f.Name}}, pairs...)
	}
	return inline(pairs...)
}

// A pair is a key of an inline table with a string, a bool, an int64, a time or
// pairs. A zero value is left out.
type pair struct {
	key   string
	value any
}

func inline(pairs ...pair) string {
	var parts []string
	for _, p := range pairs {
		value := ""
		switch v := p.value.(type) {
		case string:
			if v != "" {
				value = tomlString(v)
			}
		case bool:
			if v {
				value = "true"
			}
		case int64:
			if v > 0 {
				value = strconv.FormatInt(v, 10)
			}
		case time.Time:
			if !v.IsZero() {
				value = v.UTC().Format(time.RFC3339Nano)
			}
		case []pair:
			value = inline(v...)
		}
		if value != "" {
			parts = append(parts, tomlKey(p.key)+" = "+value)
		}
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// tomlKey quotes a key where it must be.
func tomlKey(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "" {
		return s
	}
	return tomlString(s)
}

// tomlString writes a basic string.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || isHidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// withoutUser cuts user name and password out of a URL.
func withoutUser(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		u.User = nil
		return u.String()
	}
	return s
}
