package rpm

import (
	"errors"
	"sync"

	"appbundle/internal/atomicfile"
)

// A Batch takes packages, what rpmbuild makes them of, and the metadata of repositories
// under temporary names, until Commit gives all of them their own. Nobody sees the
// packages of one release beside the metadata of another, and a full disk or an
// interrupted build leaves everything as it was. The zero Batch is empty. The
// caller defers Abort.
//
// Files have names one after the other. What is left is a crash or a broken disk in the
// moment of Commit: packages are there by then that the metadata does not name, or
// have replaced those that it names, until the build runs again.
type Batch struct {
	fs atomicfile.FS // for tests

	mu       sync.Mutex // of files and infos, while packages are written
	files    []*atomicfile.File
	infos    map[string]*Info // of packages, by path
	metadata []*atomicfile.File
	repodata []*atomicfile.Dir
}

// create begins a file of the batch.
func (b *Batch) create(path string) (*atomicfile.File, error) {
	f, err := b.fs.Create(path, 0o644)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, f)
	return f, nil
}

// Commit makes everything appear: first packages and sources, then the metadata, of which
// what names others comes last. Everything is on the disk by then under another name.
// A Batch is committed once.
func (b *Batch) Commit() error {
	err := atomicfile.CommitAll(b.files)
	if err == nil {
		err = atomicfile.CommitAll(b.metadata)
	}
	for _, d := range b.repodata {
		if err == nil {
			err = d.Commit()
		}
	}
	if err != nil {
		return errors.Join(err, b.Abort())
	}
	return nil
}

// Abort removes what has not appeared. After Commit it does nothing.
func (b *Batch) Abort() error {
	var all []error
	for _, f := range append(b.files[:len(b.files):len(b.files)], b.metadata...) {
		all = append(all, f.Abort())
	}
	for _, d := range b.repodata {
		all = append(all, d.Abort())
	}
	return errors.Join(all...)
}

// atOnce writes and commits a batch of its own.
func atOnce[T any](b *Batch, write func() (T, error)) (made T, err error) {
	made, err = write()
	if err == nil {
		err = b.Commit()
	}
	if err != nil {
		var nothing T
		return nothing, errors.Join(err, b.Abort())
	}
	return made, nil
}
