//go:build !linux

package atomicfile

import (
	"errors"
	"io/fs"
)

// clone is not there.
func clone(from, to string, perm fs.FileMode) error { return errors.ErrUnsupported }

func isTooManyLinks(err error) bool { return false }
