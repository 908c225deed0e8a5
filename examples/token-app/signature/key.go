package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"appbundle/examples/token-app/internal/strict"
)

// A Kind is what a key is of. Its number never changes.
type Kind uint8

// The kinds, with the parts that a key of theirs has.
const (
	RSA     Kind = 1 // n, e
	DSA     Kind = 2 // p, q, g, y
	EC      Kind = 3 // x, y, on P-256
	Ed25519 Kind = 4 // the 32 bytes of RFC 8032
)

// A Key is a public key of a size and form that the package allows. The zero Key
// fits no algorithm.
type Key struct {
	kind  Kind
	parts [][]byte

	rsa *rsa.PublicKey
	ec  *ecdsa.PublicKey
	ed  ed25519.PublicKey
	dsa *group
	y   *big.Int
}

// Kind is what the key is of.
func (k Key) Kind() Kind { return k.kind }

// Parts are what [NewKey] makes the same key of: magnitudes without zeros in front,
// x and y of 32 bytes. They are not to be changed.
func (k Key) Parts() [][]byte { return k.parts }

// Equal reports whether two keys are the same.
func (k Key) Equal(other Key) bool {
	if k.kind != other.kind || len(k.parts) != len(other.parts) {
		return false
	}
	for i := range k.parts {
		if !bytes.Equal(k.parts[i], other.parts[i]) {
			return false
		}
	}
	return true
}

// Fits reports whether the key is for the algorithm.
func (k Key) Fits(alg Alg) bool {
	switch k.kind {
	case RSA:
		if short(k.rsa.N.BitLen()) {
			return alg == RS128
		}
		return alg == RS256 || alg == PS256
	case DSA:
		return alg == k.dsa.alg
	case EC:
		return alg == ES256
	case Ed25519:
		return alg == EdDSA
	}
	return false
}

// short says which sizes are RS128's: its generator gives keys of 1023 bits.
func short(bits int) bool { return 1023 <= bits && bits <= 1025 }

const (
	minBits, maxBits = 2047, 4096 // of RSA: BrowserID's generator leaves the first bit off
	maxPart          = maxBits/8 + 1
)

// NewKey makes a key of big-endian parts, see [Kind].
func NewKey(kind Kind, parts ...[]byte) (Key, error) {
	for _, p := range parts {
		if len(p) > maxPart {
			return Key{}, errors.New("key: a part is too long")
		}
	}
	switch {
	case kind == RSA && len(parts) == 2:
		return newRSA(trim(parts[0]), trim(parts[1]))
	case kind == DSA && len(parts) == 4:
		return newDSA(trim(parts[0]), trim(parts[1]), trim(parts[2]), trim(parts[3]))
	case kind == EC && len(parts) == 2:
		return newEC(parts[0], parts[1])
	case kind == Ed25519 && len(parts) == 1:
		return newEd25519(parts[0])
	}
	return Key{}, errors.New("key: its kind is unknown, or it has other parts")
}

func newRSA(n, e []byte) (Key, error) {
	N, E := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := N.BitLen(); !short(bits) && (bits < minBits || bits > maxBits) {
		return Key{}, fmt.Errorf("key: RSA of %d bits; it has to have %d to %d", bits, minBits, maxBits)
	}
	if N.Bit(0) == 0 {
		return Key{}, errors.New("key: the RSA modulus is even")
	}
	if E.BitLen() > 31 || E.Bit(0) == 0 || E.Cmp(big.NewInt(3)) < 0 {
		return Key{}, errors.New("key: the RSA exponent is not an odd number of 3 to 2^31-1")
	}
	return Key{kind: RSA, parts: [][]byte{n, e}, rsa: &rsa.PublicKey{N: N, E: int(E.Int64())}}, nil
}

func newDSA(p, q, g, y []byte) (Key, error) {
	gr := findGroup(p, q, g)
	if gr == nil {
		return Key{}, errors.New("key: DSA of a group that is not BrowserID's")
	}
	Y := new(big.Int).SetBytes(y)
	one := big.NewInt(1)
	if Y.Cmp(one) <= 0 || Y.Cmp(new(big.Int).Sub(gr.p, one)) >= 0 {
		return Key{}, errors.New("key: y of DSA is out of its range")
	}
	return Key{kind: DSA, parts: [][]byte{gr.parts[0], gr.parts[1], gr.parts[2], y}, dsa: gr, y: Y}, nil
}

func newEC(x, y []byte) (Key, error) {
	if len(x) != 32 || len(y) != 32 {
		return Key{}, errors.New("key: x and y of P-256 have 32 bytes each")
	}
	point := append(append([]byte{4}, x...), y...)
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return Key{}, errors.New("key: the point is not on P-256")
	}
	return Key{kind: EC, parts: [][]byte{x, y}, ec: pub}, nil
}

func trim(b []byte) []byte { return bytes.TrimLeft(b, "\x00") }

// A field is a member of a key in JSON that is a number. Of legacy keys the base is
// 10 or 16, and of JWK 0: bytes in base64url.
type field struct {
	name string
	base int
}

// A form is one way to write a key in JSON.
type form struct {
	kind   Kind
	fields []field
	curve  string // of a JWK
}

var (
	// BrowserID's own form, by its member "algorithm".
	legacy = map[string]form{
		"RS": {RSA, []field{{"n", 10}, {"e", 10}}, ""},
		"DS": {DSA, []field{{"p", 16}, {"q", 16}, {"g", 16}, {"y", 16}}, ""},
	}
	// RFC 7518 and RFC 8037, and BrowserID's DSA in their manner, by "kty".
	jwk = map[string]form{
		"RSA": {RSA, []field{{"n", 0}, {"e", 0}}, ""},
		"DSA": {DSA, []field{{"p", 0}, {"q", 0}, {"g", 0}, {"y", 0}}, ""},
		"EC":  {EC, []field{{"x", 0}, {"y", 0}}, "P-256"},
		"OKP": {Ed25519, []field{{"x", 0}}, "Ed25519"},
	}
)

// ParseKey reads a public key as BrowserID writes it, or a JWK.
func ParseKey(o strict.Object) (Key, error) {
	forms, member := legacy, "algorithm"
	if o.Has("kty") {
		forms, member = jwk, "kty"
		if o.Has("algorithm") {
			return Key{}, errors.New(`key: it has both "kty" and "algorithm"`)
		}
	}
	if o.Has("d") || o.Has("k") {
		return Key{}, errors.New("key: it is a secret one")
	}
	name, err := o.Text(member)
	if err != nil {
		return Key{}, fmt.Errorf("key: %w", err)
	}
	f, ok := forms[name]
	if !ok || f.curve != "" && o["crv"] != f.curve {
		return Key{}, errors.New("key: its type or curve is not known here")
	}
	parts := make([][]byte, len(f.fields))
	for i, field := range f.fields {
		text, err := o.Text(field.name)
		if err != nil {
			return Key{}, fmt.Errorf("key: %w", err)
		}
		if parts[i], err = number(text, field.base); err != nil {
			return Key{}, fmt.Errorf("key: member %q %w", field.name, err)
		}
	}
	return NewKey(f.kind, parts...)
}

// The digits that a number may have: reading them takes time that grows with the
// square of their number.
const (
	maxDecimal = 1300 // 4096 bits have 1234
	maxHex     = 512
	maxBase64  = (maxPart*8 + 5) / 6
)

func number(text string, base int) ([]byte, error) {
	limit, digits := maxBase64, ""
	switch base {
	case 10:
		limit, digits = maxDecimal, "0123456789"
	case 16:
		limit, digits = maxHex, "0123456789abcdef"
	}
	if len(text) > limit {
		return nil, fmt.Errorf("has more than %d digits", limit)
	}
	if base == 0 {
		b, err := strict.Base64(text)
		if err != nil {
			return nil, errors.New("is not base64url")
		}
		return b, nil
	}
	if text == "" || strings.Trim(text, digits) != "" { // hex.DecodeString takes capitals too
		return nil, fmt.Errorf("is not a number of base %d", base)
	}
	if base == 16 {
		if len(text)%2 == 1 {
			text = "0" + text
		}
		return hex.DecodeString(text)
	}
	n, _ := new(big.Int).SetString(text, base)
	return n.Bytes(), nil
}

// A NamedKey is a key of a set.
type NamedKey struct {
	Key
	ID  string // "kid", or ""
	Alg Alg    // the only one it is for; 0 is all that the key fits
}

// MaxKeys is how many keys a set may have.
const MaxKeys = 32

// ParseSet reads the keys of a set (RFC 7517, section 5). Those that are not for
// signatures, and those of a kind, size or algorithm that is not known here, are
// left out.
func ParseSet(list []any) ([]NamedKey, error) {
	if len(list) > MaxKeys {
		return nil, fmt.Errorf("keys: there are more than %d", MaxKeys)
	}
	var keys []NamedKey
	for _, v := range list {
		o, ok := v.(strict.Object)
		if !ok {
			return nil, errors.New("keys: one is not an object")
		}
		if k, ok := named(o); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func named(o strict.Object) (NamedKey, bool) {
	var k NamedKey
	if o.Has("use") && o["use"] != "sig" {
		return k, false
	}
	if ops, ok := o["key_ops"].([]any); o.Has("key_ops") && (!ok || !contains(ops, "verify")) {
		return k, false
	}
	var err error
	if k.Key, err = ParseKey(o); err != nil {
		return k, false
	}
	if o.Has("alg") {
		name, _ := o.Text("alg")
		if k.Alg = ParseAlg(name); !k.Fits(k.Alg) {
			return k, false
		}
	}
	if o.Has("kid") {
		if k.ID, err = o.Text("kid"); err != nil {
			return k, false
		}
	}
	return k, true
}

func contains(list []any, want string) bool {
	for _, v := range list {
		if v == want {
			return true
		}
	}
	return false
}

// For reports whether the key may be used for the algorithm.
func (k NamedKey) For(alg Alg) bool {
	return k.Fits(alg) && (k.Alg == 0 || k.Alg == alg)
}
