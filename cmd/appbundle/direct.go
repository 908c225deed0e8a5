package main

import (
	"errors"
	"strings"

	"appbundle/bundle"
	"appbundle/resolve/pypi"
	"appbundle/schema"
)

// directs are the files that lines name, instead of a version of an index.
func directs(app *bundle.App) ([]pypi.Direct, error) {
	var list []pypi.Direct
	versions := map[string]bool{} // names that a line asks a version of
	var named []*schema.Package
	for _, d := range app.Dependencies {
		for i := range d.Packages {
			p := &d.Packages[i]
			switch {
			case p.Commit != "":
				return nil, &schema.Problem{Pos: p.Pos, Msg: "version control is not locked: only files are",
					Fix: "build a wheel of that commit (pip wheel), put it into the bundle and write its path, such as ./wheels/NAME-1.0-py3-none-any.whl"}
			case p.URL != "" && strings.Contains(p.URL, "${"):
				return nil, &schema.Problem{Pos: p.Pos, Msg: "a variable in the URL of a file, which a lock would have to hold", Fix: "write the URL, and put user and password into ~/.netrc"}
			case p.URL != "" || p.Path != "":
				named = append(named, p)
			case !d.Constraint:
				versions[p.Req.Key()] = true
			}
		}
	}
	for _, p := range named {
		d := pypi.Direct{URL: p.URL, Path: p.Path, Only: !versions[p.Req.Key()]}
		for _, h := range p.Hashes {
			said := [2]string{h.Algorithm, h.Hex}
			if d.Hash != said && d.Hash[0] != "" {
				return nil, &schema.Problem{Pos: p.Pos, Msg: "two hashes of one file", Fix: "keep the one that the file has"}
			}
			d.Hash = said
		}
		list = append(list, d)
	}
	return list, nil
}

// atLine gives an error about a file the line that names it.
func atLine(app *bundle.App, err error) error {
	var bad *pypi.DirectError
	if !errors.As(err, &bad) {
		return err
	}
	for _, d := range app.Dependencies {
		for i := range d.Packages {
			if p := &d.Packages[i]; p.URL == bad.Direct.URL && p.Path == bad.Direct.Path {
				return &schema.Problem{Pos: p.Pos, Msg: bad.Error()}
			}
		}
	}
	return err
}
