package rpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// writeRPM streams the payload to the spool, and gives all that comes before it.
func (p *Package) writeRPM(ctx context.Context, raw []byte, s *spool, signer Signer) ([]byte, error) {
	r := bytes.NewReader(raw[min(leadSize, len(raw)):])
	_, rawSig, err := readHeader(r, regionSignatures)
	if err != nil {
		return nil, fmt.Errorf("nfpm: %w", err)
	}
	if _, err := r.Seek(int64((8-len(rawSig)%8)%8), io.SeekCurrent); err != nil {
		return nil, err
	}
	h, _, err := readHeader(r, regionImmutable)
	if err != nil {
		return nil, fmt.Errorf("nfpm: %w", err)
	}
	archive, err := p.writePayload(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := p.fillHeader(h, s); err != nil {
		return nil, err
	}
	return p.seal(ctx, raw[:leadSize:leadSize], h, archive, s, signer)
}

// seal gives what comes before the payload: the lead, the signature of the header, and
// the header. archive is the size of the payload before compression.
func (p *Package) seal(ctx context.Context, lead []byte, h header, archive int64, s *spool, signer Signer) ([]byte, error) {
	body := h.bytes(regionImmutable)
	sum := sha256.Sum256(body)
	sig := header{}
	sig.setInts(sigSize, uint32(s.n+int64(len(body))))
	sig.setString(sigSHA256, hex.EncodeToString(sum[:]))
	sig.setInts(sigPayloadSize, uint32(archive))
	if most := int64(maxRPMBytes); archive > most || s.n+int64(len(body)) > most {
		return nil, fmt.Errorf("the payload has %d bytes, and an rpm holds %d", archive, most)
	}
	if signer != nil {
		packet, err := signer.Sign(ctx, bytes.NewReader(body), Signing{Time: p.date()})
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		t, err := signatureTag(packet)
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		sig.setBinary(t, packet)
	}
	head := bytes.NewBuffer(lead)
	sigBytes := sig.bytes(regionSignatures)
	head.Write(sigBytes)
	head.Write(make([]byte, (8-len(sigBytes)%8)%8))
	head.Write(body)
	return head.Bytes(), nil
}

// fillHeader sets what depends on content, and what nfpm does not write.
func (p *Package) fillHeader(h header, s *spool) error {
	names, err := h.texts(tagBaseNames)
	if err != nil {
		return err
	}
	if len(names) != len(p.Files) {
		return fmt.Errorf("nfpm: wrote %d files of %d", len(names), len(p.Files))
	}
	var installed int64
	if len(p.Files) > 0 {
		installed = p.fillFiles(h)
	}
	p.fillPayload(h, installed, s)
	h.setInts(tagChangelogTime, uint32(p.unix()))
	h.setStrings(tagChangelogName, []string{p.Maintainer + " - " + p.EVR.String()})
	h.setStrings(tagChangelogText, []string{"- " + p.Name + " " + p.EVR.Version})
	for _, l := range []struct {
		tag  relationTag
		list []Relation
	}{
		{relationTags[0], p.rpmRequires()}, {relationTags[1], p.rpmProvides()}, {relationTags[2], normal(p.Conflicts)}, {relationTags[3], nil},
		{relationTags[4], normal(p.Recommends)},
	} {
		setRelations(h, l.tag, l.list)
	}
	return nil
}

// fillPayload sets what is said of the payload in s, and of all texts.
func (p *Package) fillPayload(h header, installed int64, s *spool) {
	h.setInts(tagSize, uint32(installed))
	h.setString(tagPayloadCompressor, string(Zstd))
	h.setString(tagPayloadFlags, "3")
	if p.Compression == Gzip {
		h.setString(tagPayloadCompressor, string(Gzip))
		h.setString(tagPayloadFlags, "6")
	}
	h.setStrings(tagPayloadDigest, []string{hex.EncodeToString(s.h.Sum(nil))})
	h.setInts(tagPayloadDigestAlgo, algoSHA256)
	h.setString(tagEncoding, "utf-8")
	h.setStrings(tagI18NTable, []string{"C"})
	for _, t := range []tag{tagSummary, tagDescription, tagGroup} {
		e := h[t]
		e.kind = typeI18N
		h[t] = e
	}
}

// fillFiles sets the columns of the file list that depend on content, and those that
// nfpm fills with something else than rpmbuild. It gives the size of all files.
func (p *Package) fillFiles(h header) (installed int64) {
	n := len(p.Files)
	sizes, modes, inodes := make([]uint32, n), make([]uint16, n), make([]uint32, n)
	digests, flags := make([]string, n), make([]uint32, n)
	for i, f := range p.Files {
		flags[i] = f.flags()
		modes[i], inodes[i] = uint16(f.cpioMode()), uint32(i+1)
		switch f.Kind {
		case Directory:
			sizes[i] = 4096
		case Symlink:
			sizes[i] = uint32(len(f.Link))
		default:
			sizes[i] = uint32(f.Size)
			digests[i] = hex.EncodeToString(f.SHA256[:])
			installed += f.Size
		}
	}
	h.setInts(tagFileSizes, sizes...)
	h.setInts(tagFileFlags, flags...)
	h.setShorts(tagFileModes, modes)
	h.setShorts(tagFileRDevs, make([]uint16, n))
	h.setInts(tagFileInodes, inodes...)
	h.setStrings(tagFileDigests, digests)
	h.setInts(tagFileDigestAlgo, algoSHA256)
	return installed
}

// flags are the flags of an entry of the file list. What is below /usr/share/doc or man
// is documentation, as for rpmbuild: a host may leave it out.
func (f File) flags() uint32 {
	switch {
	case f.Kind == Config:
		return fileConfig | fileNoReplace
	case f.Kind == License:
		return fileLicense
	case f.Kind != Directory && (strings.HasPrefix(f.Path, "/usr/share/doc/") || strings.HasPrefix(f.Path, "/usr/share/man/")):
		return fileDoc
	}
	return 0
}

// cpioName is the name in the payload: of a source as it is.
func (f File) cpioName() string {
	if strings.HasPrefix(f.Path, "/") {
		return "." + f.Path
	}
	return f.Path
}

// cpioMode is the mode with the type of the file.
func (f File) cpioMode() uint32 {
	switch f.Kind {
	case Directory:
		return modeDir | uint32(f.Mode.Perm())
	case Symlink:
		return modeLink | 0o777
	}
	return modeRegular | uint32(f.Mode.Perm())
}

// writePayload writes the files into the spool, compressed, and gives their size as
// an archive.
func (p *Package) writePayload(ctx context.Context, s *spool) (size int64, err error) {
	z, err := p.compressor(s)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			z.Close() // for its goroutines; the error is that of before
		}
	}()
	w := &counter{w: z}
	feed := newFeeder(ctx)
	for i, f := range p.Files {
		length, links := f.Size, 1
		switch f.Kind {
		case Directory:
			links = 2
		case Symlink:
			length = int64(len(f.Link))
		}
		if _, err := w.Write(cpioEntry(f.cpioName(), i+1, f.cpioMode(), links, uint32(p.unix()), length)); err != nil {
			return 0, err
		}
		switch f.Kind {
		case Directory:
		case Symlink:
			_, err = io.WriteString(w, f.Link)
		default:
			err = feed.copy(w, f)
		}
		if err != nil {
			return 0, err
		}
		if _, err := w.Write(make([]byte, pad4(w.n))); err != nil {
			return 0, err
		}
	}
	if _, err := w.Write(cpioEntry(cpioTrailer, 0, 0, 1, 0, 0)); err != nil {
		return 0, err
	}
	return w.n, z.Close()
}

// A counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
