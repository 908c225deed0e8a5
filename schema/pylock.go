package schema

import (
	"net/url"
	"path"
	"time"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

const (
	// PyLockVersion is the version of the format that this package writes, and
	// whose major number it reads.
	PyLockVersion = "1.0"
	// PyLockFormat is the format number of [tool.appbundle].
	PyLockFormat = 1
	// MaxPyLock is the size of the largest lock, in bytes.
	MaxPyLock = 32 << 20
	// MaxLockedPackages is how many packages a lock holds.
	MaxLockedPackages = 50_000
	// MaxLockedFiles is how many files a package of a lock has.
	MaxLockedFiles = 20_000
)

// A PyLock is pylock.toml (PEP 751): everything that an installer needs, so
// that nothing is resolved and nothing is asked of an index when an environment
// is made. Locks of other tools are read too; what they leave out is empty.
type PyLock struct {
	File         string // as the user knows it
	Environments []LockedMarker
	// RequiresPython is empty for any Python.
	RequiresPython   string
	Extras           []string // normalised
	DependencyGroups []string // normalised
	DefaultGroups    []string // normalised
	CreatedBy        string
	Packages         []LockedPackage
	// Tool is [tool.appbundle], nil in the lock of another tool. An installer
	// must not look at it: it may be missing or out of date.
	Tool *LockTool
	// Unknown are keys that this package does not know and passed over, as the
	// standard demands of a reader of the same major version.
	Unknown []Located
}

// A LockedMarker is a condition on the environment.
type LockedMarker struct {
	Pos
	Marker *pep508.Marker
}

// A LockedPackage is one package at one version. At most one of VCS, Directory
// and Archive is not nil; where one is, there are neither Sdist nor Wheels.
type LockedPackage struct {
	Pos
	Name           string         // normalised
	Version        string         // "" for a source tree, whose version nobody knows
	Marker         *pep508.Marker // nil for every environment
	RequiresPython string         // "" for any Python
	// Dependencies say why a package is there; an installer must not use them.
	Dependencies []LockedDependency
	Index        string // URL of the index that has it, "" for unknown
	VCS          *LockedVCS
	Directory    *LockedDirectory
	Archive      *LockedFile
	Sdist        *LockedFile
	Wheels       []LockedFile
	Tool         LockedPackageTool
}

// A LockedDependency names another package of the lock.
type LockedDependency struct {
	Name    string
	Version string // "" where the name alone says which
}

// A LockedVCS is a commit of version control.
type LockedVCS struct {
	Type              string
	URL               string // URL or Path
	Path              string
	RequestedRevision string
	CommitID          string
	Subdirectory      string
}

// A LockedDirectory is a directory beside the lock.
type LockedDirectory struct {
	Path         string
	Editable     bool
	Subdirectory string
}

// A LockedFile is a file to install from. URL or Path is not empty.
type LockedFile struct {
	Pos
	Name         string // file name; taken from URL or Path where the lock has none
	URL          string
	Path         string            // relative to the lock, with slashes
	Size         int64             // in bytes, 0 for unknown
	UploadTime   time.Time         // UTC; the zero time for unknown
	Hashes       map[string]string // algorithm to hexadecimal digits; not empty
	Subdirectory string            // of an archive
	// Wheel is what the name says; nil for what is no wheel.
	Wheel *pep508.WheelName
}

// A LockedPackageTool is [packages.tool.appbundle]: for people and audits.
type LockedPackageTool struct {
	From    []string // the lines that ask for it: "dependencies.txt:3"
	Yanked  string   // why the index withdrew it; "" where it did not
	License string   // SPDX expression
	Built   *LockedBuild
}

// A LockedBuild says how a wheel of a package came to be when the lock was made:
// for audits, and so that nobody builds it again.
type LockedBuild struct {
	Pos
	// Sdist is the source distribution, which has a sha256. Its URL is where it
	// came from, "" for a local file.
	Sdist LockedFile
	Wheel string // name of the wheel, which is in the bundle
	Host  string // what it was built on: "cp311-manylinux_2_36_x86_64"
	// Requires are all packages that were there for the build.
	Requires []LockedBuildRequirement
}

// A LockedBuildRequirement is a package that took part in a build.
type LockedBuildRequirement struct {
	Name    string // normalised
	Version string
	SHA256  string // of the wheel that was installed
}

// A LockTool is [tool.appbundle]: what the lock was made from.
type LockTool struct {
	Format  int
	Inputs  map[string]string // file to the SHA-256 of its content, in hexadecimal digits
	Targets []string          // what was locked for: "cp311-manylinux_2_28_x86_64"
	Options []string          // what else changed the answer: "--pre"
}

// SHA256 gives the hash of that algorithm, "" for none.
func (f *LockedFile) SHA256() string { return f.Hashes["sha256"] }

// fileName gives the last part of the URL or path.
func (f *LockedFile) fileName() string {
	from := f.Path
	if f.URL != "" {
		u, err := url.Parse(f.URL)
		if err != nil {
			return ""
		}
		from = u.Path
	}
	if name := path.Base(from); name != "." && name != "/" {
		return name
	}
	return ""
}

// Files lists every file of a package, wheels first.
func (p *LockedPackage) Files() []LockedFile {
	files := p.Wheels[:len(p.Wheels):len(p.Wheels)]
	for _, f := range []*LockedFile{p.Sdist, p.Archive} {
		if f != nil {
			files = append(files, *f)
		}
	}
	return files
}

// version parses the version, which the reader has checked.
func (p *LockedPackage) version() (pep440.Version, bool) {
	v, err := pep440.Parse(p.Version)
	return v, err == nil
}
