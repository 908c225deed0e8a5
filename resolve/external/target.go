package external

import (
	"fmt"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// A Family is a kind of packages: how names, versions and relations are spelled.
type Family string

// The families.
const (
	Deb Family = "deb"
	RPM Family = "rpm"
	APK Family = "apk"
)

// A Target is a distribution on an architecture.
type Target struct {
	Name    string // "debian-12"; that of the family for [Any]
	Family  Family
	Machine string     // as uname says: "x86_64"
	Env     pep508.Env // what markers are answered from

	names func(*entry) (n, other names) // other differs where a family's releases do
}

// A release is a distribution that the table has names for.
type release struct {
	name    string
	family  Family
	python  string   // its own
	ids     []string // ID of os-release
	version string   // the beginning of VERSION_ID
	names   func(*entry) (n, other names)
}

var releases = []release{
	{"debian-12", Deb, "3.11", []string{"debian"}, "12", debianNames},
	{"fedora-41", RPM, "3.13", []string{"fedora"}, "41", fedoraNames},
	{"el9", RPM, "3.9", []string{"rhel", "centos", "rocky", "almalinux", "ol", "el"}, "9", elNames},
	{"alpine-3.20", APK, "3.12", []string{"alpine"}, "3.20", alpineNames},
}

func debianNames(e *entry) (n, other names) { return e.Debian, e.Debian }
func fedoraNames(e *entry) (n, other names) { return e.Fedora, e.Fedora }
func alpineNames(e *entry) (n, other names) { return e.Alpine, e.Alpine }

func elNames(e *entry) (n, other names) {
	n = e.EL.over(e.Fedora)
	return n, n
}

// rpmNames are what Fedora and EL agree on. Where they have two packages it is
// Fedora's, and the other is told; of two epochs it is none, which holds for
// every lower bound.
func rpmNames(e *entry) (n, other names) {
	n, other = e.Fedora, e.EL.over(e.Fedora)
	if n.Soname != other.Soname {
		n.Soname = ""
	}
	if n.Path != other.Path {
		n.Path = ""
	}
	if n.Epoch != other.Epoch {
		n.Epoch = ""
	}
	return n, other
}

// Targets lists what [ParseTarget] knows.
func Targets() []string {
	var out []string
	for _, r := range releases {
		out = append(out, r.name)
	}
	return out
}

// An UnknownError says that there are no names for a distribution.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("no package names are known for %q", e.Name)
}

// Hint names the targets that are known.
func (e *UnknownError) Hint() string { return "--for " + strings.Join(Targets(), "|") }

// ParseTarget reads ID-VERSION as os-release has them, such as "debian-12" or
// "rocky-9.4", or "el9" for every rebuild of it; machine is the architecture, as
// uname says. The error is an [*UnknownError] where the table has no such
// distribution.
func ParseTarget(name, machine string) (Target, error) {
	id, version, _ := strings.Cut(name, "-")
	for _, r := range releases {
		if name == r.name || r.is(id, version) {
			return newTarget(r.name, r.family, r.names, r.python, machine)
		}
	}
	return Target{}, &UnknownError{name}
}

// is reports whether id and version are of the release: 3.20.3 is 3.20.
func (r *release) is(id, version string) bool {
	for _, own := range r.ids {
		if id == own && (version == r.version || strings.HasPrefix(version, r.version+".")) {
			return true
		}
	}
	return false
}

// Any gives what packages of a family can rely on wherever they are installed:
// for [RPM] what fedora-41 and el9 agree on, for [Deb] debian-12, for [APK]
// alpine-3.20. Its Python, for markers, is the first of these' own; see
// [Target.WithPython]. machine is as in [ParseTarget].
func Any(f Family, machine string) (Target, error) {
	for _, r := range releases {
		if r.family == f {
			from := r.names
			if f == RPM {
				from = rpmNames
			}
			return newTarget(string(f), f, from, r.python, machine)
		}
	}
	return Target{}, &UnknownError{string(f)}
}

func newTarget(name string, f Family, from func(*entry) (n, other names), python, machine string) (Target, error) {
	t := Target{Name: name, Family: f, Machine: machine, names: from}
	return t.WithPython(python)
}

// WithPython gives the target with another Python than the distribution's own
// ("3.12", "3.12.4", "cp312"), which markers may ask for.
func (t Target) WithPython(version string) (Target, error) {
	p, err := pep425.ParseTarget("manylinux_2_40_"+t.Machine, version)
	if err != nil {
		return Target{}, err
	}
	t.Env = p.Env
	return t, nil
}

// is64 reports whether rpm marks sonames of the target with (64bit).
func (t Target) is64() bool {
	switch t.Machine {
	case "x86_64", "aarch64", "ppc64le", "s390x", "riscv64", "loongarch64":
		return true
	}
	return false
}

// maxOSRelease is the size of the longest os-release that is read.
const maxOSRelease = 64 << 10

// ParseOSRelease gives ID-VERSION_ID of an os-release file, "" for a part that
// it does not have. The error names the line.
func ParseOSRelease(file string, data []byte) (string, error) {
	if len(data) > maxOSRelease {
		return "", fmt.Errorf("%s: has more than %d bytes", file, maxOSRelease)
	}
	value := map[string]string{}
	no := 0
	for line := range strings.Lines(string(data)) {
		no++
		line = strings.TrimSpace(line)
		key, text, ok := strings.Cut(line, "=")
		if line == "" || line[0] == '#' || key != "ID" && key != "VERSION_ID" {
			continue
		}
		words, err := schema.SplitWords(text)
		if err != nil || !ok || len(words) > 1 {
			return "", fmt.Errorf("%s:%d: %q is no assignment", file, no, line)
		}
		value[key] = strings.Join(words, "")
	}
	name := value["ID"]
	if v := value["VERSION_ID"]; v != "" {
		name += "-" + v
	}
	if name == "" {
		return "", fmt.Errorf("%s: has no ID", file)
	}
	return name, nil
}
