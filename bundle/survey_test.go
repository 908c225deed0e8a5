package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/schema"
)

// TestSurveyRefuses: what check refuses of the files that run reads is no
// silence of run.
func TestSurveyRefuses(t *testing.T) {
	large := strings.Repeat("#\n", schema.MaxFile/2+1)
	for _, c := range []struct {
		name, ops, file, content, survey, check string
	}{
		{"link out", "rm app.ini\nlink ../app.ini app.ini", "", "", "app.ini: is a link that leads to no file of the application; make it a plain file", "AB006"},
		{"link to nothing", "rm app.ini\nlink nothing app.ini", "", "", "app.ini: is a link that leads to no file of the application; make it a plain file", "AB006"},
		{"directory", "rm app.ini\nmkdir app.ini", "", "", "app.ini: is a directory; make it a plain file", "AB006"},
		{"pipe", "rm app.ini\nfifo app.ini", "", "", "app.ini: is a named pipe; make it a plain file", "AB006"},
		{"too large", "", "app.ini", large, "app.ini: has 4194306 bytes, more than 4194304; make it shorter", "AB006"},
		{"link to what is too large", "rm app.ini\nlink big app.ini", "big", large, "app.ini: has 4194306 bytes, more than 4194304; make it shorter", "AB006"},
		{"link inside", "mv app.ini x.ini\nlink x.ini app.ini", "", "", "", "AB006"},
		{"dependencies are a directory", "rm dependencies.txt\nmkdir dependencies.txt", "", "", "dependencies.txt: is a directory; make it a plain file", "AB001"},
		{"dependencies are too large", "", "dependencies.txt", large, "dependencies.txt: has 4194306 bytes, more than 4194304; make it shorter", "AB001"},
		{"entrypoint leads out", "rm bin/app.py\nlink ../../app.py bin/app.py", "", "", "bin/app.py: is no file of the application; make it a file", "AB003"},
		{"entrypoint leads out and is not used", "rm bin/app.py\nlink ../../app.py bin/app.py", "app.ini", "[app]\nversion = 1.0.0\n[watcher:app]\ncmd = python3\n", "", "AB003"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shop")
			write(t, dir, txtar.Parse([]byte(goodApp)), "")
			do(t, dir, c.ops)
			if c.file != "" {
				must(t, os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o644))
			}
			app, err := Survey(dir, nil)
			var ps schema.Problems
			if c.survey == "" && (err != nil || app.Version != "1.0.0") || c.survey != "" && (!errors.As(err, &ps) || err.Error() != c.survey) {
				t.Errorf("Survey: %v, want %s", err, c.survey)
			}
			for _, f := range checkDir(t, dir) {
				if f.Rule != "AB009" && f.Rule != "AB011" && f.Rule != c.check {
					t.Errorf("Check: %v beside %s", f, c.check)
				}
				if f.Rule == c.check {
					c.check = f.Rule + " found"
				}
			}
			if !strings.HasSuffix(c.check, "found") {
				t.Errorf("Check: no %s", c.check)
			}
		})
	}
	// Another configuration takes the place of app.ini, whatever that is.
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, dir, txtar.Parse([]byte(goodApp)), "")
	do(t, dir, "rm app.ini\nmkdir app.ini")
	if _, err := Survey(dir, &schema.Config{}); err != nil {
		t.Errorf("Survey with a configuration: %v", err)
	}
}
