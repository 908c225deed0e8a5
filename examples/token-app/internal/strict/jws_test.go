package strict

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestParseJWS(t *testing.T) {
	enc := base64.RawURLEncoding.EncodeToString
	h, p, s := enc([]byte(`{"alg":"x"}`)), enc([]byte(`{"sub":"y"}`)), enc([]byte("signature"))
	j, err := ParseJWS(h + "." + p + "." + s)
	if err != nil || j.Header["alg"] != "x" || j.Payload["sub"] != "y" || string(j.Signed) != h+"."+p || string(j.Signature) != "signature" {
		t.Errorf("ParseJWS = %v, %v", j, err)
	}
	if j, err := ParseJWS(h + "." + p + "."); err != nil || len(j.Signature) != 0 {
		t.Errorf("an empty signature = %v, %v; it is for its algorithm to refuse", j.Signature, err)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "three parts"},
		{"one part", h, "three parts"},
		{"two parts", h + "." + p, "three parts"},
		{"four parts", h + "." + p + "." + s + "." + s, "three parts"},
		{"ten thousand parts", strings.Repeat(".", 10000), "three parts"},
		{"empty parts", "..", "header: JSON: unexpected EOF"},
		{"padded header", h + "=." + p + "." + s, "header: base64"},
		{"array as header", enc([]byte("[]")) + "." + p + "." + s, "header: JSON: it is not an object"},
		{"array as payload", h + "." + enc([]byte("[]")) + "." + s, "payload: JSON: it is not an object"},
		{"other alphabet", h + "." + p + ".+/+/", "signature: base64"},
		{"line end", h + "." + p + "." + s + "\n", "signature: base64"},
		{"crit", enc([]byte(`{"alg":"x","crit":[]}`)) + "." + p + "." + s, `"crit" or "b64"`},
		{"b64", enc([]byte(`{"alg":"x","b64":true}`)) + "." + p + "." + s, `"crit" or "b64"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, err := ParseJWS(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseJWS = %v, %v, want an error with %q", j, err, tt.want)
			}
		})
	}
}
