// Package external says what a distribution calls the system dependencies of
// an application: the lines of external-dependencies.txt become names of
// packages, relations between packages, and questions that a host can answer.
//
// A line's name is a hint. It is looked up in a table of neutral names (that of
// PEP 725 without "dep:generic/"), their usual aliases, the names of packages of
// every family, names of pkg-config modules and sonames; so "libpq-dev",
// "postgresql-client" and "pkgconfig(libpq)" are the same library. A name that
// names what is needed to build (a -dev or -devel package, a compiler, a
// pkg-config module) asks for that and for nothing at run time. A name that is
// in no table is used as it is written, and [For] says so in a problem with
// the line and a remedy. An identifier of where a project is developed
// (dep:github/OWNER/NAME) is looked up by the neutral name alone, and names
// nothing where there is none.
//
// # Relations
//
// A package that is made elsewhere needs relations that hold on every host it is
// installed on. In an RPM a library without a version is its soname, as rpm's
// own generator writes it, where Fedora and EL have the same one; a program is
// its path; everything else is a package name. In a Debian package all are
// package names. Versions are spelled as the family orders them, with the epoch
// that the distribution gave the package: "zlib>=1.2" is "zlib1g (>= 1:1.2)".
//
// The functions are pure but for [System], which reads a host's files and runs
// nothing; who calls it gives it the answers of rpm.
//
// # Limits
//
// The names of Debian 12 and their epochs were compared with that distribution's
// index (go test -debian-index does it again), its sonames, pkg-config modules
// and programs with its packages. What the table has of Fedora 41, EL 9 and
// Alpine 3.20 was not: no index of theirs was at hand. A release that is not in
// the table is refused, since names of libraries change with releases.
//
// A version is what the distribution calls a version: 1.0 and 1.0.0 are two of
// them, Debian's 1.2.13.dfsg is not 1.2.13, and "!=" has no relation. A wheel may
// carry a library of its own, and then needs none of the system's.
package external
