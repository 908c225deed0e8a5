package external

import (
	"os/exec"
	"strings"
	"testing"

	"appbundle/schema/pep440"
)

// The relations of a line hold for the versions that the line means, as dpkg
// and rpm order them: with a revision, with what distributions add, and with an
// epoch.
func TestOrder(t *testing.T) {
	tests := []struct{ spec, yes, no string }{ // versions without epoch and revision
		{">=3", "3 3.0 3.0.17 3+dfsg 10 3.0+really3.1", "2.9 3~rc1"},
		{">3.0", "3.0.1 3.1 4", "3.0 3.0+dfsg 3.0~rc1 2"},
		{"<=3.0", "3.0 2.9 3.0~rc1", "3.0.1 3.1"},
		{"<4", "3.9 3", "4 4~rc1 4.0 10"},
		{"==1.2.3", "1.2.3 1.2.3+dfsg", "1.2.4 1.2.3.1 1.2.3~rc1 1.2.2"},
		{"==1.2.*", "1.2 1.2.9 1.2.10", "1.3 1.3~rc1 1.20 1.1"},
		{"~=1.4.2", "1.4.2 1.4.10", "1.5 1.5~a1 1.4.1 2"},
		{"~=1.4", "1.4 1.9", "2 2~rc1 1.3"},
		{">=2,<3", "2 2.99", "3 1.9 3~b1"},
		{">=1.0rc1", "1.0~rc1 1.0~rc2 1.0", "1.0~b1 0.9"},
		{"<1.0rc2", "1.0~rc1 1.0~b1 0.9", "1.0~rc2 1.0"},
		{">=1.0.dev3", "1.0~~dev3 1.0~a1 1.0", "1.0~~dev2 0.9"},
	}
	specs := func(s string) pep440.Specifiers {
		set, err := pep440.ParseSpecifiers(s)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	for _, f := range []Family{Deb, RPM} {
		for _, tt := range tests {
			for _, epoch := range []string{"", "2"} {
				e := dependencies(t, "x "+specs(tt.spec).String())[0]
				rs := relate(f, "x", epoch, bounds(&e, nil))
				check := func(versions string, want bool) {
					for _, v := range strings.Fields(versions) {
						if f == RPM && strings.Contains(v, "+") {
							continue // no upstream of an rpm is called so
						}
						if epoch != "" {
							v = epoch + ":" + v
						}
						if got := holds(t, f, rs, v); got != want {
							t.Errorf("%s: x %s is %s, which holds for %s: %v, want %v", f, tt.spec, list(f, rs), v, got, want)
						}
					}
				}
				check(tt.yes, true)
				check(tt.no, false)
			}
		}
	}
}

// holds asks the real tool whether every relation holds for a version.
func holds(t *testing.T, f Family, rs []Relation, version string) bool {
	for _, r := range rs {
		if f == Deb {
			cmd := exec.Command("dpkg", "--compare-versions", version+"-1", r.Op, r.Version)
			if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
				t.Fatal(err)
			} else if err != nil {
				return false
			}
			continue
		}
		// What a relation does not name, the release, is not compared.
		out, err := exec.Command("rpm", "--eval", `%{lua: print(rpm.vercmp("`+version+`", "`+r.Version+`"))}`).Output()
		if err != nil {
			t.Fatal(err)
		}
		signs := map[string]string{"<": "-1", "<=": "-1 0", "=": "0", ">=": "0 1", ">": "1"}
		if !strings.Contains(" "+signs[r.Op]+" ", " "+strings.TrimSpace(string(out))+" ") {
			return false
		}
	}
	return true
}
