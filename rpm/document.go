package rpm

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Document adds what Debian demands of every package: a copyright file and a
// changelog in /usr/share/doc/NAME. It leaves an rpm as it is.
func (p *Package) Document() error {
	if p.Format != Deb {
		return nil
	}
	dir := "/usr/share/doc/" + p.Name
	log, err := p.changelog()
	if err != nil {
		return err
	}
	p.Files = append(slices.Clip(p.Files), // a new array: the old one may be another package's too
		File{Path: dir, Kind: Directory, Mode: 0o755},
		textFile(dir+"/changelog.Debian.gz", Regular, 0o644, log),
		textFile(dir+"/copyright", Regular, 0o644, p.copyright()),
	)
	slices.SortFunc(p.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

// copyright tells the license, and where its texts are.
func (p *Package) copyright() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nPackaged-By: %s\n", p.Name, p.Maintainer)
	if p.Homepage != "" {
		fmt.Fprintf(&b, "Source: %s\n", p.Homepage)
	}
	fmt.Fprintf(&b, "Copyright: the authors of %s\nLicense: %s\n", p.Name, cmp.Or(p.License, "unknown"))
	head := "\nThe texts of licenses are in\n"
	for _, f := range p.Files {
		if f.Kind == License {
			fmt.Fprintf(&b, "%s %s\n", head, f.Path)
			head = ""
		}
	}
	if p.License == "Apache-2.0" && head != "" {
		fmt.Fprintf(&b, "%s /usr/share/common-licenses/Apache-2.0\n", head)
	}
	return b.String()
}

// changelog has one entry: that of the version.
func (p *Package) changelog() (string, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(w, "%s (%s) unstable; urgency=medium\n\n  * Version %s.\n\n -- %s  %s\n",
		p.Name, p.EVR, p.EVR.Version, p.Maintainer, p.date().Format("Mon, 02 Jan 2006 15:04:05 +0000"))
	if err := w.Close(); err != nil {
		return "", err
	}
	return b.String(), nil
}
