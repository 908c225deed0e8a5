package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
)

// A MetricsKey makes pseudonyms of users and devices, for logs and figures: who
// does not have the key learns nothing from them.
type MetricsKey []byte

// Format writes [hidden].
func (k MetricsKey) Format(s fmt.State, verb rune) { hiding{}.Format(s, verb) }

// MarshalText gives [hidden].
func (k MetricsKey) MarshalText() ([]byte, error) { return hiding{}.MarshalText() }

// LogValue is [hidden].
func (k MetricsKey) LogValue() slog.Value { return hiding{}.LogValue() }

// pseudonym is how many hexadecimal digits of an HMAC are used.
const pseudonym = 32

// User is the pseudonym of the user with an e-mail address; what is behind its
// first @ does not count.
func (k MetricsKey) User(email string) string { return k.user(email)[:pseudonym] }

// Device is the pseudonym of a device of the user with the pseudonym given. A
// device without a name is "none".
func (k MetricsKey) Device(user, device string) string {
	if device == "" {
		device = "none"
	}
	return k.mac(user + device)[:pseudonym]
}

func (k MetricsKey) user(email string) string {
	local, _, _ := strings.Cut(email, "@")
	return k.mac(local)
}

func (k MetricsKey) mac(s string) string {
	h := hmac.New(sha256.New, k)
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}
