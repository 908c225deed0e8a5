package strict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(` {"a":1,"A":[true,null,{"b":"é\ud83d\ude00"}],"n":-1.50e3} `))
	want := Object{"a": json.Number("1"), "A": []any{true, nil, Object{"b": "é😀"}}, "n": json.Number("-1.50e3")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode = %#v, %v, want %#v", got, err, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth)
	if _, err := Decode([]byte(deep)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, "unexpected EOF"},
		{"array", `[]`, "not an object"},
		{"text behind", `{} {}`, "something follows"},
		{"comma behind", `{"a":1},`, "something follows"},
		{"open", `{"a":{}`, "unexpected EOF"},
		{"name twice", `{"a":1,"a":1}`, `"a" is there twice`},
		{"escaped name twice", `{"b":{"a":1,"\u0061":1}}`, `"a" is there twice`},
		{"deep", `{"a":` + deep + `}`, "deeper than 16"},
		{"deep array", `{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, "deeper than 16"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "not UTF-8"},
		{"half a pair", `{"a":"\ud800"}`, "surrogate"},
		{"half a pair in a name", `{"\udc00":1}`, "surrogate"},
		{"U+FFFD", "{\"a\":\"\uFFFD\"}", "surrogate"},
		{"NaN", `{"a":NaN}`, "invalid character"},
		{"no value", `{"a"}`, "invalid character"},
		{"comma before the end", `{"a":1,}`, "invalid character"},
		{"number as a name", `{1:2}`, "invalid character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode([]byte(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode(%q) = %v, %v, want an error with %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestMembers(t *testing.T) {
	o, err := Decode([]byte(`{"i":9223372036854775807,"big":9223372036854775808,"f":1.0,"e":1e3,"s":"x","z":null,"o":{},"t":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := o.Int("i"); i != 1<<63-1 || err != nil {
		t.Errorf("Int = %d, %v", i, err)
	}
	for _, name := range []string{"big", "f", "e", "s", "z", "o", "t"} {
		if i, err := o.Int(name); err == nil || err.Error() != fmt.Sprintf("member %q is not an integer of 64 bits", name) {
			t.Errorf("Int(%q) = %d, %v", name, i, err)
		}
	}
	if s, err := o.Text("s"); s != "x" || err != nil {
		t.Errorf("Text = %q, %v", s, err)
	}
	if s, err := o.Text("S"); err == nil || err.Error() != `member "S" is missing` {
		t.Errorf("Text of another case = %q, %v", s, err)
	}
	if in, err := o.Object("o"); in == nil || err != nil {
		t.Errorf("Object = %v, %v", in, err)
	}
	if in, err := o.Object("z"); err == nil {
		t.Errorf("Object of null = %v", in)
	}
}

func TestBase64(t *testing.T) {
	for s, want := range map[string]string{"": "", "_-8": "\xff\xef", "AA": "\x00"} {
		if b, err := Base64(s); string(b) != want || err != nil {
			t.Errorf("Base64(%q) = %q, %v, want %q", s, b, err, want)
		}
	}
	for _, s := range []string{"AA==", "AB", "A", "+/8", "A A", "AA\n", "\r\nAA", "AA=", "A\x00A"} {
		if b, err := Base64(s); err == nil {
			t.Errorf("Base64(%q) = %q", s, b)
		}
	}
	if b, err := PaddedBase64("_-8="); string(b) != "\xff\xef" || err != nil {
		t.Errorf("PaddedBase64 = %q, %v", b, err)
	}
	for _, s := range []string{"_-8", "_-9=", "_-8=\n", "_-8=="} {
		if b, err := PaddedBase64(s); err == nil {
			t.Errorf("PaddedBase64(%q) = %q", s, b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":"\ud83d\ude00"}]}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"a":-0.1e+7}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Decode(data)
		if err != nil {
			return
		}
		// What is taken means the same to the library's reader.
		loose := json.NewDecoder(bytes.NewReader(data))
		loose.UseNumber() // 2E555 is JSON, and no float64
		if err := loose.Decode(&map[string]any{}); err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", data, err)
		}
		ours, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(ours)
		if err != nil || !reflect.DeepEqual(again, o) {
			t.Fatalf("%q is %v, and after writing %v, %v", data, o, again, err)
		}
	})
}

func FuzzBase64(f *testing.F) {
	f.Add("_-8")
	f.Add("AA==")
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := Base64(s); err == nil && unpadded.EncodeToString(b) != s {
			t.Errorf("Base64(%q) = %q, which is written otherwise", s, b)
		}
		if b, err := PaddedBase64(s); err == nil && padded.EncodeToString(b) != s {
			t.Errorf("PaddedBase64(%q) = %q, which is written otherwise", s, b)
		}
	})
}
