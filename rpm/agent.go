package rpm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// GPG runs gpg with arguments, among them none that ask, and an input; it gives what
// gpg writes. gpg asks the agent, and the agent whoever knows the passphrase.
type GPG func(ctx context.Context, in io.Reader, args ...string) ([]byte, error)

// An Agent is a [Signer] whose key gpg-agent holds, perhaps on a card: gpg is asked
// for each signature, and this process never sees the key.
type Agent struct {
	gpg         GPG
	fingerprint string
	made        time.Time // of the key or its youngest subkey that signs
}

// fingerprintPattern is that of a key of version 4, or 5 and 6. Anything shorter may be
// another key's.
var fingerprintPattern = regexp.MustCompile(`^(?:[0-9A-F]{40}|[0-9A-F]{64})$`)

// NewAgent asks gpg for a secret key by its whole fingerprint, hexadecimal digits,
// with or without blanks.
func NewAgent(ctx context.Context, gpg GPG, fingerprint string) (*Agent, error) {
	a := &Agent{gpg: gpg, fingerprint: strings.ToUpper(strings.ReplaceAll(fingerprint, " ", ""))}
	if !fingerprintPattern.MatchString(a.fingerprint) {
		return nil, fmt.Errorf("%q is no fingerprint of a key, 40 hexadecimal digits; gpg --list-secret-keys prints them", fingerprint)
	}
	list, err := gpg(ctx, nil, "--with-colons", "--list-secret-keys", a.fingerprint)
	if err != nil {
		return nil, err
	}
	a.made, err = youngest(list)
	if err != nil {
		return nil, fmt.Errorf("gpg: %s: %w", a.fingerprint, err)
	}
	return a, nil
}

// youngest finds in a listing of gpg (doc/DETAILS of GnuPG, "Format of the colon
// listings") when the youngest part of a key that signs was made.
func youngest(list []byte) (t time.Time, err error) {
	keys := 0
	for line := range strings.Lines(string(list)) {
		f := strings.Split(line, ":")
		if len(f) < 12 || f[0] != "sec" && f[0] != "ssb" {
			continue
		}
		if f[0] == "sec" {
			keys++
		}
		made, err := strconv.ParseInt(f[5], 10, 64)
		if err != nil {
			return t, fmt.Errorf("its listing has the date %q", f[5])
		}
		if at := time.Unix(made, 0).UTC(); strings.Contains(f[11], "s") && at.After(t) {
			t = at
		}
	}
	switch {
	case keys != 1:
		return t, fmt.Errorf("gpg lists %d secret keys, and one is to sign", keys)
	case t.IsZero():
		return t, errors.New("no part of the key signs")
	}
	return t, nil
}

// Sign implements [Signer].
func (a *Agent) Sign(ctx context.Context, data io.Reader, s Signing) ([]byte, error) {
	t := s.Time
	if t.Before(a.made) {
		t = a.made
	}
	args := []string{"--local-user", a.fingerprint, "--digest-algo", "SHA256", "--faked-system-time", t.UTC().Format("20060102T150405") + "!", "--detach-sign"}
	if s.Text {
		args = append(args, "--textmode")
	}
	return a.gpg(ctx, &source{ctx: ctx, r: data}, args...)
}
