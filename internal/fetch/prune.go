package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appbundle/internal/atomicfile"
)

// Pruned is what Prune removed.
type Pruned struct {
	Entries int // pages, metadata, and whether an index has sidecars
	Files   int
	Left    int // what killed processes left
	Bytes   int64
}

// Prune removes from the cache directory every entry that was used last before
// a time, and what killed processes left. It waits until no Client is open, and
// calls waits before, which may be nil. That there is no cache is no error.
func Prune(ctx context.Context, dir string, before time.Time, waits func()) (Pruned, error) {
	var p Pruned
	unlock, err := atomicfile.Lock(ctx, dir, true, waits)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer unlock()
	err = entries(ctx, dir, func(e entry) error {
		switch {
		case !e.info.ModTime().Before(before):
			return nil
		case e.bucket == files:
			p.Files++
		default:
			p.Entries++
		}
		p.Bytes += e.info.Size()
		return os.Remove(e.path)
	})
	if err != nil {
		return p, err
	}
	err = arrived(ctx, dir, func(e entry) error {
		p.Left++
		p.Bytes += e.info.Size()
		return os.Remove(e.path)
	})
	removeEmpty(dir)
	return p, err
}

// removeEmpty removes the directories that hold nothing any more.
func removeEmpty(dir string) {
	for _, b := range buckets {
		at := filepath.Join(dir, string(b))
		below, _ := os.ReadDir(at) // what cannot be read is not empty
		for _, d := range below {
			if isFan(d) {
				_ = os.Remove(filepath.Join(at, d.Name())) // refused unless it is empty
			}
		}
		_ = os.Remove(at)
	}
	_ = os.Remove(filepath.Join(dir, arrivals))
}

// A Damage is an entry of the cache that is not what was stored.
type Damage struct {
	Bucket Bucket
	Name   string // of the entry's file: the SHA-256 of a key, or of a file
	Reason string
}

// Verify reads every entry of the cache and reports what is damaged. A Client
// takes such an entry for none and fetches it anew; with remove it is removed,
// for which Verify waits until no Client is open. tell hears of every entry that
// is dealt with; both functions may be nil.
func Verify(ctx context.Context, dir string, remove bool, waits func(), tell func()) ([]Damage, error) {
	unlock, err := atomicfile.Lock(ctx, dir, remove, waits)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	var found []Damage
	err = entries(ctx, dir, func(e entry) error {
		if tell != nil {
			tell()
		}
		reason, err := e.damage()
		if err != nil || reason == "" {
			return err
		}
		found = append(found, Damage{e.bucket, filepath.Base(e.path), reason})
		if !remove {
			return nil
		}
		return os.Remove(e.path)
	})
	return found, err
}

// An entry is what lies in a bucket under a name of ours.
type entry struct {
	bucket Bucket
	path   string
	info   fs.FileInfo
}

// entries calls do for all entries. What has no name of ours was put there by
// somebody else and is left alone.
func entries(ctx context.Context, dir string, do func(entry) error) error {
	for _, b := range buckets {
		at := filepath.Join(dir, string(b))
		below, err := readDir(at)
		if err != nil {
			return err
		}
		for _, d := range below {
			if !isFan(d) {
				continue
			}
			if err := inFan(ctx, b, filepath.Join(at, d.Name()), do); err != nil {
				return err
			}
		}
	}
	return nil
}

func inFan(ctx context.Context, b Bucket, at string, do func(entry) error) error {
	below, err := readDir(at)
	if err != nil {
		return err
	}
	for _, d := range below {
		if !isDigest(d.Name()) || d.Name()[:2] != filepath.Base(at) {
			continue
		}
		if err := one(ctx, entry{bucket: b, path: filepath.Join(at, d.Name())}, do); err != nil {
			return err
		}
	}
	return nil
}

// arrived calls do for all that is on its way, or never came.
func arrived(ctx context.Context, dir string, do func(entry) error) error {
	at := filepath.Join(dir, arrivals)
	below, err := readDir(at)
	if err != nil {
		return err
	}
	for _, d := range below {
		if _, ok := atomicfile.Temporary(d.Name()); !ok {
			continue
		}
		if err := one(ctx, entry{path: filepath.Join(at, d.Name())}, do); err != nil {
			return err
		}
	}
	return nil
}

// one calls do for an entry. One that is gone was replaced, by a process that
// has the lock together with us.
func one(ctx context.Context, e entry, do func(entry) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var err error
	if e.info, err = os.Lstat(e.path); err == nil && e.info.Mode().IsRegular() {
		err = do(e)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// damage says what is wrong with an entry, "" for nothing.
func (e *entry) damage() (string, error) {
	in, err := os.Open(e.path)
	if err != nil {
		return "", err
	}
	defer in.Close() // opened for reading: nothing can be lost
	if e.bucket == files {
		sum := sha256.New()
		if _, err := io.Copy(sum, in); err != nil {
			return "", err
		}
		if hex.EncodeToString(sum.Sum(nil)) != filepath.Base(e.path) {
			return "has another content than its name says", nil
		}
		return "", nil
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxEntry+1))
	if err != nil {
		return "", err
	}
	if _, ok := decodeEntry(raw); !ok {
		return "has another content than its checksum says", nil
	}
	return "", nil
}

// readDir is os.ReadDir; a directory that does not exist is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	below, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return below, err
}

func isFan(d fs.DirEntry) bool { return d.IsDir() && len(d.Name()) == 2 && isHex(d.Name()) }

func isDigest(name string) bool { return len(name) == 2*sha256.Size && isHex(name) }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
