package idp

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"math/big"
)

// The group of BrowserID's DSA keys of 1024 and 160 bits (DS128).
var (
	dsaP = hexadecimal("ff600483db6abfc5b45eab78594b3533d550d9f1bf2a992a7a8daa6dc34f8045ad4e6e0c429d334eeeaaefd7e23d4810be00e4cc1492cba325ba81ff2d5a5b30" +
		"5a8d17eb3bf4a06a349d392e00d329744a5179380344e82a18c47933438f891e22aeef812d69c8f75e326cb70ea000c3f776dfdbd604638c2ef717fc26d02e17")
	dsaQ = hexadecimal("e21e04f911d1ed7991008ecaab3bf775984309c3")
	dsaG = hexadecimal("c52a4a0ff3b7e61fdf1867ce84138369a6154f4afa92966e3c827e25cfa6cf508b90e5de419e1337e07a2e9e2a3cd5dea704d175f8ebf6af397d69e110b96afb" +
		"17c7a03259329e4829b0d03bbc7896b15b4ade53e130858cc34d96269aa89041f409136c7242a38895c9d5bccad4f389af1d7a4bd1398bd072dffa896233397a")
)

func hexadecimal(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 16)
	if !ok {
		panic("a constant is not hexadecimal")
	}
	return n
}

// A User has a key of DSA, as those of BrowserID had.
type User struct{ x, y *big.Int }

// NewUser makes a user with a new key.
func NewUser() *User {
	x := secretNumber()
	return &User{x, new(big.Int).Exp(dsaG, x, dsaP)}
}

// secretNumber is one of 1 to q-1.
func secretNumber() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Sub(dsaQ, big.NewInt(1)))
	if err != nil {
		panic(err) // the system's randomness does not end
	}
	return n.Add(n, big.NewInt(1))
}

// Certificate signs a certificate for the key of a user. Times are milliseconds.
func (p *Provider) Certificate(u *User, claims Claims) string {
	with := Claims{"public-key": Claims{"algorithm": "DS", "p": dsaP.Text(16), "q": dsaQ.Text(16), "g": dsaG.Text(16), "y": u.y.Text(16)}}
	for k, v := range claims {
		with[k] = v
	}
	return sign(p.key, Claims{"alg": "RS256"}, with)
}

// Sign signs what stands behind the certificate and a "~" in an assertion.
func (u *User) Sign(claims Claims) string {
	text := part(Claims{"alg": "DS128"}) + "." + part(claims)
	digest := sha1.Sum([]byte(text))
	z := new(big.Int).SetBytes(digest[:])
	for {
		k := secretNumber()
		r := new(big.Int).Exp(dsaG, k, dsaP)
		r.Mod(r, dsaQ)
		s := new(big.Int).Mul(u.x, r)
		s.Mul(s.Add(s, z), k.ModInverse(k, dsaQ))
		s.Mod(s, dsaQ)
		if r.Sign() != 0 && s.Sign() != 0 {
			size := (dsaQ.BitLen() + 7) / 8
			sig := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
			return text + "." + base64.RawURLEncoding.EncodeToString(sig)
		}
	}
}
