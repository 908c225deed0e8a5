package rpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// indexDeb writes a flat repository: "deb [...] file:DIR ./" names it.
func (b *Batch) indexDeb(ctx context.Context, dir string, names []string, opts IndexOptions) error {
	var packages bytes.Buffer
	arches := []string{}
	for _, name := range names {
		info, err := b.info(ctx, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if info.Format != Deb {
			return &FormatError{Package: name, Reason: "is no deb"}
		}
		arches = append(arches, info.Arch)
		packages.Write(info.stanza())
	}
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	if _, err := z.Write(packages.Bytes()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	slices.Sort(arches)
	before, err := readRelease(filepath.Join(dir, "Release"))
	if err != nil {
		return err
	}
	if before == nil && opts.Name != "" {
		before = []Field{{"Origin", opts.Name}, {"Label", opts.Name}}
	}
	opts.Time = later(before, time.Unix(opts.unix(), 0))
	release := opts.release(before, slices.Compact(arches), packages.Bytes(), compressed.Bytes())
	var inline, apart []byte
	if opts.Signer != nil {
		var err error
		if inline, err = clearSigned(ctx, opts.Signer, release, opts.Time); err != nil {
			return err
		}
		if apart, err = detached(ctx, opts.Signer, release, opts.Time); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{"Packages", packages.Bytes()}, {"Packages.gz", compressed.Bytes()}, {"Release.gpg", apart}, {"Release", release}, {"InRelease", inline}} {
		if f.content == nil && f.name != "Packages" { // nobody signs
			continue
		}
		out, err := b.fs.Create(filepath.Join(dir, f.name), 0o644)
		if err != nil {
			return err
		}
		b.metadata = append(b.metadata, out)
		if _, err := out.Write(f.content); err != nil {
			return err
		}
		if err := out.Prepare(); err != nil {
			return err
		}
	}
	return nil
}

// identity are the fields of Release that apt takes for the identity of a repository.
var identity = []string{"Origin", "Label", "Suite", "Codename", "Version"}

// readRelease reads the fields of a Release; nil where there is none, or none that apt
// would read.
func readRelease(path string) ([]Field, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	fields, err := parseControl(text)
	if err != nil {
		return nil, nil
	}
	return fields, nil
}

// later is the date of a Release, where it is later than t, and else t.
func later(release []Field, t time.Time) time.Time {
	for _, f := range release {
		if f.Name != "Date" {
			continue
		}
		for _, layout := range []string{time.RFC1123, time.RFC1123Z} {
			if at, err := time.Parse(layout, f.Value); err == nil && at.After(t) {
				return at
			}
		}
	}
	return t
}

// release names the index files, for a repository that is called what it was before. It
// is never empty: apt takes an empty one for a broken signature.
func (o IndexOptions) release(before []Field, arches []string, packages, compressed []byte) []byte {
	var b bytes.Buffer
	for _, f := range before {
		if slices.Contains(identity, f.Name) {
			fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
		}
	}
	fmt.Fprintf(&b, "Date: %s\n", time.Unix(o.unix(), 0).UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	if len(arches) > 0 {
		fmt.Fprintf(&b, "Architectures: %s\n", strings.Join(arches, " "))
	}
	fmt.Fprintf(&b, "SHA256:\n %x %d Packages\n %x %d Packages.gz\n", sha256.Sum256(packages), len(packages), sha256.Sum256(compressed), len(compressed))
	return b.Bytes()
}

// stanza is the paragraph of a package in the index.
func (p *Info) stanza() []byte {
	var b bytes.Buffer
	for _, f := range p.Fields {
		switch strings.ToLower(f.Name) {
		case "filename", "size", "sha256", "md5sum", "sha1", "sha512", "status":
			continue // a package cannot say these of itself
		}
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "Filename: ./%s\nSize: %d\nSHA256: %x\n\n", p.File, p.Size, p.SHA256)
	return b.Bytes()
}
