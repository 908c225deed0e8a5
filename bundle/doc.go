// Package bundle reads an application directory, checks it against
// docs/STANDARD.md, says which processes it is, and turns it into an archive
// and back.
//
// [Load] reads the directory once. Everything later is a function of the [App]
// that it returns: what [Check] approved is what [App.Archive] writes, and when
// somebody edits a file in between, archiving fails with [ErrChanged]. [Open]
// gives the same App for an archive.
//
// # Identity
//
// The entries of an application are its files, directories and symbolic links,
// but for what the standard or .appbundleignore leaves out, in bytewise order
// of their slash paths. Path, type, owner's x bit, content and link target are
// its identity; [App.Digest] is computed from them and nothing else. An
// archive begins with a manifest that lists them and that is not one of them.
// The bytes of an archive are a function of the entries, the name, the version
// and the release of the compressor.
//
// # Checking
//
// A [Rule] is a row of a table, its function is pure, and its section in
// docs/STANDARD.md has the same ID, level and title. Load and Open fail when
// they could not look; Check answers when they looked and the answer is no.
//
// # Writing
//
// [Build] and [Unpack] put their result at its place in one step and leave
// nothing when they fail. [Verify] and Unpack trust nothing: an archive is
// refused unless every entry is what the manifest says and the digest of all
// is the manifest's.
//
// # Limits
//
// Names and links are those that package safearchive accepts, so that no
// archive is written that would be refused. Reading takes a buffer of 256 KiB
// for each processor, archiving 2 MiB and the compressor's 30, whatever the
// size of the files; entries take some 300 bytes each, and while an archive is
// made the manifest as much again.
//
// The package starts no process, opens no connection, and reads no environment
// variable and no clock.
package bundle
