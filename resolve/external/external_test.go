package external

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"appbundle/schema"
	"appbundle/schema/pep440"
)

var (
	update = flag.Bool("update", false, "rewrite expected texts")
	index  = flag.Bool("debian-index", false, "compare the table with the index of Debian 12 that this host's apt has")
)

// A testCase is a target, its lines, and all that is answered.
type testCase struct{ target, in, want string }

// readCases reads cases: "== TARGET", lines, "-- want --", answers.
func readCases(t *testing.T, file string) []testCase {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []testCase
	for _, part := range strings.Split("\n"+string(data), "\n== ")[1:] {
		part += "\n" // the last newline was that of the separator
		target, rest, _ := strings.Cut(part, "\n")
		in, want, _ := strings.Cut(rest, "-- want --\n")
		out = append(out, testCase{target, in, strings.TrimRight(want, "\n")})
	}
	return out
}

// parse makes a target of "debian-12", "any rpm", each with " MACHINE" or not.
func parse(t *testing.T, s string) Target {
	words := strings.Fields(s)
	var target Target
	var err error
	switch machine := "x86_64"; {
	case words[0] == "any":
		if len(words) == 3 {
			machine = words[2]
		}
		target, err = Any(Family(words[1]), machine)
	default:
		if len(words) == 2 {
			machine = words[1]
		}
		target, err = ParseTarget(words[0], machine)
	}
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func dependencies(t *testing.T, text string) []schema.External {
	deps, problems := schema.ParseExternal("e.txt", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return deps
}

func list(f Family, rs []Relation) string {
	var out []string
	for _, r := range rs {
		out = append(out, r.Format(f))
	}
	return strings.Join(out, ", ")
}

// What each line means for each family, and what packages require.
func TestAnswers(t *testing.T) {
	const file = "testdata/answers.txt"
	var golden strings.Builder
	for _, c := range readCases(t, file) {
		target := parse(t, c.target)
		deps := dependencies(t, c.in)
		answers, problems := For(target, deps)
		var b strings.Builder
		for _, a := range answers {
			what := list(target.Family, a.Wanted)
			switch {
			case !a.Applies:
				what = "nothing"
			case a.Build:
				what += " (to build)"
			}
			fmt.Fprintf(&b, "%s -> %s\n", a.Dep.Name, what)
		}
		run, again := Relations(target, deps)
		build, _ := BuildRelations(target, deps)
		fmt.Fprintf(&b, "requires %s\nbuild requires %s\n", list(target.Family, run), list(target.Family, build))
		for _, p := range problems {
			fmt.Fprintln(&b, p.Error())
		}
		if problems.Error() != again.Error() {
			t.Errorf("%s: For and Relations find different problems", c.target)
		}
		got := strings.TrimRight(b.String(), "\n")
		if got != c.want && !*update {
			t.Errorf("%s: got\n%s\nwant\n%s", c.target, got, c.want)
		}
		fmt.Fprintf(&golden, "== %s\n%s-- want --\n%s\n", c.target, c.in, got)
	}
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The table has what the vectors have, and answers with it.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/system-names.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Entries []struct {
			ID                     string
			PkgConfig              string `json:"pkg_config"`
			Soname                 string
			Debian, Fedora, Alpine struct{ Run, Dev string }
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Entries) != 117 {
		t.Fatalf("%d vectors, want 117", len(vectors.Entries))
	}
	for _, v := range vectors.Entries {
		for name, want := range map[string]struct{ Run, Dev string }{"debian-12": v.Debian, "fedora-41": v.Fedora, "alpine-3.20": v.Alpine} {
			target := parse(t, name+" x86_64")
			answers, problems := For(target, dependencies(t, "dep:generic/"+v.ID+"\n"))
			a := answers[0]
			if isDev(v.ID) { // its name asks for what is built with
				want.Run, v.Soname = "", ""
			}
			if got := cmp.Or(want.Run, want.Dev); a.Package != got || a.Build != (want.Run == "" && want.Dev != "") || len(problems) > 0 != (got == "") {
				t.Errorf("%s: %s is %q (to build: %v), %v, want %v", name, v.ID, a.Package, a.Build, problems, want)
			}
			for _, own := range []string{want.Run, want.Dev} {
				if own == "" {
					continue
				}
				if answers, _ := For(target, dependencies(t, own+"\n")); answers[0].Package != own {
					t.Errorf("%s: the package %s of %s is %q", name, own, v.ID, answers[0].Package)
				}
			}
			if name == "debian-12" && a.Soname != v.Soname {
				t.Errorf("%s has %q, want %q", v.ID, a.Soname, v.Soname)
			}
		}
		if v.PkgConfig == "" {
			continue
		}
		if m, ok := theTable().find("pkgconfig("+v.PkgConfig+")", Deb); !ok || m.entry.ID != v.ID {
			t.Errorf("the module %s is not that of %s", v.PkgConfig, v.ID)
		}
	}
}

// A version is spelled so that the family orders it as PEP 440 does.
func TestSpell(t *testing.T) {
	tests := []struct{ version, deb, rpm, apk string }{
		{"1.0", "1.0", "1.0", "1.0"},
		{"1.0a1", "1.0~a1", "1.0~a1", "1.0_alpha1"},
		{"1.0b2", "1.0~b2", "1.0~b2", "1.0_beta2"},
		{"1.0rc3", "1.0~rc3", "1.0~rc3", "1.0_rc3"},
		{"1.0.dev4", "1.0~~dev4", "1.0~~dev4", "1.0"},
		{"1.0rc1.dev4", "1.0~rc1~dev4", "1.0~rc1~dev4", "1.0_rc1"},
		{"1.0.post5", "1.0+post5", "1.0^post5", "1.0_p5"},
		{"1.0.post5.dev6", "1.0+post5~dev6", "1.0^post5~dev6", "1.0_p5"},
		{"1.0+ubuntu.1", "1.0+local.ubuntu.1", "1.0^local.ubuntu.1", "1.0"},
		{"2!1.0", "1.0", "1.0", "1.0"},
	}
	for _, tt := range tests {
		v := pep440.MustParse(tt.version)
		for f, want := range map[Family]string{Deb: tt.deb, RPM: tt.rpm, APK: tt.apk} {
			if got := spell(f, v); got != want {
				t.Errorf("spell(%s, %s) = %s, want %s", f, tt.version, got, want)
			}
		}
	}
}

// Every row of the table can be decoded, is called by one name, and has a
// package wherever it says that it has a file.
func TestTable(t *testing.T) {
	table, err := readTable(namesJSON)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.entries) < 117 {
		t.Errorf("the table has %d entries; there were more", len(table.entries))
	}
	for _, e := range table.entries {
		for _, r := range releases {
			n, _ := r.names(e)
			if n.Run == "" && n.Soname != "" || n.Run == "" && n.Dev == "" && (n.Path != "" || n.Epoch != "") {
				t.Errorf("%s: %s has a file and no package", e.ID, r.name)
			}
			if n.Run == "" && n.Dev == "" && r.name != "alpine-3.20" {
				t.Errorf("%s: %s has no package", e.ID, r.name)
			}
		}
	}
	// Each name that is of two entries was looked at: one of them is meant.
	var twice []string
	for name, matches := range table.byName {
		ids := []string{}
		for _, m := range matches {
			if !slices.Contains(ids, m.entry.ID) {
				ids = append(ids, m.entry.ID)
			}
		}
		if len(ids) > 1 || table.neutral[name] != nil && ids[0] != table.neutral[name].ID {
			twice = append(twice, fmt.Sprintf("%s: %s", name, strings.Join(ids, " ")))
		}
	}
	slices.Sort(twice)
	want := []string{"apache2: httpd-devel apache", "postgresql-client: psql", "python3: python-dev python", "sqlite: sqlite3"} // of apache and python aliases; the two others are the libraries
	if !slices.Equal(twice, want) {
		t.Errorf("names of several entries: %q, want %q", twice, want)
	}
}

// A table that was edited badly is refused.
func TestTableProblems(t *testing.T) {
	tests := []struct{ name, entry, want string }{
		{"unknown key", `{"id": "a", "debain": {}}`, `names.json: json: unknown field "debain"`},
		{"no name", `{"id": "A b"}`, `names.json: A b: "A b" is no name`},
		{"twice", `{"id": "a"}, {"id": "b", "aliases": ["a"]}`, `names.json: b: "a" is a already`},
		{"package", `{"id": "a", "debian": {"run": "x y"}}`, `names.json: a: "x y" does not match ` + packageName.String()},
		{"soname", `{"id": "a", "fedora": {"soname": "liba.so.1()(64bit)"}}`, `names.json: a: "liba.so.1()(64bit)" does not match ` + sonameForm.String()},
		{"path", `{"id": "a", "alpine": {"path": "/bin/../a"}}`, `names.json: a: "/bin/../a" does not match ` + pathForm.String()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readTable([]byte(`{"format": 1, "entries": [` + tt.entry + `]}`))
			if err == nil || err.Error() != tt.want {
				t.Errorf("readTable = %v, want %s", err, tt.want)
			}
		})
	}
	for _, text := range []string{`{"format": 2, "entries": []}`, `{"format": 1, "entries": []} {}`, ``} {
		if _, err := readTable([]byte(text)); err == nil {
			t.Errorf("readTable(%q) = nil error", text)
		}
	}
}

// The names and epochs of Debian are those of its index. It needs a host of
// that distribution, so it is run by hand: -debian-index.
func TestDebianIndex(t *testing.T) {
	if !*index {
		return
	}
	epochs := map[string]string{}
	var all []string
	for _, e := range theTable().entries {
		for _, name := range []string{e.Debian.Run, e.Debian.Dev} {
			if name != "" {
				epochs[name] = e.Debian.Epoch
				all = append(all, name)
			}
		}
	}
	out, err := exec.Command("apt-cache", append([]string{"show", "--no-all-versions"}, all...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch want := epochs[name]; key {
		case "Package":
			name = value
		case "Version":
			epoch, _, has := strings.Cut(value, ":")
			if !has {
				epoch = ""
			}
			if epoch != want {
				t.Errorf("%s has the epoch %q, not %q", name, epoch, want)
			}
			delete(epochs, name)
		}
	}
	for name := range epochs {
		t.Errorf("there is no package %s", name)
	}
}
