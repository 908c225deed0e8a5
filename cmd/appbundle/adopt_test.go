package main

import (
	"testing"

	"appbundle/schema"
)

// An archive for other hosts is refused before anything of it is unpacked.
func TestAcceptTarget(t *testing.T) {
	tests := []struct{ target, want string }{
		{"any", ""},
		{"linux_pdp11", "a.tar.zst: is for linux_pdp11, and this host is linux_" + machine(t)},
		{"cp311-linux_pdp11", "a.tar.zst: is for cp311-linux_pdp11, and this host is linux_" + machine(t)},
		{"linux_" + machine(t), ""},
		{"cp30-linux_" + machine(t), "a.tar.zst: is for Python 3.0, and there is no Python"},
	}
	t.Setenv("PATH", t.TempDir())
	for _, tt := range tests {
		err := (&adoption{archive: "a.tar.zst"}).accept(&schema.Manifest{Target: tt.target})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || got != "" && exitCode(err) != 1 {
			t.Errorf("accept(%s) = %q (status %d), want %q", tt.target, got, exitCode(err), tt.want)
		}
	}
}

func machine(t *testing.T) string {
	t.Helper()
	name, err := hostMachine()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
