package pep508

import (
	"fmt"
	"strings"

	"appbundle/schema/pep440"
)

// A WheelName is what the file name of a wheel says.
type WheelName struct {
	Name    string // normalised
	Version pep440.Version
	Build   string   // build tag: digits, then text; "" for none
	Tags    []string // "cp311-cp311-manylinux_2_17_x86_64", every combination
}

// maxTags bounds the combinations of a hostile name.
const maxTags = 1000

// ParseWheelName reads NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl.
func ParseWheelName(file string) (WheelName, error) { return (*WheelNames)(nil).Parse(file) }

// WheelNames reads many names of wheels, such as those of one project: what
// occurs in thousands of them is read once. Names share their Tags, which must
// not be changed. A nil WheelNames remembers nothing.
type WheelNames struct {
	versions map[string]pep440.Version
	tags     map[string][]string
}

// NewWheelNames gives a WheelNames for one goroutine.
func NewWheelNames() *WheelNames {
	return &WheelNames{map[string]pep440.Version{}, map[string][]string{}}
}

// Parse is [ParseWheelName].
func (n *WheelNames) Parse(file string) (WheelName, error) {
	fail := func(why string) (WheelName, error) {
		return WheelName{}, fmt.Errorf("%q is no name of a wheel: %s", file, why)
	}
	stem, ok := strings.CutSuffix(file, ".whl")
	parts := strings.Split(stem, "-")
	if !ok || len(parts) != 5 && len(parts) != 6 {
		return fail("it needs name, version, Python, ABI and platform, and .whl")
	}
	name := parts[0]
	if !isWheelProject(name) {
		return fail("bad project name")
	}
	v, err := n.version(parts[1])
	if err != nil {
		return fail(err.Error())
	}
	w := WheelName{Name: NormalizeName(name), Version: v}
	if len(parts) == 6 {
		if w.Build = parts[2]; w.Build == "" || w.Build[0] < '0' || w.Build[0] > '9' {
			return fail("a build tag begins with a digit")
		}
	}
	if w.Tags = n.combine(parts[len(parts)-3:]); w.Tags == nil {
		return fail("bad tags")
	}
	return w, nil
}

func (n *WheelNames) version(text string) (pep440.Version, error) {
	if n == nil {
		return pep440.Parse(text)
	}
	if v, ok := n.versions[text]; ok {
		return v, nil
	}
	v, err := pep440.Parse(text)
	if err == nil {
		n.versions[text] = v
	}
	return v, err
}

// combine gives the tags of Python, ABI and platform; nil says that they are bad.
func (n *WheelNames) combine(parts []string) []string {
	if n == nil {
		return combine(parts[0], parts[1], parts[2])
	}
	text := strings.Join(parts, "-")
	tags, ok := n.tags[text]
	if !ok {
		tags = combine(parts[0], parts[1], parts[2])
		n.tags[text] = tags
	}
	return tags
}

// isWheelProject allows "_" for "-" but no two of them.
func isWheelProject(s string) bool {
	if s == "" || strings.Contains(s, "__") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

func combine(pythons, abis, platforms string) []string {
	var out []string
	for py := range strings.SplitSeq(pythons, ".") {
		for abi := range strings.SplitSeq(abis, ".") {
			for platform := range strings.SplitSeq(platforms, ".") {
				if len(out) == maxTags || !isTagPart(py) || !isTagPart(abi) || !isTagPart(platform) {
					return nil
				}
				out = append(out, strings.ToLower(py+"-"+abi+"-"+platform))
			}
		}
	}
	return out
}

func isTagPart(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' {
			return false
		}
	}
	return s != ""
}

// ParseSdistName reads NAME-VERSION.tar.gz or .zip; name is normalised.
func ParseSdistName(file string) (name string, v pep440.Version, err error) {
	stem, ok := strings.CutSuffix(file, ".tar.gz")
	if !ok {
		if stem, ok = strings.CutSuffix(file, ".zip"); !ok {
			return "", v, fmt.Errorf("%q is no name of an sdist: it ends neither in .tar.gz nor in .zip", file)
		}
	}
	i := strings.LastIndexByte(stem, '-')
	if i <= 0 || !ValidName(stem[:i]) {
		return "", v, fmt.Errorf("%q is no name of an sdist: it needs NAME-VERSION", file)
	}
	if v, err = pep440.Parse(stem[i+1:]); err != nil {
		return "", v, fmt.Errorf("%q is no name of an sdist: %w", file, err)
	}
	return NormalizeName(stem[:i]), v, nil
}
