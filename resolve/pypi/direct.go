package pypi

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"appbundle/internal/fetch"
	"appbundle/schema/pep440"
)

// A Direct is a file that a requirement names, instead of a version of an index:
// by its URL, or by its path in the application directory.
type Direct struct {
	URL  string
	Path string // with slashes
	// Hash is what the requirement says of the file behind URL, an algorithm and its
	// digest in hex; "" for nothing.
	Hash [2]string
	// Only says that no requirement asks for another file of the project: no
	// index is asked for it.
	Only bool
}

// A DirectError says why a file that a requirement names tells no version.
type DirectError struct {
	Direct Direct
	Reason string
}

// Error names the file.
func (e *DirectError) Error() string {
	if e.Direct.Path != "" {
		return e.Direct.Path + ": " + e.Reason
	}
	return fetch.Display(e.Direct.URL) + ": " + e.Reason
}

// addDirect reads what the name of the file says.
func (x *Index) addDirect(d Direct) error {
	fail := func(reason string) error { return &DirectError{d, reason} }
	o := offer{name: path.Base(d.Path)}
	if d.Path == "" {
		u, err := url.Parse(d.URL)
		if err != nil {
			return fail("is no URL")
		}
		if o.name = path.Base(u.Path); !o.setURL(u, u.String()) {
			return fail("is no URL of a file that can be fetched")
		}
		if _, err := x.client.Login(d.URL); err != nil {
			return fail(err.Error())
		}
	}
	if !o.readName() {
		return fail("has the name of neither a wheel nor a source distribution, and only these can be locked")
	}
	if d.Path != "" {
		if info, err := os.Stat(x.local(d.Path)); err != nil || !info.Mode().IsRegular() {
			return fail("there is no such file")
		}
	}
	x.directs = append(x.directs, direct{Direct: d, offer: o})
	return nil
}

// A direct is one of the files that requirements name.
type direct struct {
	Direct
	offer offer
}

// named gives the files that requirements for a project name, nil where none
// does. only reports that there are no others.
func (x *Index) named(ctx context.Context, name string) (l *listing, only bool, err error) {
	l, only = &listing{}, true
	for i := range x.directs {
		d := &x.directs[i]
		o := &d.offer
		if o.project != name {
			continue
		}
		f := file{version: &o.version}
		f.Name, f.Wheel = o.name, o.wheel
		if d.Path != "" {
			sum, size, err := digest(x.local(d.Path))
			if err != nil {
				return nil, false, err
			}
			f.Path, f.Size, f.Hashes = d.Path, size, map[string]string{"sha256": sum}
		} else {
			f.URL, f.Hashes = o.url, map[string]string{}
			if want := d.Hash; want[0] != "" {
				// What a requirement says of a file is no more than a demand.
				kept, err := x.client.File(ctx, fetch.File{URL: o.url, Hashes: map[string]string{want[0]: want[1]}})
				if err != nil {
					return nil, false, err
				}
				f.Size, f.Hashes = kept.Size, map[string]string{"sha256": kept.SHA256, want[0]: want[1]}
			}
		}
		l.files = append(l.files, f)
		only = only && d.Only
	}
	if len(l.files) == 0 {
		return nil, false, nil
	}
	slices.SortFunc(l.files, func(a, b file) int {
		return cmp.Or(pep440.Compare(*b.version, *a.version), strings.Compare(a.Name, b.Name))
	})
	return l, only, nil
}
