package rpm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// systemELF lists shared objects and programs of the machine.
func systemELF(t *testing.T, most int) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/usr/lib/*-linux-gnu/*.so*", "/usr/bin/*", "/usr/lib/python3*/lib-dynload/*.so", "/usr/lib/*-linux-gnu/*/*.so"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 {
				all = append(all, f)
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d files", len(all))
	}
	step := max(1, len(all)/most)
	var some []string
	for i := 0; i < len(all); i += step {
		some = append(some, all[i])
	}
	return some
}

// TestELFAsElfdeps compares with rpm's own elfdeps, one run over all files.
func TestELFAsElfdeps(t *testing.T) {
	files := systemELF(t, 700)
	var requires, provides []string
	var objects []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ReadELF(name, f)
		f.Close()
		if err != nil {
			t.Error(err)
		}
		if e != nil {
			objects = append(objects, name)
			requires = append(requires, e.Requires()...)
			provides = append(provides, e.Provides()...)
		}
	}
	compareWith(t, "--requires", objects, requires)
	compareWith(t, "--provides", objects, provides)
	if len(objects) < 50 {
		t.Errorf("only %d ELF files of %d", len(objects), len(files))
	}
}

func compareWith(t *testing.T, flag string, files, got []string) {
	t.Helper()
	cmd := exec.Command("/usr/lib/rpm/elfdeps", flag)
	cmd.Stdin = strings.NewReader(strings.Join(files, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(want)
	slices.Sort(got)
	want, got = slices.Compact(want), slices.Compact(got)
	for _, w := range want {
		if _, ok := slices.BinarySearch(got, w); !ok {
			t.Errorf("elfdeps %s has %q, and we have not", flag, w)
		}
	}
	for _, g := range got {
		if _, ok := slices.BinarySearch(want, g); !ok {
			t.Errorf("elfdeps %s has no %q", flag, g)
		}
	}
	if len(want) < 100 {
		t.Errorf("elfdeps %s has only %d lines", flag, len(want))
	}
}

func TestNeedsLeaveOutTheOwn(t *testing.T) {
	libs := []*ELF{
		{Path: "/opt/a/x.so", Needed: []string{"liba-1234.so", "libc.so.6", "libb.so.1"}, Class64: true, marker: "(64bit)", gnuHash: true,
			Needs: []ELFVersion{{"libc.so.6", "GLIBC_2.4"}, {"libc.so.6", "GLIBC_2.14"}, {"libm.so.6", "GLIBC_2.29"}, {"liba-1234.so", "A_1"}, {"libc.so.6", "GLIBC_PRIVATE"}}},
		{Path: "/opt/a/a.libs/liba-1234.so", Soname: "liba.so.1", Class64: true, marker: "(64bit)", Needed: []string{"libc.so.6"}},
		{Path: "/opt/a/b32.so", Soname: "libb.so.1"},
	}
	n := NeedsOf(libs)
	want := []string{"libb.so.1()(64bit)", "libc.so.6()(64bit)", "libc.so.6(GLIBC_2.14)(64bit)", "libc.so.6(GLIBC_2.4)(64bit)",
		"libc.so.6(GLIBC_PRIVATE)(64bit)", "libm.so.6(GLIBC_2.29)(64bit)", "rtld(GNU_HASH)"}
	if !slices.Equal(n.Requires, want) {
		t.Errorf("Requires = %q, want %q", n.Requires, want)
	}
	if want := []string{"libb.so.1", "libc.so.6"}; !slices.Equal(n.Sonames, want) {
		t.Errorf("Sonames = %q, want %q", n.Sonames, want)
	}
	if n.Glibc() != "2.29" {
		t.Errorf("Glibc() = %q of %v", n.Glibc(), n.Versions)
	}
}

func FuzzReadELF(f *testing.F) {
	for _, name := range []string{"/usr/bin/true", "/proc/self/exe"} {
		if data, err := os.ReadFile(name); err == nil && len(data) < 1<<20 {
			f.Add(data)
		}
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ReadELF("x.so", bytes.NewReader(data))
		if err == nil && e != nil {
			e.Requires()
			e.Provides()
			n := NeedsOf([]*ELF{e})
			n.Glibc()
		}
	})
}
