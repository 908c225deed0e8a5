//go:build !linux

package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
)

// renameNew renames from to to and refuses when to exists.
func renameNew(from, to string) error { return renameByLook(from, to) }

// exchange swaps two names. Both must exist.
func exchange(a, b string) error { return exchangeByRename(a, b) }

// syncTree flushes every file and directory below dir.
func syncTree(dir *os.File) error {
	return filepath.WalkDir(dir.Name(), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close() // opened for reading: nothing can be lost
		return f.Sync()
	})
}
