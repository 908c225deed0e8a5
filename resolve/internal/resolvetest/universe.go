// Package resolvetest makes universes for tests of resolve and of what is built
// on it: projects, releases and files written as text, and a Provider over
// them.
//
// A universe has a line for each release, fields separated by "|". The first
// field is the project and the version; each other one is a requirement, or
// begins with one of these words:
//
//	python SPECIFIERS          Requires-Python of page and metadata
//	metadata-python SPECIFIERS Requires-Python of the metadata alone
//	extra NAME                 an extra that the metadata lists
//	yanked [REASON]            all files are yanked
//	uploaded YYYY-MM-DD        when all files were uploaded
//	wheel TAG [BUILD]          a wheel; without any, and without sdist, there is one for all
//	sdist                      a source distribution whose metadata is static
//	dynamic                    a source distribution that has to be built
//	built                      its metadata comes of a build
//	builds TAG                 of the wheel that a build gives; without it py3-none-any
//	build-fails                a build fails
//	broken REASON              its metadata cannot be read
//	license EXPRESSION         License-Expression
//	index URL                  the index that has the project
//
// A line "quarantined NAME REASON" is about a project. Empty lines and what
// follows "#" count for nothing. A file's hash is made of its name, and its URL
// is https://files.example/NAME.
package resolvetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// A Universe is a Provider over projects that were written down. It may be
// shared between goroutines once it is made.
type Universe struct {
	projects map[string]*resolve.Project
	metadata map[*resolve.Release]*resolve.Metadata
	broken   map[*resolve.File]string
	builds   map[*resolve.File]*Release

	// Builds are the files that were built.
	Builds []string
	// Pages and Reads count the questions.
	Pages, Reads atomic.Int64
}

// Parse reads a universe. The error names the line.
func Parse(text string) (*Universe, error) {
	u := New()
	for i, l := range strings.Split(text, "\n") {
		l, _, _ = strings.Cut(l, "#")
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if err := u.line(l); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return u, nil
}

// New gives an empty universe.
func New() *Universe {
	return &Universe{
		projects: make(map[string]*resolve.Project),
		metadata: make(map[*resolve.Release]*resolve.Metadata),
		broken:   make(map[*resolve.File]string),
		builds:   make(map[*resolve.File]*Release),
	}
}

func (u *Universe) line(l string) error {
	if rest, ok := strings.CutPrefix(l, "quarantined "); ok {
		name, why, _ := strings.Cut(rest, " ")
		u.project(name).Quarantined = why
		return nil
	}
	fields := strings.Split(l, "|")
	words := strings.Fields(fields[0])
	if len(words) != 2 {
		return fmt.Errorf("%q is not NAME VERSION", fields[0])
	}
	r := Release{Name: words[0], Version: words[1]}
	for _, f := range fields[1:] {
		if err := r.field(strings.TrimSpace(f)); err != nil {
			return err
		}
	}
	return u.Add(r)
}

// A Release is what a line says.
type Release struct {
	Name, Version  string
	Requires       []string
	Python         string // Requires-Python of page and metadata
	MetadataPython string // of the metadata alone
	Extras         []string
	Yanked         bool
	YankedReason   string
	Uploaded       time.Time
	Wheels         []string // tags; nil is py3-none-any, unless there is an sdist
	Sdist          bool
	Dynamic        bool // the sdist has to be built
	Built          bool
	Builds         string // tag of the wheel that a build gives, "" for py3-none-any
	BuildFails     bool
	Broken         string
	License        string
	Index          string
}

func (r *Release) field(f string) (err error) {
	word, rest, _ := strings.Cut(f, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "python":
		r.Python = rest
	case "metadata-python":
		r.MetadataPython = rest
	case "extra":
		r.Extras = append(r.Extras, rest)
	case "yanked":
		r.Yanked, r.YankedReason = true, rest
	case "uploaded":
		r.Uploaded, err = time.Parse(time.DateOnly, rest)
	case "wheel":
		r.Wheels = append(r.Wheels, rest)
	case "sdist":
		r.Sdist = true
	case "dynamic":
		r.Sdist, r.Dynamic = true, true
	case "built":
		r.Built = true
	case "builds":
		r.Builds = rest
	case "build-fails":
		r.BuildFails = true
	case "broken":
		r.Broken = rest
	case "license":
		r.License = rest
	case "index":
		r.Index = rest
	default:
		r.Requires = append(r.Requires, f)
	}
	return err
}

func (u *Universe) project(name string) *resolve.Project {
	name = pep508.NormalizeName(name)
	p := u.projects[name]
	if p == nil {
		p = &resolve.Project{Name: name, Index: "https://index.example/simple"}
		u.projects[name] = p
	}
	return p
}

// Add adds a release.
func (u *Universe) Add(r Release) error {
	v, err := pep440.Parse(r.Version)
	if err != nil {
		return fmt.Errorf("version %q: %w", r.Version, err)
	}
	p := u.project(r.Name)
	if r.Index != "" {
		p.Index = r.Index
	}
	md := &resolve.Metadata{Name: p.Name, Version: v, License: r.License, Built: r.Built}
	python, err := pep440.ParseSpecifiers(r.Python)
	if err != nil {
		return err
	}
	md.RequiresPython = python
	if r.MetadataPython != "" {
		if md.RequiresPython, err = pep440.ParseSpecifiers(r.MetadataPython); err != nil {
			return err
		}
	}
	for _, text := range r.Requires {
		req, err := pep508.Parse(text)
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		md.Requires = append(md.Requires, req)
	}
	for _, x := range r.Extras {
		md.Extras = append(md.Extras, pep508.NormalizeName(x))
	}
	slices.Sort(md.Extras)
	release := &resolve.Release{Version: v}
	file := func(name string, wheel *pep508.WheelName) *resolve.File {
		sum := sha256.Sum256([]byte(name))
		f := &resolve.File{
			Name: name, URL: "https://files.example/" + name,
			Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}, Size: 1000,
			Uploaded: r.Uploaded, RequiresPython: python, Yanked: r.Yanked, YankedReason: r.YankedReason, Wheel: wheel,
		}
		release.Files = append(release.Files, f)
		if r.Broken != "" {
			u.broken[f] = r.Broken
		}
		return f
	}
	stem := strings.ReplaceAll(p.Name, "-", "_") + "-" + v.String()
	wheels := r.Wheels
	if wheels == nil && !r.Sdist {
		wheels = []string{"py3-none-any"}
	}
	for _, w := range wheels {
		tag, build, _ := strings.Cut(w, " ")
		name := stem + "-" + tag + ".whl"
		if build != "" {
			name = stem + "-" + build + "-" + tag + ".whl"
		}
		wheel, err := pep508.ParseWheelName(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		file(name, &wheel)
	}
	if r.Sdist {
		f := file(stem+".tar.gz", nil)
		u.builds[f] = &r
		if r.Dynamic {
			u.broken[f] = "its requirements are dynamic, and builds are not allowed"
		}
	}
	slices.SortFunc(release.Files, func(a, b *resolve.File) int { return strings.Compare(a.Name, b.Name) })
	p.Releases = append(p.Releases, release)
	slices.SortStableFunc(p.Releases, func(a, b *resolve.Release) int { return b.Version.Compare(a.Version) })
	u.metadata[release] = md
	return nil
}

// Prefer adds all of another universe; of a project of both, that one counts.
func (u *Universe) Prefer(first *Universe) {
	maps.Copy(u.projects, first.projects)
	maps.Copy(u.metadata, first.metadata)
	maps.Copy(u.broken, first.broken)
	maps.Copy(u.builds, first.builds)
}

// Each calls f for every project, in no particular order.
func (u *Universe) Each(f func(*resolve.Project)) {
	for _, p := range u.projects {
		f(p)
	}
}

// Project implements resolve.Provider.
func (u *Universe) Project(_ context.Context, name string) (*resolve.Project, error) {
	u.Pages.Add(1)
	p := u.projects[name]
	if p == nil {
		return nil, fmt.Errorf("%s: %w", name, resolve.ErrNotFound)
	}
	return p, nil
}

// Metadata implements resolve.Provider.
func (u *Universe) Metadata(_ context.Context, name string, r *resolve.Release, f *resolve.File) (*resolve.Metadata, error) {
	u.Reads.Add(1)
	if why := u.broken[f]; why != "" {
		return nil, &resolve.MetadataError{File: f.Name, Reason: why}
	}
	md := u.metadata[r]
	if md == nil {
		return nil, fmt.Errorf("%s: no such release", name)
	}
	return md, nil
}

// Host is the target that Build builds on.
const Host = "cp311-manylinux_2_36_x86_64"

// Build makes a wheel of a source distribution; it is a Request's Build.
func (u *Universe) Build(_ context.Context, _ string, _ *resolve.Release, f *resolve.File) (*resolve.Built, error) {
	u.Builds = append(u.Builds, f.Name)
	r := u.builds[f]
	if r.BuildFails {
		return nil, &resolve.BuildError{File: f.Name, Reason: "it is said to fail", Output: []string{"no luck"}}
	}
	tag := r.Builds
	if tag == "" {
		tag = "py3-none-any"
	}
	name := strings.TrimSuffix(f.Name, ".tar.gz") + "-" + tag + ".whl"
	wheel, err := pep508.ParseWheelName(name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte("built " + name))
	return &resolve.Built{
		Wheel:  &resolve.File{Name: name, Path: "wheels/" + name, Size: 500, Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}, Wheel: &wheel},
		Record: &schema.LockedBuild{Sdist: schema.LockedFile{Name: f.Name, URL: f.URL, Size: f.Size, Hashes: f.Hashes}, Wheel: name, Host: Host},
	}, nil
}
