package rpm

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// A Source is what rpmbuild, mock, koji, OBS and Copr make an rpm of: a spec and an
// archive. The archive has the files of the Package as they are to be installed, so
// that building takes no network and no tool but tar, and gives the same files.
type Source struct {
	Package       *Package   // an rpm
	BuildRequires []Relation // what a host must have that builds it
}

// SpecName is the name of the spec.
func (s *Source) SpecName() string { return s.Package.Name + ".spec" }

// ArchiveName is the name of the archive that the spec asks for.
func (s *Source) ArchiveName() string { return s.stem() + ".tar.gz" }

// FileName is the name of the rpm of sources.
func (s *Source) FileName() string { return s.stem() + ".src.rpm" }

func (s *Source) stem() string {
	e := s.Package.EVR
	e.Epoch = 0
	return s.Package.Name + "-" + e.String()
}

// listName is the name of the list of files in the archive.
const listName = "files"

// specMacros keep rpmbuild from changing the files, and from adding what it finds in
// them.
const specMacros = `%global debug_package %{nil}
%global __os_install_post %{nil}
%global __arch_install_post %{nil}
%global __brp_mangle_shebangs %{nil}
%global _build_id_links none
`

// Spec gives the text of the spec. No text of the package is a macro, a comment or a
// directive in it: where rpmbuild has no way to quote a line, a no-break space
// is put before it.
func (s *Source) Spec() (string, error) {
	p := s.Package
	if p.Format != RPM {
		return "", fmt.Errorf("a spec is for an rpm, not for a %s", p.Format)
	}
	if err := p.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(specMacros + "\n")
	tag := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, macroFree(value))
		}
	}
	tag("Name", p.Name)
	if p.EVR.Epoch != 0 {
		tag("Epoch", strconv.Itoa(p.EVR.Epoch))
	}
	tag("Version", p.EVR.Version)
	tag("Release", p.EVR.Release)
	tag("Summary", p.Summary)
	tag("License", p.License)
	tag("Group", p.section())
	tag("URL", p.Homepage)
	tag("Packager", p.Maintainer)
	tag("Source0", s.ArchiveName())
	if p.Arch == "noarch" {
		tag("BuildArch", p.Arch)
	} else {
		tag("ExclusiveArch", p.Arch)
	}
	tag("AutoReqProv", "no")
	requires, provides := p.Requires, p.Provides
	if p.hasConfig() { // which AutoReqProv would do
		requires, provides = append(slices.Clone(requires), p.configRelation()), append(slices.Clone(provides), p.configRelation())
	}
	for _, l := range []struct {
		name string
		list []Relation
	}{{"BuildRequires", s.BuildRequires}, {"Requires", requires}, {"Provides", provides}, {"Recommends", p.Recommends}, {"Conflicts", p.Conflicts}} {
		for _, r := range normal(l.list) {
			if err := r.check(RPM, false); err != nil {
				return "", fmt.Errorf("%s %q: %w", l.name, r, err)
			}
			if strings.Contains(r.Name, ",") {
				return "", fmt.Errorf("%s %q: a comma ends a name in a spec", l.name, r)
			}
			name := l.name
			if r.Pre {
				name += "(pre,post,preun,postun)"
			}
			tag(name, r.String())
		}
	}
	fmt.Fprintf(&b, "\n%%description\n%s\n\n%%prep\n%%setup -q -n %s\n\n%%build\n\n%%install\nmkdir -p %%{buildroot}\ncp -a root/. %%{buildroot}/\n", specText(p.describe()), p.Name)
	for _, l := range []struct{ name, text string }{
		{"pre", p.Scripts.PreInstall}, {"post", p.Scripts.PostInstall}, {"preun", p.Scripts.PreRemove}, {"postun", p.Scripts.PostRemove},
		{"posttrans", p.Scripts.PostTransaction},
	} {
		if l.text == "" {
			continue
		}
		text := p.script(l.text)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "%") {
				return "", fmt.Errorf("script %%%s: a line that begins with %% is a directive in a spec: %q", l.name, line)
			}
		}
		fmt.Fprintf(&b, "\n%%%s\n%s", l.name, macroFree(text))
	}
	fmt.Fprintf(&b, "\n%%files -f %s\n", listName)
	return b.String(), nil
}

// macroFree makes a text one without macros.
func macroFree(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// specText makes lines ones of a section: a first % is a directive, doubled or not, and
// a line with a first # is left out.
func specText(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if first := strings.TrimSpace(line); strings.HasPrefix(first, "%") || strings.HasPrefix(first, "#") {
			line = "\u00a0" + line
		}
		b.WriteString(line)
	}
	return macroFree(b.String())
}

// fileList gives what %files has: every entry with its mode and its flags.
func (p *Package) fileList() (string, error) {
	var b strings.Builder
	for _, f := range p.Files {
		what := ""
		switch f.Kind {
		case Directory:
			what = "%dir "
		case Config:
			what = "%config(noreplace) "
		case License:
			what = "%license "
		}
		mode := fmt.Sprintf("%04o", f.Mode.Perm())
		if f.Kind == Symlink {
			mode = "-"
		}
		name, err := p.specPath(f.Path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%%attr(%s, %s, %s) %s%s\n", mode, owner(f.Owner), owner(f.Group), what, name)
	}
	return b.String(), nil
}

// specPath names a file in %files, where every name is a pattern and some characters
// cannot be quoted. A name with one of these is a pattern that matches it alone.
func (p *Package) specPath(at string) (string, error) {
	if !strings.ContainsAny(at, "*?[{}%\"") {
		return `"` + at + `"`, nil
	}
	pattern := strings.Map(func(r rune) rune {
		if strings.ContainsRune("*?[]{}%\"' ", r) {
			return '?'
		}
		return r
	}, at)
	for _, f := range p.Files {
		if ok, err := path.Match(pattern, f.Path); err != nil || ok && f.Path != at {
			return "", fmt.Errorf("file %q: a spec cannot tell it from %q", at, f.Path)
		}
	}
	return pattern, nil
}

// writeArchive writes the archive: NAME/files, and what is to be installed below
// NAME/root.
func (s *Source) writeArchive(ctx context.Context, w io.Writer) error {
	p := s.Package
	list, err := p.fileList()
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(w, 6)
	if err != nil {
		return err
	}
	out, feed := tar.NewWriter(z), newFeeder(ctx)
	for _, f := range append([]File{textFile("/"+listName, Regular, 0o644, list)}, p.Files...) {
		at := path.Join(p.Name, "root", f.Path)
		if f.Path == "/"+listName {
			at = path.Join(p.Name, listName)
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: at, Mode: int64(f.Mode.Perm()), Size: f.Size, ModTime: p.date(), Uname: "root", Gname: "root"}
		switch f.Kind {
		case Directory:
			h.Typeflag, h.Name = tar.TypeDir, at+"/"
		case Symlink:
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if f.Kind.hasContent() {
			if err := feed.copy(out, f); err != nil {
				return err
			}
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return z.Close()
}

// A SourceFile is a file that was written for rpmbuild.
type SourceFile struct {
	Path   string
	SHA256 [32]byte
}

// WriteSpec writes the spec and its archive into dir, each whole or not at all.
func WriteSpec(ctx context.Context, dir string, s *Source) ([]SourceFile, error) {
	var b Batch
	return atOnce(&b, func() ([]SourceFile, error) { return b.WriteSpec(ctx, dir, s) })
}

// WriteSpec is [WriteSpec] for files of the batch.
func (b *Batch) WriteSpec(ctx context.Context, dir string, s *Source) (_ []SourceFile, err error) {
	files, archive, err := s.files(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := archive.file.Close(); err == nil {
			err = closeErr
		}
	}()
	var list []SourceFile
	for _, f := range files {
		at := filepath.Join(dir, f.Path)
		if err := b.copyFile(ctx, at, f); err != nil {
			return nil, err
		}
		list = append(list, SourceFile{at, f.SHA256})
	}
	return list, nil
}

func (b *Batch) copyFile(ctx context.Context, at string, f File) error {
	out, err := b.create(at)
	if err != nil {
		return err
	}
	if err := newFeeder(ctx).copy(out, f); err != nil {
		return err
	}
	return out.Prepare()
}

// files gives the archive, spooled in dir, and the spec, in the order of their names.
func (s *Source) files(ctx context.Context, dir string) ([]File, *spool, error) {
	spec, err := s.Spec()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.SpecName(), err)
	}
	archive, err := newSpool(dir)
	if err != nil {
		return nil, nil, err
	}
	if err := s.writeArchive(ctx, archive); err != nil {
		_ = archive.file.Close() // the first error counts
		return nil, nil, fmt.Errorf("%s: %w", s.ArchiveName(), err)
	}
	return []File{
		{Path: s.ArchiveName(), Mode: 0o644, Size: archive.n, SHA256: [32]byte(archive.h.Sum(nil)),
			Open: func() (io.ReadCloser, error) {
				return io.NopCloser(io.NewSectionReader(archive.file, 0, archive.n)), nil
			}},
		textFile(s.SpecName(), Regular, 0o644, spec),
	}, archive, nil
}
