package token

import (
	"bytes"
	"crypto/hkdf"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// testdata/tokenlib.json was written by tokenlib 2.0.0 and mozsvc.
type vectors struct {
	About struct{ Now int64 }
	Make  []struct {
		Name          string
		HashMod       string
		Secret        hexBytes `json:"secret_hex"`
		Payload       string
		SigKey        hexBytes `json:"sig_key_hex"`
		Token         string
		DeriveSalt    string `json:"derive_salt"`
		DerivedSecret string `json:"derived_secret"`
		ParseAt       int64  `json:"parse_at"`
		ParseOK       bool   `json:"parse_ok"`
	}
	ParseInvalid []invalid `json:"parse_invalid"`
	Malleable    []invalid
	NodeSecrets  []json.RawMessage `json:"node_secrets"`
	Rotation     []struct {
		Name          string
		Secrets       []string `json:"secrets_in_order"`
		Token         string
		Valid         []int  `json:"valid_under_index"`
		DerivedSecret string `json:"derived_secret"`
	}
	HKDF []struct {
		IKM, Salt, Info, OKM hexBytes
		L                    int
		Hash                 string
	}
	Metrics []struct {
		Email, Key, Device, UID string
		User                    string `json:"metrics_uid"`
		DeviceID                string `json:"metrics_device_id"`
	}
	KeyID []struct {
		KeysChangedAt int64    `json:"keys_changed_at"`
		ClientState   hexBytes `json:"client_state_hex"`
		KID           string
	} `json:"fxa_kid"`
}

type invalid struct {
	Name, HashMod, Token, Want string
	Secret                     hexBytes `json:"secret_hex"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

func load(tb testing.TB) *vectors {
	tb.Helper()
	data, err := os.ReadFile("testdata/tokenlib.json")
	if err != nil {
		tb.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(data, v); err != nil {
		tb.Fatal(err)
	}
	return v
}

var hashes = map[string]func() hash.Hash{
	"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
}

func TestVectorsMake(t *testing.T) {
	v := load(t)
	if len(v.Make) < 37 {
		t.Fatalf("%d vectors", len(v.Make))
	}
	for _, tt := range v.Make {
		t.Run(tt.Name, func(t *testing.T) {
			if b, err := ordered(t, tt.Payload).JSON(); string(b) != tt.Payload {
				t.Errorf("JSON = %s, %v, want %s", b, err, tt.Payload)
			}
			h := hashes[tt.HashMod]
			key := signingKey(h, tt.Secret)
			if !bytes.Equal(key, tt.SigKey) {
				t.Errorf("signing key %x, want %x", key, tt.SigKey)
			}
			text := base64.URLEncoding.EncodeToString(sign(h, key, []byte(tt.Payload)))
			if text != tt.Token {
				t.Errorf("token %s, want %s", text, tt.Token)
			}
			if got := derive(h, tt.Secret, tt.DeriveSalt, deriveInfo+text); got != tt.DerivedSecret {
				t.Errorf("key %s, want %s", got, tt.DerivedSecret)
			}
			if tt.HashMod != "sha256" {
				return // the rest has one hash
			}
			secret := newSecret(tt.Secret)
			m, err := Mint(&Request{Form: Signed, Secret: secret, Payload: []byte(tt.Payload), Salt: tt.DeriveSalt})
			if err != nil || m.Token != tt.Token || m.Key != tt.DerivedSecret {
				t.Errorf("Mint = %s %s, %v", m.Token, m.Key, err)
			}
			o := Opener{Secrets: []*Secret{secret}}
			got, err := o.Open(tt.Token, time.Unix(tt.ParseAt, 0))
			if !tt.ParseOK {
				if err != ErrExpired {
					t.Errorf("Open = %v, want that it has expired", err)
				}
				return
			}
			if err != nil || string(got.Payload) != tt.Payload || got.Key != tt.DerivedSecret {
				t.Errorf("Open = %+v, %v", got, err)
			}
		})
	}
}

func TestVectorsInvalid(t *testing.T) {
	v := load(t)
	all := slices.Concat(v.ParseInvalid, v.Malleable)
	if len(all) < 33 {
		t.Fatalf("%d vectors", len(all))
	}
	for _, tt := range all {
		t.Run(tt.Name, func(t *testing.T) {
			if tt.HashMod != "sha256" || tt.Want != "reject" {
				t.Fatalf("what is to be done with %q, %q?", tt.HashMod, tt.Want)
			}
			o := Opener{Secrets: []*Secret{newSecret(tt.Secret)}}
			if got, err := o.Open(tt.Token, time.Unix(v.About.Now, 0)); err == nil {
				t.Errorf("Open gives %s", got.Payload)
			}
		})
	}
}

func TestVectorsNodeSecrets(t *testing.T) {
	v := load(t)
	derived := 0
	for i, raw := range v.NodeSecrets {
		var tt struct {
			Backend     string
			Masters     []string `json:"master_secrets"`
			Node        string
			NodeSecrets []string `json:"node_secrets"`
			Tokens      []struct {
				Secret  string `json:"node_secret"`
				Token   string
				Derived string `json:"derived_secret"`
			}
			CSV   string
			Fixed string `json:"secrets"`
			Get   []string
		}
		if err := json.Unmarshal(raw, &tt); err != nil {
			t.Fatal(err)
		}
		switch tt.Backend {
		case "DerivedSecrets":
			derived++
			for j, m := range tt.Masters {
				if got := nodeSecret(m, tt.Node); got != tt.NodeSecrets[j] {
					t.Errorf("%d: nodeSecret(%q, %q) = %s, want %s", i, m, tt.Node, got, tt.NodeSecrets[j])
				}
			}
			secrets, err := (&DerivedSecrets{masters: tt.Masters}).Of(tt.Node)
			if err != nil {
				t.Fatal(err)
			}
			for j, want := range tt.Tokens {
				if string(secrets[j].text) != want.Secret {
					t.Errorf("%d: secret %d of %q is %s, want %s", i, j, tt.Node, secrets[j].text, want.Secret)
				}
				payload := fmt.Sprintf(`{"uid": 1, "node": %s, "expires": 1700001800, "salt": "a1b2c3"}`, pythonString(t, tt.Node))
				m, err := Mint(&Request{Secret: secrets[j], Payload: []byte(payload), Salt: "a1b2c3"})
				if err != nil || m.Token != want.Token || m.Key != want.Derived {
					t.Errorf("%d: Mint = %s %s, %v", i, m.Token, m.Key, err)
				}
			}
		case "Secrets(file)":
			checkFileVector(t, raw, tt.CSV)
		case "FixedSecrets":
			if got := strings.Fields(tt.Fixed); !slices.Equal(got, tt.Get) {
				t.Errorf("%q is %q, want %q", tt.Fixed, got, tt.Get)
			}
		default:
			t.Errorf("what is %q?", tt.Backend)
		}
	}
	if derived < 20 {
		t.Errorf("%d vectors of derived secrets", derived)
	}
}

// checkFileVector compares what a file says with what mozsvc reads in it.
func checkFileVector(t *testing.T, raw json.RawMessage, data string) {
	t.Helper()
	rows, err := parseNodeSecrets([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		got := []any{}
		for _, s := range r.secrets {
			got = append(got, s.text)
		}
		listed, _ := want[r.node].([]any)
		if !slices.Equal(got, listed) {
			t.Errorf("secrets of %q are %v, want %v", r.node, got, listed)
		}
		if err := r.check(); err == nil {
			t.Errorf("%q is taken: of its secrets each is short, published, or of unclear age", r.node)
		}
	}
}

func pythonString(t *testing.T, s string) string {
	t.Helper()
	b, err := appendString(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestVectorsRotation(t *testing.T) {
	v := load(t)
	for _, tt := range v.Rotation {
		t.Run(tt.Name, func(t *testing.T) {
			var secrets []*Secret
			for _, s := range tt.Secrets {
				secrets = append(secrets, newSecret([]byte(s)))
			}
			both := Opener{Secrets: secrets}
			got, err := both.Open(tt.Token, time.Unix(v.About.Now, 0))
			if err != nil || got.Key != tt.DerivedSecret {
				t.Errorf("Open with all secrets = %v", err)
			}
			for i, s := range secrets {
				one := Opener{Secrets: []*Secret{s}}
				_, err := one.Open(tt.Token, time.Unix(v.About.Now, 0))
				if valid := slices.Contains(tt.Valid, i); valid != (err == nil) || !valid && err != ErrSignature {
					t.Errorf("Open with secret %d = %v, want %v", i, err, valid)
				}
			}
		})
	}
}

func TestVectorsHKDF(t *testing.T) {
	v := load(t)
	if len(v.HKDF) < 4 || len(v.Metrics) < 4 || len(v.KeyID) < 6 || len(v.Rotation) < 2 {
		t.Fatal("vectors are missing")
	}
	for i, tt := range v.HKDF {
		got, err := hkdf.Key(hashes[tt.Hash], tt.IKM, tt.Salt, string(tt.Info), tt.L)
		if err != nil || !bytes.Equal(got, tt.OKM) {
			t.Errorf("%d: HKDF = %x, %v, want %x", i, got, err, tt.OKM)
		}
	}
}

func TestVectorsMetrics(t *testing.T) {
	for _, tt := range load(t).Metrics {
		k := MetricsKey(tt.Key)
		if got := k.user(tt.Email); got != tt.UID {
			t.Errorf("user(%q) = %s, want %s", tt.Email, got, tt.UID)
		}
		user := k.User(tt.Email)
		if user != tt.User {
			t.Errorf("User(%q) = %s, want %s", tt.Email, user, tt.User)
		}
		if got := k.Device(user, tt.Device); got != tt.DeviceID {
			t.Errorf("Device(%q) = %s, want %s", tt.Device, got, tt.DeviceID)
		}
		if tt.Device == "none" && k.Device(user, "") != tt.DeviceID {
			t.Error("a device without a name is not none")
		}
	}
}

func TestVectorsKeyID(t *testing.T) {
	for _, tt := range load(t).KeyID {
		if got := KeyID(tt.KeysChangedAt, tt.ClientState); got != tt.KID {
			t.Errorf("KeyID(%d, %x) = %s, want %s", tt.KeysChangedAt, tt.ClientState, got, tt.KID)
		}
	}
}

// ordered reads an object and keeps the order of its names.
func ordered(t *testing.T, text string) Members {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	m, ok := next(t, dec).(Members)
	if !ok {
		t.Fatalf("%s is no object", text)
	}
	return m
}

func next(t *testing.T, dec *json.Decoder) any {
	t.Helper()
	tok, err := dec.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch tok := tok.(type) {
	case json.Number:
		if i, err := tok.Int64(); err == nil {
			return i
		}
		f, err := tok.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return f
	case json.Delim:
		m, list := Members{}, []any{}
		for dec.More() {
			v := next(t, dec)
			if tok == '[' {
				list = append(list, v)
				continue
			}
			m = append(m, Member{v.(string), next(t, dec)})
		}
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		if tok == '[' {
			return list
		}
		return m
	}
	return tok
}
