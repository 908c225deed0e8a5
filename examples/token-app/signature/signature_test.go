package signature

import (
	"context"
	"crypto/dsa" //lint:ignore SA1019 what ours is compared with
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"appbundle/examples/token-app/internal/strict"
)

// A checkCase is a row of testdata/checks.json, which is for workers in other
// languages too.
type checkCase struct {
	Name      string          `json:"name"`
	Key       json.RawMessage `json:"key"`
	Alg       string          `json:"alg"`
	Message   string          `json:"message"`
	Signature string          `json:"signature"`
	Good      bool            `json:"good"`
}

func checkCases(t testing.TB) []checkCase {
	data, err := os.ReadFile("testdata/checks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []checkCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func (c checkCase) check(t testing.TB) Check {
	sig, err := strict.Base64(c.Signature)
	if err != nil {
		t.Fatal(err)
	}
	return Check{parseKey(t, string(c.Key)), ParseAlg(c.Alg), []byte(c.Message), sig}
}

func parseKey(t testing.TB, text string) Key {
	t.Helper()
	o, err := strict.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(o)
	if err != nil {
		t.Fatalf("ParseKey(%s): %v", text, err)
	}
	return k
}

// The key of a case.
func caseKey(t testing.TB, name string) string {
	for _, c := range checkCases(t) {
		if c.Name == name {
			return string(c.Key)
		}
	}
	t.Fatalf("no case %q", name)
	return ""
}

func TestVerify(t *testing.T) {
	good := map[Alg]bool{}
	for _, c := range checkCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			check := c.check(t)
			if got := check.Verify(); got != c.Good {
				t.Errorf("Verify = %v, want %v", got, c.Good)
			}
			again, err := NewKey(check.Key.Kind(), check.Key.Parts()...)
			if err != nil || !again.Equal(check.Key) {
				t.Errorf("NewKey of the key's parts is another key: %v", err)
			}
			if c.Good {
				good[check.Alg] = true
			}
			if check.Alg == 0 {
				t.Errorf("algorithm %q is not known", c.Alg)
			}
		})
	}
	for a := range algNames {
		if !good[a] {
			t.Errorf("no good signature of %v was tested", a)
		}
	}
}

// Every algorithm with every key: no pair that a case does not have is good, and
// none panics.
func TestVerifyWithOtherKeys(t *testing.T) {
	byKey := map[string]checkCase{}
	for _, c := range checkCases(t) {
		if c.Good {
			byKey[c.Name] = c
		}
	}
	for name, c := range byKey {
		for other, d := range byKey {
			check := c.check(t)
			check.Key = d.check(t).Key
			want := check.Key.Equal(c.check(t).Key)
			if got := check.Verify(); got != want {
				t.Errorf("%s with the key of %s: %v", name, other, got)
			}
		}
		for a := Alg(0); a < 9; a++ {
			check := c.check(t)
			check.Alg = a
			if got, want := check.Verify(), a == ParseAlg(c.Alg); got != want {
				t.Errorf("%s as %v: %v", name, a, got)
			}
		}
	}
	if (Check{Alg: RS256}).Verify() || (Check{}).Verify() {
		t.Error("a check without a key is good")
	}
}

func TestLocal(t *testing.T) {
	var checks []Check
	for _, c := range checkCases(t) {
		if c.Name == "es256" || c.Name == "eddsa-flipped" || c.Name == "eddsa" {
			checks = append(checks, c.check(t))
		}
	}
	got, err := Local(t.Context(), checks)
	if want := "[true true false]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("Local = %v, %v, want %s", got, err, want)
	}
	checks[1], checks[2] = checks[2], checks[1]
	got, err = Local(t.Context(), checks)
	if want := "[true false false]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("Local = %v, %v, want %s: it looks no further than the first bad one", got, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := Local(ctx, checks); err == nil {
		t.Errorf("Local with a context that is over = %v", got)
	}
}

func TestCheckHidesItsMessage(t *testing.T) {
	c := Check{Alg: RS256, Message: []byte("canary"), Signature: []byte("canary")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got, want := fmt.Sprintf(format, c), "signature.Check(RS256)"; got != want {
			t.Errorf("%s prints %q, want %q", format, got, want)
		}
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "check", c)
	if !strings.Contains(log.String(), `"signature.Check(RS256)"`) {
		t.Errorf("logged as %s", &log)
	}
}

// The DSA here and crypto/dsa say the same of random signatures, whose numbers are
// wrong by one, or too large by q, here and there.
func TestDSALikeTheLibrary(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, gr := range groups {
		params := dsa.Parameters{P: gr.p, Q: gr.q, G: gr.g}
		number := func() *big.Int {
			b := make([]byte, len(gr.parts[1])+8)
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			n := new(big.Int).SetBytes(b)
			return n.Add(n.Mod(n, new(big.Int).Sub(gr.q, big.NewInt(1))), big.NewInt(1))
		}
		goods := 0
		for i := range 40 {
			k, s := number(), number()
			if i%4 == 2 {
				s.SetUint64(rnd.Uint64() | 1) // so that s+q has no more bytes than q
			}
			message := fmt.Append(nil, i)
			digest := sha256.Sum256(message)
			hash := digest[:]
			if gr.alg == DS128 {
				short := sha1.Sum(message)
				hash = short[:]
			}
			r := new(big.Int).Exp(gr.g, k, gr.p)
			r.Mod(r, gr.q)
			x := new(big.Int).Mul(s, k) // (s·k - hash) / r
			x.Mul(x.Sub(x, new(big.Int).SetBytes(hash)), new(big.Int).ModInverse(r, gr.q))
			y := new(big.Int).Exp(gr.g, x.Mod(x, gr.q), gr.p)
			switch i % 4 {
			case 2:
				s.Add(s, gr.q)
			case 3:
				s.Sub(s, big.NewInt(1))
			}
			size := len(hash)
			sig := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
			key, err := NewKey(DSA, gr.parts[0], gr.parts[1], gr.parts[2], y.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			want := dsa.Verify(&dsa.PublicKey{Parameters: params, Y: y}, hash, r, s)
			if got := (Check{key, gr.alg, message, sig}).Verify(); got != want {
				t.Errorf("%v: signature %d is %v, in the library %v", gr.alg, i, got, want)
			}
			if want {
				goods++
			}
		}
		if goods != 20 {
			t.Errorf("%v: %d signatures were good, want 20", gr.alg, goods)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	rs := caseKey(t, "rs256-2048")
	ds := caseKey(t, "ds128")
	ec := caseKey(t, "es256")
	ed := caseKey(t, "eddsa")
	set := func(key, member, value string) string {
		o := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(key), &o); err != nil {
			t.Fatal(err)
		}
		if value == "" {
			delete(o, member)
		} else {
			o[member] = json.RawMessage(value)
		}
		out, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	decimal := func(bits int) string { // an odd number of so many bits
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return `"` + n.Add(n, big.NewInt(1)).String() + `"`
	}
	for _, tt := range []struct{ name, key, want string }{
		{"no algorithm", set(rs, "algorithm", ""), `"algorithm" is missing`},
		{"other algorithm", set(rs, "algorithm", `"D"`), "not known"},
		{"algorithm of an array", set(rs, "algorithm", `["RS"]`), "not a string"},
		{"two forms", set(rs, "kty", `"RSA"`), "both"},
		{"secret", set(ed, "d", `"AA"`), "secret"},
		{"symmetric", `{"kty":"oct","k":"AA"}`, "secret"},
		{"unknown type", `{"kty":"AKP"}`, "not known"},
		{"other curve", set(ec, "crv", `"P-384"`), "not known"},
		{"curve of RSA", `{"kty":"OKP","crv":"X25519","x":"AA"}`, "not known"},
		{"n in hexadecimal", set(rs, "n", `"0xaf"`), `"n" is not a number of base 10`},
		{"n negative", set(rs, "n", `"-5"`), `"n" is not a number of base 10`},
		{"n with a sign", set(rs, "n", `"+5"`), `"n" is not a number of base 10`},
		{"n of a million digits", set(rs, "n", `"`+strings.Repeat("7", 1e6)+`"`), "more than 1300 digits"},
		{"n empty", set(rs, "n", `""`), `"n" is not a number of base 10`},
		{"n zero", set(rs, "n", `"0"`), "RSA of 0 bits"},
		{"n a number", set(rs, "n", `5`), "not a string"},
		{"n missing", set(rs, "n", ""), `"n" is missing`},
		{"512 bits", set(rs, "n", decimal(512)), "RSA of 512 bits"},
		{"1022 bits", set(rs, "n", decimal(1022)), "RSA of 1022 bits"},
		{"1026 bits", set(rs, "n", decimal(1026)), "RSA of 1026 bits"},
		{"2046 bits", set(rs, "n", decimal(2046)), "RSA of 2046 bits"},
		{"4097 bits", set(rs, "n", decimal(4097)), "RSA of 4097 bits"},
		{"n even", set(rs, "n", `"`+new(big.Int).Lsh(big.NewInt(1), 2047).String()+`"`), "even"},
		{"e even", set(rs, "e", `"65536"`), "exponent"},
		{"e one", set(rs, "e", `"1"`), "exponent"},
		{"e zero", set(rs, "e", `"0"`), "exponent"},
		{"e two", set(rs, "e", `"2"`), "exponent"},
		{"e of 32 bits", set(rs, "e", `"2147483649"`), "exponent"},
		{"y not hexadecimal", set(ds, "y", `"zz"`), `"y" is not a number of base 16`},
		{"y in capitals", set(ds, "y", `"AA"`), `"y" is not a number of base 16`},
		{"y too long", set(ds, "y", `"`+strings.Repeat("0", 513)+`"`), "more than 512 digits"},
		{"y zero", set(ds, "y", `"0"`), "out of its range"},
		{"y one", set(ds, "y", `"1"`), "out of its range"},
		{"y is p-1", set(ds, "y", `"`+new(big.Int).Sub(groups[0].p, big.NewInt(1)).Text(16)+`"`), "out of its range"},
		{"y is p", set(ds, "y", `"`+groups[0].p.Text(16)+`"`), "out of its range"},
		{"g one", set(ds, "g", `"1"`), "group"},
		{"p of another group", set(ds, "p", `"`+groups[1].p.Text(16)+`"`), "group"},
		{"p even", set(ds, "p", `"ff"`), "group"},
		{"padded base64", set(ec, "x", `"AA=="`), `"x" is not base64url`},
		{"long base64", set(ec, "x", `"`+strings.Repeat("A", 685)+`"`), "more than 684 digits"},
		{"point of 31 bytes", set(ec, "x", `"`+strings.Repeat("A", 42)+`"`), "32 bytes"},
		{"not on the curve", set(ec, "x", `"`+strings.Repeat("A", 43)+`"`), "not on P-256"},
		{"Ed25519 of 31 bytes", set(ed, "x", `"`+strings.Repeat("A", 42)+`"`), "32 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := strict.Decode([]byte(tt.key))
			if err != nil {
				t.Fatal(err)
			}
			k, err := ParseKey(o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseKey = %v, %v, want an error with %q", k.Kind(), err, tt.want)
			}
		})
	}
	for _, bits := range []int{1023, 1024, 1025, 2047, 2048, 4096} {
		k := parseKey(t, set(rs, "n", decimal(bits)))
		if got, want := k.Fits(RS128), bits < 2000; got != want || k.Fits(RS256) == want || k.Fits(PS256) == want {
			t.Errorf("a key of %d bits fits RS128: %v", bits, got)
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  Kind
		parts [][]byte
	}{
		{"no kind", 0, nil},
		{"other kind", 9, [][]byte{{1}}},
		{"RSA of one part", RSA, [][]byte{{1}}},
		{"DSA of three parts", DSA, groups[0].parts[:]},
		{"a long part", RSA, [][]byte{make([]byte, 1<<20), {3}}},
		{"EC off the curve", EC, [][]byte{make([]byte, 32), make([]byte, 32)}},
	} {
		if _, err := NewKey(tt.kind, tt.parts...); err == nil {
			t.Errorf("%s: a key", tt.name)
		}
	}
}

func TestParseSet(t *testing.T) {
	rs, ec := caseKey(t, "ps256-2048"), caseKey(t, "es256")
	with := func(key, members string) string { return key[:len(key)-1] + "," + members + "}" }
	text := `{"keys":[` + strings.Join([]string{
		with(rs, `"kid":"1","use":"sig","alg":"PS256"`),
		with(rs, `"kid":"encrypts","use":"enc"`),
		with(rs, `"kid":"use","use":1`),
		with(rs, `"kid":"signs","key_ops":["sign"]`),
		with(rs, `"kid":"ops","key_ops":"verify"`),
		with(rs, `"kid":"ec","alg":"ES256"`),
		with(rs, `"kid":"other","alg":"RS512"`),
		with(rs, `"kid":"alg","alg":256`),
		with(rs, `"kid":5`),
		with(rs, `"kid":"private","d":"AA"`),
		`{"kty":"AKP","kid":"unknown"}`,
		with(ec, `"key_ops":["sign","verify"]`),
	}, ",") + `]}`
	o, err := strict.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	list := o["keys"].([]any)
	got, err := ParseSet(list)
	if err != nil || len(got) != 2 || got[0].ID != "1" || got[1].ID != "" {
		t.Fatalf("ParseSet = %v, %v, want the keys \"1\" and \"\"", got, err)
	}
	if !got[0].For(PS256) || got[0].For(RS256) || got[0].For(0) {
		t.Error(`a key with "alg": "PS256" is for RS256 too`)
	}
	if !got[1].For(ES256) || got[1].For(0) {
		t.Error(`a key without "alg" is for all that it fits`)
	}
	if _, err := ParseSet([]any{"x"}); err == nil {
		t.Error("a set with a string")
	}
	if _, err := ParseSet(make([]any, MaxKeys+1)); err == nil {
		t.Error("a set without an end")
	}
}

func FuzzParseKey(f *testing.F) {
	for _, c := range checkCases(f) {
		f.Add(string(c.Key), string(c.Signature))
	}
	f.Fuzz(func(t *testing.T, text, sig string) {
		o, err := strict.Decode([]byte(text))
		if err != nil {
			return
		}
		k, err := ParseKey(o)
		if err != nil {
			return
		}
		if again, err := NewKey(k.Kind(), k.Parts()...); err != nil || !again.Equal(k) {
			t.Errorf("NewKey of the parts of %s is another key: %v", text, err)
		}
		for a := range algNames {
			(Check{k, a, []byte("hello"), []byte(sig)}).Verify()
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, c := range checkCases(b) {
		switch c.Name {
		case "rs256-2048", "rs256-4096", "rs128-1023", "ds128", "ds256", "es256", "eddsa":
			check := c.check(b)
			check.Verify()
			b.Run(c.Name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !check.Verify() {
						b.Fatal("a good signature is bad")
					}
				}
			})
		}
	}
	for _, c := range checkCases(b) {
		if c.Name != "ds128" && c.Name != "ds256" {
			continue
		}
		check := c.check(b)
		gr, size := check.Key.dsa, len(check.Signature)/2
		key := dsa.PublicKey{Parameters: dsa.Parameters{P: gr.p, Q: gr.q, G: gr.g}, Y: check.Key.y}
		r, s := new(big.Int).SetBytes(check.Signature[:size]), new(big.Int).SetBytes(check.Signature[size:])
		digest := sha256.Sum256(check.Message)
		hash := digest[:]
		if c.Name == "ds128" {
			short := sha1.Sum(check.Message)
			hash = short[:]
		}
		b.Run("library-"+c.Name, func(b *testing.B) {
			for b.Loop() {
				if !dsa.Verify(&key, hash, r, s) {
					b.Fatal("a good signature is bad")
				}
			}
		})
	}
	// The dearest key that is allowed.
	n := new(big.Int).Lsh(big.NewInt(1), 4095)
	n.Sub(n.Lsh(n, 1), big.NewInt(1))
	worst, err := NewKey(RSA, n.Bytes(), big.NewInt(1<<31-1).Bytes())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("hostile", func(b *testing.B) {
		check := Check{worst, PS256, []byte("hello"), make([]byte, 500)}
		check.Signature[0] = 77
		for b.Loop() {
			check.Verify()
		}
	})
}
