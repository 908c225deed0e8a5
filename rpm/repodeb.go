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

	"appbundle/internal/atomicfile"
)

// indexDeb writes a flat repository: "deb [...] file:DIR ./" names it.
func indexDeb(ctx context.Context, dir string, names []string, opts IndexOptions) error {
	var packages bytes.Buffer
	arches := []string{}
	for _, name := range names {
		info, err := ReadFile(ctx, filepath.Join(dir, name), Limits{HeadOnly: true})
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
	release := opts.release(slices.Compact(arches), packages.Bytes(), compressed.Bytes())
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
		path := filepath.Join(dir, f.name)
		if f.content == nil && f.name != "Packages" { // of a signature that is no more
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if err := atomicfile.WriteFile(path, f.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// release names the index files. It is never empty: apt takes an empty one for a
// broken signature.
func (o IndexOptions) release(arches []string, packages, compressed []byte) []byte {
	var b bytes.Buffer
	if o.Name != "" {
		fmt.Fprintf(&b, "Origin: %s\nLabel: %[1]s\n", o.Name)
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
