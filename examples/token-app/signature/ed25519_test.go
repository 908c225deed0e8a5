package signature

import (
	"crypto/ed25519"
	"crypto/sha512"
	"slices"
	"testing"
)

// A key of small order, with which the library takes one signature for what it was not
// made for, is no key, nor is one that is written in another way.
func TestNewKeyEd25519(t *testing.T) {
	sig := make([]byte, ed25519.SignatureSize)
	sig[0] = 1 // R is the neutral element, s is 0
	neutral := smallOrder[1]
	if !ed25519.Verify(neutral, []byte("any message"), sig) {
		t.Error("the library has become strict: these keys need no rule of ours")
	}
	for _, y := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			key := slices.Clone(y)
			key[31] |= sign
			if _, err := NewKey(Ed25519, key); err == nil {
				t.Errorf("NewKey takes %x", key)
			}
		}
	}
	for _, low := range []byte{0xed, 0xee, 0xf0, 0xff} {
		key := slices.Clone(prime)
		key[0] = low
		if _, err := NewKey(Ed25519, key); err == nil {
			t.Errorf("NewKey takes y = p + %d", low-0xed)
		}
	}
	signs := map[byte]bool{}
	for i := range byte(16) {
		seed := sha512.Sum512_256([]byte{i})
		good := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
		signs[good[31]>>7] = true
		if k, err := NewKey(Ed25519, good); err != nil || !k.Fits(EdDSA) {
			t.Errorf("NewKey of a good key = %v", err)
		}
	}
	if len(signs) != 2 {
		t.Error("all keys have x of one sign")
	}
	largest := slices.Clone(prime)
	largest[0] -= 3 // p - 3: below the prime, and of no small order
	if _, err := NewKey(Ed25519, largest); err != nil {
		t.Errorf("NewKey of y = p - 3 = %v", err)
	}
}
