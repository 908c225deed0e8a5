package schema

import (
	"bytes"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// ParsePyLock reads a lock of this or another tool. A lock of a newer major
// version, and a [tool.appbundle] of a newer format, are refused in one
// sentence. Unknown keys are no problems; see [PyLock].
//
// Stricter than the standard, which leaves them open: names are normalised,
// files have a sha256, sha384 or sha512 of the right length, a wheel's name
// agrees with its package, paths are relative and stay below the lock, and URLs
// are of https, http or file.
func ParsePyLock(file string, data []byte) (*PyLock, Problems) {
	var problems Problems
	at := Pos{File: file}
	if len(data) > MaxPyLock {
		problems.Add(at, "", "the lock has %d bytes, more than %d", len(data), MaxPyLock)
		return nil, problems
	}
	if line := mergeConflict(data); line > 0 {
		problems.Add(Pos{File: file, Line: line}, "take either side of it, and lock again", "an unresolved merge conflict")
		return nil, problems
	}
	f := parseTOML(file, data, &problems)
	if f == nil {
		return nil, problems
	}
	r := &tomlReader{file: file, lines: f.lines, problems: &problems}
	root := r.table("", f.root)
	// The version decides what the rest means, so it is looked at first.
	version := root.need("lock-version")
	if version != "" && version != "1" && !strings.HasPrefix(version, "1.") {
		problems.Add(root.at("lock-version"), "use a newer appbundle", "the lock has the version %s, this appbundle reads 1", quote(version))
		return nil, problems
	}
	l := &PyLock{
		File:             file,
		Environments:     markers(root, "environments"),
		RequiresPython:   specifiers(root, "requires-python"),
		Extras:           names(root, "extras"),
		DependencyGroups: names(root, "dependency-groups"),
		DefaultGroups:    names(root, "default-groups"),
		CreatedBy:        root.need("created-by"),
	}
	if _, ok := f.root["packages"]; !ok {
		problems.Add(at, "write packages = [] for none", "packages is missing")
	}
	for _, t := range root.tables("packages", MaxLockedPackages) {
		l.Packages = append(l.Packages, lockedPackage(t))
	}
	if tool := root.table("tool"); tool != nil {
		if t := tool.table("appbundle"); t != nil {
			l.Tool = lockTool(t)
		}
	}
	root.end()
	l.Unknown = r.unknown
	return l, problems.inOrder()
}

// mergeConflict gives the line at which a version control system has left both
// sides of a conflict, 0 where it has not: a lock is made and not written, so that
// nobody looks for such a line in it.
func mergeConflict(data []byte) int {
	line := 0
	for text := range bytes.Lines(data) {
		if line++; bytes.HasPrefix(text, []byte("<<<<<<< ")) {
			return line
		}
	}
	return 0
}

func lockTool(t *tomlTable) *LockTool {
	tool := &LockTool{Format: int(t.int("format"))}
	if tool.Format != PyLockFormat {
		t.r.problems.Add(t.at("format"), "use a newer appbundle", "[tool.appbundle] has the format %d, this appbundle reads %d", tool.Format, PyLockFormat)
		return nil
	}
	tool.Targets, tool.Options = t.strs("targets"), t.strs("options")
	tool.Inputs = digests(t, "inputs", func(_, sum string) bool { return sha256Text.MatchString(sum) })
	t.end()
	return tool
}

// digests reads a table of strings that good accepts.
func digests(t *tomlTable, key string, good func(name, sum string) bool) map[string]string {
	in := t.table(key)
	if in == nil || len(in.m) == 0 {
		return nil
	}
	out := map[string]string{}
	for name, v := range in.m {
		sum, ok := v.(string)
		if !ok || !good(name, sum) {
			t.bad(key, "%s has no digest of the right length in lower-case hexadecimal digits", quote(name))
			continue
		}
		out[name] = sum
	}
	return out
}

func markers(t *tomlTable, key string) []LockedMarker {
	var out []LockedMarker
	for i, text := range t.strs(key) {
		at := t.at(key + index(i))
		m, err := pep508.ParseMarker(text)
		if err != nil {
			t.r.problems.Add(at, "", "%s: %s: %v", key, quote(text), err)
			continue
		}
		out = append(out, LockedMarker{at, m})
	}
	return out
}

func specifiers(t *tomlTable, key string) string {
	text := t.str(key)
	if text == "" {
		return ""
	}
	if _, err := pep440.ParseSpecifiers(text); err != nil {
		t.bad(key, "%v", err)
		return ""
	}
	return text
}

func names(t *tomlTable, key string) []string {
	list := t.strs(key)
	for _, name := range list {
		if !pep508.IsNormalName(name) {
			t.bad(key, "%s is no normalised name", quote(name))
		}
	}
	return list
}

func lockedPackage(t *tomlTable) LockedPackage {
	p := LockedPackage{
		Pos:            t.pos(),
		Name:           t.need("name"),
		Version:        t.str("version"),
		RequiresPython: specifiers(t, "requires-python"),
		Index:          t.str("index"),
	}
	if p.Name != "" && !pep508.IsNormalName(p.Name) {
		t.bad("name", "%s is no normalised name", quote(p.Name))
	}
	if p.Version != "" {
		if _, err := pep440.Parse(p.Version); err != nil {
			t.bad("version", "%v", err)
		}
	}
	if text := t.str("marker"); text != "" {
		m, err := pep508.ParseMarker(text)
		if err != nil {
			t.bad("marker", "%v", err)
		}
		p.Marker = m
	}
	for _, d := range t.tables("dependencies", MaxLockedPackages) {
		p.Dependencies = append(p.Dependencies, LockedDependency{d.str("name"), d.str("version")})
	}
	p.sources(t)
	if tool := t.table("tool"); tool != nil {
		if own := tool.table("appbundle"); own != nil {
			p.Tool = LockedPackageTool{From: own.strs("from"), Yanked: own.str("yanked"), License: own.str("license")}
			if built := own.table("built"); built != nil {
				p.Tool.Built = lockedBuild(built, &p)
			}
			own.end()
		}
	}
	t.seen["attestation-identities"] = true // who published it: not ours to judge
	t.end()
	return p
}

// sources reads where a package comes from, which is one of four.
func (p *LockedPackage) sources(t *tomlTable) {
	kinds := 0
	if v := t.table("vcs"); v != nil {
		kinds++
		p.VCS = lockedVCS(v)
	}
	if d := t.table("directory"); d != nil {
		kinds++
		p.Directory = &LockedDirectory{Path: d.need("path"), Editable: d.bool("editable"), Subdirectory: d.str("subdirectory")}
		d.end()
	}
	if a := t.table("archive"); a != nil {
		kinds++
		f := lockedFile(a)
		f.Subdirectory = a.str("subdirectory")
		a.end()
		p.Archive = &f
		if w, err := pep508.ParseWheelName(f.Name); err == nil {
			p.Archive.Wheel = &w
		}
	}
	if s := t.table("sdist"); s != nil {
		f := lockedFile(s)
		s.end()
		p.Sdist = &f
	}
	for _, w := range t.tables("wheels", MaxLockedFiles) {
		f := lockedFile(w)
		w.end()
		p.wheel(w, &f)
		p.Wheels = append(p.Wheels, f)
	}
	if p.Sdist != nil || len(p.Wheels) > 0 {
		kinds++
	}
	switch {
	case kinds == 0:
		t.r.problems.Add(t.pos(), "", "%s has no file to install from", quote(p.Name))
	case kinds > 1:
		t.r.problems.Add(t.pos(), "", "%s comes from more than one place: vcs, directory, archive, or sdist and wheels", quote(p.Name))
	}
}

// wheel checks that the name of a wheel is that of its package.
func (p *LockedPackage) wheel(t *tomlTable, f *LockedFile) {
	w, err := pep508.ParseWheelName(f.Name)
	if err != nil {
		t.r.problems.Add(f.Pos, "", "%v", err)
		return
	}
	f.Wheel = &w
	v, ok := p.version()
	if w.Name != p.Name || ok && pep440.Compare(v, w.Version) != 0 {
		t.r.problems.Add(f.Pos, "", "%s is no wheel of %s %s", quote(f.Name), p.Name, p.Version)
	}
}

func lockedVCS(t *tomlTable) *LockedVCS {
	v := &LockedVCS{
		Type: t.need("type"), URL: t.str("url"), Path: t.str("path"),
		RequestedRevision: t.str("requested-revision"), CommitID: t.need("commit-id"), Subdirectory: t.str("subdirectory"),
	}
	if (v.URL == "") == (v.Path == "") {
		t.r.problems.Add(t.pos(), "", "vcs needs either a url or a path")
	}
	t.end()
	return v
}

func lockedFile(t *tomlTable) LockedFile {
	f := LockedFile{
		Pos: t.pos(), Name: t.str("name"), URL: t.str("url"), Path: t.str("path"),
		Size: t.int("size"), UploadTime: t.time("upload-time"), Hashes: digests(t, "hashes", isHash),
	}
	switch {
	case f.URL == "" && f.Path == "":
		t.r.problems.Add(f.Pos, "", "the file has neither a url nor a path")
	case f.Path != "" && !isCleanPath(strings.TrimPrefix(f.Path, "./")):
		t.bad("path", "%s is not below the directory of the lock", quote(f.Path))
	case f.URL != "" && !isFileURL(f.URL):
		t.bad("url", "%s is no URL of https, http or file", quote(f.URL))
	}
	f.Path = strings.TrimPrefix(f.Path, "./")
	if f.Name == "" {
		f.Name = f.fileName()
	}
	if f.Name == "" || strings.ContainsAny(f.Name, `/\`) || len(f.Name) > 255 {
		t.r.problems.Add(f.Pos, "", "%s is no name of a file", quote(f.Name))
	}
	if f.Hashes["sha256"] == "" && f.Hashes["sha384"] == "" && f.Hashes["sha512"] == "" {
		t.r.problems.Add(f.Pos, "", "the file has no sha256, sha384 or sha512")
	}
	return f
}

// isHash reports whether sum fits the algorithm name; of one that is not known
// only the form is checked.
func isHash(name, sum string) bool {
	_, err := hex.DecodeString(sum)
	want := hashLengths[name]
	return err == nil && sum == strings.ToLower(sum) && sum != "" && (want == 0 || len(sum) == want)
}

// maxURL is the length of the longest URL.
const maxURL = 4096

func isFileURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxURL && slices.Contains([]string{"https", "http", "file"}, u.Scheme) &&
		(u.Host != "" || u.Scheme == "file") && u.Opaque == ""
}
