package rpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"appbundle/internal/atomicfile"
)

// IndexOptions say how a directory of packages becomes a repository.
type IndexOptions struct {
	// Signer signs what names all the rest: repomd.xml, Release. nil for none.
	Signer Signer
	// Time is what the repository is dated; the zero Time is 1970. A directory that is a
	// repository already is never dated before what it is: apt and yum take an older one
	// for an attack, and keep what they know.
	Time time.Time
	// Name is the origin and label of a new apt repository; "" for none. One that is there
	// keeps what it has: apt asks the administrator before it takes another.
	Name string
}

// Check reports what [Index] refuses to do, before anything is written.
func (o IndexOptions) Check(f Format, dir string) error {
	if arches[f] == nil {
		return fmt.Errorf("no repository has the format %q; there are rpm and deb", f)
	}
	if o.Name != "" && !isLine(o.Name) {
		return fmt.Errorf("name of the repository %q is not one line", o.Name)
	}
	if o.Signer != nil {
		return nil
	}
	signatures := []string{"repodata/repomd.xml.asc"}
	if f == Deb {
		signatures = []string{"InRelease", "Release.gpg"}
	}
	for _, name := range signatures {
		at := filepath.Join(dir, name)
		if _, err := os.Lstat(at); err == nil {
			return &RefusedError{at, "the repository is signed, and hosts would refuse it without a signature; sign it again with --sign, or use another directory"}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Index makes the directory dir a repository of all packages of format f in it, for
// dnf or apt, and gives the number of packages. Packages are read, their files are
// not. The same packages in a new directory give the same bytes.
//
// Of dnf, dir/repodata appears or is replaced in one step. Of apt, there are Packages,
// Packages.gz, Release, and with a Signer InRelease and Release.gpg; each is
// whole, and what names others comes last. A signed repository is not replaced by one
// that is not: the error is a *[RefusedError].
func Index(ctx context.Context, f Format, dir string, opts IndexOptions) (int, error) {
	var b Batch
	return atOnce(&b, func() (int, error) { return b.Index(ctx, f, dir, opts) })
}

// Index is [Index] for the directory as it will be, with the packages of the batch.
func (b *Batch) Index(ctx context.Context, f Format, dir string, opts IndexOptions) (int, error) {
	if err := opts.Check(f, dir); err != nil {
		return 0, err
	}
	names, err := b.packageNames(f, dir)
	if err != nil {
		return 0, err
	}
	if f == Deb {
		err = b.indexDeb(ctx, dir, names, opts)
	} else {
		err = b.indexRPM(ctx, dir, names, opts)
	}
	return len(names), err
}

// info gives what is known of a package of the batch, or reads it.
func (b *Batch) info(ctx context.Context, path string) (*Info, error) {
	if info, ok := b.infos[path]; ok {
		return info, nil
	}
	return ReadFile(ctx, path, Limits{HeadOnly: true})
}

// packageNames lists the packages in a directory and of the batch, sorted.
func (b *Batch) packageNames(f Format, dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, temporary := atomicfile.Temporary(e.Name()); !temporary && strings.HasSuffix(e.Name(), "."+string(f)) {
			names = append(names, e.Name())
		}
	}
	for path := range b.infos {
		if name := filepath.Base(path); filepath.Dir(path) == filepath.Clean(dir) && strings.HasSuffix(name, "."+string(f)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// unix is the time of the repository.
func (o IndexOptions) unix() int64 {
	if o.Time.IsZero() {
		return 0
	}
	return o.Time.Unix()
}

// A metadata is one file of repodata while it is written.
type metadata struct {
	name string
	gz   bytes.Buffer
	z    *gzip.Writer
	open hash.Hash // of what is compressed
	n    int64
}

func newMetadata(name string) *metadata {
	m := &metadata{name: name, open: sha256.New()}
	m.z = gzip.NewWriter(&m.gz)
	return m
}

func (m *metadata) Write(p []byte) (int, error) {
	m.open.Write(p)
	m.n += int64(len(p))
	return m.z.Write(p)
}

// file is the name of the file, which changes with its content: who has an old
// repomd.xml never reads the new file for the old.
func (m *metadata) file() string {
	sum := sha256.Sum256(m.gz.Bytes())
	return hex.EncodeToString(sum[:]) + "-" + m.name + ".xml.gz"
}

func (b *Batch) indexRPM(ctx context.Context, dir string, names []string, opts IndexOptions) error {
	all := []*metadata{newMetadata("primary"), newMetadata("filelists"), newMetadata("other")}
	for i, head := range []string{
		`<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`,
		`<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="%d">`,
		`<otherdata xmlns="http://linux.duke.edu/metadata/other" packages="%d">`,
	} {
		fmt.Fprintf(all[i], xml.Header+head+"\n", len(names))
	}
	for _, name := range names {
		info, err := b.info(ctx, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if info.Format != RPM {
			return &FormatError{Package: name, Reason: "is no rpm"}
		}
		for i, text := range [][]byte{info.primary(), info.filelists(), info.other()} {
			if _, err := all[i].Write(text); err != nil {
				return err
			}
		}
	}
	for i, end := range []string{"</metadata>\n", "</filelists>\n", "</otherdata>\n"} {
		if _, err := io.WriteString(all[i], end); err != nil {
			return err
		}
		if err := all[i].z.Close(); err != nil {
			return err
		}
	}
	before, err := revision(filepath.Join(dir, "repodata/repomd.xml"))
	if err != nil {
		return err
	}
	if before > opts.unix() {
		opts.Time = time.Unix(before, 0)
	}
	return b.writeRepodata(ctx, dir, all, opts)
}

var revisionOf = regexp.MustCompile(`<revision>(\d{1,12})</revision>`)

// revision is that of the metadata that is there, 0 for none.
func revision(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	m := revisionOf.FindSubmatch(text)
	if m == nil {
		return 0, nil
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// writeRepodata writes all files, with the one that names the others.
func (b *Batch) writeRepodata(ctx context.Context, dir string, all []*metadata, opts IndexOptions) (err error) {
	var repomd bytes.Buffer
	fmt.Fprintf(&repomd, xml.Header+`<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">`+"\n  <revision>%d</revision>\n", opts.unix())
	files := map[string][]byte{}
	for _, m := range all {
		sum := sha256.Sum256(m.gz.Bytes())
		files[m.file()] = m.gz.Bytes()
		fmt.Fprintf(&repomd, "  <data type=%q>\n    <checksum type=\"sha256\">%x</checksum>\n    <open-checksum type=\"sha256\">%x</open-checksum>\n"+
			"    <location href=\"repodata/%s\"/>\n    <timestamp>%d</timestamp>\n    <size>%d</size>\n    <open-size>%d</open-size>\n  </data>\n",
			m.name, sum, m.open.Sum(nil), m.file(), opts.unix(), m.gz.Len(), m.n)
	}
	repomd.WriteString("</repomd>\n")
	files["repomd.xml"] = repomd.Bytes()
	if opts.Signer != nil {
		if files["repomd.xml.asc"], err = detached(ctx, opts.Signer, repomd.Bytes(), opts.Time); err != nil {
			return err
		}
	}
	d, err := b.fs.Replacing(filepath.Join(dir, "repodata"), 0o755)
	if err != nil {
		return err
	}
	b.repodata = append(b.repodata, d)
	for name, content := range files {
		if err := writeBelow(d.Root(), name, content); err != nil {
			return err
		}
	}
	return d.Prepare()
}

func writeBelow(root *atomicfile.Root, name string, content []byte) error {
	out, err := root.Create(name, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(content)
	return errors.Join(err, out.Close())
}

// An element writes XML, line by line.
type element struct{ b bytes.Buffer }

// tag writes a line; each %s of format is escaped text.
func (e *element) tag(format string, texts ...any) {
	for i, t := range texts {
		if s, ok := t.(string); ok {
			var b strings.Builder
			xml.EscapeText(&b, []byte(s)) // a Builder takes everything
			texts[i] = b.String()
		}
	}
	fmt.Fprintf(&e.b, format+"\n", texts...)
}

// arch is the architecture as repositories call it.
func (p *Info) arch() string {
	if p.IsSource {
		return "src"
	}
	return p.Arch
}

func (p *Info) version() string {
	return fmt.Sprintf(`<version epoch="%d" ver="%s" rel="%s"/>`, p.EVR.Epoch, p.EVR.Version, p.EVR.Release)
}

func (p *Info) primary() []byte {
	var e element
	e.tag(`<package type="rpm">`)
	e.tag("  <name>%s</name>\n  <arch>%s</arch>", p.Name, p.arch())
	e.b.WriteString("  " + p.version() + "\n")
	e.tag(`  <checksum type="sha256" pkgid="YES">%x</checksum>`, p.SHA256)
	e.tag("  <summary>%s</summary>\n  <description>%s</description>\n  <packager>%s</packager>\n  <url>%s</url>", p.Summary, p.Description, p.Maintainer, p.Homepage)
	e.tag(`  <time file="%d" build="%d"/>`, p.Time.Unix(), p.Time.Unix())
	e.tag(`  <size package="%d" installed="%d" archive="%d"/>`, p.Size, p.Installed, p.Archive)
	e.tag(`  <location href="%s"/>`, p.File)
	e.tag("  <format>")
	e.tag("    <rpm:license>%s</rpm:license>\n    <rpm:vendor>%s</rpm:vendor>\n    <rpm:group>%s</rpm:group>\n    <rpm:buildhost>%s</rpm:buildhost>\n    <rpm:sourcerpm>%s</rpm:sourcerpm>",
		p.License, p.Vendor, p.Section, p.BuildHost, p.Source)
	e.tag(`    <rpm:header-range start="%d" end="%d"/>`, p.HeaderStart, p.HeaderEnd)
	for _, l := range []struct {
		name string
		list []Relation
	}{
		{"provides", p.Provides}, {"requires", p.foreign()}, {"conflicts", p.Conflicts}, {"obsoletes", p.Obsoletes},
		{"suggests", p.Suggests}, {"enhances", p.Enhances}, {"recommends", p.Recommends}, {"supplements", p.Supplements},
	} {
		e.relations(l.name, l.list)
	}
	for _, f := range p.Files {
		if primaryFile.MatchString(f.Path) {
			e.file("    ", f)
		}
	}
	e.tag("  </format>\n</package>")
	return e.b.Bytes()
}

// primaryFile are the files that a package can be required by without a look at all
// file lists.
var primaryFile = regexp.MustCompile(`^/etc/|bin/|^/usr/lib/sendmail$`)

// foreign gives what the package requires and does not provide itself, as it does
// config(NAME).
func (p *Info) foreign() (all []Relation) {
	own := make(map[Relation]bool, len(p.Provides))
	for _, r := range p.Provides {
		own[r] = true
	}
	for _, r := range p.Requires {
		plain := r
		if plain.Pre = false; !own[plain] {
			all = append(all, r)
		}
	}
	return all
}

// xmlOperators are the operators as repositories spell them.
var xmlOperators = map[string]string{"=": "EQ", "<": "LT", "<=": "LE", ">": "GT", ">=": "GE"}

// relations writes a list, without the features of rpm: no package provides them.
func (e *element) relations(name string, list []Relation) {
	open := false
	for _, r := range normal(list) {
		if strings.HasPrefix(r.Name, "rpmlib(") {
			continue
		}
		if !open {
			open = true
			e.tag("    <rpm:" + name + ">")
		}
		pre := ""
		if r.Pre {
			pre = ` pre="1"`
		}
		evr, err := ParseEVR(r.Version)
		switch {
		case r.Op == "" || err != nil:
			e.tag(`      <rpm:entry name="%s"`+pre+`/>`, r.Name)
		case evr.Release == "":
			e.tag(`      <rpm:entry name="%s" flags="%s" epoch="%d" ver="%s"`+pre+`/>`, r.Name, xmlOperators[r.Op], evr.Epoch, evr.Version)
		default:
			e.tag(`      <rpm:entry name="%s" flags="%s" epoch="%d" ver="%s" rel="%s"`+pre+`/>`, r.Name, xmlOperators[r.Op], evr.Epoch, evr.Version, evr.Release)
		}
	}
	if open {
		e.tag("    </rpm:" + name + ">")
	}
}

func (e *element) file(indent string, f File) {
	switch f.Kind {
	case Directory:
		e.tag(indent+`<file type="dir">%s</file>`, f.Path)
	case Ghost:
		e.tag(indent+`<file type="ghost">%s</file>`, f.Path)
	default:
		e.tag(indent+"<file>%s</file>", f.Path)
	}
}

func (p *Info) filelists() []byte {
	var e element
	e.tag(`<package pkgid="%x" name="%s" arch="%s">`, p.SHA256, p.Name, p.arch())
	e.b.WriteString("  " + p.version() + "\n")
	for _, f := range p.Files {
		e.file("  ", f)
	}
	e.tag("</package>")
	return e.b.Bytes()
}

func (p *Info) other() []byte {
	var e element
	e.tag(`<package pkgid="%x" name="%s" arch="%s">`, p.SHA256, p.Name, p.arch())
	e.b.WriteString("  " + p.version() + "\n</package>\n")
	return e.b.Bytes()
}
