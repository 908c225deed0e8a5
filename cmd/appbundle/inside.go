package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
)

// sumInside hashes a file of a directory; no link leads out of it.
func sumInside(dir, name string) (sum string, size int64, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", 0, err
	}
	defer root.Close() // opened for reading: nothing can be lost
	st, err := root.Lstat(name)
	if err != nil {
		return "", 0, err
	}
	if !st.Mode().IsRegular() {
		return "", 0, fmt.Errorf("%s is no file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// removeInside removes a file of a directory, and the directories above it that
// are empty then.
func removeInside(dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() // nothing was written through this descriptor
	if err := root.Remove(name); err != nil {
		return err
	}
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		if root.Remove(above) != nil {
			break // something else is in it
		}
	}
	return nil
}
