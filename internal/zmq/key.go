package zmq

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
)

// A PublicKey is the long-term public key of a CURVE peer.
type PublicKey [32]byte

// A SecretKey is the secret half. Its String does not show it.
type SecretKey [32]byte

// String is the key as the field writes it: 40 characters of Z85 (RFC 32).
func (k PublicKey) String() string { return z85(k[:]) }

func (k SecretKey) String() string   { return "(secret key)" }
func (k SecretKey) GoString() string { return k.String() }

// Z85 is the key as the field writes it: 40 characters of Z85 (RFC 32).
func (k SecretKey) Z85() string { return z85(k[:]) }

// Public is the public half.
func (k SecretKey) Public() PublicKey {
	var p [32]byte
	s := [32]byte(k)
	curve25519.ScalarBaseMult(&p, &s)
	return p
}

// GenerateKey makes a key pair.
func GenerateKey() (PublicKey, SecretKey, error) {
	public, secret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return PublicKey{}, SecretKey{}, err
	}
	return *public, SecretKey(*secret), nil
}

// ParsePublicKey reads the 40 characters of a public key.
func ParsePublicKey(s string) (k PublicKey, err error) {
	if err := parseKey(k[:], s); err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	return k, nil
}

// ParseSecretKey reads the 40 characters of a secret key. The error does not
// show them.
func ParseSecretKey(s string) (k SecretKey, err error) {
	if err := parseKey(k[:], s); err != nil {
		return SecretKey{}, fmt.Errorf("secret key: %w", err)
	}
	return k, nil
}

const z85Digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

var z85Values = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i := range len(z85Digits) {
		v[z85Digits[i]] = byte(i)
	}
	return v
}()

// z85 encodes b, whose length is a multiple of four.
func z85(b []byte) string {
	var out []byte
	for ; len(b) >= 4; b = b[4:] {
		v := binary.BigEndian.Uint32(b)
		for div := uint32(85 * 85 * 85 * 85); div > 0; div /= 85 {
			out = append(out, z85Digits[v/div%85])
		}
	}
	return string(out)
}

func parseKey(k []byte, s string) error {
	if len(s) != 40 {
		return fmt.Errorf("%d characters; a key has 40", len(s))
	}
	for i := 0; i < len(k); i += 4 {
		var v uint64
		for _, c := range []byte(s[i/4*5 : i/4*5+5]) {
			if z85Values[c] == 0xff {
				return errors.New("there is a character that Z85 does not have")
			}
			v = v*85 + uint64(z85Values[c])
		}
		if v > 1<<32-1 {
			return errors.New("five characters are more than 32 bits")
		}
		binary.BigEndian.PutUint32(k[i:], uint32(v))
	}
	return nil
}
