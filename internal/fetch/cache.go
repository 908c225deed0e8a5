package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"appbundle/internal/atomicfile"
)

// An entry is a file of the cache: this line, the checksum and the length of
// what follows, and that.
const entryMagic = "appbundle cache 1\n"

const (
	entryHead = len(entryMagic) + 4 + 8
	maxEntry  = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Bucket is a directory of the cache with entries of one kind.
type Bucket string

// The buckets. Prune knows no others: what else is in the directory of a cache
// is not ours.
const (
	Pages    Bucket = "pages"    // of every Form
	Metadata Bucket = "metadata" // of files, whatever the caller makes of it
	Sidecars Bucket = "sidecars" // whether an index has metadata beside its files

	files Bucket = "files" // whole, and named by their SHA-256
)

var buckets = []Bucket{Pages, Metadata, Sidecars, files}

// Load gives what Store keeps under bucket and key; false where there is
// nothing, or nothing that can be trusted.
func (c *Client) Load(bucket Bucket, key string) ([]byte, bool) {
	path := c.entryPath(bucket, key)
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxEntry {
		return nil, false
	}
	raw := make([]byte, info.Size())
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, false
	}
	data, ok := decodeEntry(raw)
	if ok {
		c.used(path, info)
	}
	return data, ok
}

// used notes that an entry was used, which only Prune wants to know.
func (c *Client) used(path string, info os.FileInfo) {
	if now := c.cfg.Now(); now.Sub(info.ModTime()) > time.Minute {
		_ = os.Chtimes(path, now, now)
	}
}

// Store keeps data, which may come in pieces, under bucket and key, any text that
// holds no secret. Whether it can be kept makes no difference to a caller: a cache
// that cannot be written is slow, not wrong.
func (c *Client) Store(bucket Bucket, key string, data ...[]byte) {
	if err := c.store(c.entryPath(bucket, key), data); err != nil {
		c.warn("cache: " + err.Error())
	}
}

// store makes an entry appear whole. Nothing is flushed to the disk: what a power
// cut leaves of it does not have its checksum and is asked for again.
func (c *Client) store(path string, data [][]byte) error {
	dir := filepath.Join(c.cfg.Dir, arrivals)
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(entryHeader(data))
	for _, piece := range data {
		if err == nil {
			_, err = f.Write(piece)
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = atomicfile.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// arrivals is the directory of what is not whole yet. Nothing there has a final
// name.
const arrivals = "arriving"

// arrive begins a file of the cache.
func (c *Client) arrive(name string) (*atomicfile.File, error) {
	dir := filepath.Join(c.cfg.Dir, arrivals)
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return atomicfile.Create(filepath.Join(dir, name), 0o600)
}

// land gives a file its place.
func land(out *atomicfile.File, path string) error {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return out.CommitAs(path)
}

// sweep removes what killed processes left, where nobody else uses the cache:
// then nothing is on its way.
func sweep(dir string) {
	if left, err := os.ReadDir(filepath.Join(dir, arrivals)); err != nil || len(left) == 0 {
		return
	}
	unlock, ok := atomicfile.LockNow(dir)
	if !ok {
		return
	}
	defer unlock()
	_ = arrived(context.Background(), dir, func(e entry) error { return os.Remove(e.path) }) // the next one tries again
}

// entryPath hashes the key: it may hold any byte and be of any length.
func (c *Client) entryPath(bucket Bucket, key string) string {
	sum := sha256.Sum256([]byte(key))
	return c.path(bucket, hex.EncodeToString(sum[:]))
}

// path spreads entries over 256 directories.
func (c *Client) path(bucket Bucket, name string) string {
	return filepath.Join(c.cfg.Dir, string(bucket), name[:2], name)
}

func (c *Client) warn(msg string) {
	if c.cfg.Warn != nil {
		c.warned.Do(func() { c.cfg.Warn(msg) })
	}
}

// entryHeader is what stands before data.
func entryHeader(data [][]byte) []byte {
	sum, size := uint32(0), 0
	for _, piece := range data {
		sum, size = crc32.Update(sum, castagnoli, piece), size+len(piece)
	}
	head := append(make([]byte, 0, entryHead), entryMagic...)
	head = binary.LittleEndian.AppendUint32(head, sum)
	return binary.LittleEndian.AppendUint64(head, uint64(size))
}

func decodeEntry(raw []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(raw, []byte(entryMagic))
	if !ok || len(raw) < entryHead {
		return nil, false
	}
	sum, size, data := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint64(rest[4:]), rest[12:]
	if size != uint64(len(data)) || crc32.Checksum(data, castagnoli) != sum {
		return nil, false
	}
	return data, true
}
