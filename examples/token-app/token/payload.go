package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// A Member is a name of a JSON object and its value: nil, bool, int, int64,
// float64, string, []any or Members.
type Member struct {
	Name  string
	Value any
}

// Members are a JSON object whose names have an order.
type Members []Member

// JSON writes the members in the bytes that Python's json.dumps gives.
func (m Members) JSON() ([]byte, error) {
	b, err := appendObject(nil, m)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return b, nil
}

// Claims are what the server tells a node of a user, and what the node needs of
// it.
type Claims struct {
	UID            int64
	Node           string // URL, exactly as the node and the server know it
	Expires        int64  // seconds since 1970
	FxaUID         string
	FxaKID         string // see KeyID
	HashedFxaUID   string // see MetricsKey
	HashedDeviceID string
}

// Payload writes claims in the order of Mozilla's server. A signed token has its
// salt in it.
func (c *Claims) Payload(f Form, salt string) ([]byte, error) {
	m := Members{
		{"uid", c.UID}, {"node", c.Node}, {"expires", c.Expires},
		{"fxa_uid", c.FxaUID}, {"fxa_kid", c.FxaKID},
		{"hashed_fxa_uid", c.HashedFxaUID}, {"hashed_device_id", c.HashedDeviceID},
	}
	if f == Signed {
		m = append(m, Member{"salt", salt})
	}
	return m.JSON()
}

// Claims reads what a node needs: uid and node are there, the others may be.
func (o *Opened) Claims() (*Claims, error) {
	c := &Claims{}
	var err error
	if c.UID, err = o.Members.Int("uid"); err != nil || c.UID < 0 {
		return nil, ErrMalformed
	}
	if c.Node, err = o.Members.Text("node"); err != nil {
		return nil, ErrMalformed
	}
	n, _ := o.Members["expires"].(json.Number)
	f, err := n.Float64()
	if err != nil {
		return nil, ErrMalformed
	}
	c.Expires = math.MaxInt64
	if f < math.MaxInt64 {
		c.Expires = int64(math.Floor(f))
	}
	for name, to := range map[string]*string{
		"fxa_uid": &c.FxaUID, "fxa_kid": &c.FxaKID, "hashed_fxa_uid": &c.HashedFxaUID, "hashed_device_id": &c.HashedDeviceID,
	} {
		if !o.Members.Has(name) {
			continue
		}
		if *to, err = o.Members.Text(name); err != nil {
			return nil, ErrMalformed
		}
	}
	return c, nil
}

// KeyID names the encryption key of a user: when it was changed last, in
// milliseconds, and the client state, a fingerprint of it.
func KeyID(changed int64, clientState []byte) string {
	return fmt.Sprintf("%013d-%s", changed, base64.RawURLEncoding.EncodeToString(clientState))
}

func appendObject(b []byte, m Members) ([]byte, error) {
	b = append(b, '{')
	for i, member := range m {
		if i > 0 {
			b = append(b, ", "...)
		}
		var err error
		if b, err = appendString(b, member.Name); err != nil {
			return nil, err
		}
		b = append(b, ": "...)
		if b, err = appendValue(b, member.Value); err != nil {
			return nil, fmt.Errorf("member %q: %w", member.Name, err)
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, v)
	case string:
		return appendString(b, v)
	case Members:
		return appendObject(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			var err error
			if b, err = appendValue(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
	return nil, fmt.Errorf("a %T is no value of JSON", v)
}

// appendFloat writes a number as Python's repr does: the fewest digits, an
// exponent where there would be more than sixteen before the point or four
// noughts behind it, and always a sign that it is no integer.
func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is no number of JSON", f)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(b, f, 'e', -1, 64), nil
	}
	at := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	for _, c := range b[at:] {
		if c == '.' {
			return b, nil
		}
	}
	return append(b, ".0"...), nil
}

func appendString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("a string is not UTF-8")
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r >= 0x20 && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			r -= 0x10000
			b = appendUnit(appendUnit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			b = appendUnit(b, r)
		}
	}
	return append(b, '"'), nil
}

// appendUnit writes a UTF-16 unit.
func appendUnit(b []byte, u rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
}
