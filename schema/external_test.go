package schema

import (
	"reflect"
	"strings"
	"testing"
)

func TestExternal(t *testing.T) {
	for _, c := range readCases(t, "external.txt") {
		t.Run(c.name, func(t *testing.T) {
			list, ps := ParseExternal("e.txt", []byte(c.in))
			var lines []string
			for _, e := range list {
				s := e.Pos.String() + " " + e.Name
				if e.Dep != nil {
					s += e.Dep.suffix()
				}
				if e.Specifiers != nil {
					s += " | " + e.Specifiers.String()
				}
				if e.Marker != nil {
					s += " | " + e.Marker.String()
				}
				lines = append(lines, s)
			}
			got := strings.TrimRight(strings.Join(append(lines, ps.Error()), "\n"), "\n")
			if got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func FuzzExternal(f *testing.F) {
	for _, c := range readCases(f, "external.txt") {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, ps := ParseExternal("f", data)
		positionsInside(t, "f", data, ps)
		for _, e := range list {
			if e.Name == "" || strings.ContainsAny(e.Name, " \t;@") {
				t.Errorf("name %q of %q", e.Name, e.Text)
			}
			again, ps := ParseExternal("f", []byte(e.String()))
			if len(ps) > 0 || len(again) != 1 {
				t.Fatalf("%q is %q: %v", e.Text, e.String(), ps)
			}
			if b := again[0]; b.String() != e.String() || !reflect.DeepEqual(b.Dep, e.Dep) || b.Name != e.Name || b.Specifiers.String() != e.Specifiers.String() {
				t.Errorf("%q is %q, which is %q", e.Text, e.String(), b.String())
			}
		}
	})
}
