package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var formatField = regexp.MustCompile(`^\s*\{\s*"format"\s*:\s*([0-9]+)\s*[,}]`)

// decodeJSON reads the JSON object of a file of ours into v, which has to have the
// field "format" first, and nothing else: unknown fields, fields that occur
// twice and anything after the object are problems, and so is another format.
// what names the file in a sentence.
func decodeJSON(file, what string, data []byte, most, format int, v interface{ formatNumber() int }) (problems Problems) {
	at := Pos{File: file}
	if len(data) > most {
		problems.Add(at, "", "the %s has %d bytes, more than %d", what, len(data), most)
		return problems
	}
	// The format decides what the rest means, so it is looked at first.
	if m := formatField.FindSubmatch(data); m != nil && string(m[1]) != strconv.Itoa(format) {
		problems.Add(at, "use a newer appbundle", "the %s has the format %.20s, this appbundle reads %d", what, m[1], format)
		return problems
	}
	if off, err := checkJSON(data); err != nil {
		problems.Add(posOf(file, data, off), "", "%v", err)
		return problems
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		off, msg := dec.InputOffset(), strings.TrimPrefix(err.Error(), "json: ")
		if bad := (*json.UnmarshalTypeError)(nil); errors.As(err, &bad) {
			off, msg = bad.Offset, bad.Field+": "+bad.Value+" does not fit"
		}
		problems.Add(posOf(file, data, off), "", "%s", msg)
		return problems
	}
	if f := v.formatNumber(); f != format {
		problems.Add(at, "", "the %s has the format %d, this appbundle reads %d", what, f, format)
	}
	return problems
}

// posOf gives the place of a byte.
func posOf(file string, data []byte, off int64) Pos {
	before := data[:min(max(off, 0), int64(len(data)))]
	return Pos{File: file, Line: bytes.Count(before, []byte("\n")) + 1, Col: len(before) - bytes.LastIndexByte(before, '\n')}
}

// checkJSON reports what encoding/json lets pass: names that occur twice or are
// not in lower case, text that is not UTF-8, and anything
// after the value. It gives the offset of the byte.
func checkJSON(data []byte) (int64, error) {
	if !utf8.Valid(data) {
		return 0, errors.New("the file is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var open []*objectNames
	for {
		tok, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && len(open) == 0 && dec.InputOffset() > 0:
			return 0, nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return dec.InputOffset(), errors.New("the file ends too early")
		case err != nil:
			return dec.InputOffset(), fmt.Errorf("the file is no JSON: %w", err)
		}
		if len(open) == 0 && tok != json.Delim('{') {
			return dec.InputOffset(), errors.New("the file must be one JSON object")
		}
		if open, err = step(open, tok); err != nil {
			return dec.InputOffset(), err
		}
		if len(open) == 0 {
			return trailing(dec, data)
		}
	}
}

// objectNames are the names of one object; nil stands for an array.
type objectNames struct {
	names   []string
	isValue bool // the next token is a value
}

// maxDepth is far from what a file of ours needs, and from the stack's end.
const maxDepth = 64

func step(open []*objectNames, tok json.Token) ([]*objectNames, error) {
	if tok == json.Delim('}') || tok == json.Delim(']') {
		open = open[:len(open)-1]
		return open, nil
	}
	if len(open) > 0 {
		if err := open[len(open)-1].next(tok); err != nil {
			return open, err
		}
	}
	switch tok {
	case json.Delim('{'):
		open = append(open, &objectNames{})
	case json.Delim('['):
		open = append(open, nil)
	}
	if len(open) > maxDepth {
		return open, fmt.Errorf("objects and arrays more than %d deep", maxDepth)
	}
	return open, nil
}

// next takes a token of an object: names and values in turns.
func (o *objectNames) next(tok json.Token) error {
	if o == nil {
		return nil
	}
	if o.isValue = !o.isValue; !o.isValue {
		return nil
	}
	name, _ := tok.(string)
	// encoding/json takes "Path" for "path".
	if name != strings.ToLower(name) {
		return fmt.Errorf("unknown field %s", quote(name))
	}
	for _, other := range o.names {
		if other == name {
			return fmt.Errorf("%s occurs twice in one object", quote(name))
		}
	}
	if len(o.names) == 100 {
		return errors.New("an object with more than 100 names")
	}
	o.names = append(o.names, name)
	return nil
}

func trailing(dec *json.Decoder, data []byte) (int64, error) {
	off := dec.InputOffset()
	if len(bytes.TrimSpace(data[off:])) > 0 {
		return off, errors.New("something follows the JSON object")
	}
	return 0, nil
}
