package schema

import (
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

var (
	urlStart  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:(//|[^\s\\])`)
	commitRef = regexp.MustCompile(`@([0-9a-f]{40})$`)
	variable  = regexp.MustCompile(`\$\{([A-Z0-9_]+)\}`)
	archives  = []string{".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz", ".tar.lzma"}
)

// reference reads the requirement of a line: a name, a URL or a path.
func (p *reqParser) reference(l logicalLine, pkg *Package) bool {
	text := pkg.Text
	target, marker, off := text, "", 0
	isURL := isURLText(text)
	if isURL {
		target, marker, off = cutMarker(text, "; ")
	} else if isPathText(text) {
		target, marker, off = cutMarker(text, ";")
	} else {
		return p.named(l, pkg)
	}
	if marker != "" {
		m, err := pep508.ParseMarker(marker)
		if err != nil {
			p.fail(l, off, err)
			return false
		}
		pkg.Req.Marker = m
	}
	if isURL {
		return p.url(l.posAt(0), pkg, target) && p.marker(l, pkg, off)
	}
	return p.path(l.posAt(0), pkg, target) && p.marker(l, pkg, off)
}

// cutMarker gives the two sides of a separator and where the second begins.
func cutMarker(s, sep string) (target, marker string, off int) {
	i := strings.Index(s, sep)
	if i < 0 {
		return s, "", 0
	}
	return strings.TrimSpace(s[:i]), s[i+len(sep):], i + len(sep)
}

func (p *reqParser) named(l logicalLine, pkg *Package) bool {
	r, err := pep508.Parse(pkg.Text)
	if err != nil {
		p.fail(l, 0, err)
		return false
	}
	pkg.Req = *r
	if !pep508.ValidName(r.Name) {
		p.problems.Add(l.posAt(0), "", "%s is no package name", quote(r.Name))
		return false
	}
	ok := true
	if r.URL != "" {
		off := strings.Index(pkg.Text, r.URL)
		if isURLText(r.URL) {
			ok = p.url(l.posAt(off), pkg, r.URL)
		} else {
			ok = p.path(l.posAt(off), pkg, r.URL)
		}
	}
	return ok && p.marker(l, pkg, max(r.MarkerCol-1, 0))
}

// marker refuses one that no environment answers.
func (p *reqParser) marker(l logicalLine, pkg *Package, off int) bool {
	if _, err := pkg.Req.Marker.Evaluate(pep508.Env{}); err != nil {
		p.problems.Add(l.posAt(off), "", "%v", err)
		return false
	}
	return true
}

func isURLText(s string) bool {
	scheme, _, _ := strings.Cut(s, ":")
	return urlStart.MatchString(s) && (strings.Contains(s, "://") && !strings.ContainsAny(scheme, " @[") || scheme == "file")
}

// isPathText reports whether pip takes s for a path and not for a name.
func isPathText(s string) bool {
	s, _, _ = strings.Cut(s, ";")
	s = strings.TrimSpace(s)
	if name, _, ok := strings.Cut(s, "@"); ok {
		name, _, _ = strings.Cut(name, "[")
		if pep508.ValidName(strings.TrimSpace(name)) {
			return false
		}
	}
	head, _, isPath := strings.Cut(s, "/")
	if strings.ContainsAny(head, "=<>~!") {
		return false
	}
	return isPath || strings.HasPrefix(s, ".") || hasArchiveSuffix(s) && !strings.ContainsAny(s, " \t")
}

func hasArchiveSuffix(s string) bool {
	for _, suffix := range archives {
		if strings.HasSuffix(strings.ToLower(s), suffix) {
			return true
		}
	}
	return false
}

const useWheel = "put a wheel into the bundle and write its path, such as ./wheels/NAME-1.0-py3-none-any.whl"

func (p *reqParser) path(pos Pos, pkg *Package, s string) bool {
	clean := path.Clean(s)
	switch {
	case strings.Contains(s, "${"):
		p.problems.Add(pos, "write the path", "a variable outside a URL")
	case path.IsAbs(s) || clean == ".." || strings.HasPrefix(clean, "../"):
		p.problems.Add(pos, useWheel, "%s: a bundle cannot depend on what is outside it", quote(s))
	case !strings.HasSuffix(s, ".whl"):
		p.problems.Add(pos, useWheel, "%s: of the files of a bundle only a wheel can be a dependency", quote(s))
	default:
		pkg.Path, pkg.Req.URL = clean, ""
		return p.fromWheel(pos, pkg, path.Base(clean))
	}
	return false
}

// fromWheel takes name and version from a wheel's file name.
func (p *reqParser) fromWheel(pos Pos, pkg *Package, base string) bool {
	w, err := pep508.ParseWheelName(base)
	if err != nil {
		p.problems.Add(pos, "", "%v", err)
		return false
	}
	if pkg.Req.Name == "" {
		pkg.Req.Name = w.Name
		pkg.Req.Specifiers, _ = pep440.ParseSpecifiers("==" + w.Version.String())
		return true
	}
	if pkg.Req.Key() != w.Name {
		p.problems.Add(pos, "", "the wheel is one of %s, not of %s", w.Name, pkg.Req.Key())
		return false
	}
	return true
}

// url checks a direct reference.
func (p *reqParser) url(pos Pos, pkg *Package, s string) bool {
	u, ok := p.parseURL(pos, s)
	if !ok {
		return false
	}
	pkg.URL, pkg.Req.URL = s, s
	vcs, _, isVCS := strings.Cut(u.Scheme, "+")
	if !p.fragment(pos, pkg, u.Fragment) {
		return false
	}
	switch {
	case isVCS && vcs != "git":
		p.problems.Add(pos, "publish a wheel or an sdist of it", "%s cannot pin a commit", vcs)
		return false
	case isVCS:
		return p.git(pos, pkg, u)
	case u.Scheme == "file":
		p.problems.Add(pos, useWheel, "%s: a bundle cannot depend on what is outside it", quote(s))
		return false
	case u.Scheme != "https" && u.Scheme != "http":
		p.problems.Add(pos, "use https", "%s is no URL of a package", quote(s))
		return false
	case u.Scheme == "http" && len(pkg.Hashes) == 0 && !isLoopback(u):
		p.problems.Add(pos, "use https, or add --hash=sha256:HEX", "http without a hash: anybody on the way can change the file")
		return false
	}
	if base := path.Base(u.Path); strings.HasSuffix(base, ".whl") && !variable.MatchString(s) {
		return p.fromWheel(pos, pkg, base)
	}
	return true
}

func (p *reqParser) git(pos Pos, pkg *Package, u *url.URL) bool {
	m := commitRef.FindStringSubmatch(u.Path)
	if m == nil {
		p.problems.Add(pos, "write the 40 digits of a commit: git+https://HOST/REPO@COMMIT", "a branch or tag can move")
		return false
	}
	if u.Scheme != "git+https" && u.Scheme != "git+ssh" {
		p.problems.Add(pos, "use git+https", "%s is not safe on the way", u.Scheme)
		return false
	}
	pkg.Commit = m[1]
	return true
}

// fragment takes the hash and the name out of "#sha256=HEX&egg=NAME".
func (p *reqParser) fragment(pos Pos, pkg *Package, fragment string) bool {
	for field := range strings.SplitSeq(fragment, "&") {
		key, value, _ := strings.Cut(field, "=")
		switch {
		case hashLengths[key] > 0:
			h, ok := p.hash(pos, key+":"+value)
			if !ok {
				return false
			}
			pkg.Hashes = append(pkg.Hashes, h)
		case key == "egg" && !pep508.ValidName(value):
			p.problems.Add(pos, "write NAME @ URL", "%s is no package name", quote(value))
			return false
		case key == "egg" && pkg.Req.Name == "":
			pkg.Req.Name = value
		}
	}
	return true
}

// parseURL checks what holds for every URL.
func (p *reqParser) parseURL(pos Pos, s string) (*url.URL, bool) {
	// Variables may stand where a URL has digits only.
	u, err := url.Parse(variable.ReplaceAllString(s, "1"))
	switch {
	case err != nil || strings.ContainsAny(s, " \t\"<>`"):
		fix := ""
		if strings.Contains(s, ";") {
			fix = `write " ; " before a marker`
		}
		p.problems.Add(pos, fix, "%s is no URL", quote(s))
		return nil, false
	case strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }):
		p.problems.Add(pos, "write it with % or as an xn-- name", "the URL has letters outside ASCII")
		return nil, false
	case hasCredentials(u, s):
		p.problems.Add(pos, "write ${NAME} instead, or use netrc", "credentials in a file that is archived")
		return nil, false
	}
	return u, true
}

// hasCredentials reports whether a URL names a secret: all of user and password
// but "${NAME}", and but the user of ssh.
func hasCredentials(u *url.URL, text string) bool {
	if u.User == nil {
		return false
	}
	_, rest, _ := strings.Cut(text, "://")
	rest, _, _ = strings.Cut(rest, "/")
	info := rest[:strings.LastIndexByte(rest, '@')]
	user, password, hasPassword := strings.Cut(info, ":")
	secret := user
	if hasPassword {
		secret = password
	} else if strings.HasSuffix(u.Scheme, "ssh") {
		return false
	}
	return variable.ReplaceAllString(secret, "") != ""
}

func isLoopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

func (p *reqParser) indexURL(at Located) bool {
	u, ok := p.parseURL(at.Pos, at.Text)
	switch {
	case !ok:
		return false
	case u.Scheme == "http" && !isLoopback(u):
		p.problems.Add(at.Pos, "use https", "an index over http: anybody on the way can change it")
		return false
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		p.problems.Add(at.Pos, "write a URL with https://", "%s is no index", quote(at.Text))
		return false
	}
	return true
}

func (p *reqParser) findLinks(at Located) bool {
	clean := path.Clean(at.Text)
	switch {
	case strings.Contains(at.Text, "://"):
		return p.indexURL(at)
	case at.Text == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.HasPrefix(clean, "file:"):
		p.problems.Add(at.Pos, "write a path in the bundle or a URL", "%s is outside the bundle", quote(at.Text))
		return false
	case strings.Contains(at.Text, "${"):
		p.problems.Add(at.Pos, "write the path", "a variable outside a URL")
		return false
	}
	return true
}
