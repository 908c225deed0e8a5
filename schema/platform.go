package schema

import (
	"regexp"
	"slices"
	"strings"
)

// platformTag matches the platform tags of wheels that a target can have.
var platformTag = regexp.MustCompile(`^(linux|(many|musl)linux_[0-9]+_[0-9]+|manylinux(1|2010|2014)|macosx_[0-9]+_[0-9]+|win)_(x86_64|aarch64|arm64|i686|armv7l|ppc64le|s390x|riscv64|loongarch64|amd64|universal2)$`)

// platformTags reads the list of targets; a target stays as it is written.
func platformTags(s string) ([]string, *fault) {
	var out []string
	for _, tag := range strings.Fields(s) {
		if !platformTag.MatchString(tag) {
			f := bad("%s is no wheel platform tag", quote(tag))
			known := []string{"linux_x86_64", "linux_aarch64", "manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "musllinux_1_2_x86_64", "musllinux_1_2_aarch64", "macosx_14_0_arm64", "win_amd64"}
			f.fix = "write one such as linux_x86_64 or musllinux_1_2_aarch64"
			if near := closest(tag, known); near != "" {
				f.fix = `did you mean "` + near + `"?`
			}
			return nil, f
		}
		if !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out, nil
}
