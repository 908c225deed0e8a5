package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// oracle is what Decode has to say, over the library's tokens.
func oracle(data []byte) (Object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := oracleValue(dec, 0)
	if err != nil {
		return nil, err
	}
	o, ok := v.(Object)
	if !ok {
		return nil, errors.New("not an object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows")
	}
	return o, nil
}

func oracleValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case string:
		if strings.ContainsRune(t, utf8.RuneError) {
			return nil, errors.New("U+FFFD")
		}
	case json.Delim:
		if (t == '{' || t == '[') && depth == maxDepth {
			return nil, errors.New("too deep")
		}
		if t == '[' {
			out := []any{}
			for {
				v, err := oracleValue(dec, depth+1)
				if err != nil {
					return nil, err
				}
				if v == json.Delim(']') {
					return out, nil
				}
				out = append(out, v)
			}
		}
		o := Object{}
		for t == '{' {
			k, err := oracleValue(dec, maxDepth)
			if err != nil {
				return nil, err
			}
			name, ok := k.(string)
			if !ok {
				return o, nil
			}
			if o.Has(name) {
				return nil, errors.New("twice")
			}
			if o[name], err = oracleValue(dec, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func checkOracle(t *testing.T, data []byte) {
	t.Helper()
	got, err := Decode(data)
	want, wantErr := oracle(data)
	if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode(%q) = %v, %v; with the library's tokens %v, %v", data, got, err, want, wantErr)
	}
}

// Texts with one byte taken away, changed or doubled say the same to both readers.
func TestDecodeLikeTheLibrary(t *testing.T) {
	for _, text := range []string{
		` {"a":1,"A":[true,null,{"b":"é\ud83d\ude00\n\"\\\/\b\f\r\t\u00e9"}],"n":-1.50e3,"":[[],{}, 0 , -0.0E-1]} `,
		`{"a":"\ud83d","b":"\ude00\ud83d","c":"\ufffd","d":"�","e":"\ud83dx","f":"\uD83D\\uDE00"}`,
		`{"x":false,"y":01,"z":1.,"w":.5,"v":+1,"u":1e,"t":tru,"s":nul}`,
	} {
		for i := range len(text) {
			checkOracle(t, []byte(text[:i]))
			checkOracle(t, []byte(text[:i]+text[i+1:]))
			checkOracle(t, []byte(text[:i]+text[i:i+1]+text[i:]))
			for _, c := range []string{" ", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", "e", "u", "\x00", "\x1f", "\x7f", "é", "�"} {
				checkOracle(t, []byte(text[:i]+c+text[i+1:]))
			}
		}
	}
}

func FuzzDecodeLikeTheLibrary(f *testing.F) {
	f.Add([]byte(`{"a":1,"A":[true,null,{"b":"é\ud83d\ude00"}],"n":-1.50e3}`))
	f.Add([]byte(`{"a":"\ud83d"}`))
	f.Fuzz(checkOracle)
}

func BenchmarkDecode(b *testing.B) {
	data := []byte(`{"public-key": {"algorithm": "DS", "y": "` + strings.Repeat("d5739f859b639fd8", 16) + `", "p": "` + strings.Repeat("ff600483db6abfc5", 16) +
		`", "q": "e21e04f911d1ed7991008ecaab3bf775984309c3", "g": "` + strings.Repeat("c52a4a0ff3b7e61f", 16) +
		`"}, "principal": {"email": "alice@idp.example.com"}, "iat": 1699996400000, "exp": 1700021600000, "iss": "idp.example.com"}`)
	for _, r := range []struct {
		name string
		read func([]byte) (Object, error)
	}{{"ours", Decode}, {"library", oracle}} {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := r.read(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
