package token

import (
	"fmt"
	"io"
	"log/slog"
)

// hiding makes that a type which embeds it shows nothing of itself in texts and
// logs, whatever the verb or the encoding. Who is to see it reads its fields.
type hiding struct{}

const hidden = "[hidden]"

// Format writes [hidden].
func (hiding) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// MarshalText gives [hidden], for JSON as for other encodings.
func (hiding) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue is [hidden].
func (hiding) LogValue() slog.Value { return slog.StringValue(hidden) }
