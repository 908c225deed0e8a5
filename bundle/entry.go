package bundle

import (
	"crypto/sha256"
	"io/fs"
	"strings"
)

// Where the tool keeps its own files inside an application directory.
const (
	toolDir      = ".appbundle"
	manifestPath = toolDir + "/manifest.json"
	sbomPath     = toolDir + "/sbom.cdx.json"
	envDir       = toolDir + "/env"
	envFile      = envDir + "/installed.json"
	lockFile     = "pylock.toml" // at the top of the directory (PEP 751)
)

// A Type is what an entry is.
type Type string

// The types of entries. Special ones (devices, pipes, sockets) can be in a
// directory and never in an archive: a rule refuses them.
const (
	Dir     Type = "dir"
	File    Type = "file"
	Link    Type = "link"
	Special Type = "special"
)

// An Entry is one name of an application directory or archive with every fact
// that a rule asks for. An App's entries never change.
type Entry struct {
	Path string // slash path relative to the application directory
	Type Type
	Mode fs.FileMode // as found; identity is Type and X alone
	X    bool        // the owner's x bit of a file
	Size int64       // of a file
	Link string      // target of a link
	Sum  [sha256.Size]byte

	FirstLine  string // of a file that begins with "#!", without the line end
	ELF        bool   // native code
	Machine    string // of native code: "x86_64"
	Database   bool   // of SQLite
	PrivateKey bool   // begins with a private key, or holds one under a key's name

	check uint64 // maphash of a file's content under the App's seed
}

// Unreadable reports a file that others than its owner and group cannot read.
func (e *Entry) Unreadable() bool { return e.Type == File && e.Mode&0o004 == 0 }

// inEnv reports whether p belongs to the environment that the tool made: its
// files are the libraries' and no one can change them in the application.
func inEnv(p string) bool { return strings.HasPrefix(p, envDir+"/") }
