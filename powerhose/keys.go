package powerhose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"appbundle/internal/atomicfile"
	"appbundle/internal/zmq"
)

// Keys are what a process needs to speak over TCP: its own key, and the public
// keys of those with whom it speaks. They do not change.
type Keys struct {
	secret   zmq.SecretKey
	admitted []zmq.PublicKey
}

const (
	// publicSuffix is what the file of a public key is called, behind that of the
	// secret one.
	publicSuffix = ".pub"
	// secretMark and publicMark are how the files that we write begin: the keys in
	// them look alike.
	secretMark = "# appbundle secret key"
	publicMark = "# appbundle public key"
	// maxKeyFile is the longest file of keys that is read, in bytes.
	maxKeyFile = 1 << 20
)

// ReadKeys reads the own secret key from one file, and the public keys that are
// admitted from others. A file of public keys has one in each line; what follows a
// # is a comment. A master admits workers and callers, a worker or a caller
// exactly one key, that of its master.
//
// The file of the secret key is of the user of this process, or root, and nobody
// else may read it. Files of public keys nobody else may write. A file that says of
// itself, in the comment that GenerateKeys writes, that it has the other half is
// refused, and so is FILE.pub for the secret key. No error shows anything of a
// secret key.
func ReadKeys(secretFile string, admitted ...string) (*Keys, error) {
	if own, ok := strings.CutSuffix(secretFile, publicSuffix); ok {
		return nil, fmt.Errorf("%s: it is the name of a public key; give the file of the secret one, as %s", secretFile, own)
	}
	b, err := readKeyFile(secretFile, 0o077, "others can read it")
	if err != nil {
		return nil, err
	}
	k := &Keys{}
	text, public := withoutComments(b)
	k.secret, err = zmq.ParseSecretKey(string(text))
	clear(b)
	clear(text)
	switch {
	case public:
		return nil, fmt.Errorf("%s: it says that it has a public key; give the file of the secret one", secretFile)
	case err != nil:
		return nil, fmt.Errorf("%s: %w; make one with appbundle powerhose keygen", secretFile, err)
	case k.secret == zmq.SecretKey{}:
		return nil, fmt.Errorf("%s: secret key: it is nothing but zeros; make one with appbundle powerhose keygen", secretFile)
	}
	seen := map[zmq.PublicKey]string{}
	for _, file := range admitted {
		if err := k.admit(file, seen); err != nil {
			return nil, err
		}
	}
	if len(k.admitted) == 0 {
		if len(admitted) == 0 {
			return nil, errors.New("keys: no file of public keys is named; without one nobody is admitted")
		}
		return nil, fmt.Errorf("%s: there is no public key in it; without one nobody is admitted", strings.Join(admitted, ", "))
	}
	return k, nil
}

// withoutComments is what a file of a secret key has beside lines of comment. Public
// says that one of these is the mark of a public key.
func withoutComments(b []byte) (text []byte, public bool) {
	for line := range bytes.Lines(b) {
		// Z85 has a #, but it is too high a digit to be the first of five.
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] == '#' {
			public = public || bytes.HasPrefix(line, []byte(publicMark))
			continue
		}
		text = append(append(text, line...), '\n')
	}
	return bytes.TrimSpace(text), public
}

// admit adds the public keys of a file. Seen says where each one stands.
func (k *Keys) admit(file string, seen map[zmq.PublicKey]string) error {
	b, err := readKeyFile(file, 0o022, "others can write it")
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		at := fmt.Sprintf("%s:%d", file, n)
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, secretMark) {
			return fmt.Errorf("%s: it says that it has a secret key, which stays with its owner; name the file with %s", at, publicSuffix)
		}
		if text == "" || text[0] == '#' {
			continue
		}
		if i := strings.IndexAny(text, " \t"); i >= 0 {
			rest := strings.TrimSpace(text[i:])
			if rest[0] != '#' {
				return fmt.Errorf("%s: there is something behind the key; one key a line, and # before a comment", at)
			}
			text = text[:i]
		}
		key, err := zmq.ParsePublicKey(text)
		if err == nil && key == (zmq.PublicKey{}) {
			err = errors.New("public key: it is nothing but zeros")
		}
		if err == nil && key == zmq.PublicKey(k.secret) {
			err = errors.New("public key: it is our secret one; name the file with " + publicSuffix)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if before, ok := seen[key]; ok {
			return fmt.Errorf("%s: public key: it is the one of %s", at, before)
		}
		seen[key] = at
		k.admitted = append(k.admitted, key)
	}
	return nil
}

// readKeyFile reads a regular file of our user, or root, with none of the bits
// of mode.
func readKeyFile(path string, bits fs.FileMode, what string) ([]byte, error) {
	// It does not wait for the writer of a pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is not a regular file", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s: it belongs to uid %d, not to %d or root; chown it", path, st.Uid, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&bits != 0 {
		return nil, fmt.Errorf("%s: %s (mode %04o); chmod %o %s", path, what, mode, mode&^bits, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("%s: it has more than %d bytes", path, maxKeyFile)
	}
	return b, nil
}

// GenerateKeys makes a key: the secret one in file, with mode 0600, the public
// one in FILE.pub. It gives the public one. Neither may be there before, and
// either both are there afterwards or none.
func GenerateKeys(file string) (public string, err error) {
	if strings.HasSuffix(file, publicSuffix) {
		return "", fmt.Errorf("%s: it is the name of a public key; choose one for the secret key, without %s", file, publicSuffix)
	}
	// Those who make the same key at the same time take turns.
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	unlock, err := atomicfile.Lock(soon, filepath.Dir(file), true, nil)
	if err != nil {
		return "", err
	}
	defer unlock()
	for _, name := range []string{file, file + publicSuffix} {
		if _, err := os.Lstat(name); err == nil {
			return "", fmt.Errorf("%s: it is there already; a key is not replaced, remove it or choose another name", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	key, secret, err := zmq.GenerateKey()
	if err != nil {
		return "", err
	}
	var files []*atomicfile.File
	for _, half := range []struct {
		name, mark, text string
		mode             fs.FileMode
	}{{file, secretMark, secret.Z85(), 0o600}, {file + publicSuffix, publicMark, key.String(), 0o644}} {
		f, err := atomicfile.Create(half.name, half.mode)
		if err == nil {
			files = append(files, f)
			_, err = io.WriteString(f, half.mark+"\n"+half.text+"\n")
		}
		if err != nil {
			for _, f := range files {
				_ = f.Abort()
			}
			return "", err
		}
	}
	if err := atomicfile.CommitAll(files); err != nil {
		return "", err
	}
	return key.String(), nil
}

// Public is the own public key, as its file has it.
func (k Keys) Public() string { return k.secret.Public().String() }

// String does not show the secret key.
func (k Keys) String() string { return "keys of " + k.Public() }

// GoString does not show it either.
func (k Keys) GoString() string { return k.String() }

func (k *Keys) allows(key zmq.PublicKey) bool { return slices.Contains(k.admitted, key) }

// keyPrefix is how many characters of a public key tell people which it is.
const keyPrefix = 8
