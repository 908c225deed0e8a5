// Package signature verifies signatures with public keys of strangers.
//
// An algorithm is a number, because it is written into jobs; a key decides which
// algorithms it is good for, and nothing else does:
//
//	RS256, PS256  RSA of 2047 to 4096 bits; SHA-256
//	RS128         RSA of 1023 to 1025 bits; SHA-256. BrowserID's, and too short
//	              today: it is for its callers to refuse
//	ES256         ECDSA on P-256; r and s, 32 bytes each
//	EdDSA         Ed25519
//	DS128         DSA in the group of 1024 and 160 bits that BrowserID uses; SHA-1
//	DS256         DSA in the group of 2048 and 256 bits that BrowserID uses; SHA-256
//
// There is no key outside of these sizes and groups, so that what a verification
// can cost is known before one begins: RSA of 512 bits does not exist here, nor do
// other groups of DSA. An RSA exponent is odd and has at most 31 bits.
//
// A signature by RSA or DSA may lack zero bytes at its front, which BrowserID's
// signers leave off. It may not be too long.
package signature

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"math/big"
)

// An Alg is an algorithm. Its number never changes.
type Alg uint8

// The algorithms.
const (
	RS256 Alg = 1
	PS256 Alg = 2
	ES256 Alg = 3
	EdDSA Alg = 4
	DS128 Alg = 5
	DS256 Alg = 6
	RS128 Alg = 7
)

var algNames = map[Alg]string{
	RS256: "RS256", PS256: "PS256", ES256: "ES256", EdDSA: "EdDSA",
	DS128: "DS128", DS256: "DS256", RS128: "RS128",
}

var algs = map[string]Alg{"Ed25519": EdDSA} // RFC 9864 calls it so

func init() {
	for a, name := range algNames {
		algs[name] = a
	}
}

// ParseAlg finds an algorithm by its exact name in a header, or gives 0.
func ParseAlg(name string) Alg { return algs[name] }

// String is the name in a header, or "unknown".
func (a Alg) String() string {
	if name, ok := algNames[a]; ok {
		return name
	}
	return "unknown"
}

// A Check asks whether Signature is Key's for Message.
type Check struct {
	Key       Key
	Alg       Alg
	Message   []byte
	Signature []byte
}

// String says nothing of the message, which may be a credential.
func (c Check) String() string { return "signature.Check(" + c.Alg.String() + ")" }

// GoString is String.
func (c Check) GoString() string { return c.String() }

// LogValue is String.
func (c Check) LogValue() slog.Value { return slog.StringValue(c.String()) }

// A Verifier answers checks, one answer for each. What follows a bad signature may
// be answered false without a look, because checks are in the order in which they
// depend on each other. An error means that nobody looked.
type Verifier func(ctx context.Context, checks []Check) ([]bool, error)

// Local is the [Verifier] that computes where it is called.
func Local(ctx context.Context, checks []Check) ([]bool, error) {
	good := make([]bool, len(checks))
	for i, c := range checks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if good[i] = c.Verify(); !good[i] {
			break
		}
	}
	return good, nil
}

// Verify reports whether the signature is good. No key and no signature makes it
// panic.
func (c Check) Verify() (good bool) {
	// Parts of the library panic where a mode of theirs (fips140=only) forbids an
	// algorithm.
	defer func() {
		if recover() != nil {
			good = false
		}
	}()
	if !c.Key.Fits(c.Alg) {
		return false
	}
	switch c.Alg {
	case RS256, PS256, RS128:
		sig := pad(c.Signature, c.Key.rsa.Size())
		if sig == nil {
			return false
		}
		digest := sha256.Sum256(c.Message)
		switch c.Alg {
		case RS256:
			return rsa.VerifyPKCS1v15(c.Key.rsa, crypto.SHA256, digest[:], sig) == nil
		case PS256:
			opts := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(c.Key.rsa, crypto.SHA256, digest[:], sig, &opts) == nil
		}
		return verifyShort(c.Key.rsa, digest, sig)
	case ES256:
		if len(c.Signature) != 64 {
			return false
		}
		digest := sha256.Sum256(c.Message)
		r, s := new(big.Int).SetBytes(c.Signature[:32]), new(big.Int).SetBytes(c.Signature[32:])
		return ecdsa.Verify(c.Key.ec, digest[:], r, s)
	case EdDSA:
		return ed25519.Verify(c.Key.ed, c.Message, c.Signature)
	case DS128:
		digest := sha1.Sum(c.Message)
		return c.Key.dsa.verify(c.Key.y, digest[:], c.Signature)
	case DS256:
		digest := sha256.Sum256(c.Message)
		return c.Key.dsa.verify(c.Key.y, digest[:], c.Signature)
	}
	return false
}

// pad puts back the zero bytes in front that some signers leave off. It gives nil
// for what is longer than size.
func pad(sig []byte, size int) []byte {
	if len(sig) > size {
		return nil
	}
	if len(sig) == size {
		return sig
	}
	out := make([]byte, size)
	copy(out[size-len(sig):], sig)
	return out
}

// digestInfo is in front of a SHA-256 digest in PKCS #1 v1.5 (RFC 8017, section 9.2).
var digestInfo = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// verifyShort is PKCS #1 v1.5 for keys that crypto/rsa refuses, those of 1023 bits
// among them.
func verifyShort(key *rsa.PublicKey, digest [32]byte, sig []byte) bool {
	s := new(big.Int).SetBytes(sig)
	if s.Cmp(key.N) >= 0 {
		return false
	}
	size := key.Size()
	want := make([]byte, size)
	tail := size - len(digestInfo) - len(digest)
	want[1] = 1
	for i := 2; i < tail-1; i++ {
		want[i] = 0xff
	}
	copy(want[tail:], digestInfo)
	copy(want[tail+len(digestInfo):], digest[:])
	got := s.Exp(s, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, size))
	return subtle.ConstantTimeCompare(got, want) == 1
}
