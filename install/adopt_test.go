package install

import (
	"errors"
	"strings"
	"testing"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

func TestFits(t *testing.T) {
	host := func(version, machine, libc string) *Interpreter {
		return &Interpreter{Executable: "/usr/bin/python3", Bits: 64, Libc: libc, Env: pep508.Env{
			PythonFullVersion: version + ".2", PythonVersion: version, PlatformMachine: machine, SysPlatform: "linux",
		}}
	}
	env := func(platform string, files ...string) *schema.Environment {
		e := &schema.Environment{Python: "cp311", Platform: platform}
		for _, f := range files {
			e.Packages = append(e.Packages, schema.InstalledPackage{File: f})
		}
		return e
	}
	const pure, native, musl = "a-1-py3-none-any.whl", "b-1-cp311-cp311-manylinux_2_34_x86_64.whl", "b-1-cp311-cp311-musllinux_1_2_x86_64.whl"
	tests := []struct {
		name string
		env  *schema.Environment
		host *Interpreter
		want string // "" where it fits
	}{
		{"the host that built it", env("linux_x86_64", pure, native), host("3.11", "x86_64", "glibc 2.36"), ""},
		{"a newer C library", env("linux_x86_64", native), host("3.11", "x86_64", "glibc 2.40"), ""},
		{"an older C library", env("linux_x86_64", pure, native), host("3.11", "x86_64", "glibc 2.31"),
			"the environment is for Python 3.11 on linux_x86_64, and this host has glibc 2.31: " + native + " does not run there"},
		{"another Python", env("linux_x86_64", pure), host("3.12", "x86_64", "glibc 2.36"),
			"the environment is for Python 3.11 on linux_x86_64, and /usr/bin/python3 is Python 3.12 on linux_x86_64"},
		{"another processor", env("linux_x86_64", pure), host("3.11", "aarch64", "glibc 2.36"),
			"the environment is for Python 3.11 on linux_x86_64, and /usr/bin/python3 is Python 3.11 on linux_aarch64"},
		{"musl for glibc", env("linux_x86_64", pure), host("3.11", "x86_64", "musl 1.2"),
			"the environment is for Python 3.11 on linux_x86_64, and /usr/bin/python3 is Python 3.11 on musllinux_1_2_x86_64"},
		{"musl", env("musllinux_1_2_x86_64", pure, musl), host("3.11", "x86_64", "musl 1.2"), ""},
		{"an older musl", env("musllinux_1_2_x86_64", musl), host("3.11", "x86_64", "musl 1.1"),
			"the environment is for Python 3.11 on musllinux_1_2_x86_64, and this host has musl 1.1: " + musl + " does not run there"},
	}
	for _, tt := range tests {
		err := Fits(tt.env, tt.host)
		if tt.want == "" && err == nil {
			continue
		}
		if misfit := (*MisfitError)(nil); !errors.As(err, &misfit) || misfit.Error() != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestAdoptNothing(t *testing.T) {
	err := Adopt(t.Context(), t.TempDir(), "/usr/bin/python3", "")
	if !errors.Is(err, ErrNoEnvironment) || !strings.Contains(err.Error(), EnvDir) {
		t.Errorf("Adopt: %v", err)
	}
}
