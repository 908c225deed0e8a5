package main

import (
	"fmt"
	"path"
	"strings"

	"appbundle/bundle"
)

var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// github gives the findings as workflow commands, which GitHub shows beside the
// lines of a change. Paths are those of sarif.
func (r *checkReport) github(dir string) string {
	var b strings.Builder
	for i := range r.Findings {
		f := &r.Findings[i]
		kind := "error"
		if f.Level == bundle.Warning {
			kind = "warning"
		}
		fmt.Fprintf(&b, "::%s file=%s", kind, githubProperty.Replace(path.Join(dir, f.File)))
		if f.Line > 0 {
			fmt.Fprintf(&b, ",line=%d", f.Line)
		}
		if f.Col > 0 {
			fmt.Fprintf(&b, ",col=%d", f.Col)
		}
		fmt.Fprintf(&b, ",title=%s::%s\n", f.Rule, githubData.Replace(said(f)))
	}
	return b.String()
}
