package scaffold

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
)

// A section of app.ini, and its keys in order.
type section struct {
	name string
	keys [][2]string
}

// set adds a key where app.ini can have that value, and says where not.
func (p *project) set(s *section, at schema.Pos, key, value string) {
	if value == "" {
		return
	}
	if why := iniProblem(s.name, key, value); why != "" {
		p.guess(at, "is not taken over into app.ini: %s", why)
		return
	}
	s.keys = append(s.keys, [2]string{key, value})
}

// iniProblem says why a value cannot be one of app.ini, "" where it can.
func iniProblem(section, key, value string) string {
	if strings.ContainsAny(value, "\r\n") {
		return fmt.Sprintf("%s has several lines", key)
	}
	_, problems := schema.ParseAppINI(appINI, fmt.Appendf(nil, "[%s]\n%s = %s\n", section, key, value))
	if len(problems) == 0 {
		return ""
	}
	return problems[0].Msg
}

// files puts the plan together, the entrypoint last: as long as there is none, the
// next run guesses what this one did, and completes what a killed one has left.
func (p *project) files() {
	p.add(dependencies, strings.Join(append([]string{"# What the application itself asks for, in pip's format."}, p.lines...), "\n")+"\n", 0o644)
	p.add(external, strings.Join(append([]string{"# What the system has to provide, one a line."}, p.system...), "\n")+"\n", 0o644)

	app := section{name: "app", keys: [][2]string{{"name", p.plan.Name}}}
	version := schema.Located{}
	if p.python != nil {
		version = p.python.Version
	}
	text := semantic(version.Text)
	if text == "" || iniProblem("app", "version", text) != "" {
		if version.Text != "" {
			p.guess(version.Pos, "%q is no semantic version; it is 0.1.0 in app.ini", version.Text)
		}
		text = "0.1.0"
	}
	p.set(&app, version.Pos, "version", text)
	if p.python != nil {
		p.set(&app, p.python.Description.Pos, "description", p.python.Description.Text)
		p.set(&app, p.python.License.Pos, "license", p.python.License.Text)
	}
	p.set(&app, p.target.Pos, "interface", string(p.target.iface))
	var b strings.Builder
	for i, s := range append([]section{app}, p.ini...) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "[%s]\n", s.name)
		for _, k := range s.keys {
			fmt.Fprintf(&b, "%s = %s\n", k[0], k[1])
		}
	}
	p.add(appINI, b.String(), 0o644)
	if t := p.target; t.script != "" {
		perm := os.FileMode(0o644)
		if t.iface == schema.Exec {
			perm = 0o755
		}
		p.add(t.path, t.script, perm)
	} else if t.path != "" && p.there(t.path) {
		p.add(t.path, "", 0)
	}
}

// semantic makes a semantic version of a release of Python, "1.0" say.
func semantic(version string) string {
	for strings.Count(version, ".") < 2 && version != "" && strings.Trim(version, "0123456789.") == "" {
		version += ".0"
	}
	return version
}

// add plans a file, unless there is one.
func (p *project) add(name, text string, perm os.FileMode) {
	if p.there(name) {
		p.plan.Files = append(p.plan.Files, File{Path: name, Kept: true})
		return
	}
	p.plan.Files = append(p.plan.Files, File{Path: name, Data: []byte(text), Perm: perm})
}

// Write makes the files of the plan that are not there, in the directory that was
// looked at: all of them, or none where the disk does not take them. It replaces
// nothing.
func (p *Plan) Write(ctx context.Context, dir string) (err error) {
	var list []atomicfile.Replacement
	var made string // the directory bin, where it is new
	for _, f := range p.Files {
		if f.Kept {
			continue
		}
		at := filepath.Join(dir, filepath.FromSlash(f.Path))
		if _, err := os.Lstat(at); err == nil {
			return fmt.Errorf("%s is there by now; try again", f.Path)
		}
		list = append(list, atomicfile.Replacement{Path: at, Data: f.Data, Perm: f.Perm})
		if parent := filepath.Dir(at); made == "" && parent != filepath.Clean(dir) {
			if _, err := os.Stat(parent); errors.Is(err, os.ErrNotExist) {
				made = parent
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	defer func() {
		if err == nil {
			return
		}
		for _, r := range list { // which were not there before
			err = errors.Join(err, ignoreAbsent(os.Remove(r.Path)))
		}
		if made != "" {
			err = errors.Join(err, ignoreAbsent(os.Remove(made)))
		}
	}()
	if made != "" {
		if err := atomicfile.MkdirAll(made, 0o755); err != nil {
			return err
		}
	}
	return atomicfile.ReplaceAll(ctx, list)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
