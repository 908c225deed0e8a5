package rpm

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"appbundle/schema/pep440"
)

// maxVersion is the length of the longest version of a package, in bytes.
const maxVersion = 250

// String gives [EPOCH:]VERSION[-RELEASE], as relations of both formats have it.
func (e EVR) String() string {
	s := e.Version
	if e.Epoch != 0 {
		s = strconv.Itoa(e.Epoch) + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// ParseEVR takes [EPOCH:]VERSION[-RELEASE] apart. The release is what follows
// the last hyphen.
func ParseEVR(s string) (EVR, error) {
	var e EVR
	rest := s
	if epoch, after, ok := strings.Cut(s, ":"); ok {
		n, err := strconv.ParseUint(epoch, 10, 31)
		if err != nil {
			return EVR{}, fmt.Errorf("version %q: the epoch is no number", s)
		}
		e.Epoch, rest = int(n), after
	}
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		if e.Release = rest[i+1:]; e.Release == "" {
			return EVR{}, fmt.Errorf("version %q: nothing follows the hyphen", s)
		}
		rest = rest[:i]
	}
	if e.Version = rest; rest == "" {
		return EVR{}, fmt.Errorf("version %q is empty", s)
	}
	return e, nil
}

// FromPEP440 gives a Python version in the spelling of f, without a release, so
// that f orders versions as Python does:
//
//	        rpm              deb
//	1!2.0   epoch 1          epoch 1
//	1.0a1   1.0~a1           1.0~a1
//	1.0.dev1  1.0~~dev1      1.0~~dev1
//	1.0.post1  1.0^post1     1.0+post1
//	1.0+x   1.0^local.x      1.0+local.x
//
// Zeros at the end of a release stay, because a pin names them; rpm and dpkg take
// 1.0 and 1.0.0 for two versions. Of local versions, dpkg orders a number before
// a word, and PEP 440 after it.
func FromPEP440(f Format, version string) (EVR, error) {
	v, err := pep440.Parse(version)
	if err != nil {
		return EVR{}, err
	}
	epoch, err := strconv.ParseUint(v.Epoch(), 10, 31)
	if err != nil {
		return EVR{}, fmt.Errorf("version %q: no package can have an epoch above %d", version, math.MaxInt32)
	}
	up := upMark(f)
	var b strings.Builder
	b.WriteString(strings.Join(v.Release(), "."))
	for _, s := range suffix.FindAllStringSubmatch(strings.TrimPrefix(v.Public(), v.Base()), -1) {
		switch kind, n := s[1], s[2]; kind {
		case ".dev":
			b.WriteString("~")
			if s[0] == strings.TrimPrefix(v.Public(), v.Base()) {
				b.WriteString("~") // below ~a1
			}
			b.WriteString("dev" + n)
		case ".post":
			b.WriteString(up + "post" + n)
		default:
			b.WriteString("~" + kind + n)
		}
	}
	if v.Local() != "" {
		b.WriteString(up + "local." + v.Local())
	}
	e := EVR{Epoch: int(epoch), Version: b.String()}
	if len(e.Version) > maxVersion {
		return EVR{}, fmt.Errorf("version %.40q… is longer than %d bytes", version, maxVersion)
	}
	return e, nil
}

// distVersion gives a version as rpm's own generator writes it behind
// python3dist(NAME): without zeros at the end of the release, and without what is
// local.
func distVersion(version string) (string, error) {
	v, err := pep440.Parse(version)
	if err != nil {
		return "", err
	}
	short, err := pep440.Parse(v.Key()) // has no zeros at the end
	if err != nil {
		return "", err
	}
	evr, err := FromPEP440(RPM, short.Public())
	return versionOf(evr), err
}

// suffix matches a part of a normal public version behind the release.
var suffix = regexp.MustCompile(`(a|b|rc|\.post|\.dev)([0-9]+)`)

// upMark begins what sorts above the version before it and below the next.
func upMark(f Format) string {
	if f == Deb {
		return "+"
	}
	return "^"
}

var semverForm = regexp.MustCompile(`^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z.-]+)?$`)

// FromSemver gives a semantic version in the spelling of f, without a release:
// 1.0.0-rc.1 is 1.0.0~rc.1. Metadata behind a plus sign has no order, and is
// left out. The order is that of semantic versions with one exception: rpm
// takes 1.0.0-alpha.1 for later than 1.0.0-alpha.beta.
func FromSemver(f Format, version string) (EVR, error) {
	m := semverForm.FindStringSubmatch(version)
	if m == nil {
		return EVR{}, fmt.Errorf("%q is no semantic version, such as 1.2.3 or 1.2.3-rc.1", version)
	}
	e := EVR{Version: m[1] + "." + m[2] + "." + m[3]}
	if m[4] != "" {
		e.Version += "~" + strings.ReplaceAll(m[4][1:], "-", ".")
	}
	if len(e.Version) > maxVersion {
		return EVR{}, fmt.Errorf("version %.40q… is longer than %d bytes", version, maxVersion)
	}
	return e, nil
}

// Compare gives -1, 0 or 1 as a is before, equal to, or after b for the tools of
// f. A release is compared only where both have one.
func Compare(f Format, a, b EVR) int {
	compare := compareRPM
	if f == Deb {
		compare = compareDeb
	}
	c := cmp.Or(cmp.Compare(a.Epoch, b.Epoch), compare(a.Version, b.Version))
	if c == 0 && a.Release != "" && b.Release != "" {
		c = compare(a.Release, b.Release)
	}
	return c
}

// compareRPM orders as rpm does: runs of digits as numbers, runs of letters as
// text, a number above letters, a tilde below the end, a caret just above it.
// Everything else separates.
func compareRPM(a, b string) int {
	for a != "" || b != "" {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		switch ta, tb := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); {
		case ta && tb:
			a, b = a[1:], b[1:]
			continue
		case ta:
			return -1
		case tb:
			return 1
		}
		switch ca, cb := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^"); {
		case ca && cb:
			a, b = a[1:], b[1:]
			continue
		case ca && b == "":
			return 1
		case cb && a == "":
			return -1
		case ca:
			return -1
		case cb:
			return 1
		}
		if a == "" || b == "" {
			break
		}
		run := isLetter
		if isDigit(a[0]) {
			run = isDigit
		}
		sa, ra := span(a, run)
		sb, rb := span(b, run)
		if sb == "" { // a number is above letters
			if isDigit(a[0]) {
				return 1
			}
			return -1
		}
		c := strings.Compare(sa, sb)
		if isDigit(a[0]) {
			c = compareNumbers(sa, sb)
		}
		if c != 0 {
			return c
		}
		a, b = ra, rb
	}
	return cmp.Compare(len(a), len(b)) // what is left over is later
}

// compareDeb orders as dpkg does: a run of what is no digit, then a run of
// digits, by turns; a tilde below the end, letters below everything else.
func compareDeb(a, b string) int {
	notDigit := func(c byte) bool { return !isDigit(c) }
	for a != "" || b != "" {
		var sa, sb string
		sa, a = span(a, notDigit)
		sb, b = span(b, notDigit)
		for i := range max(len(sa), len(sb)) {
			if c := cmp.Compare(debOrder(sa, i), debOrder(sb, i)); c != 0 {
				return c
			}
		}
		sa, a = span(a, isDigit)
		sb, b = span(b, isDigit)
		if c := compareNumbers(sa, sb); c != 0 {
			return c
		}
	}
	return 0
}

// debOrder is the weight of the byte i of a run without digits.
func debOrder(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case isLetter(s[i]):
		return int(s[i])
	}
	return int(s[i]) + 256
}

// compareNumbers orders runs of digits of any length by their value.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

func span(s string, in func(byte) bool) (run, rest string) {
	i := 0
	for i < len(s) && in(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func separates(r rune) bool {
	return r != '~' && r != '^' && (r > 127 || !isDigit(byte(r)) && !isLetter(byte(r)))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

var (
	rpmVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~^]*$`)
	debVersion = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~-]*$`)
	debRelease = regexp.MustCompile(`^[A-Za-z0-9.+~]+$`)
)

// check reports what the format does not allow in a version.
func (e EVR) check(f Format) error {
	version, release := rpmVersion, rpmVersion
	if f == Deb {
		version, release = debVersion, debRelease
	}
	switch {
	case e.Epoch < 0 || e.Epoch > math.MaxInt32:
		return fmt.Errorf("epoch %d", e.Epoch)
	case len(e.Version) > maxVersion || len(e.Release) > maxVersion:
		return errors.New("version is too long")
	case !version.MatchString(e.Version):
		return fmt.Errorf("version %q is not what %s allows", e.Version, f)
	case e.Release == "" && strings.Contains(e.Version, "-"):
		return fmt.Errorf("version %q has a hyphen and no release follows", e.Version)
	case e.Release != "" && !release.MatchString(e.Release):
		return fmt.Errorf("release %q is not what %s allows", e.Release, f)
	}
	return nil
}
