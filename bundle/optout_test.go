package bundle

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestOptOut opts out of every finding of every case: what may be opted out of
// is in the second list with its reason, build has no objection to it, and the
// rest stays.
func TestOptOut(t *testing.T) {
	firm := map[string]bool{}
	var names []string
	for _, r := range Rules() {
		if firm[r.ID] = r.Firm(); firm[r.ID] {
			names = append(names, r.ID)
		}
	}
	if want := "Nobody opts out of " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + ":"; !strings.Contains(standard(t), want) {
		t.Errorf("STANDARD.md does not say: %s", want)
	}
	cases, err := filepath.Glob("testdata/check/*.txt")
	must(t, err)
	for _, file := range cases {
		a, err := txtar.ParseFile(file)
		must(t, err)
		dir := filepath.Join(t.TempDir(), "shop")
		write(t, dir, txtar.Parse([]byte(goodApp)), "")
		write(t, dir, a, "")
		do(t, dir, section(a, "ops"))
		app, err := Load(dir)
		must(t, err)
		before := Check(app)
		if len(app.problems[appFile]) > 0 || app.Entry(appFile) == nil || app.Entry(appFile).Type != File || app.Config.OptOuts != nil {
			continue
		}
		ini := section(a, appFile)
		if ini == "" {
			ini = section(txtar.Parse([]byte(goodApp)), appFile)
		}
		ini += "\n[check]\n"
		seen := map[string]bool{}
		for _, f := range before {
			if !firm[f.Rule] && !seen[f.Rule] {
				seen[f.Rule] = true
				ini += fmt.Sprintf("%s = **: because of %s\n", f.Rule, f.Rule)
			}
		}
		write(t, dir, &txtar.Archive{Files: []txtar.File{{Name: appFile, Data: []byte(ini)}}}, "")
		app, err = Load(dir)
		must(t, err)
		counted, suppressed := CheckAll(app)
		if len(counted)+len(suppressed) != len(before) {
			t.Errorf("%s: %d and %d findings, want %d:\n%s%s", file, len(counted), len(suppressed), len(before), text(counted), text(suppressed))
		}
		for _, f := range counted {
			if !firm[f.Rule] {
				t.Errorf("%s: %s counts", file, f)
			}
		}
		for _, f := range suppressed {
			if firm[f.Rule] || f.Reason != "because of "+f.Rule {
				t.Errorf("%s: %s does not count: %s", file, f, f.Reason)
			}
		}
	}
}
