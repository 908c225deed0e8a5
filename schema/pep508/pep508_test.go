package pep508

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type vectors struct {
	Environments map[string]Env
	Requirements []struct {
		In       string
		InRepeat []any `json:"in_repeat"`
		OK       any
		Name     string
		Norm     string
		Extras   []string
		Spec     string
		URL      string
		Marker   string
		Str      string
	}
	Markers []struct {
		Marker, Str string
		OK          bool
		InEnv       map[string]any `json:"in_env"`
	}
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	var v struct {
		Names []struct {
			In, Norm string
			Valid    bool
			IsNormal bool `json:"is_normal"`
		}
	}
	load(t, "names.json", &v)
	for _, c := range v.Names {
		if got := NormalizeName(c.In); got != c.Norm {
			t.Errorf("NormalizeName(%q) = %q, want %q", c.In, got, c.Norm)
		}
		if ValidName(c.In) != c.Valid || IsNormalName(c.In) != c.IsNormal {
			t.Errorf("%q: valid %v, normal %v, want %v, %v", c.In, ValidName(c.In), IsNormalName(c.In), c.Valid, c.IsNormal)
		}
	}
}

// What we refuse and the vectors read: names and tags that no index has.
var strictFileNames = map[string]string{
	"\u00e4-1.0-py3-none-any.whl": "a name outside ASCII",
	"a-1.0-py3-none-any .whl":     "a blank in a tag",
	"../a-1.0.tar.gz":             "a path in a name",
}

func TestFileNames(t *testing.T) {
	var v struct {
		Wheels []struct {
			In, Name, Version string
			OK                bool
			Tags              any
		} `json:"wheel_filenames"`
		Sdists []struct {
			In, Name, Version string
			OK                bool
		} `json:"sdist_filenames"`
	}
	load(t, "names.json", &v)
	names := NewWheelNames()
	for _, c := range v.Wheels {
		tags, isList := c.Tags.([]any) // a number says that there are too many
		want := c.OK && strictFileNames[c.In] == "" && isList
		w, err := ParseWheelName(c.In)
		for range 2 { // the second time it is remembered
			if again, err2 := names.Parse(c.In); (err2 == nil) != (err == nil) || !reflect.DeepEqual(again, w) {
				t.Errorf("of many: %q is %v, %v, want %v, %v", c.In, again, err2, w, err)
			}
		}
		if (err == nil) != want {
			t.Errorf("ParseWheelName(%q): %v, want ok %v", c.In, err, want)
			continue
		}
		if err == nil && (w.Name != c.Name || w.Version.String() != c.Version || len(w.Tags) != len(tags)) {
			t.Errorf("ParseWheelName(%q) = %v, want %v", c.In, w, c)
		}
		for i, tag := range w.Tags {
			if !slices.Contains(tags, any(tag)) {
				t.Errorf("ParseWheelName(%q): tag %d is %q, want %q", c.In, i, tag, tags)
			}
		}
	}
	for _, c := range v.Sdists {
		name, version, err := ParseSdistName(c.In)
		want := c.OK && strictFileNames[c.In] == ""
		if (err == nil) != want {
			t.Errorf("ParseSdistName(%q): %v, want ok %v", c.In, err, want)
		} else if want && (name != c.Name || version.String() != c.Version) {
			t.Errorf("ParseSdistName(%q) = %q, %v, want %q, %q", c.In, name, version, c.Name, c.Version)
		}
	}
}

func TestRequirements(t *testing.T) {
	var v vectors
	load(t, "pep508.json", &v)
	for _, c := range v.Requirements {
		in := c.In
		for _, part := range c.InRepeat {
			if pair, ok := part.([]any); ok {
				part = strings.Repeat(pair[0].(string), int(pair[1].(float64)))
			}
			in += part.(string)
		}
		r, err := Parse(in)
		if ok := c.OK == true; (err == nil) != ok {
			t.Errorf("Parse(%.80q): %v, want ok %v", in, err, c.OK)
			continue
		} else if !ok {
			continue
		}
		marker := ""
		if r.Marker != nil {
			marker = r.Marker.String()
		}
		got := []string{r.Name, r.Key(), r.Specifiers.String(), r.URL, marker, r.String()}
		want := []string{c.Name, c.Norm, c.Spec, c.URL, c.Marker, c.Str}
		if !slices.Equal(got, want) || !slices.Equal(r.Extras, c.Extras) {
			t.Errorf("Parse(%.80q) = %q %q, want %q %q", in, got, r.Extras, want, c.Extras)
		}
	}
}

func TestMarkers(t *testing.T) {
	var v vectors
	load(t, "pep508.json", &v)
	for _, c := range v.Markers {
		m, err := ParseMarker(c.Marker)
		if (err == nil) != c.OK {
			t.Errorf("ParseMarker(%q): %v", c.Marker, err)
			continue
		}
		if m.String() != c.Str {
			t.Errorf("ParseMarker(%q) = %q, want %q", c.Marker, m, c.Str)
		}
		for name, want := range c.InEnv {
			envName, extra, _ := strings.Cut(name, "+")
			got, err := m.Evaluate(v.Environments[envName], extra)
			if text, ok := want.(string); ok {
				wantErr := map[string]error{"UndefinedComparison": ErrUndefinedComparison, "UndefinedEnvironmentName": ErrNoVariable}[text]
				if !errors.Is(err, wantErr) {
					t.Errorf("%q in %s: %v, want %v", c.Marker, name, err, wantErr)
				}
			} else if got != want || err != nil {
				t.Errorf("%q in %s = %v, %v, want %v", c.Marker, name, got, err, want)
			}
		}
	}
}

func TestMarkerOfLock(t *testing.T) {
	env := Env{Extras: []string{"Foo_Bar"}, DependencyGroups: []string{"dev"}, PythonFullVersion: "3.14.0+", PlatformSystem: "Linux"}
	for _, c := range []struct {
		marker string
		extras []string
		want   bool
	}{
		{"'foo-bar' in extras", nil, true},
		{"'dev' in extras", nil, false},
		{"'dev' in dependency_groups", nil, true},
		{"'dev' not in dependency_groups", nil, false},
		{"extra == 'A.B'", []string{"x", "a_b"}, true},
		{"python_full_version == '3.14'", nil, true},
		{"platform_system == 'Linux' and (os_name == 'a' or os_name == '')", nil, true},
	} {
		m, err := ParseMarker(c.marker)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Evaluate(env, c.extras...); got != c.want || err != nil {
			t.Errorf("%q with %q = %v, %v, want %v", c.marker, c.extras, got, err, c.want)
		}
	}
}

func TestErrorColumns(t *testing.T) {
	for _, c := range []struct {
		in, want string
		col      int
	}{
		{"==1.0", `a package name must stand here, not "==1.0"`, 1},
		{"name==1.0#c", `a specifier, a ; or the end must stand here, not "#c"`, 10},
		{"name>=1, ~=2", `~=2 needs at least two numbers, such as ~=2.0`, 10},
		{"name[a", `the list of extras ends with ], not ""`, 7},
		{"name; os == 'x'", `unknown marker variable "os"`, 7},
		{"name; os_name == 'x", `a string without a closing '`, 18},
		{"name; os_name == 'x' and", `a marker variable or a quoted string must stand here, not ""`, 25},
		{"name; (os_name == 'x'", `a closing ) must stand here, not ""`, 22},
		{"name===a,b", `invalid version specifier "b"`, 5},
	} {
		_, err := Parse(c.in)
		var at *Error
		if !errors.As(err, &at) {
			t.Errorf("Parse(%q): %v, want an *Error", c.in, err)
		} else if at.Col != c.col || at.Error() != c.want {
			t.Errorf("Parse(%q): column %d: %v, want %d: %s", c.in, at.Col, at, c.col, c.want)
		}
	}
}

func FuzzRequirement(f *testing.F) {
	var v vectors
	load(f, "pep508.json", &v)
	for _, c := range v.Requirements {
		f.Add(c.In)
	}
	for _, c := range v.Markers {
		f.Add("name; " + c.Marker)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		var at *Error
		if errors.As(err, &at) && (at.Col < 1 || at.Col > len(s)+1) {
			t.Errorf("Parse(%q): column %d is outside", s, at.Col)
		}
		if err != nil {
			return
		}
		_, _ = r.Marker.Evaluate(Env{PythonVersion: "3.11"}, "x")
		// Escapes and both kinds of quotes are not written back.
		if strings.ContainsAny(s, "\\'\"") {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q prints as %q, which reads as %v (%v)", s, r, again, err)
		}
	})
}
