// Package trust says who made an archive: it signs archives and checks signatures, in
// the format of minisign (Ed25519 over BLAKE2b-512), and reads the file that
// names the keys a host trusts.
//
// A signature is of the bytes of an archive, in a file beside it: ARCHIVE.minisig. The
// minisign program checks ours, and we check its own; only signatures of the
// older kind, which are over the whole file and not over its hash, are refused.
//
// A trust file has a line for each key:
//
//	GLOB KEY [COMMENT]
//
// GLOB is matched with the name of the application (path.Match), KEY is the Base64
// line of a minisign public key. Blank lines and those that begin with # count for
// nothing. A file that somebody else could have written is an error, and so is one
// that cannot be read: where trust is asked for, nothing is taken without it.
package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"aead.dev/minisign"

	"appbundle/internal/atomicfile"
)

const (
	// Suffix is what the file of a signature has after the archive's name.
	Suffix = ".minisig"
	// MaxFile is the size of the largest key, signature or trust file, in bytes.
	MaxFile = 1 << 20
	// MaxKeys is how many keys a trust file holds.
	MaxKeys = 10_000

	maxSignature = 8 << 10
)

// A RefusedError says why an archive is not trusted: it is an answer, as opposed to an
// error of the disk.
type RefusedError struct {
	Archive string
	Reason  string
	Remedy  string
}

func (e *RefusedError) Error() string { return e.Archive + ": " + e.Reason }

// Hint is what can be done.
func (e *RefusedError) Hint() string { return e.Remedy }

// A Key is a public key.
type Key struct {
	key  minisign.PublicKey
	glob string // of names of applications
}

// String gives the key as trust files have it.
func (k Key) String() string {
	text, err := k.key.MarshalText()
	if err != nil {
		return ""
	}
	return string(lastLine(text))
}

// ID is what minisign calls the key.
func (k Key) ID() string { return fmt.Sprintf("%016X", k.key.ID()) }

// Trusts reports whether the key is for the application of that name.
func (k Key) Trusts(app string) bool {
	ok, err := path.Match(k.glob, app)
	return err == nil && ok
}

func lastLine(text []byte) []byte {
	text = bytes.TrimRight(text, "\r\n")
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// ParseKey reads a public key: the Base64 line, or a file of minisign with its comment.
// It is for every application.
func ParseKey(text []byte) (Key, error) {
	k := Key{glob: "*"}
	line := bytes.TrimSpace(lastLine(text))
	if len(line) != 56 {
		return k, errors.New("is no public key of minisign: that is one line of 56 characters")
	}
	if err := k.key.UnmarshalText(line); err != nil {
		return k, errors.New("is no public key of minisign")
	}
	return k, nil
}

// A Trust is what a trust file says.
type Trust struct {
	Keys []Key
}

// Load reads a trust file. It is nil where there is none.
func Load(file string) (*Trust, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch uid := os.Getuid(); {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no plain file", file)
	case ok && st.Uid != 0 && int(st.Uid) != uid:
		return nil, fmt.Errorf("%s: belongs to user %d, who could name any key; chown it to yourself, or to root", file, st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s: others may write there, and could name any key; chmod go-w", file)
	}
	data, err := readAll(f, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return Parse(file, data)
}

func readAll(r io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("has more than %d bytes", most)
	}
	return data, err
}

// Parse reads the text of a trust file.
func Parse(file string, data []byte) (*Trust, error) {
	t := &Trust{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		fault := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s; write GLOB KEY [COMMENT]", file, n, fmt.Sprintf(format, args...))
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 2 {
			return nil, fault("there is no key")
		}
		if _, err := path.Match(fields[0], ""); err != nil {
			return nil, fault("%q is no pattern", fields[0])
		}
		k, err := ParseKey([]byte(fields[1]))
		if err != nil {
			return nil, fault("%q %v", fields[1], err)
		}
		if len(t.Keys) == MaxKeys {
			return nil, fault("more than %d keys", MaxKeys)
		}
		k.glob = fields[0]
		t.Keys = append(t.Keys, k)
	}
	return t, nil
}

// A Secret is a key that signs.
type Secret struct{ key minisign.PrivateKey }

// ReadSecret reads a secret key of minisign. passphrase is nil for none; a newline at its
// end is no part of it. Errors hold nothing of the key.
func ReadSecret(file string, passphrase []byte) (*Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	data, err := readAll(f, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s := &Secret{}
	if !minisign.IsEncrypted(data) {
		if err := s.key.UnmarshalText(data); err != nil {
			return nil, fmt.Errorf("%s: is no secret key of minisign", file)
		}
		return s, nil
	}
	if passphrase == nil {
		return nil, fmt.Errorf("%s: the key has a passphrase, and none was given", file)
	}
	if s.key, err = minisign.DecryptKey(string(bytes.TrimRight(passphrase, "\r\n")), data); err != nil {
		return nil, fmt.Errorf("%s: the passphrase does not open the key", file)
	}
	return s, nil
}

// Sign writes the signature of an archive beside it, and gives its path and SHA-256. The trusted
// comment names the archive and the digest of its content, and no time: the same
// archive has the same signature.
func (s *Secret) Sign(ctx context.Context, archive, digest string) (at string, sum [sha256.Size]byte, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", sum, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	r, err := hashed(ctx, f)
	if err != nil {
		return "", sum, err
	}
	sig := r.SignWithComments(s.key, "file:"+filepath.Base(archive)+"\tdigest:"+digest, fmt.Sprintf("signature of appbundle with the key %016X", s.key.ID()))
	return archive + Suffix, sha256.Sum256(sig), atomicfile.WriteFile(archive+Suffix, sig, 0o644)
}

// hashed reads f to its end.
func hashed(ctx context.Context, f io.Reader) (*minisign.Reader, error) {
	r := minisign.NewReader(f)
	buf := make([]byte, 1<<20)
	for {
		_, err := r.Read(buf)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == io.EOF {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// A Proof is a good signature of an archive.
type Proof struct {
	Key     Key
	Comment string // the signed one

	// File is the archive, open: what is read of it is what was signed, whatever is at
	// its path by now. Close closes it.
	File *os.File

	archive string
	was     os.FileInfo
}

// Close closes the archive.
func (p *Proof) Close() error { return p.File.Close() }

// Check demands a good signature of an archive by one of the keys, beside it. The
// error is a [*RefusedError] where there is none. Nothing of the archive is decoded.
func Check(ctx context.Context, archive string, keys []Key) (p *Proof, err error) {
	refuse := func(remedy, format string, args ...any) error {
		return &RefusedError{Archive: archive, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
	}
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p == nil {
			f.Close() // opened for reading: nothing can be lost
		}
	}()
	was, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !was.Mode().IsRegular() {
		return nil, refuse("copy it into one", "is no plain file, and cannot be read twice")
	}
	text, err := os.Open(archive + Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse("sign it: appbundle build --sign-key FILE, or minisign -S", "has no signature, which would be %s", archive+Suffix)
	}
	if err != nil {
		return nil, err
	}
	defer text.Close() // opened for reading: nothing can be lost
	data, err := readAll(text, maxSignature)
	if err != nil {
		return nil, refuse("", "its signature cannot be read: %v", err)
	}
	sig, err := parseSignature(data)
	if err != nil {
		return nil, refuse("get the signature again", "%s %v", archive+Suffix, err)
	}
	i := 0
	for ; i < len(keys) && keys[i].key.ID() != sig.KeyID; i++ {
	}
	if i == len(keys) {
		return nil, refuse("add the key to the trust file, if you trust who has it", "is signed with the key %016X, which is not trusted here", sig.KeyID)
	}
	r, err := hashed(ctx, f)
	if err != nil {
		return nil, err
	}
	for ; i < len(keys); i++ { // an ID is a hint: two keys may have one
		if keys[i].key.ID() == sig.KeyID && r.Verify(keys[i].key, data) {
			return &Proof{Key: keys[i], Comment: sig.TrustedComment, File: f, archive: archive, was: was}, nil
		}
	}
	return nil, refuse("get the archive and its signature again", "is not what was signed with the key %016X", sig.KeyID)
}

// parseSignature reads the text of a signature.
func parseSignature(data []byte) (s minisign.Signature, err error) {
	if err := s.UnmarshalText(data); err != nil {
		return s, errors.New("is no signature of minisign")
	}
	if s.Algorithm != minisign.HashEdDSA {
		return s, errors.New("is a signature of the older kind, over the whole file; sign with minisign 0.10 or later, or -H")
	}
	return s, nil
}

// Still refuses an archive that was written to since it was checked. It is to be called
// when all of it has been read.
func (p *Proof) Still() error {
	now, err := p.File.Stat()
	if err == nil && !unchanged(p.was, now) {
		err = &RefusedError{Archive: p.archive, Reason: "was changed while it was read", Remedy: "copy it to where nobody else writes"}
	}
	return err
}

// unchanged compares what every write changes.
func unchanged(a, b os.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Dev == y.Dev && x.Ino == y.Ino && x.Size == y.Size && x.Mtim == y.Mtim && x.Ctim == y.Ctim
}

// For refuses an archive of the application of that name whose key is for others.
func (p *Proof) For(app string, keys []Key) error {
	for _, k := range keys {
		if k.key.Equal(p.Key.key) && k.Trusts(app) {
			return nil
		}
	}
	if app == "" {
		return &RefusedError{Archive: p.archive, Reason: fmt.Sprintf("says of no application that it is one, and is signed with the key %s, which is for some", p.Key.ID())}
	}
	return &RefusedError{Archive: p.archive, Reason: fmt.Sprintf("is of %s, and signed with the key %s, which is for others", app, p.Key.ID()),
		Remedy: "add the key to the trust file for " + app + ", if you trust who has it"}
}
