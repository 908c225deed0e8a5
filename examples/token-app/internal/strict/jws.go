package strict

import (
	"errors"
	"fmt"
	"strings"
)

// A JWS is a signed object in the compact form (RFC 7515, section 7.1). Nothing
// here says that its signature is good.
type JWS struct {
	Header, Payload Object
	Signed          []byte // what the signature is of
	Signature       []byte
}

// ParseJWS reads a text of three parts. A header with "crit" or "b64" is refused,
// because nothing that they could name is known here.
func ParseJWS(text string) (JWS, error) {
	var j JWS
	signed, sig, ok := cutLast(text, '.')
	header, payload, two := strings.Cut(signed, ".")
	if !ok || !two || strings.Contains(payload, ".") {
		return j, errors.New("JWS: it does not have three parts")
	}
	var err error
	if j.Header, err = part(header); err != nil {
		return j, fmt.Errorf("JWS header: %w", err)
	}
	if j.Header.Has("crit") || j.Header.Has("b64") {
		return j, errors.New(`JWS header: it has "crit" or "b64"`)
	}
	if j.Payload, err = part(payload); err != nil {
		return j, fmt.Errorf("JWS payload: %w", err)
	}
	if j.Signature, err = Base64(sig); err != nil {
		return j, fmt.Errorf("JWS signature: %w", err)
	}
	j.Signed = []byte(signed)
	return j, nil
}

func part(text string) (Object, error) {
	data, err := Base64(text)
	if err != nil {
		return nil, err
	}
	return Decode(data)
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
