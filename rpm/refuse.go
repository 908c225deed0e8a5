package rpm

import (
	"cmp"
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
	adm shutdown halt operator ftp
	sshd messagebus dbus polkitd avahi colord chrony ntp tss rpc rpcuser statd named bind postfix dovecot exim nslcd sssd
	apache nginx mysql postgres redis memcached rabbitmq mongodb elasticsearch tomcat jenkins git docker libvirt-qemu qemu saslauth unbound`)

// refuse reports what no package can be made of.
func (p *planner) refuse() error {
	name, user, by := p.app.Name, p.app.Config.Package.User, p.app.Config.Package.Maintainer
	switch {
	case by != "" && !maintainer.MatchString(by):
		return &RefusedError{"app.ini", fmt.Sprintf("[package] maintainer: %q is not NAME <ADDRESS>; write it as Jane Doe <jane@example.org>", by)}
	case p.format == Deb && len(name) < 2:
		return &RefusedError{name, "a Debian package has a name of two letters or more; give it another in app.ini: [app] name"}
	case name == "appbundle":
		return &RefusedError{name, "is the name of the package that runs applications; rename the application"}
	case user == "" && !accountName.MatchString(name):
		return &RefusedError{name, "is no name of an account, which has up to 31 letters, digits and -, and begins with a letter; name one in app.ini: [package] user"}
	case user == "" && (slices.Contains(systemAccounts, name) || strings.HasPrefix(name, "systemd-")):
		return &RefusedError{name, "is the name of an account of the system, with its rights; name another in app.ini: [package] user"}
	}
	if user != "root" {
		for i := range p.app.Config.Watchers {
			if w := &p.app.Config.Watchers[i]; w.UID != "" || w.GID != "" {
				return &RefusedError{fmt.Sprintf("app.ini:%d", w.Line), fmt.Sprintf("[watcher:%s] uid and gid: the unit runs as %s, and only root may start a process as somebody else; leave them out, or set [package] user = root",
					w.Name, cmp.Or(user, name))}
			}
		}
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
