package pep440

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

type vectors struct {
	Candidates []string
	Versions   []struct {
		In, Canonical, Public, Base string
		OK                          any
		Trimmed                     string `json:"norm_trimmed"`
		Local                       string
		Pre                         bool `json:"is_prerelease"`
	}
	Order, Equal [][]string
	Specifiers   []struct {
		In, Canonical string
		OK            bool
		N             int
	}
	Contains []matching
	Filter   []matching
}

type matching struct {
	Spec          string
	Versions      []string
	Default       []string
	Prereleases   []string
	NoPrereleases []string `json:"no_prereleases"`
}

// want gives the expectation for a policy.
func (m matching) want(p Prereleases) []string {
	return [][]string{Auto: m.Default, Allow: m.Prereleases, Refuse: m.NoPrereleases}[p]
}

func load(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/pep440.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVersions(t *testing.T) {
	for _, c := range load(t).Versions {
		v, err := Parse(c.In)
		if ok := c.OK == true; (err == nil) != ok {
			t.Errorf("Parse(%q): %v, want ok %v", c.In, err, c.OK)
			continue
		} else if !ok {
			continue
		}
		got := []string{v.String(), v.Public(), v.Base(), v.Key(), v.Local()}
		want := []string{c.Canonical, c.Public, c.Base, c.Trimmed, c.Local}
		if !slices.Equal(got, want) || v.IsPrerelease() != c.Pre {
			t.Errorf("Parse(%q) = %q %v, want %q %v", c.In, got, v.IsPrerelease(), want, c.Pre)
		}
	}
}

func TestOrder(t *testing.T) {
	groups := load(t).Order
	for i, a := range groups {
		for j, b := range groups {
			want := 0
			if i != j {
				want = order(i > j)
			}
			for _, x := range a {
				for _, y := range b {
					if got := Compare(MustParse(x), MustParse(y)); got != want {
						t.Errorf("Compare(%q, %q) = %d, want %d", x, y, got, want)
					}
				}
			}
		}
	}
}

func TestEqual(t *testing.T) {
	for _, group := range load(t).Equal {
		for _, s := range group {
			if a, b := MustParse(s), MustParse(group[0]); Compare(a, b) != 0 || a.Key() != b.Key() {
				t.Errorf("%q and %q differ: keys %q, %q", s, group[0], a.Key(), b.Key())
			}
		}
	}
}

func TestSpecifiers(t *testing.T) {
	for _, c := range load(t).Specifiers {
		s, err := ParseSpecifiers(c.In)
		if (err == nil) != c.OK {
			t.Errorf("ParseSpecifiers(%q): %v, want ok %v", c.In, err, c.OK)
			continue
		}
		if err == nil && (s.String() != c.Canonical || len(s) != c.N) {
			t.Errorf("ParseSpecifiers(%q) = %q (%d), want %q (%d)", c.In, s, len(s), c.Canonical, c.N)
		}
	}
}

func TestContains(t *testing.T) {
	v := load(t)
	for _, c := range v.Contains {
		s, err := ParseSpecifiers(c.Spec)
		if err != nil {
			t.Errorf("ParseSpecifiers(%q): %v", c.Spec, err)
			continue
		}
		for _, pre := range []Prereleases{Auto, Allow, Refuse} {
			var got []string
			for _, text := range v.Candidates {
				if s.Contains(MustParse(text), pre) {
					got = append(got, text)
				}
			}
			if !slices.Equal(got, c.want(pre)) {
				t.Errorf("%q, policy %d: %q, want %q", c.Spec, pre, got, c.want(pre))
			}
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range load(t).Filter {
		s, err := ParseSpecifiers(c.Spec)
		if err != nil {
			t.Errorf("ParseSpecifiers(%q): %v", c.Spec, err)
			continue
		}
		var list []Version
		for _, text := range c.Versions {
			list = append(list, MustParse(text))
		}
		for _, pre := range []Prereleases{Auto, Allow, Refuse} {
			var got []string
			for _, v := range s.Filter(list, pre) {
				got = append(got, v.String())
			}
			if !slices.Equal(got, c.want(pre)) {
				t.Errorf("%q over %q, policy %d: %q, want %q", c.Spec, c.Versions, pre, got, c.want(pre))
			}
		}
	}
}

func TestContainsText(t *testing.T) {
	for _, c := range []struct {
		spec, text string
		want       bool
	}{
		{"===2004d", "2004D", true},
		{"===2004d", "2004", false},
		{"", "2004d", false},
		{">=1", "2004d", false},
		{">=1", "1.1", true},
		{"===1.0,>=1", "2004d", false},
	} {
		s, err := ParseSpecifiers(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.ContainsText(c.text, Allow); got != c.want {
			t.Errorf("%q.ContainsText(%q) = %v, want %v", c.spec, c.text, got, c.want)
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, c := range load(f).Versions {
		f.Add(c.In)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			return
		}
		w, err := Parse(v.String())
		if err != nil || Compare(v, w) != 0 || v.String() != w.String() {
			t.Errorf("%q prints as %q, which reads as %q (%v)", s, v, w, err)
		}
		if k, err := Parse(v.Key()); err != nil || Compare(v, k) != 0 {
			t.Errorf("%q has the key %q (%v)", s, v.Key(), err)
		}
	})
}

func FuzzSpecifiers(f *testing.F) {
	v := load(f)
	for _, c := range v.Specifiers {
		f.Add(c.In, "1.0")
	}
	for _, c := range v.Contains {
		f.Add(c.Spec, "1.0.post1+abc")
	}
	f.Fuzz(func(t *testing.T, spec, version string) {
		s, err := ParseSpecifiers(spec)
		v, verr := Parse(version)
		if err != nil || verr != nil {
			return
		}
		if !v.IsPrerelease() && s.Contains(v, Refuse) != s.Contains(v, Allow) {
			t.Errorf("%q on %q depends on the policy", spec, version)
		}
		if again, err := ParseSpecifiers(s.String()); err != nil || again.Contains(v, Auto) != s.Contains(v, Auto) {
			t.Errorf("%q prints as %q, which means something else (%v)", spec, s, err)
		}
	})
}
