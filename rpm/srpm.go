package rpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// leadSource is the type of a package of sources in its lead.
const leadSource = 1

// WriteSource writes the rpm of sources to the file at path as [Write] writes a package.
// Its files are compressed by gzip, which every rpm reads.
func WriteSource(ctx context.Context, path string, s *Source, opts Options) (*Info, error) {
	var b Batch
	return atOnce(&b, func() (*Info, error) { return b.WriteSource(ctx, path, s, opts) })
}

// WriteSource is [WriteSource] for a file of the batch.
func (b *Batch) WriteSource(ctx context.Context, path string, s *Source, opts Options) (*Info, error) {
	info, err := b.writeSource(ctx, path, s, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return info, nil
}

func (b *Batch) writeSource(ctx context.Context, path string, s *Source, opts Options) (_ *Info, err error) {
	dir := filepath.Dir(path)
	files, archive, err := s.files(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, archive.file.Close()) }()
	if archive.n > maxRPMBytes {
		return nil, fmt.Errorf("%s has %d bytes, and an rpm holds files of up to %d", s.ArchiveName(), archive.n, int64(maxRPMBytes))
	}
	payload, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, payload.file.Close()) }()
	q := *s.Package
	q.Files, q.Compression = files, Gzip
	size, err := q.writePayload(ctx, payload)
	if err != nil {
		return nil, err
	}
	head, err := q.seal(ctx, s.lead(), s.header(&q, payload), size, payload, opts.Signer)
	if err != nil {
		return nil, err
	}
	whole := func() io.Reader {
		return io.MultiReader(strings.NewReader(string(head)), io.NewSectionReader(payload.file, 0, payload.n))
	}
	info, err := Read(ctx, filepath.Base(path), whole(), Limits{Content: maxRPMBytes + 1})
	if err != nil {
		return nil, fmt.Errorf("reading back: %w", err)
	}
	if !info.IsSource || info.Name != q.Name || info.EVR != q.EVR {
		return nil, fmt.Errorf("reading back: it is %v", info)
	}
	if err := q.compareFiles(info); err != nil {
		return nil, fmt.Errorf("reading back: %w", err)
	}
	return info, b.add(path, whole(), info)
}

// lead gives the first bytes, which nothing but file(1) and old tools believe.
func (s *Source) lead() []byte {
	b := make([]byte, leadSize)
	copy(b, leadMagic[:])
	b[4] = 3 // the version, behind it a zero
	binary.BigEndian.PutUint16(b[6:], leadSource)
	binary.BigEndian.PutUint16(b[8:], 1) // the processor, which nobody reads
	copy(b[10:75], s.stem())
	binary.BigEndian.PutUint16(b[76:], 1) // Linux
	binary.BigEndian.PutUint16(b[78:], 5) // the signature is a header
	return b
}

// header gives the header of q, which has the files of the source.
func (s *Source) header(q *Package, payload *spool) header {
	h := header{}
	for t, text := range map[tag]string{
		tagName: q.Name, tagVersion: q.EVR.Version, tagRelease: q.EVR.Release, tagArch: q.Arch, tagOS: "linux",
		tagSummary: q.Summary, tagDescription: q.describe(), tagGroup: q.section(), tagLicense: q.License,
		tagPackager: q.Maintainer, tagBuildHost: buildHost, tagPayloadFormat: "cpio",
	} {
		h.setString(t, text)
	}
	if q.Homepage != "" {
		h.setString(tagURL, q.Homepage)
	}
	if q.EVR.Epoch != 0 {
		h.setInts(tagEpoch, uint32(q.EVR.Epoch))
	}
	h.setInts(tagBuildTime, uint32(q.unix()))
	h.setInts(tagSourcePackage, 1)
	h.setStrings(tagSources, []string{s.ArchiveName()})
	n := len(q.Files)
	names, texts, times, ones := make([]string, n), make([]string, n), make([]uint32, n), make([]uint32, n)
	owners := make([]string, n)
	for i, f := range q.Files {
		names[i], owners[i], times[i], ones[i] = f.Path, "root", uint32(q.unix()), 1
	}
	h.setStrings(tagBaseNames, names)
	h.setStrings(tagDirNames, []string{""})
	h.setInts(tagDirIndexes, make([]uint32, n)...)
	h.setStrings(tagFileOwners, owners)
	h.setStrings(tagFileGroups, owners)
	h.setStrings(tagFileLinks, texts)
	h.setStrings(tagFileLangs, texts)
	h.setInts(tagFileTimes, times...)
	h.setInts(tagFileDevices, ones...)
	installed := q.fillFiles(h)
	flags := make([]uint32, n)
	for i, f := range q.Files {
		if f.Path == s.SpecName() {
			flags[i] = fileSpec
		}
	}
	h.setInts(tagFileFlags, flags...)
	q.fillPayload(h, installed, payload)
	features := []Relation{
		{Name: "rpmlib(CompressedFileNames)", Op: "<=", Version: "3.0.4-1"}, {Name: "rpmlib(FileDigests)", Op: "<=", Version: "4.6.0-1"},
	}
	setRelations(h, relationTags[0], normal(append(features, s.BuildRequires...)))
	setRelations(h, relationTags[1], []Relation{{Name: q.Name, Op: "=", Version: q.EVR.String()}})
	return h
}
