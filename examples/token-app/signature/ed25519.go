package signature

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"slices"
)

// smallOrder are the y of the points of Ed25519 whose order is at most 8. Under such
// a key one signature can be good for many messages.
var smallOrder = [][]byte{
	unhex("0000000000000000000000000000000000000000000000000000000000000000"),
	unhex("0100000000000000000000000000000000000000000000000000000000000000"),
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
	unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}

// prime is 2^255-19, its first byte last.
var prime = unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("a constant is not hexadecimal")
	}
	return b
}

// newEd25519 takes y with one spelling only (RFC 8032, section 5.1.3), which not all
// libraries see to, and points whose order is not small. Whether there is such a point
// is looked at when a signature is verified.
func newEd25519(b []byte) (Key, error) {
	if len(b) != ed25519.PublicKeySize {
		return Key{}, errors.New("key: Ed25519 has 32 bytes")
	}
	y := slices.Clone(b)
	y[31] &= 0x7f // the sign of x
	for _, s := range smallOrder {
		if slices.Equal(y, s) {
			return Key{}, errors.New("key: the point of Ed25519 has a small order")
		}
	}
	high, limit := slices.Clone(y), slices.Clone(prime)
	slices.Reverse(high)
	slices.Reverse(limit)
	if slices.Compare(high, limit) >= 0 {
		return Key{}, errors.New("key: y of Ed25519 is not below the prime")
	}
	return Key{kind: Ed25519, parts: [][]byte{b}, ed: b}, nil
}
