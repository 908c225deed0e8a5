package rpm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type vector struct{ Version, RPM, Deb string }

type vectors struct {
	PEP440, Semver []vector
	Equal          []struct{ A, B, RPM, Deb string } `json:"normalised_equal"`
	Exceptions     []struct{ Scheme, Format, Lower, Higher string }
	Broken         []struct {
		A, B, RPM string
		Deb       *string
	}
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	data, err := os.ReadFile("testdata/versions.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// extra are versions in ascending order that the vectors do not have.
var extra = []string{
	"0.9.post1", "1.0.dev1+x", "1.0a1.post1.dev1", "1.0a1.post1", "1.0rc1.post2.dev3", "1.0rc1.post2", "1.0rc2",
	"1.0", "1.0+a", "1.0+a.b", "1.0+b", "1.0+1", "1.0+1.a", "1.0+2", "1.0+10", "1.0.post1+x", "1.0.post2.dev1", "1.0.post10",
	"1.0.1", "1.9", "1.10", "1.100", "20240101", "1!0.1", "2!0",
}

func TestVersionsKeepTheirOrder(t *testing.T) {
	v := readVectors(t)
	for i, p := range v.PEP440 {
		checkMapping(t, FromPEP440, p)
		for _, q := range v.PEP440[i+1:] {
			checkOrder(t, FromPEP440, p.Version, q.Version)
		}
	}
	for i, p := range v.Semver {
		checkMapping(t, FromSemver, p)
		for _, q := range v.Semver[i+1:] {
			if p.Version != "1.0.0-alpha.1" || q.Version != "1.0.0-alpha.beta" {
				checkOrder(t, FromSemver, p.Version, q.Version)
			}
		}
	}
	for i, a := range extra {
		for _, b := range extra[i+1:] {
			if strings.HasPrefix(a, "1.0+") && strings.HasPrefix(b, "1.0+") {
				continue // dpkg puts numbers below words
			}
			checkOrder(t, FromPEP440, a, b)
		}
	}
}

// What is one version for PEP 440 is two for packages: 1.0 and 1.0.0. Its order is
// that of the vectors.
func TestVersionsThatAreEqual(t *testing.T) {
	v := readVectors(t)
	if len(v.Equal) != 3 {
		t.Fatalf("%d vectors", len(v.Equal))
	}
	for _, e := range v.Equal {
		for f, want := range map[Format]string{RPM: e.RPM, Deb: e.Deb} {
			a, errA := FromPEP440(f, e.A)
			b, errB := FromPEP440(f, e.B)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if got := "<=>"[Compare(f, a, b)+1]; string(got) != want {
				t.Errorf("%s: %s %c %s, want %s", f, a, got, b, want)
			}
		}
	}
}

func checkMapping(t *testing.T, from func(Format, string) (EVR, error), v vector) {
	t.Helper()
	for f, want := range map[Format]string{RPM: v.RPM, Deb: v.Deb} {
		got, err := from(f, v.Version)
		if err != nil || got.String() != want {
			t.Errorf("%s as %s = %v, %v, want %s", v.Version, f, got, err, want)
		}
		got.Release = "1"
		if err := got.check(f); err != nil {
			t.Errorf("%s as %s: %v", v.Version, f, err)
		}
		if back, err := ParseEVR(got.String()); err != nil || back != got {
			t.Errorf("ParseEVR(%q) = %+v, %v", got, back, err)
		}
	}
}

func checkOrder(t *testing.T, from func(Format, string) (EVR, error), lower, higher string) {
	t.Helper()
	for _, f := range []Format{RPM, Deb} {
		a, errA := from(f, lower)
		b, errB := from(f, higher)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if Compare(f, a, b) != -1 || Compare(f, b, a) != 1 || Compare(f, a, a) != 0 {
			t.Errorf("%s: %s (%s) is not before %s (%s)", f, a, lower, b, higher)
		}
	}
}

// spellings are versions of every kind, for the comparison with the tools.
func spellings(t *testing.T, f Format) []string {
	v := readVectors(t)
	var all []string
	for _, p := range slices.Concat(v.PEP440, v.Semver) {
		if f == RPM {
			all = append(all, p.RPM)
		} else {
			all = append(all, p.Deb)
		}
	}
	for _, p := range extra {
		e, err := FromPEP440(f, p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.String())
	}
	all = append(all, "1.0.0.0", "1", "01", "1.01", "1.a", "1a", "1.1a", "1..0", "1.0.", "1_0", "1~", "1~~", "1.0~rc1~1", "1.0a", "1z", "1Z",
		"1.0+b", "1.0.b", "999999999999999999999999", "1000000000000000000000000", "2:1", "0:1", "1-1", "1-2", "1-2.1", "1-1~x")
	for _, b := range v.Broken {
		if f == RPM {
			all = append(all, strings.ReplaceAll(b.A, "-", "_"))
		} else if b.Deb != nil {
			all = append(all, b.A)
		}
	}
	if f == RPM {
		all = append(all, "1^", "1^^", "1^a", "1^1", "1.0^~", "1.0~^", "1^a~b", "1.0.^a")
	} else {
		all = append(all, "1-1-1", "1.-1", "1+-1")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestCompareAsTheTools compares every pair with rpm's own library and with dpkg.
func TestCompareAsTheTools(t *testing.T) {
	for _, f := range []Format{RPM, Deb} {
		all := spellings(t, f)
		var script strings.Builder
		var want strings.Builder
		if f == RPM {
			script.WriteString("%{lua:for l in io.lines(os.getenv('PAIRS')) do local a,b = l:match('(%S+) (%S+)') print(a..' '..b..' '..rpm.vercmp(a,b)..'\\n') end}")
		}
		var pairs strings.Builder
		for _, a := range all {
			for _, b := range all {
				ea, errA := ParseEVR(a)
				eb, errB := ParseEVR(b)
				if errA != nil || errB != nil {
					t.Fatal(errA, errB)
				}
				if (ea.Release == "") != (eb.Release == "") {
					continue // a package has a release, and only a relation has none
				}
				if f == Deb && min(len(a), len(b)) > 20 {
					continue // dpkg compares digits, its Perl module machine numbers
				}
				fmt.Fprintf(&pairs, "%s %s\n", a, b)
				fmt.Fprintf(&want, "%s %s %d\n", a, b, Compare(f, ea, eb))
			}
		}
		file := t.TempDir() + "/pairs"
		if err := os.WriteFile(file, []byte(pairs.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("rpm", "-E", script.String())
		if f == Deb {
			cmd = exec.Command("perl", "-MDpkg::Version", "-ne", `($a,$b)=split; print "$a $b ", Dpkg::Version->new($a) <=> Dpkg::Version->new($b), "\n"`, file)
		}
		cmd.Env = append(os.Environ(), "PAIRS="+file)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got := strings.Split(strings.TrimSpace(string(out)), "\n")
		wants := strings.Split(strings.TrimSpace(want.String()), "\n")
		got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
		if len(got) != len(wants) {
			t.Fatalf("%s: %d answers of %d: %s", f, len(got), len(wants), out)
		}
		bad := 0
		for i := range got {
			if got[i] != wants[i] {
				if bad++; bad < 20 {
					t.Errorf("%s says %q, Compare %q", f, got[i], wants[i])
				}
			}
		}
	}
}

// TestDpkgOrdersTheVectors asks dpkg itself, a process a pair, for neighbours.
func TestDpkgOrdersTheVectors(t *testing.T) {
	v := readVectors(t)
	var script strings.Builder
	for _, list := range [][]vector{v.PEP440, v.Semver} {
		for i := range list[1:] {
			fmt.Fprintf(&script, "dpkg --compare-versions %s lt %s || echo %[1]s %s\n", list[i].Deb, list[i+1].Deb)
		}
	}
	script.WriteString("dpkg --compare-versions 999999999999999999999999 lt 1000000000000000000000000 || echo long numbers\n")
	if out, err := exec.Command("sh", "-c", script.String()).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVersionsRefused(t *testing.T) {
	for _, v := range []string{"", "x", "1.0-", "99999999999!1", "1" + strings.Repeat("0", 300)} {
		if e, err := FromPEP440(RPM, v); err == nil {
			t.Errorf("FromPEP440(%q) = %v", v, e)
		}
		if e, err := FromSemver(RPM, v); err == nil {
			t.Errorf("FromSemver(%q) = %v", v, e)
		}
	}
	for _, f := range []Format{RPM, Deb} {
		for _, e := range []EVR{{}, {Version: "1 0"}, {Version: "1:0"}, {Version: "1/0"}, {Version: "1-0"}, {Version: "~1"}, {Version: "1", Release: "1-1"},
			{Version: "1", Release: "a b"}, {Epoch: -1, Version: "1"}, {Version: "1\n"}, {Version: "é"}} {
			if err := e.check(f); err == nil {
				t.Errorf("%s: %+v passes", f, e)
			}
		}
	}
}
