package bundle

import (
	"crypto/sha256"
	"io"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
)

// claims are the files of an archive by which the application says itself
// what its manifest says of it: app.ini, and the entrypoints for their
// interface. They are kept while the archive is read.
type claims struct {
	app   *App              // with the entries that the manifest has of them
	wants map[string]bool   // paths, after links
	files map[string][]byte // content, by path
}

// newClaims decides which files are kept.
func newClaims(m *schema.Manifest, index map[string]int) *claims {
	c := &claims{app: &App{built: true}, wants: map[string]bool{}, files: map[string][]byte{}}
	few, linked := append([]string{appFile, "bin"}, entrypoints...), false
	for _, name := range few {
		if i, ok := index[name]; ok {
			c.add(&m.Entries[i])
			linked = linked || m.Entries[i].Type == schema.EntryLink
		}
	}
	if linked {
		// What they point to may be anywhere.
		c.app.Entries = c.app.Entries[:0]
		for i := range m.Entries {
			c.add(&m.Entries[i])
		}
	}
	c.app.index()
	for _, name := range few {
		if e := c.app.resolve(name); e != nil && e.Type == File {
			c.wants[e.Path] = true
		}
	}
	return c
}

func (c *claims) add(m *schema.ManifestEntry) {
	c.app.Entries = append(c.app.Entries, Entry{Path: m.Path, Type: Type(m.Type), X: m.X, Size: m.Size, Link: m.Link})
}

// read takes what counts of the file of that path from r.
func (c *claims) read(path string, r io.Reader) error {
	e := c.app.Entry(path)
	n := int64(headSize)
	if e.Size <= schema.MaxFile {
		n = schema.MaxFile
	}
	data, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return err
	}
	e.setFacts(data[:min(len(data), headSize)])
	if e.Size <= schema.MaxFile {
		c.files[path] = data
	}
	return nil
}

// named gives the content of the file of each name, after links.
func (c *claims) named(names ...string) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range names {
		if e := c.app.resolve(name); e != nil && c.files[e.Path] != nil {
			files[name] = c.files[e.Path]
		}
	}
	return files
}

// checkClaims compares the manifest with what the application says. A name is the
// manifest's where app.ini has none: it was the directory's.
func (x *matcher) checkClaims() error {
	a, m := x.claims.app, x.manifest
	files := x.claims.named(append([]string{appFile}, entrypoints...)...)
	a.Config, _ = schema.ParseAppINI(appFile, files[appFile])
	version := a.Config.App.Version
	says := "says the version"
	if version == "" {
		says, version = "states no version, which means", "0.0.0"
	}
	ep := a.findEntrypoint(files)
	switch name := a.Config.App.Name; {
	case name != "" && name != m.Name:
		return x.refuse(appFile, "says the name %s, and the manifest says %s", name, m.Name)
	case version != m.Version:
		return x.refuse(appFile, "%s %s, and the manifest says %s", says, version, m.Version)
	case ep.Interface != "" && ep.Interface != m.Interface:
		return x.refuse(ep.Path, "has the interface %s (%s), and the manifest says %s", ep.Interface, ep.How, m.Interface)
	}
	return nil
}

// observe compares an entry that was written below root.
func (x *matcher) observe(root *atomicfile.Root, e safearchive.Entry, sum [sha256.Size]byte) error {
	if err := x.entry(e, sum); err != nil || !x.claims.wants[e.Path] {
		return err
	}
	f, err := root.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close() // opened for reading: nothing can be lost
	return x.claims.read(e.Path, f)
}
