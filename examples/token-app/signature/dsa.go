package signature

import (
	"bytes"
	"math/big"
	"sync"
)

// A group is one of the two groups of DSA that BrowserID's signers know.
type group struct {
	alg        Alg
	p, q, g    *big.Int
	parts      [3][]byte          // p, q and g in bytes
	generators func() [][]big.Int // see powers
}

var groups = []*group{
	newGroup(DS128,
		"ff600483db6abfc5b45eab78594b3533d550d9f1bf2a992a7a8daa6dc34f8045ad4e6e0c429d334eeeaaefd7e23d4810be00e4cc1492cba325ba81ff2d5a5b30"+
			"5a8d17eb3bf4a06a349d392e00d329744a5179380344e82a18c47933438f891e22aeef812d69c8f75e326cb70ea000c3f776dfdbd604638c2ef717fc26d02e17",
		"e21e04f911d1ed7991008ecaab3bf775984309c3",
		"c52a4a0ff3b7e61fdf1867ce84138369a6154f4afa92966e3c827e25cfa6cf508b90e5de419e1337e07a2e9e2a3cd5dea704d175f8ebf6af397d69e110b96afb"+
			"17c7a03259329e4829b0d03bbc7896b15b4ade53e130858cc34d96269aa89041f409136c7242a38895c9d5bccad4f389af1d7a4bd1398bd072dffa896233397a"),
	newGroup(DS256, "d6c4e5045697756c7a312d02c2289c25d40f9954261f7b5876214b6df109c738b76226b199bb7e33f8fc7ac1dcc316e1e7c78973951bfc6ff2e00cc987cd76fc"+
		"fb0b8c0096b0b460fffac960ca4136c28f4bfb580de47cf7e7934c3985e3b3d943b77f06ef2af3ac3494fc3c6fc49810a63853862a02bb1c824a01b7fc688e40"+
		"28527a58ad58c9d512922660db5d505bc263af293bc93bcd6d885a157579d7f52952236dd9d06a4fc3bc2247d21f1a70f5848eb0176513537c983f5a36737f01"+
		"f82b44546e8e7f0fabc457e3de1d9c5dba96965b10a2a0580b0ad0f88179e10066107fb74314a07e6745863bc797b7002ebec0b000a98eb697414709ac17b401", "b1e370f6472c8754ccd75e99666ec8ef1fd748b748bbbc08503d82ce8055ab3b", "9a8269ab2e3b733a5242179d8f8ddb17ff93297d9eab00376db211a22b19c854dfa80166df2132cbc51fb224b0904abb22da2c7b7850f782124cb575b116f41e"+
		"a7c4fc75b1d77525204cd7c23a15999004c23cdeb72359ee74e886a1dde7855ae05fe847447d0a68059002c3819a75dc7dcbb30e39efac36e07e2c404b7ca98b"+
		"263b25fa314ba93c0625718bd489cea6d04ba4b0b7f156eeb4c56c44b50e4fb5bce9d7ae0d55b379225feb0214a04bed72f33e0664d290e7c840df3e2abb5e48"+
		"189fa4e90646f1867db289c6560476799f7be8420a6dc01d078de437f280fff2d7ddf1248d56e1a54b933a41629d6c252983c58795105802d30d7bcd819cf6ef"),
}

func newGroup(alg Alg, p, q, g string) *group {
	gr := &group{alg: alg}
	for i, text := range []string{p, q, g} {
		n, ok := new(big.Int).SetString(text, 16)
		if !ok {
			panic("a constant is not hexadecimal")
		}
		gr.parts[i] = n.Bytes()
		*[]**big.Int{&gr.p, &gr.q, &gr.g}[i] = n
	}
	gr.generators = sync.OnceValue(gr.powers)
	return gr
}

// findGroup is the group of p, q and g, or nil.
func findGroup(p, q, g []byte) *group {
	for _, gr := range groups {
		if bytes.Equal(p, gr.parts[0]) && bytes.Equal(q, gr.parts[1]) && bytes.Equal(g, gr.parts[2]) {
			return gr
		}
	}
	return nil
}

// verify checks r and s, of as many bytes as q each, over a digest of as many
// bytes as q (FIPS 186-4, section 4.7).
func (gr *group) verify(y *big.Int, digest, sig []byte) bool {
	size := len(gr.parts[1])
	sig = pad(sig, 2*size)
	if sig == nil || len(digest) != size {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(gr.q) >= 0 || s.Cmp(gr.q) >= 0 {
		return false
	}
	w := s.ModInverse(s, gr.q)
	u1 := new(big.Int).SetBytes(digest)
	u1.Mod(u1.Mul(u1, w), gr.q)
	u2 := w.Mod(w.Mul(w, r), gr.q)

	v := gr.power(new(big.Int).Exp(y, u2, gr.p), u1)
	return v.Mod(v, gr.q).Cmp(r) == 0
}

// power gives x·g^e, for an e below q: a multiplication for every byte of e, where
// the way from nothing has eight squarings too.
func (gr *group) power(x, e *big.Int) *big.Int {
	var product, quotient big.Int
	table := gr.generators()
	for i, b := range e.FillBytes(make([]byte, len(gr.parts[1]))) {
		if b != 0 {
			product.Mul(x, &table[i][b])
			quotient.QuoRem(&product, gr.p, x)
		}
	}
	return x
}

// powers has g^(b·256^k) for every byte b, and k the number of bytes behind it. It
// is computed at the first use, in 4 or 20 ms.
func (gr *group) powers() [][]big.Int {
	table := make([][]big.Int, len(gr.parts[1]))
	step := new(big.Int).Set(gr.g)
	for i := len(table) - 1; i >= 0; i-- {
		table[i] = make([]big.Int, 256)
		table[i][0].SetInt64(1)
		for b := 1; b < 256; b++ {
			t := &table[i][b]
			t.Mod(t.Mul(&table[i][b-1], step), gr.p)
		}
		step = new(big.Int).Mul(step, &table[i][255])
		step.Mod(step, gr.p)
	}
	return table
}
