// Package token makes and opens the tokens that a token server gives to clients
// and a node takes from them, together with the key that belongs to each.
//
// A token is text. What it says is a payload, a JSON object with the time at
// which it expires. Server and node share a [Secret]; who has none can make no
// token, and cannot know the key of one. There are two forms:
//
//   - [Signed] is that of Mozilla's tokenlib, byte for byte: the payload in the
//     clear and an HMAC-SHA256 over it.
//   - [Encrypted] hides the payload also: it is signed, then encrypted with
//     AES-256-GCM, for one service. Its first byte is a version that fixes all
//     algorithms; docs/TOKENS.md has it as bytes.
//
// The first byte says which form a token is, and who opens it says which it
// takes. A token has one spelling: any other is refused, since its key would be
// another one.
//
// # Limits
//
// A payload has at most 16 KiB. Nothing here is kept or logged; secrets, tokens
// and keys hide themselves from fmt and slog.
package token

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"time"

	"appbundle/examples/token-app/internal/strict"
)

// A Form is how a token is written.
type Form uint8

// The forms; their numbers are those of the jobs of the workers.
const (
	Signed    Form = 0
	Encrypted Form = 1
)

func (f Form) String() string {
	switch f {
	case Signed:
		return "signed"
	case Encrypted:
		return "encrypted"
	}
	return fmt.Sprintf("form %d", uint8(f))
}

// ParseForm reads what String writes.
func ParseForm(s string) (Form, error) {
	for _, f := range []Form{Signed, Encrypted} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("no form of tokens is called %q; there are signed and encrypted", s)
}

// Lifetime is how long a token is good where nothing else is configured.
const Lifetime = 30 * time.Minute

const (
	maxPayload = 16 << 10
	// maxText is as long as a token of either form can be.
	maxText = (maxPayload + headerSize + sha256.Size + tagSize + 2) / 3 * 4

	signInfo   = "services.mozilla.com/tokenlib/v1/signing"
	deriveInfo = "services.mozilla.com/tokenlib/v1/derive/"
)

// Reasons for which a token is not opened. None says more about the token.
var (
	ErrMalformed = errors.New("the token is malformed")
	ErrForm      = errors.New("the token has a form that is not taken here")
	ErrSignature = errors.New("the token was made with another secret, or was changed")
	ErrExpired   = errors.New("the token has expired")
)

// A Secret is what the server and a node share.
type Secret struct {
	hiding
	text    []byte
	signing []byte
	id      [keyIDSize]byte
}

// NewSecret takes the text of a secret as it is: what looks like hexadecimal
// digits is not decoded. It refuses secrets that can be guessed.
func NewSecret(text string) (*Secret, error) {
	if err := checkSecret(text); err != nil {
		return nil, err
	}
	return newSecret([]byte(text)), nil
}

// SecretOf is for a worker: a secret of bytes that the server has judged.
func SecretOf(text []byte) *Secret { return newSecret(text) }

func newSecret(text []byte) *Secret {
	s := &Secret{text: slices.Clone(text), signing: signingKey(sha256New, text)}
	copy(s.id[:], expand(sha256New, text, nil, keyIDInfo, keyIDSize))
	return s
}

// Bytes is the secret itself, for a worker that is to mint with it.
func (s *Secret) Bytes() []byte { return slices.Clone(s.text) }

// A Minted is a new token and its key, as the client is given them.
type Minted struct {
	hiding
	Token string
	Key   string
}

// NewSalt makes a salt for a token of the form from random bytes.
func NewSalt(f Form) string {
	if f == Encrypted {
		b := make([]byte, SaltSize)
		_, _ = rand.Read(b) // it never fails
		return string(b)
	}
	b := make([]byte, 3)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// A Request is all that a token is made of: equal requests give equal tokens,
// whoever mints them.
type Request struct {
	hiding
	Form    Form
	Secret  *Secret
	Service string // for which an encrypted token is; a signed one does not say
	Payload []byte // JSON
	// Salt is ASCII text for a signed token, which has it as the member "salt"
	// of its payload too, and SaltSize bytes for an encrypted one.
	Salt string
}

// Check says what is wrong with the sizes and the service of a request.
func (r *Request) Check() error {
	switch {
	case len(r.Payload) == 0 || len(r.Payload) > maxPayload:
		return fmt.Errorf("token: a payload has 1 to %d bytes, and this one %d", maxPayload, len(r.Payload))
	case r.Payload[0] != '{':
		return errors.New("token: a payload is a JSON object")
	case r.Form == Signed:
		if len(r.Salt) > maxSaltText || !ascii(r.Salt) {
			return fmt.Errorf("token: the salt of a signed token is ASCII text of at most %d characters", maxSaltText)
		}
	case r.Form == Encrypted:
		if len(r.Salt) != SaltSize {
			return fmt.Errorf("token: the salt of an encrypted token has %d bytes, and this one %d", SaltSize, len(r.Salt))
		}
		return checkService(r.Service)
	default:
		return fmt.Errorf("token: there is no %v", r.Form)
	}
	return nil
}

const maxSaltText = 255

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Mint makes the token of a request, and its key.
func Mint(r *Request) (Minted, error) {
	if err := r.Check(); err != nil {
		return Minted{}, err
	}
	if r.Form == Encrypted {
		return r.Secret.encrypt(r.Service, r.Payload, r.Salt)
	}
	t := base64.URLEncoding.EncodeToString(sign(sha256New, r.Secret.signing, r.Payload))
	return Minted{Token: t, Key: derive(sha256New, r.Secret.text, r.Salt, deriveInfo+t)}, nil
}

// An Opener says which tokens are opened.
type Opener struct {
	Secrets []*Secret // any of them
	Forms   []Form    // none is both
	Service string    // of encrypted tokens
}

// An Opened is a token that is good.
type Opened struct {
	hiding
	Form    Form
	Payload []byte        // as it was signed
	Members strict.Object // of the payload
	Key     string        // that belongs to the token
}

// Open opens a token that is good at the time now, in this order: its spelling,
// its form, its signature, its payload, its end.
func (o *Opener) Open(text string, now time.Time) (*Opened, error) {
	if len(text) > maxText {
		return nil, ErrMalformed
	}
	b, err := strict.PaddedBase64(text)
	if err != nil || len(b) == 0 {
		return nil, ErrMalformed
	}
	form := Signed
	if b[0] == version {
		form = Encrypted
	}
	if len(o.Forms) > 0 && !slices.Contains(o.Forms, form) {
		return nil, ErrForm
	}
	if form == Encrypted {
		return o.decrypt(text, b, now)
	}
	for _, s := range slices.Backward(o.Secrets) {
		payload, ok := verify(sha256New, s.signing, b)
		if !ok {
			continue
		}
		members, salt, err := read(payload, now)
		if err != nil {
			return nil, err
		}
		return &Opened{Form: form, Payload: payload, Members: members, Key: derive(sha256New, s.text, salt, deriveInfo+text)}, nil
	}
	return nil, ErrSignature
}

// sha256New is the hash of all tokens. Those of the functions below that are
// given another are tokenlib's, which can be told to use it.
func sha256New() hash.Hash { return sha256.New() }

func expand(h func() hash.Hash, secret, salt []byte, info string, size int) []byte {
	key, err := hkdf.Key(h, secret, salt, info, size)
	if err != nil {
		panic("token: " + err.Error()) // only for sizes beyond what is asked for here
	}
	return key
}

func signingKey(h func() hash.Hash, secret []byte) []byte {
	return expand(h, secret, nil, signInfo, h().Size())
}

// sign gives the payload with its signature behind it.
func sign(h func() hash.Hash, key, payload []byte) []byte {
	mac := hmac.New(h, key)
	mac.Write(payload)
	out := make([]byte, 0, len(payload)+mac.Size())
	return mac.Sum(append(out, payload...))
}

// verify parts what sign has put together.
func verify(h func() hash.Hash, key, signed []byte) ([]byte, bool) {
	mac := hmac.New(h, key)
	at := len(signed) - mac.Size()
	if at < 0 {
		return nil, false
	}
	mac.Write(signed[:at])
	return signed[:at], hmac.Equal(mac.Sum(nil), signed[at:])
}

// derive gives the key of a token in text.
func derive(h func() hash.Hash, secret []byte, salt, info string) string {
	return base64.URLEncoding.EncodeToString(expand(h, secret, []byte(salt), info, h().Size()))
}

// read reads the payload of a signed token.
func read(payload []byte, now time.Time) (strict.Object, string, error) {
	members, err := readPayload(payload)
	if err != nil {
		return nil, "", err
	}
	salt, err := members.Text("salt")
	if err != nil || !ascii(salt) {
		return nil, "", ErrMalformed
	}
	return members, salt, checkExpires(members, now)
}

func readPayload(payload []byte) (strict.Object, error) {
	members, err := strict.Decode(payload)
	if err != nil {
		return nil, ErrMalformed
	}
	return members, nil
}

// checkExpires wants the member "expires", a number of seconds.
func checkExpires(members strict.Object, now time.Time) error {
	n, ok := members["expires"].(json.Number)
	if !ok {
		return ErrMalformed
	}
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		if i <= now.Unix() {
			return ErrExpired
		}
		return nil
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return ErrMalformed
	}
	if f <= float64(now.UnixNano())/1e9 {
		return ErrExpired
	}
	return nil
}
