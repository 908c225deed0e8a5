package store

import (
	"fmt"
	"io"
	"log/slog"
)

// An Email is the identity of a user: an e-mail address, or what the caller makes
// of an issuer and a subject. No log and no error text shows it: with any verb of
// fmt, and in slog, it is the word "hidden".
type Email string

// A ClientState is the fingerprint of a user's key, hidden as an [Email] is.
type ClientState string

const hidden = "hidden"

// Format writes the word "hidden".
func (Email) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// LogValue is the word "hidden".
func (Email) LogValue() slog.Value { return slog.StringValue(hidden) }

// Format writes the word "hidden".
func (ClientState) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// LogValue is the word "hidden".
func (ClientState) LogValue() slog.Value { return slog.StringValue(hidden) }
