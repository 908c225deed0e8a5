// Package strict reads the JSON and base64 of strangers: where two readers could
// understand a text in two ways it is an error.
//
// JSON (RFC 8259) is one object of at most 16 levels, without the same name twice
// in any object, without anything behind it. Names are exact: no letter case is
// as good as another. Text that is not UTF-8, and halves of surrogate pairs, which
// other readers make U+FFFD of, are refused, and so is U+FFFD itself. Numbers stay
// as they are written.
//
// Base64 has the one spelling that encoding gives (RFC 4648, section 3.5): no
// line ends, no other alphabet, no bits that mean nothing.
package strict

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may lie in each other.
const maxDepth = 16

// An Object is a JSON object. Its values are nil, bool, [json.Number], string,
// []any and Object.
type Object map[string]any

// Decode reads one object. How long data may be is its caller's to say.
func Decode(data []byte) (Object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("JSON: it is not UTF-8")
	}
	r := reader{text: string(data)}
	v, err := r.value(0)
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	o, ok := v.(Object)
	if !ok {
		return nil, errors.New("JSON: it is not an object")
	}
	if r.space(); r.at < len(r.text) {
		return nil, errors.New("JSON: something follows the object")
	}
	return o, nil
}

// Has reports whether there is a member of this name.
func (o Object) Has(name string) bool {
	_, ok := o[name]
	return ok
}

// Text is a member that has to be a string.
func (o Object) Text(name string) (string, error) {
	s, ok := o[name].(string)
	if !ok {
		return "", o.wrong(name, "a string")
	}
	return s, nil
}

// Int is a member that has to be an integer of 64 bits, written as one.
func (o Object) Int(name string) (int64, error) {
	n, ok := o[name].(json.Number)
	if ok {
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return i, nil
		}
	}
	return 0, o.wrong(name, "an integer of 64 bits")
}

// Object is a member that has to be an object.
func (o Object) Object(name string) (Object, error) {
	in, ok := o[name].(Object)
	if !ok {
		return nil, o.wrong(name, "an object")
	}
	return in, nil
}

func (o Object) wrong(name, wanted string) error {
	if !o.Has(name) {
		return fmt.Errorf("member %q is missing", name)
	}
	return fmt.Errorf("member %q is not %s", name, wanted)
}

var (
	unpadded = base64.RawURLEncoding.Strict()
	padded   = base64.URLEncoding.Strict()
)

// Base64 decodes base64url without padding, as JWS has it (RFC 7515, section 2).
func Base64(s string) ([]byte, error) { return decode(unpadded, s) }

// PaddedBase64 decodes base64url with padding.
func PaddedBase64(s string) ([]byte, error) { return decode(padded, s) }

func decode(enc *base64.Encoding, s string) ([]byte, error) {
	// The decoder of the library skips line ends, also a strict one.
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("base64: there is a line end")
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("base64: %w", err)
	}
	return b, nil
}
