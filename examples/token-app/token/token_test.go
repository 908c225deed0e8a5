package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/encrypted.json")

const (
	secretA = "7c1f0a5be29d4836a4c8d1e07b62f935" // of these tests alone
	secretB = "e40d9b3827f615ca8e73b0d4196afc52"
	service = "sync-1.5"
)

var now = time.Unix(1700000000, 0)

func mustSecret(tb testing.TB, text string) *Secret {
	tb.Helper()
	s, err := NewSecret(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// request asks for a token with claims that are good for 30 minutes from now.
func request(tb testing.TB, f Form, secret *Secret) *Request {
	tb.Helper()
	c := Claims{
		UID: 12345, Node: "https://db42.example.com", Expires: now.Add(Lifetime).Unix(),
		FxaUID: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", FxaKID: KeyID(1234567, []byte{1, 2, 3}), HashedFxaUID: "5f4dcc3b5aa765d61d8327deb882cf99", HashedDeviceID: "b5c0",
	}
	salt := NewSalt(f)
	payload, err := c.Payload(f, salt)
	if err != nil {
		tb.Fatal(err)
	}
	return &Request{Form: f, Secret: secret, Service: service, Payload: payload, Salt: salt}
}

func mint(tb testing.TB, r *Request) Minted {
	tb.Helper()
	m, err := Mint(r)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

var forms = []Form{Signed, Encrypted}

func TestRoundTrip(t *testing.T) {
	for _, f := range forms {
		t.Run(f.String(), func(t *testing.T) {
			a, b := mustSecret(t, secretA), mustSecret(t, secretB)
			r := request(t, f, a)
			m := mint(t, r)
			o := Opener{Secrets: []*Secret{a, b}, Service: service}
			got, err := o.Open(m.Token, now)
			if err != nil || got.Form != f || got.Key != m.Key || !bytes.Equal(got.Payload, r.Payload) {
				t.Fatalf("Open = %v", err)
			}
			c, err := got.Claims()
			want := Claims{
				UID: 12345, Node: "https://db42.example.com", Expires: now.Unix() + 1800,
				FxaUID: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", FxaKID: "0000001234567-AQID", HashedFxaUID: "5f4dcc3b5aa765d61d8327deb882cf99", HashedDeviceID: "b5c0",
			}
			if err != nil || *c != want {
				t.Errorf("Claims = %+v, %v, want %+v", c, err, want)
			}
			if again := mint(t, r); again != m {
				t.Error("the same request gives another token")
			}
			if other := mint(t, request(t, f, a)); other.Token == m.Token || other.Key == m.Key {
				t.Error("another salt gives the same token or key")
			}
			if _, err := o.Open(m.Token, now.Add(Lifetime)); err != ErrExpired {
				t.Errorf("Open at its end = %v", err)
			}
			if _, err := (&Opener{Secrets: []*Secret{b}, Service: service}).Open(m.Token, now); err != ErrSignature {
				t.Errorf("Open with another secret = %v", err)
			}
			if _, err := (&Opener{Service: service}).Open(m.Token, now); err != ErrSignature {
				t.Errorf("Open without secrets = %v", err)
			}
			for _, taken := range forms {
				o := Opener{Secrets: []*Secret{a}, Service: service, Forms: []Form{taken}}
				if _, err := o.Open(m.Token, now); taken == f && err != nil || taken != f && err != ErrForm {
					t.Errorf("Open where tokens are %v = %v", taken, err)
				}
			}
		})
	}
}

// Whatever byte of a token is changed, it is not opened.
func TestEveryByteCounts(t *testing.T) {
	for _, f := range forms {
		t.Run(f.String(), func(t *testing.T) {
			a := mustSecret(t, secretA)
			m := mint(t, request(t, f, a))
			b, err := base64.URLEncoding.DecodeString(m.Token)
			if err != nil {
				t.Fatal(err)
			}
			o := Opener{Secrets: []*Secret{a}, Service: service}
			for i := range b {
				b[i] ^= 0x40
				if _, err := o.Open(base64.URLEncoding.EncodeToString(b), now); err == nil {
					t.Errorf("byte %d can be changed", i)
				}
				b[i] ^= 0x40
			}
			for i := range b {
				if _, err := o.Open(base64.URLEncoding.EncodeToString(b[:i]), now); err == nil {
					t.Errorf("the first %d bytes are enough", i)
				}
			}
		})
	}
}

// An encrypted token says nothing, and is for one service.
func TestEncrypted(t *testing.T) {
	a := mustSecret(t, secretA)
	m := mint(t, request(t, Encrypted, a))
	b, err := base64.URLEncoding.DecodeString(m.Token)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("12345")) || bytes.Contains(b, []byte("node")) {
		t.Error("the payload can be read")
	}
	for _, other := range []string{"", "sync-1.1", "sync-1.5 ", strings.Repeat("x", maxService+1)} {
		o := Opener{Secrets: []*Secret{a}, Service: other}
		if _, err := o.Open(m.Token, now); err == nil {
			t.Errorf("it is opened for service %q", other)
		}
	}
	// What is signed and encrypted with other keys under the same header.
	header := b[:headerSize]
	aead, nonce, _ := a.keys(service, header[1+keyIDSize:])
	forged := aead.Seal(bytes.Clone(header), nonce, sign(sha256New, make([]byte, 32), []byte(`{"expires": 9999999999}`)), header)
	o := Opener{Secrets: []*Secret{a}, Service: service}
	if _, err := o.Open(base64.URLEncoding.EncodeToString(forged), now); err != ErrSignature {
		t.Errorf("encrypted without a signature: %v", err)
	}
}

// Two secrets may have the same key id.
func TestKeyIDTwice(t *testing.T) {
	a, b := mustSecret(t, secretA), mustSecret(t, secretB)
	b.id = a.id
	m := mint(t, request(t, Encrypted, b))
	o := Opener{Secrets: []*Secret{a, b}, Service: service}
	if _, err := o.Open(m.Token, now); err != nil {
		t.Error(err)
	}
}

// An encryptedVector has every value on the way to a token.
type encryptedVector struct {
	Name      string `json:"name"`
	Secret    string `json:"secret"`
	Service   string `json:"service"`
	Salt      string `json:"salt"`
	Payload   string `json:"payload"`
	KeyID     string `json:"key_id"`
	Derived   string `json:"derived"`
	Signature string `json:"signature"`
	Token     string `json:"token"`
	Key       string `json:"key"`
}

const encryptedVectors = "testdata/encrypted.json"

func makeEncrypted(t *testing.T, name, secret, service, salt, payload string) encryptedVector {
	t.Helper()
	s := newSecret([]byte(secret))
	raw, err := hex.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	m := mint(t, &Request{Form: Encrypted, Secret: s, Service: service, Payload: []byte(payload), Salt: string(raw)})
	derived := expand(sha256New, []byte(secret), raw, encryptInfo+service, keySize+nonceSize+32)
	signed := sign(sha256New, derived[keySize+nonceSize:], []byte(payload))
	return encryptedVector{
		name, secret, service, salt, payload, hex.EncodeToString(s.id[:]), hex.EncodeToString(derived),
		hex.EncodeToString(signed[len(payload):]), m.Token, m.Key,
	}
}

func TestEncryptedVectors(t *testing.T) {
	want := []encryptedVector{
		makeEncrypted(t, "worked", secretA, service, "000102030405060708090a0b0c0d0e0f",
			`{"uid": 12345, "node": "https://db42.example.com", "expires": 1700001800, "fxa_uid": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "fxa_kid": "0000001234567-AQID", "hashed_fxa_uid": "5f4dcc3b5aa765d61d8327deb882cf99", "hashed_device_id": "b5c0b187fe309af0f4d35982fd961d7e"}`),
		makeEncrypted(t, "small", "\x00\xc3\xa9 not hexadecimal, 32 characters", "q", "ffffffffffffffffffffffffffffffff", `{"expires": 1700001800}`),
		makeEncrypted(t, "block", secretB, "dienst-\u00fc", "80000000000000000000000000000001", `{"expires": 1700001800, "x": "`+strings.Repeat("y", 1024-32)+`"}`),
	}
	if *update {
		out, err := json.MarshalIndent(want, "", " ")
		if err == nil {
			err = os.WriteFile(encryptedVectors, append(out, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(encryptedVectors)
	if err != nil {
		t.Fatal(err)
	}
	var got []encryptedVector
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%s has %d vectors, want %d; go test ./token -update", encryptedVectors, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: %s = %+v, want %+v", encryptedVectors, got[i].Name, got[i], want[i])
		}
		o := Opener{Secrets: []*Secret{newSecret([]byte(got[i].Secret))}, Service: got[i].Service, Forms: []Form{Encrypted}}
		opened, err := o.Open(got[i].Token, now)
		if err != nil || string(opened.Payload) != got[i].Payload || opened.Key != got[i].Key {
			t.Errorf("%s: Open = %v", got[i].Name, err)
		}
	}
}

// A second implementation makes the same tokens.
func TestEncryptedInPython(t *testing.T) {
	python, err := filepath.Abs("../../../out/servers/bin/python")
	if err == nil {
		_, err = os.Stat(python)
	}
	if err != nil {
		t.Fatalf("%v; tools/setup test makes it", err)
	}
	for _, name := range []string{"testdata/encrypted.py", encryptedVectors} {
		if _, err := os.ReadFile(name); err != nil { // so that the go command knows of it
			t.Fatal(err)
		}
	}
	out, err := exec.Command(python, "-B", "testdata/encrypted.py", encryptedVectors).CombinedOutput()
	if err != nil || string(out) != "worked\nsmall\nblock\n" {
		t.Errorf("encrypted.py: %v\n%s", err, out)
	}
}

func TestRequestCheck(t *testing.T) {
	a := mustSecret(t, secretA)
	good := func(f Form) Request {
		return Request{Form: f, Secret: a, Service: service, Payload: []byte(`{"expires": 1}`), Salt: NewSalt(f)}
	}
	for _, tt := range []struct {
		name   string
		form   Form
		change func(*Request)
		want   string
	}{
		{"nothing to say", Signed, func(r *Request) { r.Payload = nil }, "1 to 16384 bytes, and this one 0"},
		{"too much to say", Encrypted, func(r *Request) { r.Payload = make([]byte, maxPayload+1) }, "and this one 16385"},
		{"no object", Signed, func(r *Request) { r.Payload = []byte("[]") }, "a JSON object"},
		{"salt not ASCII", Signed, func(r *Request) { r.Salt = "é" }, "ASCII text"},
		{"long salt", Signed, func(r *Request) { r.Salt = strings.Repeat("0", 256) }, "at most 255"},
		{"text as salt", Encrypted, func(r *Request) { r.Salt = "a1b2c3" }, "has 16 bytes, and this one 6"},
		{"no service", Encrypted, func(r *Request) { r.Service = "" }, "1 to 255 bytes, and not 0"},
		{"unknown form", 7, func(*Request) {}, "there is no form 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := good(tt.form)
			tt.change(&r)
			if _, err := Mint(&r); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Mint = %v, want an error with %q", err, tt.want)
			}
		})
	}
	for _, f := range forms {
		r := good(f)
		r.Payload = []byte(`{"expires": 1700001800, "salt": "` + r.Salt[:2] + `", "x": "` + strings.Repeat("x", maxPayload) + `"}`)
		r.Payload = append(r.Payload[:maxPayload-2], `"}`...)
		r.Payload = bytes.ToValidUTF8(bytes.ReplaceAll(r.Payload, []byte(r.Salt[:2]), []byte("ab")), nil)
		m := mint(t, &r)
		o := Opener{Secrets: []*Secret{a}, Service: service}
		if _, err := o.Open(m.Token, now); err != nil {
			t.Errorf("the longest %v token: %v", f, err)
		}
		if _, err := o.Open(m.Token+strings.Repeat("A", 4*64), now); err != ErrMalformed {
			t.Errorf("a longer one: %v", err)
		}
	}
}

func TestParseForm(t *testing.T) {
	for _, f := range forms {
		if got, err := ParseForm(f.String()); got != f || err != nil {
			t.Errorf("ParseForm(%q) = %v, %v", f.String(), got, err)
		}
	}
	if f, err := ParseForm("Signed"); err == nil {
		t.Errorf("ParseForm = %v", f)
	}
}

// A signed payload is read in one way, and a node takes nothing for granted.
func TestClaims(t *testing.T) {
	a := mustSecret(t, secretA)
	for _, tt := range []struct {
		name, payload string
		expires       int64 // 0: there are no claims
	}{
		{"whole", `{"uid": 1, "node": "n", "expires": 1700000001, "salt": ""}`, 1700000001},
		{"fraction", `{"uid": 1, "node": "n", "expires": 1700000001.75, "salt": ""}`, 1700000001},
		{"for ever", `{"uid": 1, "node": "n", "expires": 1.7e+18, "salt": ""}`, 1700000000000000000},
		{"longer", `{"uid": 1, "node": "n", "expires": 1e300, "salt": ""}`, math.MaxInt64},
		{"no uid", `{"node": "n", "expires": 1700000001, "salt": ""}`, 0},
		{"uid of another case", `{"Uid": 1, "node": "n", "expires": 1700000001, "salt": ""}`, 0},
		{"uid as text", `{"uid": "1", "node": "n", "expires": 1700000001, "salt": ""}`, 0},
		{"uid below 0", `{"uid": -1, "node": "n", "expires": 1700000001, "salt": ""}`, 0},
		{"uid a fraction", `{"uid": 1.0, "node": "n", "expires": 1700000001, "salt": ""}`, 0},
		{"no node", `{"uid": 1, "expires": 1700000001, "salt": ""}`, 0},
		{"fxa_uid a number", `{"uid": 1, "node": "n", "expires": 1700000001, "fxa_uid": 5, "salt": ""}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mint(t, &Request{Secret: a, Payload: []byte(tt.payload)})
			got, err := (&Opener{Secrets: []*Secret{a}}).Open(m.Token, now)
			if err != nil {
				t.Fatal(err)
			}
			c, err := got.Claims()
			if tt.expires == 0 {
				if err != ErrMalformed {
					t.Errorf("Claims = %+v, %v", c, err)
				}
				return
			}
			if err != nil || c.UID != 1 || c.Node != "n" || c.Expires != tt.expires {
				t.Errorf("Claims = %+v, %v, want expires %d", c, err, tt.expires)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{nil, "null"}, {true, "true"}, {-5, "-5"}, {int64(math.MinInt64), "-9223372036854775808"},
		{0.0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {1.0, "1.0"}, {0.1, "0.1"}, {0.0001, "0.0001"}, {0.00001, "1e-05"}, {1.5e-7, "1.5e-07"},
		{123456789012345678.0, "1.2345678901234568e+17"}, {1e16, "1e+16"}, {9999999999999998.0, "9999999999999998.0"}, {1e100, "1e+100"},
		{"\x00\x1f\x7f\b\f\r/é\u2028\U0001F600\uFFFF", `"\u0000\u001f\u007f\b\f\r/\u00e9\u2028\ud83d\ude00\uffff"`},
		{[]any{}, "[]"}, {[]any{1, Members{{"é", []any{2}}}}, `[1, {"\u00e9": [2]}]`},
	} {
		got, err := Members{{"v", tt.value}}.JSON()
		if want := `{"v": ` + tt.want + `}`; string(got) != want || err != nil {
			t.Errorf("JSON = %s, %v, want %s", got, err, want)
		}
	}
	for _, m := range []Members{
		{{"v", math.NaN()}}, {{"v", math.Inf(1)}}, {{"v", uint8(1)}}, {{"v", "\xff"}}, {{"\xff", 1}},
		{{"v", []any{Members{{"w", math.NaN()}}}}},
	} {
		if got, err := m.JSON(); err == nil || !strings.HasPrefix(err.Error(), "token: ") || strings.Count(err.Error(), "token:") > 1 {
			t.Errorf("JSON of %v = %s, %v", m, got, err)
		}
	}
}

// Nothing that is secret is written by a verb of fmt or by slog.
func TestHiding(t *testing.T) {
	a := mustSecret(t, secretA)
	r := request(t, Signed, a)
	m := mint(t, r)
	got, err := (&Opener{Secrets: []*Secret{a}}).Open(m.Token, now)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := NewDerivedSecrets(secretA)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{a, *a, m, &m, r, *r, got, *got, derived, *derived, MetricsKey(secretA), []MetricsKey{MetricsKey(secretA)}, Opener{Secrets: []*Secret{a}}, []Minted{m}} {
		var b strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
		for _, secret := range []string{secretA, m.Token, m.Key, "fxa_uid", hex.EncodeToString([]byte(secretA)), hex.EncodeToString(a.signing), fmt.Sprint(a.text), base64.StdEncoding.EncodeToString([]byte(secretA))} {
			if strings.Contains(strings.ToLower(b.String()), strings.ToLower(secret)) {
				t.Errorf("%T shows %q:\n%s", v, secret, b.String())
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	a := mustSecret(f, secretA)
	o := Opener{Secrets: []*Secret{a}, Service: service}
	for _, form := range forms {
		m := mint(f, request(f, form, a))
		f.Add(m.Token)
		f.Add(m.Token[:len(m.Token)-4])
	}
	for _, s := range []string{"", "AQ==", "eyJ9", "AQAA\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := o.Open(text, now)
		if err != nil {
			return
		}
		// Who opens it can make it.
		r := Request{Form: got.Form, Secret: a, Service: service, Payload: got.Payload}
		r.Salt, _ = got.Members["salt"].(string)
		if got.Form == Encrypted {
			b, err := base64.URLEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			r.Salt = string(b[1+keyIDSize : headerSize])
		}
		if m, err := Mint(&r); err != nil || m.Token != text || m.Key != got.Key {
			t.Errorf("%q is opened, and cannot be made: %v", text, err)
		}
	})
}

// FuzzPayload signs what comes, so that the reader of payloads sees it.
func FuzzPayload(f *testing.F) {
	a := mustSecret(f, secretA)
	for _, v := range load(f).Make {
		if len(v.Payload) < 1000 {
			f.Add([]byte(v.Payload))
		}
	}
	f.Add([]byte(`{"uid": 1, "node": "n", "expires": 1e300, "salt": "\u0000"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		text := base64.URLEncoding.EncodeToString(sign(sha256New, a.signing, payload))
		got, err := (&Opener{Secrets: []*Secret{a}}).Open(text, now)
		if err != nil {
			return
		}
		if payload[0] == version {
			t.Fatal("a signed token begins as an encrypted one")
		}
		if c, err := got.Claims(); err == nil && (c.UID < 0 || c.Expires < now.Unix()) {
			t.Errorf("claims of %q: %+v", payload, c)
		}
	})
}

func BenchmarkMint(b *testing.B) {
	a := mustSecret(b, secretA)
	for _, f := range forms {
		b.Run(f.String(), func(b *testing.B) {
			r := request(b, f, a)
			b.ReportAllocs()
			for b.Loop() {
				mint(b, r)
			}
		})
	}
	b.Run("secret", func(b *testing.B) {
		d, err := NewDerivedSecrets(secretA)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := d.Of("https://db42.example.com"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	a := mustSecret(b, secretA)
	o := Opener{Secrets: []*Secret{a}, Service: service}
	for _, f := range forms {
		b.Run(f.String(), func(b *testing.B) {
			m := mint(b, request(b, f, a))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.Open(m.Token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
