package rpm

import (
	"errors"
	"fmt"
	"io"
)

// A FormatError says that a package is damaged, hostile, or of a kind that is not
// read.
type FormatError struct {
	Package string // its name as the caller gave it
	Entry   string // the file or field in it, or ""
	Reason  string // "is cut"
}

func (e *FormatError) Error() string {
	s := e.Package
	if s != "" {
		s += ": "
	}
	if e.Entry != "" {
		s += fmt.Sprintf("%q: ", e.Entry)
	}
	return s + e.Reason
}

// inPackage says whose error it is. What a decoder says of the bytes is an answer
// about the package, unless the bytes could not be read: then it is src.
func inPackage(name string, err, src error) error {
	var f *FormatError
	switch {
	case src != nil:
		return fmt.Errorf("%s: %w", name, src)
	case errors.As(err, &f):
		return &FormatError{Package: name, Entry: f.Entry, Reason: f.Reason}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Package: name, Reason: "is cut: the package ends too early"}
	}
	return &FormatError{Package: name, Reason: fmt.Sprintf("is damaged: %v", err)}
}

// badFile is an answer about a file in a package.
func badFile(path, format string, args ...any) error {
	return &FormatError{Entry: path, Reason: fmt.Sprintf(format, args...)}
}
