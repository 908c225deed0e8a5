package resolve

import (
	"context"
	"errors"
	"time"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// ErrNotFound says that no index has a project of that name.
var ErrNotFound = errors.New("not found")

// A Provider tells the solver what exists. The solver calls it from many
// goroutines at once and expects the same answer for the whole of one run.
type Provider interface {
	// Project lists what there is of a project. name is normalised. For an
	// unknown name the error wraps ErrNotFound; any other error stops the run.
	Project(ctx context.Context, name string) (*Project, error)

	// Metadata reads what a release says of itself, from f, one of its files. A
	// *MetadataError says that nobody can tell without a build, or that what the
	// file says is no metadata: the release cannot be used, and the reason is
	// part of an explanation. Any other error stops the run.
	Metadata(ctx context.Context, name string, r *Release, f *File) (*Metadata, error)
}

// A Project is one name of an index.
type Project struct {
	Name     string     // normalised
	Index    string     // URL of the index that has it, without credentials; "" for local files alone
	Releases []*Release // newest first; a version occurs once
	Passed   int        // files whose names say nothing that could be installed
	// Quarantined is why the index does not offer it, "" where it does (PEP 792).
	Quarantined string
}

// A Release is one version of a project.
type Release struct {
	Version pep440.Version // as the file names write it
	Files   []*File        // in the order of their names
}

// A File is one wheel or source distribution.
type File struct {
	Name     string            // as the index writes it
	URL      string            // without credentials; "" for a local file
	Path     string            // of a local file, relative to the application directory; "" for others
	Hashes   map[string]string // algorithm to hex digest, of sha256, sha384 and sha512; may be empty
	Size     int64             // in bytes, 0 where the index does not say
	Uploaded time.Time         // the zero time where the index does not say

	RequiresPython pep440.Specifiers // nil for any
	Yanked         bool
	YankedReason   string

	Wheel *pep508.WheelName // nil for a source distribution
}

// Metadata is what a release says of itself: the parts of core metadata that a
// resolution needs.
type Metadata struct {
	Name           string // normalised
	Version        pep440.Version
	RequiresPython pep440.Specifiers // nil for any
	Requires       []*pep508.Requirement
	Extras         []string // normalised, sorted
	License        string   // License-Expression, "" for none
	Built          bool     // by a build of a source distribution
}

// A MetadataError says why a file tells nothing of its release.
type MetadataError struct {
	File   string
	Reason string // "its PKG-INFO is dynamic, and builds are not allowed"
}

// Error names the file.
func (e *MetadataError) Error() string { return e.File + ": " + e.Reason }

// A Target is an environment that is locked for.
type Target struct {
	Name   string         // of the Python and the platform: "cp311-manylinux_2_28_x86_64"
	Python pep440.Version // in full, as requires-python compares it
	Env    pep508.Env     // what markers are answered from
	Tags   []string       // wheel tags that fit, best first
}
