package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"appbundle/schema"

	"github.com/rogpeppe/go-internal/testscript"
)

// conforms NAME compares the last standard output with the embedded JSON
// Schema of that name.
func conforms(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: conforms NAME")
	}
	var s jsonSchema
	var value any
	text, err := schema.JSONSchemas.ReadFile("schemas/" + args[0] + ".json")
	ts.Check(err)
	ts.Check(json.Unmarshal(text, &s))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &value))
	ts.Check(s.check("$", value))
}

// A jsonSchema is as much of JSON Schema as ours use.
type jsonSchema struct {
	Type                 string
	Const                any
	Enum                 []any
	Pattern              string
	MinLength            int
	Minimum              *float64
	Required             []string
	Properties           map[string]*jsonSchema
	AdditionalProperties *bool
	Items                *jsonSchema
}

// check tells where value, found at path, is not what the schema describes.
func (s *jsonSchema) check(path string, value any) error {
	switch {
	case s.Const != nil && !reflect.DeepEqual(s.Const, value):
		return fmt.Errorf("%s is %v, want %v", path, value, s.Const)
	case s.Enum != nil && !slices.Contains(s.Enum, value):
		return fmt.Errorf("%s is %v, want one of %v", path, value, s.Enum)
	case s.Type == "number" && typeOf(value) == "integer": // it is one
	case s.Type != "" && s.Type != typeOf(value):
		return fmt.Errorf("%s is a JSON %s, want %s", path, typeOf(value), s.Type)
	}
	switch v := value.(type) {
	case string:
		if len(v) < s.MinLength || !regexp.MustCompile(s.Pattern).MatchString(v) {
			return fmt.Errorf("%s is %q, want %d or more bytes that match %q", path, v, s.MinLength, s.Pattern)
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			return fmt.Errorf("%s is %v, want %v or more", path, v, *s.Minimum)
		}
	case []any:
		for i, e := range v {
			if err := s.Items.check(fmt.Sprintf("%s[%d]", path, i), e); err != nil {
				return err
			}
		}
	case map[string]any:
		return s.object(path, v)
	}
	return nil
}

func (s *jsonSchema) object(path string, v map[string]any) error {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s has no %q", path, name)
		}
	}
	for name, e := range v {
		p := s.Properties[name]
		if p == nil {
			if s.AdditionalProperties != nil && !*s.AdditionalProperties {
				return fmt.Errorf("%s has %q, which the schema does not know", path, name)
			}
			continue
		}
		if err := p.check(path+"."+name, e); err != nil {
			return err
		}
	}
	return nil
}

func typeOf(value any) string {
	switch v := value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	}
	return "null"
}

// The checker itself finds what is wrong.
func TestConforms(t *testing.T) {
	no, zero := false, 0.0
	s := &jsonSchema{Type: "object", AdditionalProperties: &no, Required: []string{"format"}, Properties: map[string]*jsonSchema{
		"format": {Const: 1.0},
		"n":      {Type: "integer", Minimum: &zero},
		"list":   {Type: "array", Items: &jsonSchema{Type: "string", Pattern: "^a", MinLength: 2}},
		"level":  {Enum: []any{"error", "warning"}},
	}}
	tests := []struct {
		text string
		ok   bool
	}{
		{`{"format": 1, "n": 0, "list": ["ab"], "level": "error"}`, true},
		{`[]`, false},
		{`{}`, false},
		{`{"format": 2}`, false},
		{`{"format": 1, "n": -1}`, false},
		{`{"format": 1, "n": 1.5}`, false},
		{`{"format": 1, "list": null}`, false},
		{`{"format": 1, "list": ["a"]}`, false},
		{`{"format": 1, "list": ["ba"]}`, false},
		{`{"format": 1, "level": "note"}`, false},
		{`{"format": 1, "more": 1}`, false},
	}
	for _, tt := range tests {
		var value any
		if err := json.Unmarshal([]byte(tt.text), &value); err != nil {
			t.Fatal(err)
		}
		if err := s.check("$", value); (err == nil) != tt.ok {
			t.Errorf("check(%s) = %v, want ok %v", tt.text, err, tt.ok)
		}
	}
}
