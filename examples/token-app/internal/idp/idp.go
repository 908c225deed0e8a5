// Package idp is an identity provider for the demo and for tests: it signs
// whatever it is told to. It knows no passwords and no users, and must never be
// believed where it matters.
package idp

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
)

// A Provider signs for a host.
type Provider struct {
	host string
	key  *rsa.PrivateKey
	kid  string
	user *rsa.PrivateKey // of everybody who signs in by BrowserID
}

// Claims are the members of what is signed.
type Claims map[string]any

// New makes a provider with new keys.
func New(host string) (*Provider, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return with(host, key)
}

// Load makes a provider with the key in a file, and the file where there is none.
func Load(host, file string) (*Provider, error) {
	p, err := read(host, file)
	if !errors.Is(err, os.ErrNotExist) {
		return p, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = create(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return read(host, file) // perhaps somebody else's, who was faster
}

func read(host, file string) (*Provider, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: it is no PEM file; remove it, and another is made", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	rsaKey, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s: it has no RSA key; remove it, and another is made", file)
	}
	return with(host, rsaKey)
}

// create makes a file for its owner alone, whole or not at all. Where several do
// at once, one of them does.
func create(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(f.Name(), name)
	}
	return err
}

func with(host string, key *rsa.PrivateKey) (*Provider, error) {
	user, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(key.N.Bytes())
	return &Provider{host: host, key: key, kid: hex.EncodeToString(sum[:8]), user: user}, nil
}

// Issuer is the provider in bearer tokens.
func (p *Provider) Issuer() string { return "https://" + p.host }

// Host is the provider in certificates.
func (p *Provider) Host() string { return p.host }

// Assertion signs a certificate for the key of everybody, and an assertion with
// that key: "CERTIFICATE~ASSERTION". Times are milliseconds.
func (p *Provider) Assertion(certificate, assertion Claims) string {
	with := Claims{"public-key": Claims{"algorithm": "RS", "n": p.user.N.String(), "e": fmt.Sprint(p.user.E)}}
	for k, v := range certificate {
		with[k] = v
	}
	return sign(p.key, Claims{"alg": "RS256"}, with) + "~" + sign(p.user, Claims{"alg": "RS256"}, assertion)
}

// Token signs a bearer token. Times are seconds.
func (p *Provider) Token(header, claims Claims) string {
	h := Claims{"alg": "RS256", "typ": "at+jwt", "kid": p.kid}
	for k, v := range header {
		h[k] = v
	}
	return sign(p.key, h, claims)
}

// sign makes a JWS.
func sign(key *rsa.PrivateKey, header, claims Claims) string {
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err) // a key of 2048 bits signs
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func part(c Claims) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // the claims of our own callers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ServeHTTP serves the keys: the support document of BrowserID, and a JWKS.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var v any
	switch r.URL.Path {
	case "/.well-known/browserid":
		v = Claims{"public-key": Claims{"algorithm": "RS", "n": p.key.N.String(), "e": fmt.Sprint(p.key.E)},
			"authentication": "/sign_in", "provisioning": "/provision"}
	case "/jwks":
		v = Claims{"keys": []Claims{{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": p.kid,
			"n": base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(p.key.E)).Bytes())}}}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
