package bundle

import (
	"encoding/hex"
	"path"
	"regexp"
	"strings"

	"appbundle/schema"
)

// Digest gives the identity of the application: the digest of STANDARD.md over
// its entries. Owner, times, the modes of the host and the compressor never
// change it.
func (a *App) Digest() string { return schema.TreeDigest(a.manifestEntries()) }

// Manifest says what is in the application, for an archive of the default type.
// tool is the name and version of the program that writes it.
func (a *App) Manifest(tool string) *schema.Manifest {
	entries := a.manifestEntries()
	return &schema.Manifest{
		Format:     schema.ManifestFormat,
		Digest:     schema.TreeDigest(entries),
		Name:       a.Name,
		Version:    a.Version,
		Interface:  a.Entrypoint.Interface,
		Target:     a.Target(),
		Tool:       tool,
		Compressor: TarZst.compressor(),
		Entries:    entries,
	}
}

func (a *App) manifestEntries() []schema.ManifestEntry {
	entries := make([]schema.ManifestEntry, 0, len(a.Entries))
	for i := range a.Entries {
		e := &a.Entries[i]
		m := schema.ManifestEntry{Path: e.Path, Type: string(e.Type), Link: e.Link}
		if e.Type == File {
			m.X, m.Size, m.SHA256 = e.X, e.Size, hex.EncodeToString(e.Sum[:])
		}
		entries = append(entries, m)
	}
	return entries
}

// Target says where the application can run: "cp311-linux_x86_64" and its kind
// with an environment, "linux_x86_64" with native code, else "any".
func (a *App) Target() string {
	if a.Environment != nil {
		return a.Environment.Target()
	}
	if e := a.resolve(a.Entrypoint.Path); a.Entrypoint.Path != "" && e != nil && e.Machine != "" {
		return "linux_" + e.Machine
	}
	for i := range a.Entries {
		if m := a.Entries[i].Machine; m != "" {
			return "linux_" + m
		}
	}
	return "any"
}

// ArchiveName is the name of the application's archive of the type.
func (a *App) ArchiveName(t ArchiveType) string {
	return a.Name + "-" + a.Version + "-" + a.Target() + "." + string(t)
}

var archiveTail = regexp.MustCompile(`^-[0-9][^/]*-(any|(cp3[0-9]+t?-)?[a-z]+[a-z0-9]*_[a-z0-9_]+)(\.from-[0-9][^/]*)?\.(tar\.zst|tar\.gz|zip|tar)(\.minisig)?$`)

// isOwnArchive reports whether p has the name of an archive of the
// application, or of a delta between two, of any version and type, or that of a signature of one. One
// that was built into the directory does not enter the next.
func isOwnArchive(name, p string) bool {
	tail, ok := strings.CutPrefix(path.Base(p), name)
	return ok && archiveTail.MatchString(tail)
}

var packageTail = regexp.MustCompile(`^(-([a-z][^/]*-)?[0-9][^-/]*-[0-9]+\.[a-z0-9_]+\.rpm|(-[a-z0-9.+-]+)?_[0-9][^_/]*_[a-z0-9-]+\.deb)$`)

// isOwnPackage reports whether p has the name of a Linux package of the application.
func isOwnPackage(name, p string) bool {
	tail, ok := strings.CutPrefix(path.Base(p), name)
	return ok && packageTail.MatchString(tail)
}

// repositoryFile matches what build writes beside packages of the application: those
// of dependencies, sources, and the metadata of a repository.
func repositoryFile(name string) *regexp.Regexp {
	name = regexp.QuoteMeta(name)
	return regexp.MustCompile(`^(` + name + `[-_][^/]*\.(rpm|deb)|python3-[^/]*\.(rpm|deb)|` + name + `\.spec|` + name +
		`-[0-9][^/]*\.tar\.gz|repodata(/.*)?|Packages(\.gz)?|(In)?Release(\.gpg)?)$`)
}

// leaveOutArchives takes the application's own archives and packages out of its
// entries, with what build writes beside packages and the directories that hold
// nothing else.
func (a *App) leaveOutArchives() {
	repositories := map[string]bool{}
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Type == File && isOwnPackage(a.Name, e.Path) {
			repositories[parent(e.Path)] = true
		}
	}
	beside := repositoryFile(a.Name)
	a.leaveOut(func(e *Entry) bool {
		if e.Type == File && isOwnArchive(a.Name, e.Path) {
			return true
		}
		for dir := range repositories {
			below := e.Path
			if dir != "" {
				var ok bool
				if below, ok = strings.CutPrefix(e.Path, dir+"/"); !ok {
					continue
				}
			}
			if beside.MatchString(below) {
				return true
			}
		}
		return false
	})
}

// leaveOut takes entries out, and then every directory that is empty by that.
func (a *App) leaveOut(out func(*Entry) bool) {
	drop := map[string]bool{}
	inside := map[string]int{} // entries of a directory that stay
	for i := len(a.Entries) - 1; i >= 0; i-- {
		e := &a.Entries[i] // what is below a directory comes before it
		emptied := e.Type == Dir && inside[e.Path] == 0 && drop[e.Path+"/"]
		if out(e) || emptied {
			drop[e.Path], drop[parent(e.Path)+"/"] = true, true
			continue
		}
		inside[parent(e.Path)]++
	}
	if len(drop) == 0 {
		return
	}
	kept := make([]Entry, 0, len(a.Entries))
	for i := range a.Entries {
		if p := a.Entries[i].Path; drop[p] {
			a.LeftOut = append(a.LeftOut, p)
		} else {
			kept = append(kept, a.Entries[i])
		}
	}
	a.Entries = kept
	a.index()
}
