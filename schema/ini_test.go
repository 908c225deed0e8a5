package schema

import (
	"fmt"
	"strings"
	"testing"
)

func dumpINI(ini *INI, ps Problems) string {
	var b strings.Builder
	for _, s := range ini.Sections {
		fmt.Fprintf(&b, "[%s] %d\n", s.Name, s.Line)
		for _, k := range s.Keys {
			fmt.Fprintf(&b, "%s=%q %s\n", k.Name, k.Value, k.PosAt(max(0, len(k.Value)-1)))
		}
	}
	b.WriteString(ps.Error())
	return strings.TrimRight(b.String(), "\n")
}

func TestINI(t *testing.T) {
	for _, c := range readCases(t, "ini.txt") {
		t.Run(c.name, func(t *testing.T) {
			dialect := Dialect{Circus: strings.HasPrefix(c.name, "circus")}
			ini, ps := ParseINI("f", []byte(c.in), dialect)
			if got := dumpINI(ini, ps); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func FuzzINI(f *testing.F) {
	for _, c := range readCases(f, "ini.txt") {
		f.Add([]byte(c.in), true)
		f.Add([]byte(c.in), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, circus bool) {
		ini, ps := ParseINI("f", data, Dialect{Circus: circus})
		positionsInside(t, "f", data, ps)
		total := 0
		for _, s := range ini.Sections {
			for _, k := range s.Keys {
				total += len(k.Value)
				positionsInside(t, "f", data, Problems{{Pos: k.PosAt(0), Msg: "x"}})
			}
		}
		if !circus && total > 2*len(data) {
			t.Errorf("%d bytes of values from %d", total, len(data))
		}
	})
}
