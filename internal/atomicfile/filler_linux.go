package atomicfile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// clone makes a file that shares the blocks of another. After an error there is
// no new file.
func clone(from, to string, perm fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
	if err == nil {
		err = out.Chmod(perm)
	}
	err = errors.Join(err, out.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(to))
	}
	return err
}

func isTooManyLinks(err error) bool { return errors.Is(err, unix.EMLINK) }
