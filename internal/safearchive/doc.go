// Package safearchive reads the archives of strangers: tar, tar.gz, tar.zst and zip,
// on demand tar.xz and tar.bz2, and the zip archives that Python wheels are. It is the
// one reader in the module; nothing else decodes an archive that somebody else may
// have written.
//
// [Open] recognises the format by its content, [Reader.Next] gives one
// entry after the other, and [Extract] writes them below a directory. An entry
// that comes out of Next has passed every rule below; an archive is accepted
// only when Next has returned [io.EOF], because its last bytes may be the ones
// that are wrong. Until then what was read is worth nothing, which is why
// Extract writes into a staging directory that its caller commits or removes.
//
// # What is accepted
//
// One archive means one tree, on every system and for every reader:
//
//   - Names are UTF-8, relative, canonical and printable: no "..", no empty
//     component, no backslash, drive letter, control or bidirectional
//     character. A leading "./" is stripped and the entry "./" skipped. See
//     [CheckName].
//   - A name occurs once. Two names that are equal after Unicode normalisation
//     and full case folding are one name. A file is no directory later, nor a
//     directory a file; no name leads through a link.
//   - Entries are directories, regular files and symbolic links. A hard link
//     is accepted where it names an earlier regular entry, as a copy of it.
//     Devices, FIFOs, sparse files, volumes and unknown types are refused.
//   - Of the mode only the owner's x bit is kept. Set-id and sticky bits, file
//     type bits, extended attributes, ACLs and capabilities are refused;
//     owner and times are ignored. [Reader.DropModes] lets such bits pass.
//   - The target of a symbolic link is walked as a kernel would, over the
//     complete tree, after the last entry: x/.. is the parent of what x points
//     to. It must stay inside at every step. A link to what does not exist is
//     accepted when no ".." follows the missing part. Loops, and chains of
//     more than 40 links, are refused. Next gives the links last.
//   - The format is read strictly: checksum of each header, two end blocks,
//     after them nothing but zero blocks and the end of the compressed stream
//     with its own checksum. What two readers may read differently is refused:
//     a body on a link or directory, two names for one entry, a global header
//     that renames, a header of no known kind.
//   - Concatenated gzip members, zstd frames and skippable frames are one
//     stream. Dictionaries and any other trailing byte are refused.
//
// # Zip
//
// One archive has one meaning: its directory, its local headers and its descriptors
// agree in every field; entries follow each other without a gap from the first byte
// to the directory. Encryption, and methods other than store and deflate, are refused.
//
// For Open a zip is a tree as a tar is, by the rules above; a symbolic link is a file
// whose Unix mode says so and whose content is the target. Its entries come in the
// order of its directory. Comments are passed over, but nothing follows the end of
// the archive that its comment does not cover, and in none is there another end.
// Before the first entry there may be one line that begins with "#!"; places count
// from the first byte of the archive or from the end of that line. A name is UTF-8
// where it is marked, where a second name in an extra field is the same, or where a
// Unix system wrote it; elsewhere it is ASCII or refused.
//
// [OpenZip] is for wheels, and stricter: there are no links and no comments, nothing
// comes first, and names are marked. Set-id bits are dropped, because wheels have
// them. Its files are read in any order.
//
// # Limits
//
// [Limits] has them all, with defaults. Zeros compress by more than the ratio
// that is a bomb's; an archive that says first what it holds may have as much
// out of proportion, see [Reader.Announce]. Size, ratio, window and headers bound
// time and disk, names and entries bound memory: a Reader needs about 150
// bytes an entry with a usual name, the window, and buffers of some 3 MiB.
//
// # Errors
//
// A [*RefusedError] is an answer about the archive: it is hostile, damaged or
// of another kind. A [*LimitError] is a refusal that another limit would have
// avoided, a [*ForeignError] one that names the format of others. Every other error is about the world (the disk, the network, a
// context) and says nothing about the archive.
//
// # Why not archive/tar and archive/zip
//
// The tar layer is our own. archive/tar hides just what has to be refused: it
// accepts a missing end block, skips bodies of links, applies what a global
// header says, joins sparse files, and stops at the first end block. A scanner
// in front of it would have to decode every header a second time, and prove
// that both agree. Recognising and decompressing is archiver's; an own scanner
// walks the zstd frames, because the decoder takes up to three trailing bytes
// for the end of the stream. archive/zip believes the directory, reads no field
// of a local header, and finds an end anywhere in the last 64 KiB.
package safearchive
