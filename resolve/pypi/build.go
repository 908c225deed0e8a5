package pypi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"appbundle/internal/fetch"
	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// An Sdist is a source distribution that somebody wants a wheel of. Its sha256 is
// known.
type Sdist struct {
	resolve.File
	Project string // normalised
	Version pep440.Version

	index *Index
}

// Get gives the path of the file; see [Index.Get].
func (s *Sdist) Get(ctx context.Context) (path string, err error) { return s.index.Get(ctx, &s.File) }

// Get gives the path of a file on the disk, downloaded where it must be. It has the
// sha256 of f, where f has one. It must not be changed.
func (x *Index) Get(ctx context.Context, f *resolve.File) (path string, err error) {
	if f.URL == "" {
		path = x.local(f.Path)
		sum, _, err := digest(path)
		if want := f.Hashes["sha256"]; err == nil && want != "" && sum != want {
			err = fmt.Errorf("%s has changed", path)
		}
		return path, err
	}
	kept, err := x.client.File(ctx, fetch.File{URL: f.URL, Size: f.Size, Hashes: f.Hashes})
	return kept.Path, err
}

// A Wheel is what was made of a source distribution.
type Wheel struct {
	resolve.Built
	At string // path of the file, which may be elsewhere than in the bundle
}

// Build makes a wheel of a source distribution, with [Config].Build; see
// [resolve.Request].
func (x *Index) Build(ctx context.Context, name string, r *resolve.Release, f *resolve.File) (*resolve.Built, error) {
	known := x.known(name, r, f)
	w, err := x.build(ctx, name, known)
	if err != nil {
		return nil, err
	}
	m, err := x.wheelMetadata(name, known, w)
	if err != nil {
		return nil, err
	}
	if said, ok := x.metadata.done(known.key()); ok && !said.Built && !slices.Equal(projects(said.Requires), projects(m.Requires)) {
		return nil, &resolve.BuildError{File: f.Name, Reason: "its wheel asks for other packages than its PKG-INFO promises"}
	}
	return &w.Built, nil
}

// key is what the metadata and the wheel of a file are remembered under.
func (f *file) key() string { return f.source() + "\n" + f.Name }

// projects names what is required. Versions and markers may be written in another
// way by another release of the backend.
func projects(list []*pep508.Requirement) []string {
	var names []string
	for _, r := range list {
		names = append(names, r.Key())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// build makes the wheel of a file once.
func (x *Index) build(ctx context.Context, name string, f *file) (*Wheel, error) {
	if x.builder == nil {
		return nil, &resolve.MetadataError{File: f.Name, Reason: "builds are not allowed"}
	}
	return x.wheels.do(ctx, f.key(), func(ctx context.Context) (*Wheel, error) {
		s := Sdist{File: f.File, Project: name, Version: *f.version, index: x}
		if s.Hashes["sha256"] == "" {
			sum, n, err := x.Digest(ctx, &f.File)
			if err != nil {
				return nil, err
			}
			s.Hashes, s.Size = maps.Clone(f.Hashes), n
			if s.Hashes == nil {
				s.Hashes = map[string]string{}
			}
			s.Hashes["sha256"] = sum
		}
		return x.builder(ctx, s)
	})
}

// wheelMetadata reads what the wheel that was made of f says of itself.
func (x *Index) wheelMetadata(name string, f *file, w *Wheel) (*resolve.Metadata, error) {
	own := &file{File: *w.Wheel, version: f.version}
	t, err := readArchive(own, w.At)
	if err != nil && !isAnswer(err) {
		return nil, err
	}
	var m *schema.CoreMetadata
	if err == nil {
		m, err = x.decode(name, own, t.data)
	}
	if err != nil {
		return nil, &resolve.BuildError{File: f.Name, Reason: "its wheel is of no use: " + err.Error()}
	}
	return describe(m, true), nil
}

// isOutcome reports whether a build would end like that again.
func isOutcome(err error) bool {
	var failed *resolve.BuildError
	return isAnswer(err) || errors.As(err, &failed)
}
