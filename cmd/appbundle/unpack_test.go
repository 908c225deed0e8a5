package main

import (
	"os/exec"
	"testing"
)

// A directory's name is one word of a shell, which is asked.
func TestQuoteShell(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"/srv/shop-1.2_3", "/srv/shop-1.2_3"},
		{"my app", "'my app'"},
		{"it's", `'it'\''s'`},
		{"$HOME", "'$HOME'"},
		{"a;b", "'a;b'"},
		{"~", "'~'"},
		{"*", "'*'"},
		{"café", "'café'"},
		{"line\nbreak", "'line\nbreak'"},
		{"-", "./-"},
		{"-P x", "'./-P x'"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got := quoteShell(tt.in)
			if got != tt.want {
				t.Fatalf("quoteShell(%q) = %s, want %s", tt.in, got, tt.want)
			}
			word, err := exec.Command("sh", "-c", "printf %s "+got).Output()
			if err != nil {
				t.Fatal(err)
			}
			if in := string(word); in != tt.in && in != "./"+tt.in {
				t.Errorf("the shell reads %s as %q, want %q", got, in, tt.in)
			}
		})
	}
}
