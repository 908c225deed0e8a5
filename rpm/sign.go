package rpm

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A Signer makes OpenPGP signatures: a [Key] from a file, or an [Agent].
type Signer interface {
	// Sign gives a detached signature of data, one binary packet, by SHA-256 or
	// better. With the same data, time and key it gives the same bytes where the kind
	// of key allows (RSA and EdDSA do).
	Sign(ctx context.Context, data io.Reader, s Signing) ([]byte, error)
}

// Signing says what a signature is to be.
type Signing struct {
	// Time is what the signature is dated. No signature is older than its key: then it
	// has the date of the key.
	Time time.Time
	// Text asks for a signature of canonical text, which a message that is signed in the
	// clear has: data is that text, with CR LF between its lines.
	Text bool
}

// A Key is an OpenPGP key that can sign.
type Key struct{ entity *openpgp.Entity }

// maxKey is the size of the largest file with a key, in bytes.
const maxKey = 1 << 20

// ReadKey reads a secret key, armored or binary, that is the only one in r. The
// passphrase is nil where the key has none; a newline at its end is no part of it.
func ReadKey(r io.Reader, passphrase []byte) (*Key, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKey+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKey {
		return nil, fmt.Errorf("the key is larger than %d bytes", maxKey)
	}
	var all openpgp.EntityList
	if bytes.Contains(data, []byte("-----BEGIN PGP")) {
		all, err = openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
	} else {
		all, err = openpgp.ReadKeyRing(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fmt.Errorf("is no OpenPGP key: %w", err)
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("has %d OpenPGP keys, and one is to sign", len(all))
	}
	e := all[0]
	if e.PrivateKey == nil {
		return nil, errors.New("is a public key; a secret one signs")
	}
	if err := unlock(e, bytes.TrimRight(passphrase, "\r\n")); err != nil {
		return nil, err
	}
	k := &Key{e}
	if _, err := k.at(time.Time{}); err != nil {
		return nil, err
	}
	return k, nil
}

// unlock decrypts what is encrypted of a key.
func unlock(e *openpgp.Entity, passphrase []byte) error {
	secrets := []*packet.PrivateKey{e.PrivateKey}
	for _, s := range e.Subkeys {
		if s.PrivateKey != nil {
			secrets = append(secrets, s.PrivateKey)
		}
	}
	for _, s := range secrets {
		if s.Dummy() || !s.Encrypted {
			continue
		}
		if len(passphrase) == 0 {
			return errors.New("the key has a passphrase, and none was given")
		}
		if err := s.Decrypt(passphrase); err != nil {
			return fmt.Errorf("the passphrase does not open the key: %w", err)
		}
	}
	return nil
}

// at gives the time of a signature that is to have the time t: not before the key that
// signs was made.
func (k *Key) at(t time.Time) (time.Time, error) {
	made := k.entity.PrimaryKey.CreationTime
	if self, _ := k.entity.PrimarySelfSignature(); self != nil && self.CreationTime.After(made) {
		made = self.CreationTime
	}
	if t.Before(made) {
		t = made
	}
	key, ok := k.entity.SigningKey(t)
	if !ok {
		return t, fmt.Errorf("the key cannot sign on %s: it has expired, was revoked, or is for something else", t.UTC().Format(time.DateOnly))
	}
	if key.PrivateKey == nil || key.PrivateKey.Dummy() {
		return t, errors.New("the part of the key that signs is not in it")
	}
	for _, of := range []time.Time{key.PublicKey.CreationTime, key.SelfSignature.CreationTime} {
		if t.Before(of) { // a subkey that is younger
			t = of
		}
	}
	return t, nil
}

// Sign implements [Signer].
func (k *Key) Sign(ctx context.Context, data io.Reader, s Signing) ([]byte, error) {
	t, err := k.at(s.Time)
	if err != nil {
		return nil, err
	}
	salt := false // which would make each signature another
	cfg := &packet.Config{DefaultHash: crypto.SHA256, Time: func() time.Time { return t }, NonDeterministicSignaturesViaNotation: &salt}
	var b bytes.Buffer
	in := &source{ctx: ctx, r: data}
	if s.Text {
		err = openpgp.DetachSignText(&b, k.entity, in, cfg)
	} else {
		err = openpgp.DetachSign(&b, k.entity, in, cfg)
	}
	return b.Bytes(), err
}

// Fingerprint names the key, in hexadecimal digits.
func (k *Key) Fingerprint() string { return fmt.Sprintf("%X", k.entity.PrimaryKey.Fingerprint) }

// Public gives the public key, armored, for rpmkeys and apt.
func (k *Key) Public() ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(k.entity.Serialize(w), w.Close()); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// parseSignature reads the one packet of a signature, and refuses what is no proof.
func parseSignature(b []byte, kind packet.SignatureType) (*packet.Signature, error) {
	r := bytes.NewReader(b)
	p, err := packet.Read(r)
	if err != nil {
		return nil, fmt.Errorf("the signature is no OpenPGP packet: %w", err)
	}
	s, ok := p.(*packet.Signature)
	switch {
	case !ok || r.Len() > 0:
		return nil, errors.New("the signature is not one OpenPGP packet")
	case s.SigType != kind:
		return nil, fmt.Errorf("the signature is of type %d, not %d", s.SigType, kind)
	case s.Hash != crypto.SHA256 && s.Hash != crypto.SHA384 && s.Hash != crypto.SHA512:
		return nil, fmt.Errorf("the signature is by %v, which is weaker than SHA-256 or unknown", s.Hash)
	}
	return s, nil
}

// signatureTag says where in an rpm a signature of its header goes.
func signatureTag(b []byte) (tag, error) {
	s, err := parseSignature(b, packet.SigTypeBinary)
	if err != nil {
		return 0, err
	}
	switch s.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		return sigRSA, nil
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoDSA:
		return sigDSA, nil
	}
	return 0, fmt.Errorf("rpm reads no signatures by a key of algorithm %d; RSA and EdDSA (Ed25519, a key of version 4) it reads", s.PubKeyAlgo)
}

// detached signs data in a file of its own, armored.
func detached(ctx context.Context, s Signer, data []byte, t time.Time) ([]byte, error) {
	sig, err := s.Sign(ctx, bytes.NewReader(data), Signing{Time: t})
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if _, err := parseSignature(sig, packet.SigTypeBinary); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return armored(sig)
}

func armored(sig []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(sig); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// clearSigned signs a text that stays readable.
func clearSigned(ctx context.Context, s Signer, text []byte, t time.Time) ([]byte, error) {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r") // no signature covers them
	}
	sig, err := s.Sign(ctx, strings.NewReader(strings.Join(lines, "\r\n")), Signing{Time: t, Text: true})
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	p, err := parseSignature(sig, packet.SigTypeText)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	block, err := armored(sig)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: %s\n\n", strings.ReplaceAll(p.Hash.String(), "-", ""))
	for _, l := range lines {
		if strings.HasPrefix(l, "-") {
			b.WriteString("- ")
		}
		b.WriteString(l + "\n")
	}
	b.Write(block)
	return []byte(b.String()), nil
}
