package oauth

import (
	"encoding/hex"
	"strconv"
	"strings"

	"appbundle/examples/token-app/internal/strict"
)

// A KeyID says which key a client's data is encrypted with.
type KeyID struct {
	KeysChangedAt int64  // milliseconds
	ClientState   string // the key's fingerprint, in hexadecimal
}

// String does not say which.
func (KeyID) String() string { return "oauth.KeyID" }

// GoString is String.
func (KeyID) GoString() string { return "oauth.KeyID" }

// ParseKeyID reads the header X-KeyID: when the keys changed, in decimal digits, a
// hyphen, and 1 to 16 bytes in base64url without padding. The error is an *Error.
func ParseKeyID(s string) (KeyID, error) {
	digits, state, ok := strings.Cut(s, "-")
	if !ok || digits == "" || len(digits) > 19 || strings.Trim(digits, "0123456789") != "" {
		return KeyID{}, refuse(KeyIDForm, "X-KeyID is not NUMBER-BASE64")
	}
	at, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return KeyID{}, refuse(KeyIDForm, "the number in X-KeyID is too large")
	}
	b, err := strict.Base64(state)
	if err != nil || len(b) < 1 || len(b) > 16 {
		return KeyID{}, refuse(ClientState, "the client state in X-KeyID is not 1 to 16 bytes in base64url")
	}
	return KeyID{at, hex.EncodeToString(b)}, nil
}
