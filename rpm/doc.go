// Package rpm writes, reads and indexes Linux packages: rpm and deb.
//
// A [Package] is one package in full. [Write] checks it, writes it, reads back what
// it wrote and compares; only then does the file appear. [Read] takes packages of
// strangers. [Index] makes a directory of packages a repository for dnf or apt.
//
// # Writing
//
// The same Package gives the same bytes on every host, for every user, umask, clock
// and number of processors: nothing comes from the disk but the content of the
// files, which is compared with the size and digest that the Package has for it.
// Compressed bytes change with the release of the compressor.
//
// nfpm makes the skeleton of a package, with files that are empty, because it keeps
// everything that it packs in memory, twice. The content is streamed into the
// skeleton here, and what depends on content (sizes, digests, signatures) is set.
// So the memory does not grow with the size of the files; a file of the size
// of the package is spooled beside it.
//
// What a format demands is added: of an rpm the requirements of rpmlib, its own
// provides with and without the architecture, config(NAME), and /bin/sh for
// scripts; of a deb the directories above its files, checksums and the installed
// size. Nothing else is.
//
// # Sources
//
// A [Source] is for those who build packages with rpmbuild: [WriteSource] writes an rpm
// of sources, [WriteSpec] a spec and its archive. The archive has the files of the
// Package, and the spec installs them: what rpmbuild makes has the same files,
// modes, relations and scripts. The build time and the compression are those of who builds,
// scripts end without their last newline, and each of them requires its shell.
//
// # Refused
//
// Names, versions, architectures and relations outside of the grammar of the
// format; files of an rpm of 4 GiB and more, one alone or all together; permission
// bits beyond rwx, and files that everybody may write; devices, pipes and sockets;
// paths and links that are not clean; two entries for one path, or one below a file.
//
// # Reading
//
// What is read may be hostile. Counts and offsets are bound to the size of what
// holds them, memory to the size of the header (at most 256 MiB) and of the names,
// and time to the limits of [Limits]. Nothing is installed and no script run. A
// *[FormatError] is an answer about the package; every other error is about the world.
package rpm
