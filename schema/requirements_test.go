package schema

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"appbundle/schema/pep508"
)

type pipCase struct {
	Files map[string]string
	Env   map[string]string
	Pip   struct {
		OK       bool
		Reqs     []pipReq
		Settings map[string]any
	}
}

type pipReq struct {
	Name, Spec, Marker, Link string
	Extras                   []string
	Constraint               bool
	Options                  struct{ Hashes map[string][]string }
}

func pipCases(t testing.TB) []pipCase {
	t.Helper()
	data, err := os.ReadFile("testdata/requirements-files.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Cases []pipCase }
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v.Cases
}

// A reader follows includes as pip does: relative to the file that has them,
// and a file that comes up twice is read twice.
type reader struct {
	files       map[string]string
	open        []string
	all         Requirements
	constraints map[int]bool // index in all.Packages
	problems    Problems
}

func (r *reader) read(name string, constraint bool) {
	data, ok := r.files[name]
	if !ok || slices.Contains(r.open, name) {
		r.problems.Add(Pos{File: name}, "", "missing, or includes itself")
		return
	}
	r.open = append(r.open, name)
	reqs, ps := ParseRequirements(name, []byte(data))
	r.problems = append(r.problems, ps...)
	for _, inc := range reqs.Includes {
		r.read(path.Join(path.Dir(name), inc.Path), inc.Constraint)
	}
	for _, p := range reqs.Packages {
		if constraint {
			r.constraints[len(r.all.Packages)] = true
		}
		r.all.Packages = append(r.all.Packages, p)
	}
	r.all.Modules = append(r.all.Modules, reqs.Modules...)
	if reqs.IndexURL != nil {
		r.all.IndexURL = reqs.IndexURL
	}
	r.all.ExtraIndexURLs = append(r.all.ExtraIndexURLs, reqs.ExtraIndexURLs...)
	r.all.FindLinks = append(r.all.FindLinks, reqs.FindLinks...)
	r.all.NoBinary = append(r.all.NoBinary, reqs.NoBinary...)
	r.all.OnlyBinary = append(r.all.OnlyBinary, reqs.OnlyBinary...)
	r.all.NoIndex = r.all.NoIndex || reqs.NoIndex
	r.all.PreferBinary = r.all.PreferBinary || reqs.PreferBinary
	r.all.RequireHashes = r.all.RequireHashes || reqs.RequireHashes
	r.all.Pre = r.all.Pre || reqs.Pre
	r.open = r.open[:len(r.open)-1]
}

// stricter lists, by a text that r.txt or a file it includes holds, what pip
// reads and we refuse on purpose.
var stricter = map[string]string{
	"flask==1.0 \\\n# c\n":          "a comment that hides the hash after it",
	"--hash=sha256:abc":             "too short for a digest",
	"--hash=sha256:zzz":             "no hexadecimal digits",
	"--hash=sha256:aaaaaaaa":        "without a requirement; kept only where one is before it",
	"flask;":                        "an empty marker",
	"-flask":                        "-f lask to pip",
	"flask==1.0 --index-url":        "no effect in pip",
	"flask --pre":                   "no effect in pip",
	"flask -r other.txt":            "no effect in pip",
	"-ihttps":                       "a value glued to a short option",
	"-i=https":                      "the = is a part of the value for pip",
	"--index-url = ":                "the = is the value for pip",
	"--pypi-url":                    "an old name",
	"--index https":                 "an abbreviation",
	"'https://example.org/a b'":     "a blank in a URL",
	"--no-require-hashes":           "belongs to the command line",
	"--trusted-host":                "turns the check of certificates off",
	"--use-feature":                 "belongs to the command line",
	"--config-settings":             "belongs to a build",
	"-e ":                           "editable",
	"--editable":                    "editable",
	"./sub":                         "a directory",
	"sub/":                          "a directory",
	"\n.":                           "a directory",
	".zip;python_version":           "a marker that pip takes for a part of the URL",
	"file:./sub":                    "a directory",
	"./x-1.0.tar.gz":                "an sdist of the bundle",
	"@abc":                          "a commit that is cut",
	"git+https://example.org/x.git": "no commit",
	"git+ssh":                       "no commit",
	"git+file":                      "no commit",
	"hg+":                           "not git",
	"svn+":                          "not git",
	"bzr+":                          "not git",
	"ftp://":                        "not https",
	"user:pass@":                    "credentials",
	"\f":                            "a second line that no editor shows",
	"\v":                            "a second line that no editor shows",
	"\x1c":                          "a second line that no editor shows",
	"\u0085":                        "a second line that no editor shows",
	"\u2028":                        "a second line that no editor shows",
	"\u00a0":                        "white space that is none",
	"${A}":                          "a variable outside a URL",
	"${SP}":                         "a variable outside a URL",
	"-rother.txt":                   "a value glued to a short option",
	"-r other.txt -r two.txt":       "pip drops the second",
	"-r other.txt --pre":            "pip drops the second",
	"-c c.txt -r r2.txt":            "pip drops the first",
	"\n./x":                         "a directory",
}

// laxer lists what pip refuses and we read.
var laxer = map[string]string{
	"go:github.com/": "Go modules are ours",
	"npm:express":    "npm packages are ours",
}

// different lists what the two read differently.
var different = map[string]string{
	"--extra-index-url https://example.org/x\n-i": "pip forgets the extra index when -i comes later",
	"--find-links a --find-links b":               "pip reads the first of a line",
}

func mentions(files map[string]string, list map[string]string) bool {
	for _, text := range files {
		for part, reason := range list {
			if reason != "" && strings.Contains("\n"+text, part) {
				return true
			}
		}
	}
	return false
}

func TestRequirementsFiles(t *testing.T) {
	used := map[string]bool{}
	for i, c := range pipCases(t) {
		r := &reader{files: c.Files, constraints: map[int]bool{}}
		r.read("r.txt", false)
		ok := len(r.problems) == 0
		for part := range stricter {
			for _, text := range c.Files {
				if c.Pip.OK && !ok && strings.Contains("\n"+text, part) {
					used[part] = true
				}
			}
		}
		switch {
		case ok && !c.Pip.OK && !mentions(c.Files, laxer):
			t.Errorf("case %d %.200q: read, pip refuses it", i, c.Files)
		case !ok && c.Pip.OK && !mentions(c.Files, stricter):
			t.Errorf("case %d %.200q: %v, pip reads it", i, c.Files, r.problems)
		case ok && c.Pip.OK && !mentions(c.Files, different):
			comparePip(t, i, c, r)
		}
	}
	for part, reason := range stricter {
		if reason != "" && !used[part] {
			t.Errorf("no case needs %q", part)
		}
	}
}

func comparePip(t *testing.T, i int, c pipCase, r *reader) {
	t.Helper()
	if len(r.all.Packages) != len(c.Pip.Reqs) {
		t.Errorf("case %d %.200q: %d packages, want %d", i, c.Files, len(r.all.Packages), len(c.Pip.Reqs))
		return
	}
	// Order is by file; ours reads includes first.
	key := func(p pipReq) string { return p.Name + p.Spec + p.Link }
	want := slices.SortedStableFunc(slices.Values(c.Pip.Reqs), func(a, b pipReq) int { return strings.Compare(key(a), key(b)) })
	var got []pipReq
	for j, p := range r.all.Packages {
		got = append(got, asPip(p, r.constraints[j], c.Env))
	}
	slices.SortStableFunc(got, func(a, b pipReq) int { return strings.Compare(key(a), key(b)) })
	for j := range want {
		want[j].Link = strings.TrimPrefix(want[j].Link, "file://{DIR}/")
		for _, list := range want[j].Options.Hashes {
			for k := range list {
				list[k] = strings.ToLower(list[k])
			}
		}
		x, y := mustJSON(got[j]), mustJSON(want[j])
		if x != y {
			t.Errorf("case %d %.200q: got %s, want %s", i, c.Files, x, y)
		}
	}
	if x, y := mustJSON(settings(&r.all, c.Env)), mustJSON(c.Pip.Settings); x != y {
		t.Errorf("case %d %.200q: settings %s, want %s", i, c.Files, x, y)
	}
}

func mustJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func asPip(p Package, constraint bool, env map[string]string) pipReq {
	out := pipReq{Name: p.Req.Name, Spec: p.Req.Specifiers.String(), Extras: p.Req.Extras, Constraint: constraint, Link: p.URL + p.Path}
	if out.Extras == nil {
		out.Extras = []string{}
	}
	if p.Req.Marker != nil {
		out.Marker = p.Req.Marker.String()
	}
	if u, err := ExpandURL(p.URL, lookupOf(env)); err == nil && u != "" {
		out.Link = u
	}
	for _, h := range p.Hashes {
		if strings.Contains(p.URL, h.Hex) {
			continue
		}
		if out.Options.Hashes == nil {
			out.Options.Hashes = map[string][]string{}
		}
		out.Options.Hashes[h.Algorithm] = append(out.Options.Hashes[h.Algorithm], h.Hex)
	}
	return out
}

func lookupOf(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func settings(r *Requirements, env map[string]string) map[string]any {
	out := map[string]any{}
	urls := []string{}
	if r.IndexURL != nil {
		urls = append(urls, expand(r.IndexURL.Text, env))
	} else if len(r.ExtraIndexURLs) > 0 {
		urls = append(urls, "DEFAULT")
	}
	for _, u := range r.ExtraIndexURLs {
		urls = append(urls, expand(u.Text, env))
	}
	if r.NoIndex {
		urls = []string{}
		out["no_index"] = true
	}
	if len(urls) > 0 || r.NoIndex {
		out["index_urls"] = urls
	}
	var links []string
	for _, l := range r.FindLinks {
		links = append(links, l.Text)
	}
	for name, list := range map[string][]string{"find_links": links, "no_binary": r.NoBinary, "only_binary": r.OnlyBinary} {
		if len(list) > 0 {
			out[name] = list
		}
	}
	for name, on := range map[string]bool{"prefer_binary": r.PreferBinary, "require_hashes": r.RequireHashes} {
		if on {
			out[name] = true
		}
	}
	if r.Pre {
		out["all_releases"] = []string{":all:"}
	}
	return out
}

func expand(u string, env map[string]string) string {
	out, err := ExpandURL(u, lookupOf(env))
	if err != nil {
		return err.Error()
	}
	return out
}

func TestRequirementsText(t *testing.T) {
	for _, c := range readCases(t, "requirements.txt") {
		t.Run(c.name, func(t *testing.T) {
			r, ps := ParseRequirements("d.txt", []byte(c.in))
			var lines []string
			for _, p := range r.Packages {
				lines = append(lines, p.Pos.String()+" "+p.Req.String()+" "+p.Path+p.Commit)
			}
			for _, m := range r.Modules {
				lines = append(lines, m.Pos.String()+" "+m.Ecosystem+" "+m.Name+" "+m.RangePos.String()+" "+m.Range)
			}
			for _, i := range r.Includes {
				lines = append(lines, i.Pos.String()+" "+i.Path)
			}
			got := strings.TrimRight(strings.Join(append(lines, ps.Error()), "\n"), "\n")
			if got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestExpandURL(t *testing.T) {
	env := map[string]string{"A": "x", "EMPTY": "", "INJ": "x --pre", "NL": "x\ny", "B": "${A}"}
	for in, want := range map[string]string{
		"https://${A}:${B}@h/${A}": "https://x:${A}@h/x",
		"https://h/$A/${a}":        "https://h/$A/${a}",
		"https://${EMPTY}/":        "the variable EMPTY is not set",
		"https://${NOPE}/":         "the variable NOPE is not set",
		"https://${INJ}/":          "the variable INJ has white space or control characters",
		"https://${NL}/":           "the variable NL has white space or control characters",
	} {
		if got := expand(in, env); got != want {
			t.Errorf("ExpandURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRequirements(f *testing.F) {
	for _, c := range pipCases(f) {
		for _, name := range slices.Sorted(maps.Keys(c.Files)) {
			f.Add([]byte(c.Files[name]))
		}
	}
	for _, c := range readCases(f, "requirements.txt") {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, ps := ParseRequirements("f", data)
		positionsInside(t, "f", data, ps)
		var places Problems
		for _, p := range r.Packages {
			places = append(places, &Problem{Pos: p.Pos, Msg: "x"})
			if p.Req.Name != "" && !pep508.ValidName(p.Req.Name) {
				t.Errorf("bad name %q", p.Req.Name)
			}
			if strings.ContainsAny(p.URL+p.Path, " \t\n\r\x00") {
				t.Errorf("bad URL or path %q", p.URL+p.Path)
			}
		}
		for _, m := range r.Modules {
			if _, err := m.Constraints(); err != nil {
				t.Errorf("module %v: %v", m, err)
			}
			places = append(places, &Problem{Pos: m.RangePos, Msg: "x"})
		}
		if len(places) <= MaxProblems {
			positionsInside(t, "f", data, places)
		}
	})
}
