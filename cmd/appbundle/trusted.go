package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"appbundle/trust"
)

// hostTrust is the trust file of the host. Where it is there, no other counts.
const hostTrust = "/etc/appbundle/trust"

// trusted gives the keys that the host trusts, or else the user: nil where nobody has
// said that archives are to be signed.
func (g *globals) trusted() (*trust.Trust, error) {
	t, err := trust.Load(hostTrust)
	if t != nil || err != nil {
		return t, err
	}
	dir := g.env("XDG_CONFIG_HOME")
	if home := g.env("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(dir) {
		return nil, nil
	}
	return trust.Load(filepath.Join(dir, "appbundle/trust"))
}

// A signer is who made an archive; nil asks nobody. Its methods are called in order:
// for, when the name of the application is known, and still, when all was read.
type signer struct {
	*trust.Proof
	keys  []trust.Key
	named bool // name has been called
}

// prove demands a signature of an archive: by key, or where that is empty, by a key
// that is trusted here, if there are any.
func (g *globals) prove(ctx context.Context, archive, key string) (*signer, error) {
	p := &signer{}
	if key != "" {
		k, err := publicKey(key)
		if err != nil {
			return nil, err
		}
		p.keys = []trust.Key{k}
	} else {
		t, err := g.trusted()
		if t == nil || err != nil {
			return nil, err
		}
		p.keys = t.Keys
	}
	var err error
	if p.Proof, err = trust.Check(ctx, archive, p.keys); err != nil {
		return nil, err
	}
	return p, nil
}

// publicKey reads the value of --key: a file, or the key itself.
func publicKey(text string) (trust.Key, error) {
	k, err := trust.ParseKey([]byte(text))
	if err == nil {
		return k, nil
	}
	data, ferr := os.ReadFile(text)
	switch {
	case errors.Is(ferr, fs.ErrNotExist):
		return k, &usageError{err: fmt.Errorf("--key: %q is no file, and %w", text, err)}
	case ferr != nil:
		return k, ferr
	}
	if k, err = trust.ParseKey(data); err != nil {
		return k, &usageError{err: fmt.Errorf("--key: %s %w", text, err)}
	}
	return k, nil
}

// file is the archive that was proved, open; nil where nobody was asked.
func (p *signer) file() *os.File {
	if p == nil {
		return nil
	}
	return p.File
}

// close is the end of it.
func (p *signer) close() {
	if p != nil {
		p.Close() // opened for reading: nothing can be lost
	}
}

// name refuses an application that the key is not for; "" is one that nobody named.
func (p *signer) name(app string) error {
	if p == nil {
		return nil
	}
	p.named = true
	return p.For(app, p.keys)
}

// still refuses what was changed since it was proved.
func (p *signer) still() error {
	if p == nil {
		return nil
	}
	if !p.named { // there is no manifest
		if err := p.name(""); err != nil {
			return err
		}
	}
	return p.Still()
}

// secretKey reads the key of --sign-key, nil for none.
func secretKey(file, passphraseFile string) (*trust.Secret, error) {
	if file == "" {
		return nil, nil
	}
	if passphraseFile == "" {
		return trust.ReadSecret(file, nil)
	}
	passphrase, err := os.ReadFile(passphraseFile)
	if err != nil {
		return nil, err
	}
	return trust.ReadSecret(file, passphrase)
}
