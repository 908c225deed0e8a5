// Package schema reads and writes every file format of the standard, and
// nothing else: decode, encode, position. What a file means for a deployment
// is decided elsewhere.
//
// A decoder takes the name that the user knows the file by and its bytes, and
// returns what it could read together with every [Problem] it found, in the
// order of the file. A value that comes with problems is safe to look at (a
// check reports on the rest of the file too) and must not be acted on.
//
// # Positions
//
// Each value that a message may point at carries a [Pos]. Lines and columns
// count from 1, columns in bytes; 0 means "not one line" or "the whole line".
//
// # Editing
//
// [EditRequirements], [EditExternal] and [EditAppINI] change lines of a file that
// a person wrote, and leave its comments, its order and its line ends alone.
//
// # Limits
//
// A file is at most [MaxFile] bytes of UTF-8, with or without a byte order
// mark, and a logical line at most [MaxLine] bytes after its continuations are
// joined. The limits meet hostile input; nothing that a person writes by hand
// comes near them.
//
// The package reads no file, no environment variable and no clock.
package schema
