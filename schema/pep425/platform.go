package pep425

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Kind is what a platform is compatible by.
type Kind string

// The kinds of platforms.
const (
	Manylinux Kind = "manylinux" // Linux with glibc
	Musllinux Kind = "musllinux" // Linux with musl
	MacOS     Kind = "macosx"
)

// A Platform is where a wheel is to run: the oldest C library or system that
// it may ask for, and the architecture.
type Platform struct {
	Kind  Kind
	Major int
	Minor int
	Arch  string // as the tag writes it: x86_64, aarch64, arm64
}

// shortGlibc is what linux_ARCH stands for: the minor version of glibc 2 that
// every supported distribution has.
const shortGlibc = 28

// glibcAliases are the names that some versions of glibc 2 had first.
var glibcAliases = map[int]string{17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

// linuxArches are the architectures that wheels for Linux are made for.
var linuxArches = []string{"x86_64", "aarch64", "i686", "armv7l", "ppc64le", "s390x", "riscv64", "loongarch64"}

// ParsePlatform reads manylinux_2_28_x86_64, musllinux_1_2_aarch64,
// macosx_14_0_arm64, one of the old names (manylinux2014_x86_64), or the short
// linux_x86_64, which is manylinux_2_28_x86_64.
func ParsePlatform(s string) (Platform, error) {
	fail := func(why string) (Platform, error) {
		return Platform{}, fmt.Errorf("%q is no target: %s", s, why)
	}
	first, rest, _ := strings.Cut(s, "_")
	p := Platform{Kind: Kind(first), Arch: rest}
	if first == "linux" {
		p.Kind, p.Major, p.Minor = Manylinux, 2, shortGlibc
	} else if minor := glibcOf(first); minor > 0 {
		p.Kind, p.Major, p.Minor = Manylinux, 2, minor
	} else {
		if !slices.Contains([]Kind{Manylinux, Musllinux, MacOS}, p.Kind) {
			return fail("write manylinux_2_28_x86_64, musllinux_1_2_x86_64, macosx_14_0_arm64, or linux_x86_64")
		}
		parts := strings.SplitN(rest, "_", 3)
		if len(parts) != 3 {
			return fail("it needs two numbers and an architecture")
		}
		var ok, ok2 bool
		p.Major, ok = number(parts[0])
		p.Minor, ok2 = number(parts[1])
		if p.Arch = parts[2]; !ok || !ok2 {
			return fail(fmt.Sprintf("%q and %q must be numbers", parts[0], parts[1]))
		}
	}
	if why := p.check(); why != "" {
		return fail(why)
	}
	return p, nil
}

// glibcOf gives the minor version of an old name, 0 for what is none.
func glibcOf(name string) int {
	for minor, alias := range glibcAliases {
		if alias == name {
			return minor
		}
	}
	return 0
}

// check says why there is no such platform, "" where there is.
func (p Platform) check() string {
	arches := linuxArches
	switch p.Kind {
	case Manylinux:
		if p.Major != 2 || p.Minor < oldestGlibc(p.Arch) {
			return fmt.Sprintf("wheels are made for glibc 2.%d and later", oldestGlibc(p.Arch))
		}
	case Musllinux:
		if p.Major != 1 {
			return "wheels are made for musl 1"
		}
	case MacOS:
		arches = []string{"x86_64", "arm64"}
		if p.Major < 10 || p.Major == 10 && p.Minor < 4 || p.Major < 11 && p.Arch == "arm64" {
			return "wheels are made for macOS 10.4 and later, on arm64 for 11 and later"
		}
	}
	if !slices.Contains(arches, p.Arch) {
		return fmt.Sprintf("the architecture is one of %s", strings.Join(arches, ", "))
	}
	return ""
}

// String gives the tag.
func (p Platform) String() string { return versioned(string(p.Kind), p.Major, p.Minor, p.Arch) }

// Tags lists the platform tags that fit, best first.
func (p Platform) Tags() []string {
	switch p.Kind {
	case Manylinux:
		return append([]string{"linux_" + p.Arch}, manylinux(p.Minor, p.Arch)...)
	case Musllinux:
		return append([]string{"linux_" + p.Arch}, musllinux(p.Major, p.Minor, p.Arch)...)
	case MacOS:
		return macOS(p.Major, p.Minor, p.Arch)
	}
	return nil
}

func manylinux(glibc int, arch string) []string {
	var tags []string
	for minor := glibc; minor >= oldestGlibc(arch); minor-- {
		tags = append(tags, versioned("manylinux", 2, minor, arch))
		if alias := glibcAliases[minor]; alias != "" {
			tags = append(tags, alias+"_"+arch)
		}
	}
	return tags
}

// oldestGlibc is the oldest glibc that the first manylinux of an architecture
// was made for.
func oldestGlibc(arch string) int {
	if arch == "x86_64" || arch == "i686" {
		return 5
	}
	return 17
}

func musllinux(major, newest int, arch string) []string {
	var tags []string
	for minor := newest; minor >= 0; minor-- {
		tags = append(tags, versioned("musllinux", major, minor, arch))
	}
	return tags
}

// The formats of binaries that hold more than one architecture.
var (
	fatIntel = []string{"x86_64", "intel", "fat64", "fat3", "universal2", "universal"}
	fatARM   = []string{"arm64", "universal2"}
)

func macOS(major, minor int, arch string) []string {
	var tags []string
	add := func(major, minor int, formats []string) {
		for _, f := range formats {
			tags = append(tags, versioned("macosx", major, minor, f))
		}
	}
	formats, old := fatIntel, fatIntel
	if arch == "arm64" {
		formats, old = fatARM, []string{"universal2"}
	}
	for m := major; m >= 11; m-- {
		add(m, 0, formats)
	}
	if major > 10 {
		minor = 16
	}
	for m := minor; m >= 4; m-- {
		add(10, m, old)
	}
	return tags
}

func versioned(kind string, major, minor int, arch string) string {
	return kind + "_" + strconv.Itoa(major) + "_" + strconv.Itoa(minor) + "_" + arch
}
