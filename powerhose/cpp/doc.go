// Package cpp is powerhose for C++: a worker in headers, in
// include/powerhose, with a CMake package. README.md shows how it is used.
//
// There is no Go in it but for its tests. The other side of a worker is a
// master, and the tests play one: they compile programs with the sanitizers for
// addresses and undefined behaviour, and talk to them as docs/POWERHOSE.md says,
// and as it does not.
package cpp
