package schema

import (
	"regexp"
	"strings"

	"appbundle/schema/pep440"
)

// specifierRepairs are the misspellings that published metadata has, with what
// tools have always taken them for. They are tried only on what cannot be read.
var specifierRepairs = []struct {
	wrong *regexp.Regexp
	right string
}{
	{regexp.MustCompile(`["']`), ``},                                           // ">=3.6", with its quotes
	{regexp.MustCompile(`(^|[\s,(])=([<>])`), `$1$2=`},                         // =>3.6
	{regexp.MustCompile(`([^\s,(<>=!~])\s*(===|==|~=|!=|<=|>=|<|>)`), `$1,$2`}, // >=2.7 !=3.0, >=1.9.*<2.0
	{regexp.MustCompile(`([<>]=?\s*v?[0-9][0-9.]*[0-9])\.?\*`), `$1`},          // >=3.6.*, >=3.6*
	{regexp.MustCompile(`([<>]=?\s*v?[0-9])\.?\*`), `$1`},                      // >=3.*
	{regexp.MustCompile(`([!=]=\s*v?[0-9][0-9.]*[0-9])\*`), `$1.*`},            // !=3.0*
	{regexp.MustCompile(`(~=\s*v?[0-9]+)(\s*(?:[,)]|$))`), `$1.0$2`},           // ~=3
	{regexp.MustCompile(`([0-9])\.(\s*(?:[,)]|$))`), `$1$2`},                   // >=3.
}

// RepairSpecifiers reads specifiers as published metadata writes them. Known
// misspellings are repaired: repaired is then what s was taken for, and "" where
// nothing had to be done.
func RepairSpecifiers(s string) (specifiers pep440.Specifiers, repaired string, err error) {
	specifiers, err = pep440.ParseSpecifiers(s)
	if err == nil {
		return specifiers, "", nil
	}
	fixed := repairText(s)
	again, err2 := pep440.ParseSpecifiers(fixed)
	if err2 != nil {
		return nil, "", err
	}
	return again, fixed, nil
}

func repairText(s string) string {
	if len(s) > MaxLine {
		return s
	}
	for _, r := range specifierRepairs {
		s = r.wrong.ReplaceAllString(s, r.right)
	}
	return s
}

var requirementHead = regexp.MustCompile(`^\s*[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?`)

// repairRequirement repairs the specifiers of a requirement, and neither its
// name nor its marker nor a URL.
func repairRequirement(s string) string {
	head := requirementHead.FindString(s)
	specifiers, marker, hasMarker := strings.Cut(s[len(head):], ";")
	if head == "" || strings.Contains(specifiers, "@") {
		return s
	}
	s = head + repairText(specifiers)
	if hasMarker {
		s += ";" + marker
	}
	return s
}
