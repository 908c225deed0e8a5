package pep425

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"appbundle/schema/pep508"
)

// A row of testdata/wheel-tags.json: which tags fit, or which wheel wins.
type row struct {
	Kind      string
	Arch      string
	Glibc     []int
	Musl      []int
	Version   []int
	Python    []int
	ABIs      []string
	Platforms []string
	Tags      []string
	Wheels    []string
	Best      map[string]*string
}

func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/wheel-tags.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 68 {
		t.Fatalf("%d rows, want 68", len(rows))
	}
	for i, r := range rows {
		t.Run(fmt.Sprintf("%d-%s", i, r.Kind), func(t *testing.T) { r.check(t) })
	}
}

func (r row) check(t *testing.T) {
	switch r.Kind {
	case "manylinux":
		same(t, manylinux(r.Glibc[1], r.Arch), r.Platforms)
	case "musllinux":
		same(t, musllinux(r.Musl[0], r.Musl[1], r.Arch), r.Platforms)
	case "macos":
		same(t, macOS(r.Version[0], r.Version[1], r.Arch), r.Platforms)
	case "cpython", "cpython-free-threaded":
		py, err := ParsePython(r.ABIs[0])
		if err != nil || py.Minor != r.Python[1] || py.ABI() != r.ABIs[0] {
			t.Fatalf("ParsePython(%q) = %v, %v", r.ABIs[0], py, err)
		}
		same(t, Tags(py, r.Platforms), r.Tags)
	case "choice":
		r.choose(t)
	default:
		t.Fatalf("unknown kind %q", r.Kind)
	}
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// hosts are the platforms that the rows call by names of their own.
var hosts = map[string]string{
	"linux-x86_64-glibc2.36":  "manylinux_2_36_x86_64",
	"linux-x86_64-musl1.2":    "musllinux_1_2_x86_64",
	"linux-aarch64-glibc2.28": "manylinux_2_28_aarch64",
	"macos14-arm64":           "macosx_14_0_arm64",
}

func (r row) choose(t *testing.T) {
	for host, want := range r.Best {
		target, err := ParseTarget(hosts[host], fmt.Sprintf("3.%d", r.Python[1]))
		if err != nil {
			t.Fatal(err)
		}
		ranking := NewRanking(target.Tags)
		files := slices.Clone(r.Wheels)
		for range files {
			got := "none"
			if i := ranking.Choose(files); i >= 0 {
				got = files[i]
			}
			if want == nil && got != "none" || want != nil && got != *want {
				t.Errorf("%s: %s, want %v", host, got, want)
			}
			files = append(files[1:], files[0]) // the order of the list is no reason
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ platform, python, want string }{
		{"linux_x86_64", "3.11", "cp311-manylinux_2_28_x86_64 3.11.0 3.11 linux Linux x86_64"},
		{"manylinux2014_aarch64", "3.12.4", "cp312-manylinux_2_17_aarch64 3.12.4 3.12 linux Linux aarch64"},
		{"musllinux_1_2_aarch64", "cp310", "cp310-musllinux_1_2_aarch64 3.10.0 3.10 linux Linux aarch64"},
		{"macosx_14_0_arm64", "cp313t", "cp313t-macosx_14_0_arm64 3.13.0 3.13 darwin Darwin arm64"},
		{"manylinux_2_28_x86_64", "3.14.0rc1", "cp314-manylinux_2_28_x86_64 3.14.0rc1 3.14 linux Linux x86_64"},

		{"windows_amd64", "3.11", `"windows_amd64" is no target: write manylinux_2_28_x86_64, musllinux_1_2_x86_64, macosx_14_0_arm64, or linux_x86_64`},
		{"linux", "3.11", `"linux" is no target: the architecture is one of x86_64, aarch64, i686, armv7l, ppc64le, s390x, riscv64, loongarch64`},
		{"manylinux_2_x86_64", "3.11", `"manylinux_2_x86_64" is no target: "2" and "x86" must be numbers`},
		{"manylinux_2", "3.11", `"manylinux_2" is no target: it needs two numbers and an architecture`},
		{"manylinux_2_4_x86_64", "3.11", `"manylinux_2_4_x86_64" is no target: wheels are made for glibc 2.5 and later`},
		{"manylinux_2_99999999_x86_64", "3.11", `"manylinux_2_99999999_x86_64" is no target: "2" and "99999999" must be numbers`},
		{"musllinux_2_0_x86_64", "3.11", `"musllinux_2_0_x86_64" is no target: wheels are made for musl 1`},
		{"macosx_10_15_arm64", "3.11", `"macosx_10_15_arm64" is no target: wheels are made for macOS 10.4 and later, on arm64 for 11 and later`},
		{"linux_x86_64", "2.7", `"2.7" is no version of CPython 3; write 3.11, or cp311`},
		{"linux_x86_64", "3.011", `"3.011" is no version of CPython 3; write 3.11, or cp311`},
		{"linux_x86_64", "cp27", `"cp27" is no version of CPython 3; write 3.11, or cp311`},
		{"linux_x86_64", "", `"" is no version of CPython 3; write 3.11, or cp311`},
	} {
		target, err := ParseTarget(c.platform, c.python)
		env := target.Env
		got := strings.Join([]string{target.Name, target.Python.String(), env.PythonVersion, env.SysPlatform, env.PlatformSystem, env.PlatformMachine}, " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("ParseTarget(%q, %q) = %s, want %s", c.platform, c.python, got, c.want)
		}
	}
}

// Every variable but those of the kernel has a value: a marker is answered.
func TestTargetEnv(t *testing.T) {
	target, err := ParseTarget("linux_x86_64", "3.11.7")
	if err != nil {
		t.Fatal(err)
	}
	m, err := pep508.ParseMarker(`implementation_name == "cpython" and implementation_version == "3.11.7" and os_name == "posix" and platform_python_implementation == "CPython" and python_full_version >= "3.11.7"`)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := m.Evaluate(target.Env); !ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestCompareBuild(t *testing.T) {
	order := []string{"", "0", "1", "1a", "1b", "2", "10", "99999999999999999999", "100000000000000000000"}
	for i, a := range order {
		for j, b := range order {
			if got := CompareBuild(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("CompareBuild(%q, %q) = %d", a, b, got)
			}
		}
	}
}

// A name that is hostile must not cost anything.
func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux_x86_64", "manylinux_2_28_x86_64", "musllinux_1_2_aarch64", "macosx_14_0_arm64", "manylinux1_i686"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		again, err := ParsePlatform(p.String())
		if err != nil || again != p {
			t.Fatalf("%q: %v, then %v, %v", s, p, again, err)
		}
		if tags := p.Tags(); !slices.Contains(tags, p.String()) && p.Kind != MacOS || len(tags) > 10_000 {
			t.Fatalf("%q: %d tags", s, len(tags))
		}
	})
}
