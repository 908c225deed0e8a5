package schema

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// summary prints what was read in one line.
func (m *CoreMetadata) summary() string {
	var requires []string
	for _, r := range m.Requires {
		requires = append(requires, r.String())
	}
	return fmt.Sprintf("%s %s python %q requires %q extras %q license %q dynamic %q static %v",
		m.Name, m.Version, m.RequiresPython, requires, m.Extras, m.License, m.Dynamic, m.Static())
}

func TestCoreMetadata(t *testing.T) {
	tests := []struct {
		name, text, want string
		repairs          string
		problems         string
	}{
		{
			name: "all",
			text: "Metadata-Version: 2.4\nName: Foo_Bar\nVersion: 1.0\nSummary: x: y\nLicense-Expression: MIT\nRequires-Python: >=3.8\nProvides-Extra: B_x\nProvides-Extra: a\nProvides-Extra: b-x\nRequires-Dist: X>=1 ; extra == \"a\"\nRequires-Dist: y\n\nRequires-Dist: not me\n",
			want: `foo-bar 1.0 python ">=3.8" requires ["X>=1; extra == \"a\"" "y"] extras ["a" "b-x"] license "MIT" dynamic [] static true`,
		},
		{
			name: "spelling of fields, line ends, byte order mark, continuation",
			text: "\ufeffNAME:foo\r\nversion: 1\r\nDescription: a\r\n        Requires-Dist: inside\r\nrequires-dist: x\r\n\t>=1\r\n\r\nbody",
			want: `foo 1 python "" requires ["x>=1"] extras [] license "" dynamic [] static false`,
		},
		{
			name: "dynamic",
			text: "Metadata-Version: 2.2\nName: foo\nVersion: 1\nDynamic: License\nDynamic: Requires-Dist\n",
			want: `foo 1 python "" requires [] extras [] license "" dynamic ["license" "requires-dist"] static false`,
		},
		{
			name: "dynamic, but not in what counts",
			text: "Metadata-Version: 2.2\nName: foo\nVersion: 1\nDynamic: Summary\n",
			want: `foo 1 python "" requires [] extras [] license "" dynamic ["summary"] static true`,
		},
		{
			name:    "repairs",
			text:    "Name: foo\nVersion: 1\nRequires-Python: >=2.7, !=3.0*\nRequires-Dist: x (>=1.9.*<2.0)\nRequires-Dist: y>=1.*;python_version < '3'\nProvides-Extra: no name\n",
			want:    `foo 1 python "!=3.0.*,>=2.7" requires ["x<2.0,>=1.9" "y>=1; python_version < \"3\""] extras [] license "" dynamic [] static false`,
			repairs: "f:3: Requires-Python \">=2.7, !=3.0*\" is read as \">=2.7, !=3.0.*\"\nf:4: Requires-Dist \"x (>=1.9.*<2.0)\" is read as \"x (>=1.9,<2.0)\"\nf:5: Requires-Dist \"y>=1.*;python_version < '3'\" is read as \"y>=1;python_version < '3'\"\nf:6: Provides-Extra \"no name\" is left out: it is no name",
		},
		{
			name:    "Python that nobody understands",
			text:    "Name: foo\nVersion: 1\nRequires-Python: three\n",
			want:    `foo 1 python "" requires [] extras [] license "" dynamic [] static false`,
			repairs: "f:3: Requires-Python \"three\" is left out: invalid version specifier \"three\"",
		},
		{
			name:    "text among the fields",
			text:    "Name: foo\nVersion: 1\nbroken line\nRequires-Dist: x\n",
			want:    `foo 1 python "" requires [] extras [] license "" dynamic [] static false`,
			repairs: "f:3: the line is neither a field nor empty; nothing is read from here on",
		},
		{
			name:     "requirement",
			text:     "Name: foo\nVersion: 1\nRequires-Dist: x>>1\nRequires-Dist: y\xff\nRequires-Dist: z\n",
			want:     `foo 1 python "" requires ["z"] extras [] license "" dynamic [] static false`,
			problems: "f:3: Requires-Dist \"x>>1\": invalid version \">1\"\nf:4: requires-dist is not UTF-8",
		},
		{
			name:     "twice and missing",
			text:     "Name: foo\nName: bar\n",
			want:     `foo 0 python "" requires [] extras [] license "" dynamic [] static false`,
			problems: "f: the file has no version\nf:2: name is given twice",
		},
		{
			name:     "bad values",
			text:     "Metadata-Version: 3.0\nName: foo bar\nVersion: one\n",
			want:     `foo bar 0 python "" requires [] extras [] license "" dynamic [] static true`,
			problems: "f:1: Metadata-Version 3.0 is newer than what can be read, 2\nf:2: \"foo bar\" is no name of a project\nf:3: invalid version \"one\"",
		},
		{
			name:     "nothing",
			want:     ` 0 python "" requires [] extras [] license "" dynamic [] static false`,
			problems: "f: the file has no name\nf: the file has no version",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, problems := ParseCoreMetadata("f", []byte(tt.text))
			if got := m.summary(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := m.Repairs.Error(); got != tt.repairs {
				t.Errorf("repairs\n%s\nwant\n%s", got, tt.repairs)
			}
			if got := problems.Error(); got != tt.problems {
				t.Errorf("problems\n%s\nwant\n%s", got, tt.problems)
			}
		})
	}
}

func TestCoreMetadataLimits(t *testing.T) {
	head := "Name: foo\nVersion: 1\n"
	for text, want := range map[string]string{
		strings.Repeat("x", MaxFile+1):                               "the file has 4194305 bytes, more than 4194304",
		head + strings.Repeat("Requires-Dist: x\n", 5001):            "more than 5000 requirements",
		head + strings.Repeat("Provides-Extra: x\n", 5001):           "more than 5000 extras",
		head + "Requires-Dist: x; " + strings.Repeat("(", 1<<20):     "requires-dist has more than 65536 bytes",
		head + "Requires-Dist: x; " + strings.Repeat("(", 1<<15):     "parentheses",
		head + "Requires-Dist: x" + strings.Repeat("\n >=1,", 1<<18): "requires-dist has more than 65536 bytes",
	} {
		_, problems := ParseCoreMetadata("f", []byte(text))
		if len(problems) == 0 || !strings.Contains(problems[len(problems)-1].Msg, want) {
			t.Errorf("%.40q: got %v, want %s", text, problems, want)
		}
	}
}

func TestRepairSpecifiers(t *testing.T) {
	for text, want := range map[string]string{
		"":                     `""`,
		">=3.6,":               `""`,
		`">=3.6"`:              `">=3.6"`,
		"=>3.6, =<4":           `">=3.6, <=4"`,
		">=2.7 !=3.0.* !=3.1*": `">=2.7,!=3.0.*,!=3.1.*"`,
		">=3.6.*":              `">=3.6"`,
		">=3.6*":               `">=3.6"`,
		">=3.*":                `">=3"`,
		">1.0.*":               `">1.0"`,
		"~=3":                  `"~=3.0"`,
		">=3.":                 `">=3"`,
		"3.6":                  `error`,
		">=three":              `error`,
	} {
		_, repaired, err := RepairSpecifiers(text)
		got := fmt.Sprintf("%q", repaired)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("RepairSpecifiers(%q): %s, %v, want %s", text, got, err, want)
		}
	}
}

func FuzzCoreMetadata(f *testing.F) {
	f.Add([]byte("Metadata-Version: 2.1\nName: foo\nVersion: 1\nRequires-Python: >=3.6.*\nRequires-Dist: x (>=1)\n more\nProvides-Extra: e\nDynamic: x\n\nbody"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, problems := ParseCoreMetadata("f", data)
		again, problems2 := ParseCoreMetadata("f", ReduceCoreMetadata(data))
		if len(problems) == 0 && (len(problems2) != 0 || m.summary() != again.summary()) {
			t.Errorf("%s\nreduced %s, %v", m.summary(), again.summary(), problems2)
		}
		reduced := ReduceCoreMetadata(data)
		if !reflect.DeepEqual(ReduceCoreMetadata(reduced), reduced) {
			t.Errorf("%q is reduced further", reduced)
		}
	})
}
