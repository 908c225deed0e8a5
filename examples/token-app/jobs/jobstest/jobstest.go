// Package jobstest has jobs with the results that every worker gives, whatever its
// language: signatures that are good and that are not, keys that nobody may take,
// tokens in both forms, and bytes that are no jobs. They come from the test data of
// the packages signature, token and jobs; only the bytes are made here, without the
// code that makes them elsewhere.
package jobstest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/examples/token-app/internal/strict"
	"appbundle/examples/token-app/signature"
)

// A Vector is a job and what comes of it.
type Vector struct {
	Name     string
	Kind     string
	Job      []byte
	Want     []byte
	Rejected bool // there is no result, but an error
}

// Vectors reads those of the module whose root is at a path.
func Vectors(tb testing.TB, root string) []Vector {
	tb.Helper()
	v := &maker{tb: tb, root: root}
	v.checks()
	v.hostile()
	v.tokens()
	v.encrypted()
	v.malformed()
	return v.out
}

type maker struct {
	tb   testing.TB
	root string
	out  []Vector
}

func (v *maker) add(kind, name string, job, want []byte) {
	v.out = append(v.out, Vector{Name: kind + " " + name, Kind: kind, Job: job, Want: want, Rejected: want == nil})
}

func (v *maker) load(path string, to any) {
	v.tb.Helper()
	data, err := os.ReadFile(filepath.Join(v.root, path))
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		v.tb.Fatal(err)
	}
}

// A check is what a job of kind verify has once or more.
type check struct {
	alg       byte
	parts     [][]byte
	message   []byte
	signature []byte
}

func verifyJob(checks ...check) []byte {
	b := []byte{1, byte(len(checks))}
	for _, c := range checks {
		b = append(b, c.alg, byte(len(c.parts)))
		for _, p := range c.parts {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(c.message))), c.message...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(c.signature))), c.signature...)
	}
	return b
}

func mintJob(form byte, secret, service, salt, payload string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{1, form}, uint16(len(secret)))
	b = append(append(b, secret...), byte(len(service)))
	b = append(append(b, service...), byte(len(salt)))
	b = binary.BigEndian.AppendUint32(append(b, salt...), uint32(len(payload)))
	return append(b, payload...)
}

func mintResult(token, key string) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(key))), key...)
}

// parts is how many parts the key of an algorithm has.
var parts = map[byte]int{1: 2, 2: 2, 3: 2, 4: 1, 5: 4, 6: 4, 7: 2}

// checks are the cases of signature, one by one and several together.
func (v *maker) checks() {
	var cases []struct {
		Name      string
		Key       json.RawMessage
		Alg       string
		Message   string
		Signature string
		Good      bool
	}
	v.load("signature/testdata/checks.json", &cases)
	var good, bad []check
	for _, c := range cases {
		o, err := strict.Decode(c.Key)
		if err != nil {
			v.tb.Fatal(err)
		}
		key, err := signature.ParseKey(o)
		if err != nil {
			v.tb.Fatalf("%s: %v", c.Name, err)
		}
		sig, err := strict.Base64(c.Signature)
		if err != nil {
			v.tb.Fatal(err)
		}
		one := check{byte(signature.ParseAlg(c.Alg)), key.Parts(), []byte(c.Message), sig}
		var want []byte
		switch {
		case parts[one.alg] != len(one.parts): // there is no such job
		case c.Good:
			good, want = append(good, one), []byte{1}
		default:
			bad, want = append(bad, one), []byte{0}
		}
		v.add("verify", c.Name, verifyJob(one), want)
		if c.Good && one.alg != 3 && one.alg != 4 {
			// Zeros in front of a part are nothing.
			p := append([][]byte{append([]byte{0}, one.parts[0]...)}, one.parts[1:]...)
			v.add("verify", c.Name+" with a zero in front", verifyJob(check{one.alg, p, one.message, one.signature}), want)
		}
	}
	g := func(i int) check { return good[i%len(good)] }
	for i := range good {
		v.add("verify", fmt.Sprint("good ", i), verifyJob(g(i), g(i+1), g(i+3), g(i+5)), []byte{1, 1, 1, 1})
	}
	for i, b := range bad {
		v.add("verify", fmt.Sprint("bad ", i), verifyJob(g(i), b, g(i+2)), []byte{1, 0, 0})
	}
}

// hostile are keys that are not taken.
func (v *maker) hostile() {
	var cases []struct {
		Name      string
		Alg       byte
		Parts     []string
		Message   string
		Signature string
	}
	v.load("jobs/testdata/hostile.json", &cases)
	for _, c := range cases {
		one := check{alg: c.Alg, message: []byte(c.Message), signature: v.unhex(c.Signature)}
		for _, p := range c.Parts {
			one.parts = append(one.parts, v.unhex(p))
		}
		v.add("verify", "hostile "+c.Name, verifyJob(one), []byte{0})
	}
}

func (v *maker) unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		v.tb.Fatal(err)
	}
	return b
}

// tokens are those of tokenlib.
func (v *maker) tokens() {
	var all struct {
		Make []struct {
			Name          string
			HashMod       string
			Secret        string `json:"secret_hex"`
			Payload       string
			Token         string
			DeriveSalt    string `json:"derive_salt"`
			DerivedSecret string `json:"derived_secret"`
		}
	}
	v.load("token/testdata/tokenlib.json", &all)
	for _, t := range all.Make {
		if t.HashMod != "sha256" {
			continue
		}
		want := mintResult(t.Token, t.DerivedSecret)
		if t.Secret == "" {
			want = nil
		}
		v.add("mint", t.Name, mintJob(0, string(v.unhex(t.Secret)), "", t.DeriveSalt, t.Payload), want)
	}
}

func (v *maker) encrypted() {
	var all []struct{ Name, Secret, Service, Salt, Payload, Token, Key string }
	v.load("token/testdata/encrypted.json", &all)
	for _, t := range all {
		v.add("mint", "encrypted "+t.Name, mintJob(1, t.Secret, t.Service, string(v.unhex(t.Salt)), t.Payload), mintResult(t.Token, t.Key))
	}
}

// malformed are bytes that are no job.
func (v *maker) malformed() {
	find := func(name string) []byte {
		for _, o := range v.out {
			if o.Name == name {
				return o.Job
			}
		}
		v.tb.Fatalf("there is no vector %q", name)
		return nil
	}
	for kind, job := range map[string][]byte{"verify": find("verify eddsa"), "mint": find("mint encrypted small")} {
		for i := range job {
			v.add(kind, fmt.Sprintf("the first %d bytes", i), job[:i], nil)
		}
		for i, b := range []byte{0, 2, 255} {
			v.add(kind, fmt.Sprint("format ", i), append([]byte{b}, job[1:]...), nil)
		}
		v.add(kind, "a byte more", append(bytes.Clone(job), 0), nil)
		v.add(kind, "64 KiB and a byte", append(bytes.Clone(job), make([]byte, 64<<10+1-len(job))...), nil)
	}
	one := check{4, [][]byte{bytes.Repeat([]byte{3}, 32)}, []byte("m"), make([]byte, 64)}
	v.add("verify", "four", verifyJob(one, one, one, one), []byte{0, 0, 0, 0})
	v.add("verify", "five", verifyJob(one, one, one, one, one), nil)
	v.add("verify", "none", verifyJob(), nil)
	for _, alg := range []byte{0, 8, 255} {
		v.add("verify", fmt.Sprint("algorithm ", alg), verifyJob(check{alg, one.parts, one.message, one.signature}), nil)
	}
	v.add("verify", "second broken", verifyJob(one, check{0, nil, nil, nil}), nil)
	for alg, n := range parts {
		for have := range 6 {
			if have != n {
				v.add("verify", fmt.Sprintf("algorithm %d with %d parts", alg, have), verifyJob(check{alg, make([][]byte, have), nil, nil}), nil)
			}
		}
		v.add("verify", fmt.Sprintf("algorithm %d with empty parts", alg), verifyJob(check{alg, make([][]byte, n), nil, nil}), []byte{0})
	}
	// As long as a job can be.
	long := verifyJob(one)
	long = verifyJob(check{4, one.parts, make([]byte, 64<<10-len(long)+1), one.signature})
	v.add("verify", "64 KiB", long, []byte{0})

	secret, salt, payload := strings.Repeat("s", 32), "0123456789abcdef", `{"expires": 1}`
	for _, m := range []struct {
		name string
		job  []byte
	}{
		{"form 2", mintJob(2, secret, "q", salt, payload)},
		{"encrypted without a service", mintJob(1, secret, "", salt, payload)},
		{"encrypted with a short salt", mintJob(1, secret, "q", salt[1:], payload)},
		{"encrypted with a long salt", mintJob(1, secret, "q", salt+"0", payload)},
		{"encrypted without a secret", mintJob(1, "", "q", salt, payload)},
		{"encrypted without a payload", mintJob(1, secret, "q", salt, "")},
		{"encrypted list", mintJob(1, secret, "q", salt, "[]")},
		{"signed for a service", mintJob(0, secret, "q", salt, payload)},
		{"signed without a payload", mintJob(0, secret, "", salt, "")},
		{"signed version", mintJob(0, secret, "", salt, "\x01")},
		{"signed with a salt that is not ASCII", mintJob(0, secret, "", "é", payload)},
		{"signed with a long payload", mintJob(0, secret, "", salt, "{"+strings.Repeat(" ", 16<<10))},
		{"signed with a long secret", mintJob(0, strings.Repeat("s", 4097), "", salt, payload)},
	} {
		v.add("mint", m.name, m.job, nil)
	}
}
