package install

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appbundle/internal/atomicfile"
	"appbundle/internal/fetch"
)

// A PruneRequest says what may go from a cache.
type PruneRequest struct {
	Dir    string    // the cache directory; that there is none is no error
	Before time.Time // what was used last before it goes
	Waits  func()    // hears that somebody uses the cache, for whom Prune waits; nil means nobody does
	// Progress hears how many wheels, or the byte code of one, have been removed;
	// nil means nobody does.
	Progress func(removed int)
}

// Pruned is what Prune removed.
type Pruned struct {
	Wheels   int   // unpacked, or built
	Bytecode int   // of wheels, for one version of Python
	Answers  int   // of indexes, interpreters and builds
	Files    int   // as they were downloaded
	Left     int   // what killed processes left
	Bytes    int64 // of files that no environment shares
}

// Prune removes from the cache directory all that nothing has used since a time:
// wheels that no environment was made from, byte code, and the answers and files
// that were fetched; and whatever killed processes left. It waits until nobody
// uses the cache. Environments stay whole: what they share with the cache is
// theirs too. Files that no cache has are left alone.
func Prune(ctx context.Context, req PruneRequest) (Pruned, error) {
	fetched, err := fetch.Prune(ctx, req.Dir, req.Before, req.Waits)
	p := pruning{PruneRequest: req, Pruned: Pruned{Answers: fetched.Entries, Files: fetched.Files, Left: fetched.Left, Bytes: fetched.Bytes}}
	if err != nil {
		return p.Pruned, err
	}
	unlock, err := atomicfile.Lock(ctx, req.Dir, true, req.Waits)
	if errors.Is(err, fs.ErrNotExist) {
		return p.Pruned, nil
	}
	if err != nil {
		return p.Pruned, err
	}
	defer unlock()
	return p.Pruned, p.all(ctx)
}

// A pruning is a Prune that has the cache alone.
type pruning struct {
	PruneRequest
	Pruned
}

func (p *pruning) all(ctx context.Context) error {
	c := &cache{dir: p.Dir}
	err := c.entries(ctx, wheelsDir, isDigest, func(e cacheEntry) error { return p.remove(e, &p.Wheels) })
	if err != nil {
		return err
	}
	err = c.bytecodes(ctx, func(e cacheEntry) error {
		if _, err := os.Lstat(filepath.Join(p.Dir, wheelsDir, e.name)); errors.Is(err, fs.ErrNotExist) {
			e.useless = true
		}
		return p.remove(e, &p.Bytecode)
	})
	if err != nil {
		return err
	}
	err = c.entries(ctx, answersDir, isAnswer, func(e cacheEntry) error { return p.remove(e, &p.Answers) })
	if err != nil {
		return err
	}
	err = c.entries(ctx, BuildsDir, isBuild, func(e cacheEntry) error {
		if strings.HasSuffix(e.name, ".json") {
			return p.remove(e, &p.Answers)
		}
		return p.remove(e, &p.Wheels)
	})
	if err != nil {
		return err
	}
	// Nobody waits for these: who fills an entry shares the lock of the cache.
	err = c.entries(ctx, locksDir, isLock, func(e cacheEntry) error { return os.Remove(e.path) })
	if err != nil {
		return err
	}
	return c.removeEmpty()
}

// removeEmpty removes the directories that hold nothing any more.
func (c *cache) removeEmpty() error {
	magics, err := c.magics()
	for _, dir := range append(magics, wheelsDir, bytecodeDir, answersDir, BuildsDir, locksDir) {
		_ = os.Remove(filepath.Join(c.dir, dir)) // refused unless it is empty
	}
	return err
}

// remove removes what nothing has used for long.
func (p *pruning) remove(e cacheEntry, n *int) error {
	switch {
	case e.left:
		n = &p.Left
	case !e.useless && !e.used.Before(p.Before):
		return nil
	}
	*n++
	if p.Progress != nil {
		p.Progress(p.Wheels + p.Bytecode)
	}
	_ = filepath.WalkDir(e.path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // only counted, and removed below in any case
		}
		if st, err := d.Info(); err == nil && links(st) == 1 {
			p.Bytes += st.Size()
		}
		return nil
	})
	return atomicfile.RemoveAll(e.path)
}

// A cacheEntry is what lies in a directory of the cache under a name of ours.
type cacheEntry struct {
	name, path string
	used       time.Time
	left       bool // by a process that was killed, or by one that still runs
	useless    bool
}

// entries calls do for everything in a directory of the cache that has a name of
// ours. The rest was put there by somebody else.
func (c *cache) entries(ctx context.Context, dir string, isOurs func(name string) bool, do func(cacheEntry) error) error {
	below, err := readDir(filepath.Join(c.dir, dir))
	if err != nil {
		return err
	}
	for _, d := range below {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := cacheEntry{name: d.Name(), path: filepath.Join(c.dir, dir, d.Name())}
		if of, ok := atomicfile.Temporary(e.name); ok {
			e.name, e.left = of, true
		}
		if !isOurs(e.name) {
			continue
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was temporary, or another answer took its place
		}
		if err != nil {
			return err
		}
		e.used = st.ModTime()
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

// bytecodes calls do for the byte code of every wheel, for every version of
// Python.
func (c *cache) bytecodes(ctx context.Context, do func(cacheEntry) error) error {
	magics, err := c.magics()
	if err != nil {
		return err
	}
	for _, dir := range magics {
		if err := c.entries(ctx, dir, isDigest, do); err != nil {
			return err
		}
	}
	return nil
}

// magics gives the directories of byte code, one for each version of Python.
func (c *cache) magics() (dirs []string, err error) {
	below, err := readDir(filepath.Join(c.dir, bytecodeDir))
	for _, d := range below {
		if d.IsDir() && isMagic(d.Name()) {
			dirs = append(dirs, filepath.Join(bytecodeDir, d.Name()))
		}
	}
	return dirs, err
}

// readDir is os.ReadDir; a directory that does not exist is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return entries, err
}

// isDigest reports whether a name is a SHA-256.
func isDigest(name string) bool {
	sum, err := hex.DecodeString(name)
	return err == nil && len(sum) == 32
}

// isBuild knows what builds keep: a directory with a wheel, and what a backend
// asked for.
func isBuild(name string) bool { return isDigest(strings.TrimSuffix(name, ".json")) }

// isLock knows the names of the locks: a SHA-256, perhaps after a magic number.
func isLock(name string) bool {
	return len(name) >= 64 && isDigest(name[len(name)-64:])
}

// isMagic knows what byte code is for: cpython-311-a70d0d0a.
func isMagic(name string) bool {
	tag, magic, ok := cutLast(name, "-")
	_, err := hex.DecodeString(magic)
	return ok && tag != "" && err == nil && len(magic) == 8
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// isAnswer knows the files of answers.
func isAnswer(name string) bool {
	stem, ok := strings.CutSuffix(name, ".json")
	sum, err := hex.DecodeString(strings.TrimPrefix(stem, pipPrefix))
	return ok && err == nil && len(sum) == answerSum
}
