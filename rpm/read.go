package rpm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// leadMagic begins an rpm; the other 92 bytes of its lead say nothing that the
// header does not say better.
var leadMagic = [4]byte{0xed, 0xab, 0xee, 0xdb}

const leadSize = 96

// readRPM reads a package up to the end of its payload.
func readRPM(in *sum, lim Limits) (*Info, error) {
	var lead [leadSize]byte
	if _, err := io.ReadFull(in, lead[:]); err != nil {
		return nil, err
	}
	if lead[4] != 3 || lead[6] != 0 || lead[7] > 1 || lead[78] != 0 || lead[79] != 5 {
		return nil, malformed("has a lead that is not of version 3 with a signature in a header")
	}
	sig, rawSig, err := readHeader(in, regionSignatures)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, in, int64((8-len(rawSig)%8)%8)); err != nil {
		return nil, err
	}
	info := &Info{HeaderStart: in.n}
	h, raw, err := readHeader(in, regionImmutable)
	if err != nil {
		return nil, err
	}
	info.HeaderEnd, info.header = in.n, raw
	if err := info.fill(h, sig); err != nil {
		return nil, err
	}
	digests, err := info.files(h, lim)
	if err != nil {
		return nil, err
	}
	if lim.HeadOnly {
		return info, nil
	}
	if err := info.payload(in, h, digests, lim); err != nil {
		return nil, err
	}
	if said, err := wide(sig, sigSize, sigLongSize); err != nil {
		return nil, err
	} else if said != 0 && said != uint64(in.n-info.HeaderStart) {
		return nil, malformed("has %d bytes behind its signature, which says %d", in.n-info.HeaderStart, said)
	}
	return info, nil
}

// fill takes what is no file from the header and its signature.
func (p *Info) fill(h, sig header) error {
	p.Format = RPM
	var err error
	text := func(t tag, to *string) {
		if err == nil {
			*to, err = h.text(t)
		}
	}
	var epoch, built uint64
	number := func(t tag, to *uint64) {
		if err == nil {
			*to, err = h.number(t)
		}
	}
	var format, compressor string
	text(tagName, &p.Name)
	text(tagVersion, &p.EVR.Version)
	text(tagRelease, &p.EVR.Release)
	text(tagArch, &p.Arch)
	text(tagSummary, &p.Summary)
	text(tagDescription, &p.Description)
	text(tagLicense, &p.License)
	text(tagURL, &p.Homepage)
	text(tagPackager, &p.Maintainer)
	text(tagGroup, &p.Section)
	text(tagVendor, &p.Vendor)
	text(tagBuildHost, &p.BuildHost)
	text(tagSource, &p.Source)
	text(tagPreInstall, &p.Scripts.PreInstall)
	text(tagPostInstall, &p.Scripts.PostInstall)
	text(tagPreRemove, &p.Scripts.PreRemove)
	text(tagPostRemove, &p.Scripts.PostRemove)
	text(tagPostTransaction, &p.Scripts.PostTransaction)
	text(tagPayloadFormat, &format)
	text(tagPayloadCompressor, &compressor)
	number(tagEpoch, &epoch)
	number(tagBuildTime, &built)
	for _, l := range relationTags {
		if err == nil {
			*l.of(p), err = readRelations(h, l)
		}
	}
	if err != nil {
		return err
	}
	_, p.IsSource = h[tagSourcePackage]
	p.EVR.Epoch, p.Time, p.Compression = int(epoch), time.Unix(int64(built), 0).UTC(), Compression(compressor)
	if err := p.checkIdentity(epoch, built, format); err != nil {
		return err
	}
	return p.fillSignature(h, sig)
}

// checkIdentity checks what names a package.
func (p *Info) checkIdentity(epoch, built uint64, format string) error {
	switch {
	case !rpmName.MatchString(p.Name) || len(p.Name) > maxName:
		return malformed("has the name %.100q", p.Name)
	case epoch > math.MaxInt32 || built > math.MaxUint32:
		return malformed("has epoch %d and was built at %d", epoch, built)
	case !isWord(p.Arch):
		return malformed("has the architecture %.100q", p.Arch)
	case format != "" && format != "cpio":
		return malformed("has a payload of format %.100q", format)
	}
	if err := p.EVR.check(RPM); err != nil {
		return malformed("has the version %.100q: %v", p.EVR, err)
	}
	return nil
}

// fillSignature takes sizes and signatures, and checks the digest of the header.
func (p *Info) fillSignature(h, sig header) error {
	installed, err := wide(h, tagSize, tagLongSize)
	if err != nil {
		return err
	}
	archive, err := wide(sig, sigPayloadSize, sigLongArchive)
	if err != nil {
		return err
	}
	p.Installed, p.Archive = int64(min(installed, math.MaxInt64)), int64(min(archive, math.MaxInt64))
	want, err := sig.text(sigSHA256)
	if err != nil {
		return err
	}
	if got := sha256.Sum256(p.header); want != "" && want != hex.EncodeToString(got[:]) {
		return malformed("has a header with another SHA-256 than its signature says")
	}
	for _, t := range []tag{sigDSA, sigRSA, sigOpenPGP} {
		if e, ok := sig[t]; ok {
			p.Signatures = append(p.Signatures, e.data)
		}
	}
	return nil
}

// wide gives a number that has a second tag for what 32 bits do not hold.
func wide(h header, narrow, long tag) (uint64, error) {
	if _, ok := h[long]; ok {
		return h.number(long)
	}
	return h.number(narrow)
}

// A relationTag says where in a header a list of relations is.
type relationTag struct {
	names, versions, flags tag
	of                     func(*Info) *[]Relation
}

var relationTags = []relationTag{
	{tagRequires, tagRequireVersions, tagRequireFlags, func(p *Info) *[]Relation { return &p.Requires }},
	{tagProvides, tagProvideVersions, tagProvideFlags, func(p *Info) *[]Relation { return &p.Provides }},
	{tagConflicts, tagConflictVersions, tagConflictFlags, func(p *Info) *[]Relation { return &p.Conflicts }},
	{tagObsoletes, tagObsoleteVersions, tagObsoleteFlags, func(p *Info) *[]Relation { return &p.Obsoletes }},
	{tagRecommends, tagRecommendVersions, tagRecommendFlags, func(p *Info) *[]Relation { return &p.Recommends }},
	{tagSuggests, tagSuggestVersions, tagSuggestFlags, func(p *Info) *[]Relation { return &p.Suggests }},
	{tagSupplements, tagSupplementVersion, tagSupplementFlags, func(p *Info) *[]Relation { return &p.Supplements }},
	{tagEnhances, tagEnhanceVersions, tagEnhanceFlags, func(p *Info) *[]Relation { return &p.Enhances }},
}

func readRelations(h header, l relationTag) ([]Relation, error) {
	n := h[l.names].count
	if n == 0 {
		return nil, nil
	}
	if n > maxRelations {
		return nil, malformed("has %d relations in tag %d; the limit is %d", n, l.names, maxRelations)
	}
	if err := h.sameCount(n, l.versions, l.flags); err != nil {
		return nil, err
	}
	names, err := h.texts(l.names)
	if err != nil {
		return nil, err
	}
	versions, err := h.texts(l.versions)
	if err != nil {
		return nil, err
	}
	flags, err := h.ints(l.flags)
	if err != nil {
		return nil, err
	}
	all := make([]Relation, len(names))
	for i, name := range names {
		op := operators[flags[i]&(senseLess|senseGreater|senseEqual)]
		if op == "" || versions[i] == "" {
			op, versions[i] = "", ""
		}
		if !printable(name) || !printable(versions[i]) || name == "" {
			return nil, malformed("has the relation %.100q %.100q", name, versions[i])
		}
		all[i] = Relation{Name: name, Op: op, Version: versions[i], Pre: l.names == tagRequires && flags[i]&sensePre != 0}
	}
	return all, nil
}

// operators by the bits of a relation.
var operators = map[uint64]string{
	senseLess: "<", senseLess | senseEqual: "<=", senseEqual: "=", senseGreater | senseEqual: ">=", senseGreater: ">",
}

// payload decompresses the files and compares them with the list.
func (p *Info) payload(in *sum, h header, digests []digest, lim Limits) error {
	payload := newSum(in)
	z, err := decompress(string(p.Compression), bufio.NewReaderSize(payload, 64<<10))
	if err != nil {
		return err
	}
	defer z.Close()
	if err := p.readPayload(newWindow(z), digests, lim); err != nil {
		return err
	}
	if err := payload.drain(true); err != nil {
		return err
	}
	algo, err := h.number(tagPayloadDigestAlgo)
	if err != nil {
		return err
	}
	want, err := h.text(tagPayloadDigest)
	if err != nil {
		return err
	}
	if want == "" {
		return nil
	}
	if algo != algoSHA256 {
		return malformed("has a digest of its payload by algorithm %d", algo)
	}
	if got := hex.EncodeToString(payload.h.Sum(nil)); got != strings.ToLower(want) {
		return malformed("has a payload with the SHA-256 %s, and its header says %.64q", got, want)
	}
	return nil
}

// cleanDir reports whether a directory name of a file list is absolute and clean,
// with a slash at its end.
func cleanDir(d string) bool {
	return strings.HasSuffix(d, "/") && printable(d) && len(d) <= maxPath && (d == "/" || path.Clean(d)+"/" == d && d[0] == '/')
}

// printable reports whether s is what one line can show: UTF-8 or any other bytes
// that are no control characters.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r != utf8.RuneError && r >= 0x80 && r < 0xa0 {
			return false
		}
	}
	return true
}

func isWord(s string) bool {
	return s != "" && len(s) <= 64 && !bytes.ContainsFunc([]byte(s), func(r rune) bool {
		return r > 127 || !isDigit(byte(r)) && !isLetter(byte(r)) && r != '_' && r != '-'
	})
}

// String gives NAME-EVR.ARCH.
func (p *Info) String() string { return fmt.Sprintf("%s-%s.%s", p.Name, p.EVR, p.Arch) }
