package build

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func TestAdvice(t *testing.T) {
	for _, tt := range []struct{ said, want string }{
		{"x.c:1:10: fatal error: ffi.h: No such file or directory\n", "install the system package that has ffi.h on this host, and name what it is of in external-dependencies.txt as libffi"},
		{"x.c:1:10: fatal error: 'a/b-c.h' file not found\n", "install the system package that has a/b-c.h on this host, and name what it is of in external-dependencies.txt"},
		{"/usr/bin/ld: cannot find -lxml2: No such file or directory\n", "install the system package that has libxml2 and its development files on this host, and name it in external-dependencies.txt"},
		{"ld: library not found for -lstdc++\n", "install the system package that has libstdc++ and its development files on this host, and name it in external-dependencies.txt"},
		{"Could not find function x in -lz.\n", "install the system package that has libz and its development files on this host, and name it in external-dependencies.txt"},
		{"OSError: mysql_config not found\n", "install the system package that has the command mysql_config on this host, and name what it is of in external-dependencies.txt"},
		{"Error: pg_config executable not found.\n", "install the system package that has the command pg_config on this host, and name what it is of in external-dependencies.txt"},
		{"No such file or directory: 'curl-config'\n", "install the system package that has the command curl-config on this host, and name what it is of in external-dependencies.txt"},
		{"error: command 'gcc' failed: No such file or directory\n", "install gcc on this host; it is needed for the build alone"},
		{"error: command '/usr/bin/gcc' failed with exit code 1\n", ""},
		{"SyntaxError: invalid syntax\n", ""},
	} {
		if got := advice(tt.said); got != tt.want {
			t.Errorf("advice(%q) = %q, want %q", tt.said, got, tt.want)
		}
	}
}

func TestLastLines(t *testing.T) {
	many := strings.Repeat("line\n", 100)
	for _, tt := range []struct {
		said string
		want []string
	}{
		{"", nil},
		{"\n\n", nil},
		{"a\r\n\x1b[31mb\x1b[0m\n\n", []string{"a", "[31mb[0m"}},
		{many + "end", append(strings.Split(strings.Repeat("line\n", maxLines-1), "\n")[:maxLines-1], "end")},
	} {
		if got := lastLines(tt.said); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("lastLines(%.40q) = %q, want %q", tt.said, got, tt.want)
		}
	}
}

func entries(t testing.TB) []txtar.File {
	t.Helper()
	ar, err := txtar.ParseFile("testdata/entries.txt")
	if err != nil {
		t.Fatal(err)
	}
	return ar.Files
}

// An entry of the cache that is not one of ours is none.
func TestEntries(t *testing.T) {
	for _, f := range entries(t) {
		_, err := decodeEntry(f.Data)
		if wrong := strings.HasPrefix(f.Name, "bad "); wrong != (err != nil) {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if _, err := decodeEntry(bytes.Repeat([]byte(" "), maxEntry+1)); err == nil {
		t.Error("a large entry was read")
	}
}

func FuzzEntry(f *testing.F) {
	for _, file := range entries(f) {
		f.Add(file.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(data)
		if err == nil && strings.ContainsAny(e.Wheel, "/\x00") {
			t.Fatalf("the wheel %q", e.Wheel)
		}
	})
}
