package rpm

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits of what is written.
const (
	maxName      = 200
	maxFiles     = 500_000
	maxRelations = 100_000
	maxText      = 1 << 20
	maxComponent = 255
	maxRPMBytes  = math.MaxUint32          // of one file, and of all: more needs tags that nfpm does not write
	maxDebBytes  = 9_999_999_999 / 11 * 10 // ten digits are the size of a member; 10 % for what does not shrink
)

var (
	rpmName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	debName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	debTarget  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:any)?$`)
	rpmTarget  = regexp.MustCompile(`^[A-Za-z0-9_/.][^\s<>=()]*(\([^\s<>=]*\))*$`)
	ownerName  = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	maintainer = regexp.MustCompile(`^[^<>\pC]+ <[^<>\s\pC]+@[^<>\s\pC]+>$`)
	section    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+./ -]*$`)
)

// arches are the architectures that are written, with the name that rpm has for the
// instruction set in a relation.
var arches = map[Format]map[string]string{
	RPM: {"noarch": "", "x86_64": "x86-64", "i386": "x86-32", "i686": "x86-32", "aarch64": "aarch-64", "armv7hl": "armv7hl-32",
		"ppc64le": "ppc-64", "s390x": "s390-64", "riscv64": "riscv-64"},
	Deb: {"all": "", "amd64": "", "i386": "", "arm64": "", "armhf": "", "ppc64el": "", "s390x": "", "riscv64": ""},
}

// check reports the first thing for which p cannot be written.
func (p *Package) check() error {
	if err := p.checkHead(); err != nil {
		return err
	}
	if err := p.checkTexts(); err != nil {
		return err
	}
	if err := p.checkRelations(); err != nil {
		return err
	}
	return p.checkFiles()
}

func (p *Package) checkHead() error {
	known, ok := arches[p.Format]
	if !ok {
		return fmt.Errorf("no package has the format %q; there are rpm and deb", p.Format)
	}
	name := rpmName
	if p.Format == Deb {
		name = debName
	}
	if !name.MatchString(p.Name) || len(p.Name) > maxName {
		return fmt.Errorf("name %q is not what %s allows: %s", p.Name, p.Format, name)
	}
	if _, ok := known[p.Arch]; !ok {
		return fmt.Errorf("architecture %q is none of %s", p.Arch, p.Format)
	}
	if p.EVR.Release == "" {
		return errors.New("the version has no release")
	}
	if err := p.EVR.check(p.Format); err != nil {
		return err
	}
	if p.Compression != "" && p.Compression != Zstd && p.Compression != Gzip {
		return fmt.Errorf("compression %q is none of zstd and gzip", p.Compression)
	}
	if u := p.unix(); u < 0 || u > math.MaxInt32 {
		return fmt.Errorf("time %v is not one that packages can have", p.Time)
	}
	return nil
}

// unix is the time of the package, in seconds.
func (p *Package) unix() int64 {
	if p.Time.IsZero() {
		return 0
	}
	return p.Time.Unix()
}

// date is the time of the package, never the zero Time.
func (p *Package) date() time.Time { return time.Unix(p.unix(), 0).UTC() }

func (p *Package) checkTexts() error {
	switch {
	case !isLine(p.Summary) || strings.HasSuffix(p.Summary, "."):
		return fmt.Errorf("summary %q is not one line without a dot at its end", p.Summary)
	case !isLine(p.License) && (p.Format == RPM || p.License != ""):
		return fmt.Errorf("license %q is not one line", p.License)
	case !maintainer.MatchString(p.Maintainer) || !isLine(p.Maintainer):
		return fmt.Errorf("maintainer %q is not NAME <ADDRESS>", p.Maintainer)
	case p.Homepage != "" && (!isLine(p.Homepage) || strings.ContainsAny(p.Homepage, " <>\"")):
		return fmt.Errorf("homepage %q is no address", p.Homepage)
	case p.Section != "" && !section.MatchString(p.Section):
		return fmt.Errorf("section %q is none", p.Section)
	case len(p.Description) > maxText:
		return errors.New("the description is too long")
	}
	for line := range strings.Lines(p.Description) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !utf8.ValidString(line) || !printable(strings.ReplaceAll(line, "\t", " ")) {
			return fmt.Errorf("description has the line %q", line)
		}
	}
	if p.Format == Deb && p.Scripts.PostTransaction != "" {
		return errors.New("a deb has no script after a transaction")
	}
	for _, s := range []string{p.Scripts.PreInstall, p.Scripts.PostInstall, p.Scripts.PreRemove, p.Scripts.PostRemove, p.Scripts.PostTransaction} {
		if strings.Contains(s, "\x00") || !utf8.ValidString(s) || len(s) > maxText {
			return fmt.Errorf("script %.60q is no text", s)
		}
	}
	return nil
}

// isLine reports whether s is one line with something in it.
func isLine(s string) bool {
	return strings.TrimSpace(s) == s && s != "" && len(s) <= 1000 && utf8.ValidString(s) && printable(s)
}

func (p *Package) checkFiles() error {
	if len(p.Files) > maxFiles {
		return fmt.Errorf("%d files are more than %d", len(p.Files), maxFiles)
	}
	kinds := make(map[string]Kind, len(p.Files))
	var total int64
	for i, f := range p.Files {
		if i > 0 && p.Files[i-1].Path >= f.Path {
			return fmt.Errorf("file %q: comes behind %q, and files are sorted", f.Path, p.Files[i-1].Path)
		}
		if err := p.checkFile(f); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
		kinds[f.Path] = f.Kind
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if k, ok := kinds[dir]; ok && k != Directory {
				return fmt.Errorf("file %q: is below %q, which is no directory", f.Path, dir)
			}
		}
		total += f.Size
		if most := p.mostBytes(); total > most {
			return fmt.Errorf("file %q: with it the package has %d bytes, and one %s holds %d", f.Path, total, p.Format, most)
		}
	}
	return nil
}

func (p *Package) mostBytes() int64 {
	if p.Format == Deb {
		return maxDebBytes
	}
	return maxRPMBytes
}

func (p *Package) checkFile(f File) error {
	if err := checkPath(f.Path); err != nil {
		return err
	}
	for _, name := range []string{f.Owner, f.Group} {
		if name != "" && !ownerName.MatchString(name) {
			return fmt.Errorf("belongs to %q, which is no name of a user or group", name)
		}
	}
	switch f.Kind {
	case Symlink:
		if f.Link == "" || path.Clean(f.Link) != f.Link || len(f.Link) >= maxPath || !isText(f.Link) {
			return fmt.Errorf("is a link to %q, which is not a clean path", f.Link)
		}
		if f.Size != 0 {
			return errors.New("is a link with a size")
		}
		return nil
	case Directory:
		if f.Size != 0 || f.Link != "" {
			return errors.New("is a directory with a size or a target")
		}
	case Regular, Config, License:
		switch {
		case f.Link != "":
			return errors.New("is a file with a target")
		case f.Size < 0:
			return fmt.Errorf("has %d bytes", f.Size)
		case f.Size > p.mostBytes():
			return fmt.Errorf("has %d bytes, and one %s holds files of up to %d", f.Size, p.Format, p.mostBytes())
		case f.Open == nil:
			return errors.New("has no content to open")
		}
	default:
		return fmt.Errorf("is of kind %v, which is not written", f.Kind)
	}
	switch m := f.Mode; {
	case m&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
		return fmt.Errorf("has the mode %v, and no package has set-id or sticky bits", m)
	case m&^fs.ModePerm != 0:
		return fmt.Errorf("has the mode %v, which is more than permission bits", m)
	case m&0o002 != 0:
		return fmt.Errorf("has the mode %#o, with which everybody may write", uint32(m))
	case m&0o400 == 0:
		return fmt.Errorf("has the mode %#o, with which its owner may not read", uint32(m))
	}
	return nil
}

// checkPath reports why a package cannot have an entry at p.
func checkPath(p string) error {
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p || p == "/":
		return errors.New("is not an absolute, clean path")
	case len(p) > maxPath-2:
		return fmt.Errorf("is longer than %d bytes", maxPath-2)
	case !isText(p):
		return errors.New("has control characters, or is not UTF-8")
	}
	for c := range strings.SplitSeq(p, "/") {
		if len(c) > maxComponent {
			return fmt.Errorf("has a name of more than %d bytes", maxComponent)
		}
	}
	return nil
}

// isText reports whether s is UTF-8 that shows as it is.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\\'
	})
}

// String names the kind in a message.
func (k Kind) String() string {
	return [...]string{"file", "directory", "symbolic link", "configuration file", "license", "ghost", "device"}[k]
}
