package rpm

import (
	"io"
	"io/fs"
	"time"
)

// A Format is a kind of package.
type Format string

// The formats that are written.
const (
	RPM Format = "rpm"
	Deb Format = "deb"
)

// A Compression is how the files in a package are compressed.
type Compression string

// The compressions that are written. An rpm of before 4.14 (EL7) and a dpkg of before
// 1.21.18 (Debian 11) read gzip alone.
const (
	Zstd Compression = "zstd" // and ""
	Gzip Compression = "gzip"
)

// A Package is one Linux package in full: nothing is added when it is written
// but what the format demands.
type Package struct {
	Format Format
	Name   string
	EVR    EVR    // with a release
	Arch   string // as the format names it: x86_64, noarch; amd64, all

	Summary     string // one line without a dot at its end
	Description string // may have many lines
	License     string // SPDX expression; a deb has it in its copyright file
	Homepage    string
	Maintainer  string // "NAME <ADDRESS>"
	Section     string // of a deb, and the group of an rpm; "" is web, Applications/Internet

	Files []File // sorted by path; a path occurs once

	Requires   []Relation
	Provides   []Relation
	Recommends []Relation
	Conflicts  []Relation
	Breaks     []Relation // of a deb
	Replaces   []Relation // of a deb; an rpm never obsoletes

	Scripts Scripts
	// Compression of the files; "" is Zstd.
	Compression Compression
	// Time is what files and the package are dated: SOURCE_DATE_EPOCH, or 1970 for the
	// zero Time.
	Time time.Time
}

// An EVR is epoch, version and release (of a deb: revision) in the spelling of a
// format.
type EVR struct {
	Epoch   int // 0 for none
	Version string
	Release string
}

// A Kind says what a File is.
type Kind int

// The kinds of files. The last two are only in packages that were read.
const (
	Regular Kind = iota
	Directory
	Symlink
	Config  // the administrator may change it: %config(noreplace), conffile
	License // of an rpm: %license; a regular file of a deb
	Ghost   // of an rpm: its own, without content
	Special // a device, a pipe or a socket
)

// hasContent reports whether a package has bytes for the file.
func (k Kind) hasContent() bool { return k == Regular || k == Config || k == License }

// A File is one entry of a package.
type File struct {
	Path string // absolute and clean
	Kind Kind
	Mode fs.FileMode // permission bits; 0777 of a Symlink, whatever it says here
	// Owner and Group are names: "root" where they are empty.
	Owner, Group string
	Link         string // of a Symlink
	Size         int64
	SHA256       [32]byte // of the content; what is written is compared with it
	// Open gives the content of what is no Directory and no Symlink. It is nil in a
	// package that was read.
	Open func() (io.ReadCloser, error)
}

// A Relation names another package, or something that one provides.
type Relation struct {
	Name    string // of an rpm also "(A or B)", of a deb also "a | b"; neither has a version
	Op      string // "", "=", ">=", ">", "<=", "<" ("<<" and ">>" of a deb are written for < and >)
	Version string // [EPOCH:]VERSION[-RELEASE]; "" with an empty Op
	// Pre says that a script needs it: Requires(pre,post,preun,postun) of an rpm,
	// Pre-Depends of a deb. It counts in Requires alone.
	Pre bool
}

// Scripts are the texts of maintainer scripts for /bin/sh, "" for none. They run
// under set -e; a first line with #! is not needed.
type Scripts struct {
	PreInstall, PostInstall, PreRemove, PostRemove string
	// PostTransaction runs when all packages of a transaction are installed, and what
	// they replaced is gone. Of an rpm alone.
	PostTransaction string
}
