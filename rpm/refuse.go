package rpm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A RefusedError says why an application becomes no package: it is an answer about
// the application, and nothing was written.
type RefusedError struct {
	Package string // its file name, or the application
	Reason  string
}

func (e *RefusedError) Error() string { return e.Package + ": " + e.Reason }

// MaxFile is the size of the largest file that a package of a format holds.
func MaxFile(f Format) int64 { return (&Package{Format: f}).mostBytes() }

// accountName is what systemd-sysusers makes an account of.
var accountName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)

// systemAccounts are those of every distribution: who has the name of one of them
// would run with its rights.
var systemAccounts = strings.Fields(`root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody
	adm shutdown halt operator ftp`)

// refuse reports what no package can be made of.
func (p *planner) refuse() error {
	name, user, by := p.app.Name, p.app.Config.Package.User, p.app.Config.Package.Maintainer
	switch {
	case by != "" && !maintainer.MatchString(by):
		return &RefusedError{"app.ini", fmt.Sprintf("[package] maintainer: %q is not NAME <ADDRESS>", by)}
	case name == "appbundle":
		return &RefusedError{name, "is the name of the package that runs applications; rename the application"}
	case user == "" && !accountName.MatchString(name):
		return &RefusedError{name, "is no name of an account, which has up to 31 letters, digits and -, and begins with a letter; name one in app.ini: [package] user"}
	case user == "" && slices.Contains(systemAccounts, name):
		return &RefusedError{name, "is the name of an account of the system, with its rights; name another in app.ini: [package] user"}
	}
	return nil
}

// complete adds what Debian demands of a package, and reports why it cannot be
// written: before any package is.
func (p *planner) complete(pkg *Package) error {
	pkg.Description = fold(pkg.Description)
	if err := pkg.Document(); err != nil {
		return err
	}
	if err := pkg.check(); err != nil {
		return &RefusedError{pkg.FileName(), err.Error()}
	}
	return nil
}

// fold breaks lines where tools want them broken: a terminal has 80 columns, and
// dpkg puts a blank in front.
func fold(text string) string {
	const width = 79
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, end := strings.TrimSuffix(line, "\n"), line[len(strings.TrimSuffix(line, "\n")):]
		for len(line) > width {
			at := strings.LastIndexByte(line[:width+1], ' ')
			if at <= 0 || strings.TrimSpace(line[:at]) == "" {
				break // one long word
			}
			fmt.Fprintln(&b, strings.TrimRight(line[:at], " "))
			line = strings.TrimLeft(line[at:], " ")
		}
		b.WriteString(line + end)
	}
	return b.String()
}
