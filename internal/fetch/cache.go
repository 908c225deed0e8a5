package fetch

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

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

// Load gives what Store keeps under bucket and key; false where there is
// nothing, or nothing that can be trusted.
func (c *Client) Load(bucket, key string) ([]byte, bool) {
	f, err := os.Open(c.entryPath(bucket, key))
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
	return decodeEntry(raw)
}

// Store keeps data under bucket, a word, and key, any text that holds no secret.
// Whether it can be kept makes no difference to a caller: a cache that cannot be
// written is slow, not wrong.
func (c *Client) Store(bucket, key string, data []byte) {
	path := c.entryPath(bucket, key)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = atomicfile.WriteFile(path, encodeEntry(data), 0o600)
	}
	if err != nil {
		c.warn("cache: " + err.Error())
	}
}

// entryPath spreads entries over 256 directories. The key is hashed: it may
// hold any byte and be of any length.
func (c *Client) entryPath(bucket, key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(c.cfg.Dir, bucket, name[:2], name)
}

func (c *Client) warn(msg string) {
	if c.cfg.Warn != nil {
		c.warned.Do(func() { c.cfg.Warn(msg) })
	}
}

func encodeEntry(data []byte) []byte {
	raw := make([]byte, 0, entryHead+len(data))
	raw = append(raw, entryMagic...)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(data, castagnoli))
	raw = binary.LittleEndian.AppendUint64(raw, uint64(len(data)))
	return append(raw, data...)
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
