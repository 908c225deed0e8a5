package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// ManifestFormat is the format number of the manifest of a bundle.
	ManifestFormat = 1
	// DeltaFormat is that of the manifest of a delta: who knows bundles alone
	// refuses it as a newer one.
	DeltaFormat = 2
	// MaxEntries is how many entries a manifest holds.
	MaxEntries = 500_000
	// MaxManifest is the size of the largest manifest, in bytes: MaxEntries
	// entries with paths of some 350 bytes.
	MaxManifest = 256 << 20
	// entryText is what an entry takes in a manifest at most, without its path
	// and target.
	entryText = 160
	// maxToolText is the length of the name of a tool, in bytes.
	maxToolText = 200
	// MaxSBOM is the size of the largest bill of materials, in bytes.
	MaxSBOM = 64 << 20
	// MaxPath is the length of the longest path or link target, in bytes.
	MaxPath = 4096
)

// A Manifest is what a bundle says about itself: .appbundle/manifest.json, the
// first entry of an archive. That of a delta says it of the bundle which the delta
// makes of its base: the entries are those that are new or changed.
type Manifest struct {
	Format     int       `json:"format"`
	Digest     string    `json:"digest"` // "ab1:" and hexadecimal digits, see [TreeDigest]
	Name       string    `json:"name"`
	Version    string    `json:"version"`
	Interface  Interface `json:"interface"`
	Target     string    `json:"target"` // "any", "linux_x86_64" or "cp311-linux_x86_64"
	Tool       string    `json:"tool"`   // program and version that made it
	Compressor string    `json:"compressor"`
	// SBOM is the SHA-256 of .appbundle/sbom.cdx.json, in lower-case hexadecimal
	// digits, which is the second entry of the archive; "" for an archive without.
	SBOM    string          `json:"sbom,omitempty"`
	Delta   *ManifestDelta  `json:"delta,omitempty"` // nil but in a delta
	Entries []ManifestEntry `json:"entries"`         // in bytewise order of the paths
}

// A ManifestDelta says what a delta is applied to.
type ManifestDelta struct {
	Base    string   `json:"base"`    // digest of the bundle that the delta is from
	Version string   `json:"version"` // of that bundle
	Deleted []string `json:"deleted"` // its paths that are no more, in bytewise order
}

// The types of entries.
const (
	EntryDir  = "dir"
	EntryFile = "file"
	EntryLink = "link"
)

// A ManifestEntry is a file, a directory or a symbolic link.
type ManifestEntry struct {
	Path   string `json:"path"`
	Type   string `json:"type"`             // dir, file or link
	X      bool   `json:"x,omitempty"`      // of a file: its owner may execute it
	Size   int64  `json:"size,omitempty"`   // of a file, in bytes
	SHA256 string `json:"sha256,omitempty"` // of a file, in lower-case hexadecimal digits
	Link   string `json:"link,omitempty"`   // of a link: where it points
}

var (
	sha256Text = regexp.MustCompile(`^[0-9a-f]{64}$`)
	digestText = regexp.MustCompile(`^ab1:[0-9a-f]{64}$`)
	targetText = regexp.MustCompile(`^(any|(cp3[0-9]+t?-)?[a-z0-9]+(_[a-z0-9]+)*)$`)
)

// ParseManifest reads a manifest and nothing else: unknown fields, fields that
// occur twice, entries out of order and anything after the object are problems,
// and a newer format is refused in one sentence. It does not compute the digest.
func ParseManifest(file string, data []byte) (*Manifest, Problems) {
	var m Manifest
	format := ManifestFormat
	if f := formatField.FindSubmatch(data); f != nil && string(f[1]) != strconv.Itoa(ManifestFormat) {
		format = DeltaFormat
	}
	problems := decodeJSON(file, "manifest", data, MaxManifest, format, &m)
	if len(problems) > 0 {
		return nil, problems
	}
	m.check(Pos{File: file}, &problems)
	if len(problems) == 0 {
		m.checkDelta(Pos{File: file}, &problems)
	}
	return &m, problems
}

func (m *Manifest) formatNumber() int { return m.Format }

func (m *Manifest) check(at Pos, ps *Problems) {
	switch {
	case !digestText.MatchString(m.Digest):
		ps.Add(at, "", "digest %s is not ab1: and 64 hexadecimal digits", quote(m.Digest))
	case m.Name == "" || m.Version == "":
		ps.Add(at, "", "name or version is missing")
	case !isAppName(m.Name):
		ps.Add(at, "", "%s is no name of an application", quote(m.Name))
	case !isAppVersion(m.Version):
		ps.Add(at, "", "%s is no semantic version", quote(m.Version))
	case !isToolText(m.Tool):
		ps.Add(at, "", "%s is no name of a tool", quote(m.Tool))
	case !isToolText(m.Compressor):
		ps.Add(at, "", "%s is no name of a compressor", quote(m.Compressor))
	case m.SBOM != "" && !sha256Text.MatchString(m.SBOM):
		ps.Add(at, "", "sbom %s is not 64 hexadecimal digits", quote(m.SBOM))
	case !targetText.MatchString(m.Target):
		ps.Add(at, "", "%s is no target", quote(m.Target))
	case !slices.Contains([]Interface{WSGI, ASGI, Exec}, m.Interface):
		ps.Add(at, "", "%s is no interface", quote(string(m.Interface)))
	case len(m.Entries) > MaxEntries:
		ps.Add(at, "", "the manifest has %d entries, more than %d", len(m.Entries), MaxEntries)
		return
	}
	for i, e := range m.Entries {
		if msg := e.check(); msg != "" {
			ps.Add(at, "", "entry %s: %s", quote(e.Path), msg)
		}
		if i > 0 && e.Path <= m.Entries[i-1].Path {
			ps.Add(at, "", "entry %s: it is not after %s in bytewise order", quote(e.Path), quote(m.Entries[i-1].Path))
		}
	}
}

// checkDelta checks what a delta says of its base.
func (m *Manifest) checkDelta(at Pos, ps *Problems) {
	d := m.Delta
	switch {
	case d == nil && m.Format == ManifestFormat:
		return
	case d == nil:
		ps.Add(at, "", "delta is missing in a manifest of the format %d", m.Format)
		return
	case m.Format != DeltaFormat:
		ps.Add(at, "", "delta is in a manifest of the format %d", m.Format)
	case !digestText.MatchString(d.Base):
		ps.Add(at, "", "delta: base %s is not ab1: and 64 hexadecimal digits", quote(d.Base))
	case d.Deleted == nil:
		ps.Add(at, "", "delta: deleted is missing")
	case d.Base == m.Digest:
		ps.Add(at, "", "delta: base and digest are the same")
	case !isAppVersion(d.Version):
		ps.Add(at, "", "delta: %s is no semantic version", quote(d.Version))
	case m.SBOM != "":
		ps.Add(at, "", "sbom is in the manifest of a delta")
	case len(d.Deleted) > MaxEntries:
		ps.Add(at, "", "delta: deleted has %d paths, more than %d", len(d.Deleted), MaxEntries)
		return
	}
	next := 0 // of the entries, which are in the same order
	for i, p := range d.Deleted {
		for next < len(m.Entries) && m.Entries[next].Path < p {
			next++
		}
		switch {
		case !isCleanPath(p) || len(p) > MaxPath:
			ps.Add(at, "", "delta: deleted %s: it is no path that is relative, clean and at most %d bytes long", quote(p), MaxPath)
		case i > 0 && p <= d.Deleted[i-1]:
			ps.Add(at, "", "delta: deleted %s: it is not after %s in bytewise order", quote(p), quote(d.Deleted[i-1]))
		case next < len(m.Entries) && m.Entries[next].Path == p:
			ps.Add(at, "", "delta: deleted %s: it is an entry too", quote(p))
		}
	}
}

// isAppName reports a name as ParseAppINI gives it: normalised.
func isAppName(s string) bool {
	name, f := appName(s)
	return f == nil && name == s
}

func isAppVersion(s string) bool {
	_, f := appVersion(s)
	return f == nil
}

// isToolText reports what a terminal shows as it is, on one line.
func isToolText(s string) bool {
	return len(s) <= maxToolText && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func (e *ManifestEntry) check() string {
	isFile, isLink := e.Type == EntryFile, e.Type == EntryLink
	switch {
	case !isFile && !isLink && e.Type != EntryDir:
		return quote(e.Type) + " is no type"
	case !isCleanPath(e.Path):
		return "the path is not relative and clean"
	case len(e.Path) > MaxPath || len(e.Link) > MaxPath:
		return fmt.Sprintf("a path of more than %d bytes", MaxPath)
	case isFile && (!sha256Text.MatchString(e.SHA256) || e.Size < 0):
		return "size or sha256 of the file is none"
	case !isFile && (e.SHA256 != "" || e.Size != 0 || e.X):
		return "size, sha256 and x are for files"
	case isLink == (e.Link == ""):
		return "a link, and nothing else, has a target"
	case strings.ContainsRune(e.Link, 0):
		return "NUL in the target"
	}
	return ""
}

// isCleanPath reports whether a path names one entry below the directory.
func isCleanPath(p string) bool {
	if p == "" || strings.ContainsRune(p, 0) {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// Encode writes the manifest: the same bytes for the same manifest, one entry a
// line.
func (m *Manifest) Encode() ([]byte, error) {
	var b bytes.Buffer
	size := 1 << 10
	for i := range m.Entries {
		size += len(m.Entries[i].Path) + len(m.Entries[i].Link) + entryText
	}
	b.Grow(size)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	head := *m
	head.Entries = []ManifestEntry{}
	if err := enc.Encode(&head); err != nil {
		return nil, err
	}
	b.Truncate(b.Len() - len("]}\n"))
	for i := range m.Entries {
		b.WriteByte('\n')
		if err := enc.Encode(&m.Entries[i]); err != nil {
			return nil, err
		}
		b.Bytes()[b.Len()-1] = ',' // for the line feed
	}
	if len(m.Entries) > 0 {
		b.Truncate(b.Len() - 1)
	}
	b.WriteString("\n]}\n")
	return b.Bytes(), nil
}
