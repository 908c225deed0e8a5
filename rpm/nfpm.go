package rpm

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	nfpmrpm "github.com/goreleaser/nfpm/v2/rpm"
)

// buildHost is what an rpm names as the host that built it: no host.
const buildHost = "localhost"

// skeletonCompression is of the empty files, whose headers are kilobytes of zeros each.
const skeletonCompression = "gzip:1"

// skeleton makes the package with files that are empty. Nothing is left to what nfpm
// would find out by itself: it would take host name, clock, umask, and modes of the
// disk.
func (p *Package) skeleton() ([]byte, error) {
	dir, err := os.MkdirTemp("", "appbundle-package-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		return nil, err
	}
	info := &nfpm.Info{
		Name: p.Name, Arch: p.Arch, Platform: "linux",
		Version: p.EVR.Version, Release: p.EVR.Release, VersionSchema: "none",
		Section: p.section(), Priority: "optional", Maintainer: p.Maintainer, Homepage: p.Homepage, License: p.License,
		Description: p.describe(), MTime: p.date(), DisableGlobbing: true,
	}
	if p.EVR.Epoch != 0 {
		info.Epoch = strconv.Itoa(p.EVR.Epoch)
	}
	info.RPM.Summary, info.RPM.Group, info.RPM.BuildHost, info.RPM.Compression = p.Summary, p.section(), buildHost, skeletonCompression
	info.Deb.Compression = skeletonCompression
	if p.Format == Deb {
		p.debRelations(info)
	}
	if err := p.scriptFiles(dir, info); err != nil {
		return nil, err
	}
	info.Contents = p.contents(empty)
	var out bytes.Buffer
	if p.Format == Deb {
		err = deb.Default.Package(info, &out)
	} else {
		err = nfpmrpm.DefaultRPM.Package(info, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("nfpm: %w", err)
	}
	return out.Bytes(), nil
}

// section is the section of a deb or the group of an rpm: tools want one.
func (p *Package) section() string {
	switch {
	case p.Section != "":
		return p.Section
	case p.Format == Deb:
		return "web"
	}
	return "Applications/Internet"
}

// describe gives the description as the format has it: of a deb behind the summary.
func (p *Package) describe() string {
	switch {
	case p.Format == Deb && p.Description != "":
		return p.Summary + "\n" + p.Description
	case p.Description == "":
		return p.Summary
	}
	return p.Description
}

// debRelations sets relations as control files have them. Those of an rpm have
// flags that nfpm does not know, see [Package.setRelations].
func (p *Package) debRelations(info *nfpm.Info) {
	texts := func(list []Relation, pre bool) (all []string) {
		for _, r := range normal(list) {
			if r.Pre == pre {
				all = append(all, r.deb())
			}
		}
		return all
	}
	info.Depends, info.Deb.Predepends = texts(p.Requires, false), texts(p.Requires, true)
	info.Provides, info.Recommends, info.Conflicts = texts(p.Provides, false), texts(p.Recommends, false), texts(p.Conflicts, false)
	info.Deb.Breaks, info.Replaces = texts(p.Breaks, false), texts(p.Replaces, false)
}

// scriptFiles writes scripts to files, which is how nfpm takes them.
func (p *Package) scriptFiles(dir string, info *nfpm.Info) error {
	s := &info.Scripts
	for _, l := range []struct {
		name, text string
		to         *string
	}{
		{"preinstall", p.Scripts.PreInstall, &s.PreInstall}, {"postinstall", p.Scripts.PostInstall, &s.PostInstall},
		{"preremove", p.Scripts.PreRemove, &s.PreRemove}, {"postremove", p.Scripts.PostRemove, &s.PostRemove},
		{"posttransaction", p.Scripts.PostTransaction, &info.RPM.Scripts.PostTrans},
	} {
		if l.text == "" {
			continue
		}
		*l.to = filepath.Join(dir, l.name)
		if err := os.WriteFile(*l.to, []byte(p.script(l.text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// contents describes every entry in full. A deb has all directories above its files;
// nfpm would give those that are missing the owner of a file in them.
func (p *Package) contents(empty string) (all files.Contents) {
	have := make(map[string]bool, len(p.Files))
	for _, f := range p.Files {
		have[f.Path] = true
	}
	for _, f := range p.Files {
		if p.Format == Deb {
			for dir := path.Dir(f.Path); dir != "/" && !have[dir]; dir = path.Dir(dir) {
				have[dir] = true
				all = append(all, p.content(File{Path: dir, Kind: Directory, Mode: 0o755}, empty))
			}
		}
		all = append(all, p.content(f, empty))
	}
	return all
}

func (p *Package) content(f File, empty string) *files.Content {
	c := &files.Content{
		Source: empty, Destination: f.Path,
		FileInfo: &files.ContentFileInfo{Owner: owner(f.Owner), Group: owner(f.Group), Mode: f.Mode, MTime: p.date()},
	}
	switch f.Kind {
	case Directory:
		c.Source, c.Type = "", files.TypeDir
	case Symlink:
		c.Source, c.Type, c.FileInfo.Mode = f.Link, files.TypeSymlink, 0o777
	case Config:
		c.Type = files.TypeConfigNoReplace
	case License:
		if c.Type = files.TypeRPMLicense; p.Format == Deb {
			c.Type = files.TypeFile // a license entry is left out of a deb
		}
	default:
		c.Type = files.TypeFile
	}
	return c
}

// owner is the name of a user or group, root where there is none.
func owner(name string) string {
	if name == "" {
		return "root"
	}
	return name
}
