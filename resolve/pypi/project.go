package pypi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"appbundle/internal/fetch"
	"appbundle/resolve"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A catalog is a project with what this package knows of its files.
type catalog struct {
	project *resolve.Project
	files   []*file

	once   sync.Once
	byFile map[*resolve.File]*file // made by find
}

// find gives what is known of one of the project's files, nil for another.
func (c *catalog) find(f *resolve.File) *file {
	c.once.Do(func() {
		c.byFile = make(map[*resolve.File]*file, len(c.files))
		for _, f := range c.files {
			c.byFile[&f.File] = f
		}
	})
	return c.byFile[f]
}

// Project lists what there is of a project; see [resolve.Provider].
func (x *Index) Project(ctx context.Context, name string) (*resolve.Project, error) {
	c, err := x.catalog(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.project, nil
}

func (x *Index) catalog(ctx context.Context, name string) (*catalog, error) {
	if !pep508.IsNormalName(name) {
		return nil, fmt.Errorf("%q is no normal name of a project", name)
	}
	return x.projects.do(ctx, name, func(ctx context.Context) (*catalog, error) { return x.readCatalog(ctx, name) })
}

// A notFoundError names the places that do not have a project.
type notFoundError struct {
	name   string
	places []string
}

func (e *notFoundError) Error() string {
	if len(e.places) == 0 {
		return e.name + ": not found: there is no index to look at"
	}
	return fmt.Sprintf("%s: not found on %s", e.name, strings.Join(e.places, " and "))
}

func (e *notFoundError) Unwrap() error { return resolve.ErrNotFound }

func (x *Index) readCatalog(ctx context.Context, name string) (*catalog, error) {
	var found []*listing
	var indexes []string
	missing := &notFoundError{name: name}
	named, only, err := x.named(ctx, name)
	if err != nil {
		return nil, err
	}
	if named != nil {
		found = append(found, named)
	}
	if only {
		return x.collect(&resolve.Project{Name: name}, found), nil
	}
	for _, l := range x.links {
		local, err := x.linked(ctx, l, name)
		if err != nil {
			return nil, err
		}
		if local != nil {
			found = append(found, local)
		}
		missing.places = append(missing.places, l.String())
	}
	p := &resolve.Project{Name: name}
	for _, s := range x.servers {
		l, err := x.listing(ctx, s, name)
		if errors.Is(err, fetch.ErrNotFound) {
			missing.places = append(missing.places, s.url)
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, l)
		indexes = append(indexes, s.url)
		if !x.merge {
			break
		}
	}
	if len(indexes) == 1 {
		p.Index = indexes[0]
	}
	if len(found) == 0 {
		return nil, missing
	}
	return x.collect(p, found), nil
}

// collect makes one project of what several places have of it. Of two files
// with one name the first counts.
func (x *Index) collect(p *resolve.Project, found []*listing) *catalog {
	n := 0
	for _, l := range found {
		n += len(l.files)
		p.Passed += l.passed
		for _, note := range l.notes {
			x.warn(note)
		}
		if l.quarantined != "" && p.Quarantined == "" {
			p.Quarantined = l.quarantined
		}
	}
	all := make([]*file, 0, n)
	names := map[string]bool{}
	for _, l := range found {
		if l.quarantined != "" {
			continue
		}
		for i := range l.files {
			f := &l.files[i]
			if len(found) > 1 && names[f.Name] {
				continue
			}
			if len(found) > 1 {
				names[f.Name] = true
			}
			all = append(all, f)
		}
	}
	if len(found) > 1 {
		slices.SortStableFunc(all, func(a, b *file) int {
			if d := pep440.Compare(*b.version, *a.version); d != 0 {
				return d
			}
			return strings.Compare(a.Name, b.Name)
		})
	}
	p.Releases = releases(all)
	return &catalog{project: p, files: all}
}

// releases groups sorted files by version.
func releases(files []*file) []*resolve.Release {
	all := make([]*resolve.File, len(files)) // one piece of memory for every release's list
	var out []*resolve.Release
	start := 0
	for i, f := range files {
		all[i] = &f.File
		if i+1 < len(files) && sameVersion(f, files[i+1]) {
			continue
		}
		out = append(out, &resolve.Release{Version: *files[start].version, Files: all[start : i+1 : i+1]})
		start = i + 1
	}
	return out
}

// sameVersion reports whether two files are of one release.
func sameVersion(a, b *file) bool {
	return a.version == b.version || pep440.Compare(*a.version, *b.version) == 0
}

// listing gets the page of one index.
func (x *Index) listing(ctx context.Context, s *server, name string) (*listing, error) {
	var l *listing
	err := x.client.Page(ctx, fetch.Page{
		URL:    s.page(name),
		Accept: accept,
		Max:    maxPage,
		Form:   compactForm,
		Reduce: func(a fetch.Answer) ([]byte, error) {
			p, err := readPage(a)
			if err != nil {
				return nil, err
			}
			if p.project != "" && p.project != name {
				return nil, fmt.Errorf("the page is the one of %q", p.project)
			}
			p.settle(name)
			return p.encode(), nil
		},
		Use: func(data []byte) (err error) {
			l, err = decodeListing(data, name)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	s.learn(l)
	for i := range l.files {
		l.files[i].server = s
	}
	return l, nil
}
