package pypi

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"appbundle/internal/fetch"
	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep440"
)

// maxMetadata is the size of the largest METADATA or PKG-INFO, in bytes.
const maxMetadata = schema.MaxFile

// Metadata reads what a release says of itself; see [resolve.Provider].
func (x *Index) Metadata(ctx context.Context, name string, r *resolve.Release, f *resolve.File) (*resolve.Metadata, error) {
	known := x.known(name, r, f)
	return x.metadata.do(ctx, known.key(), func(ctx context.Context) (*resolve.Metadata, error) {
		return x.readMetadata(ctx, name, known)
	})
}

// known finds a file that Project gave; of another, such as one that a
// requirement names by URL, nothing is known.
func (x *Index) known(name string, r *resolve.Release, f *resolve.File) *file {
	if c, ok := x.projects.done(name); ok {
		if known := c.find(f); known != nil {
			return known
		}
	}
	return &file{File: *f, version: &r.Version}
}

// source names where a file comes from: its word counts for itself alone.
func (f *file) source() string {
	switch {
	case f.server != nil:
		return f.server.url
	case f.URL != "":
		return f.URL // of a page of links, or a requirement
	}
	return f.Path
}

// A text is a METADATA or PKG-INFO file as it was found.
type text struct {
	data []byte
	// checked is whether it is out of a file whose digest was compared, and not
	// what an index says.
	checked bool
}

func (x *Index) readMetadata(ctx context.Context, name string, f *file) (*resolve.Metadata, error) {
	keys := f.metadataKeys()
	for _, key := range keys {
		if data, ok := x.client.Load(fetch.Metadata, key); ok {
			return x.decodeMetadata(ctx, name, f, data)
		}
	}
	t, err := x.metadataText(ctx, f)
	if f.Wheel == nil && x.builder != nil && isAnswer(err) {
		// A wheel of it may tell more.
		if md, no := x.builtMetadata(ctx, name, f); !isAnswer(no) {
			return md, no
		}
	}
	if err != nil {
		return nil, err
	}
	if len(keys) > 0 {
		key := keys[len(keys)-1]
		if t.checked {
			key = keys[0]
		}
		x.client.Store(fetch.Metadata, key, schema.ReduceCoreMetadata(t.data))
	}
	return x.decodeMetadata(ctx, name, f, t.data)
}

// metadataKeys are where the metadata of f may be in the cache: that of a file
// with this digest, whoever has it, and what one index says of it. A file of
// which neither digest nor size is known may be another tomorrow.
func (f *file) metadataKeys() []string {
	for _, algorithm := range []string{"sha256", "sha512", "sha384"} {
		if sum := f.Hashes[algorithm]; sum != "" {
			whole := algorithm + ":" + sum + "\n" + f.Name
			return []string{whole, whole + "\n" + f.source()}
		}
	}
	if f.Size == 0 {
		return nil
	}
	return []string{f.Name + "\n" + strconv.FormatInt(f.Size, 10) + "\n" + f.source()}
}

func isAnswer(err error) bool {
	var e *resolve.MetadataError
	return errors.As(err, &e)
}

// metadataText looks for the metadata of f outside of the cache.
func (x *Index) metadataText(ctx context.Context, f *file) (text, error) {
	if f.URL == "" {
		return readArchive(f, x.local(f.Path))
	}
	if data, err := x.sidecar(ctx, f); data != nil || err != nil {
		return text{data: data}, err
	}
	if f.Wheel != nil {
		return x.wheelText(ctx, f)
	}
	kept, err := x.client.File(ctx, f.fetchFile())
	if err != nil {
		return text{}, err
	}
	return readArchive(f, kept.Path)
}

func (f *file) fetchFile() fetch.File {
	return fetch.File{URL: f.URL, Size: f.Size, Hashes: f.Hashes}
}

// decodeMetadata reads a text and, where that is no promise, what a build tells.
func (x *Index) decodeMetadata(ctx context.Context, name string, f *file, data []byte) (*resolve.Metadata, error) {
	m, err := x.decode(name, f, data)
	if err != nil {
		return nil, err
	}
	if f.Wheel != nil || m.Static() {
		return describe(m, false), nil
	}
	md, err := x.builtMetadata(ctx, name, f)
	var no *resolve.MetadataError
	if errors.As(err, &no) {
		err = &resolve.MetadataError{File: f.Name, Reason: whyDynamic(m) + ", and " + no.Reason}
	}
	return md, err
}

func (x *Index) builtMetadata(ctx context.Context, name string, f *file) (*resolve.Metadata, error) {
	w, err := x.build(ctx, name, f)
	if err != nil {
		return nil, err
	}
	return x.wheelMetadata(name, f, w)
}

// decode reads a text and compares it with what the file is called.
func (x *Index) decode(name string, f *file, data []byte) (*schema.CoreMetadata, error) {
	m, problems := schema.ParseCoreMetadata("", data)
	if len(problems) > 0 {
		return nil, &resolve.MetadataError{File: f.Name, Reason: "its metadata cannot be used: " + problems[0].Msg}
	}
	if m.Name != name || pep440.Compare(m.Version, *f.version) != 0 {
		return nil, &resolve.MetadataError{File: f.Name, Reason: fmt.Sprintf("its metadata is that of %s %s", m.Name, m.Version)}
	}
	if len(m.Repairs) > 0 {
		x.warn(f.Name + ": " + m.Repairs[0].Msg)
	}
	return m, nil
}

// describe gives the parts of core metadata that count.
func describe(m *schema.CoreMetadata, built bool) *resolve.Metadata {
	return &resolve.Metadata{
		Name:           m.Name,
		Version:        m.Version,
		RequiresPython: m.RequiresPython,
		Requires:       m.Requires,
		Extras:         m.Extras,
		License:        m.License,
		Built:          built,
	}
}

// whyDynamic says why a PKG-INFO is no promise.
func whyDynamic(m *schema.CoreMetadata) string {
	if len(m.Dynamic) > 0 {
		return "its PKG-INFO is dynamic"
	}
	if m.MetadataVersion == "" {
		return "its PKG-INFO has no version, and only 2.2 and later promise anything"
	}
	return fmt.Sprintf("its PKG-INFO is of version %s, and only 2.2 and later promise anything", m.MetadataVersion)
}

// Digest gives the sha256 and the size of a file, for which it is downloaded
// where the index does not say them, or where they were never checked.
func (x *Index) Digest(ctx context.Context, f *resolve.File) (sha256 string, size int64, err error) {
	if f.URL == "" {
		return digest(x.local(f.Path))
	}
	kept, err := x.client.File(ctx, fetch.File{URL: f.URL, Size: f.Size, Hashes: f.Hashes})
	return kept.SHA256, kept.Size, err
}
