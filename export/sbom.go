// Package export says what an application is made of in the words of others: as
// a CycloneDX bill of materials.
//
// Its functions are pure: bytes from an App, the same for the same App, whoever
// calls, wherever and whenever. So nothing in them is of the host or the clock; the
// serial number of a bill is made of the digest of the application.
package export

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"

	"appbundle/bundle"
	"appbundle/schema"
)

// serials is the name space of serial numbers: "appbundle sbom 1", filled up.
var serials = [16]byte{'a', 'p', 'p', 'b', 'u', 'n', 'd', 'l', 'e', ' ', 's', 'b', 'o', 'm', ' ', '1'}

// SBOM gives the bill of materials of an application: CycloneDX 1.6 in JSON.
// tool is the version of the program that makes it.
//
// Its components are
//
//   - the packages of the environment, with the SHA-256 of the wheel that each was
//     installed from; without an environment those of the lock, of all targets;
//   - the modules that go.mod requires;
//   - what external-dependencies.txt names, with no version, since that is the host's.
//
// Where the lock has a package, its files are references with their hashes, and what
// it needs is in the graph. An application that locks nothing has a bill with no
// components of that kind: a version that nobody pinned is not made up.
func SBOM(app *bundle.App, tool string) ([]byte, error) {
	b := &bill{app: app, components: []cyclonedx.Component{}, refs: map[string][]string{}, graph: map[string][]string{}, seen: map[string]bool{}}
	b.python()
	b.modules()
	b.external()
	bom := cyclonedx.NewBOM()
	digest := app.Digest()
	bom.SerialNumber = serial(digest)
	bom.Metadata = &cyclonedx.Metadata{
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{
			{Type: cyclonedx.ComponentTypeApplication, Name: "appbundle", Version: tool},
		}},
		Component: &cyclonedx.Component{
			BOMRef: root, Type: cyclonedx.ComponentTypeApplication,
			Name: app.Name, Version: app.Version, Description: app.Config.App.Description,
			Licenses:   licenses(app.Config.App.License),
			PackageURL: purl("generic", nil, app.Name, app.Version),
			Properties: properties("appbundle:digest", digest, "appbundle:target", app.Target()),
		},
	}
	slices.SortFunc(b.components, func(x, y cyclonedx.Component) int { return cmp.Compare(x.BOMRef, y.BOMRef) })
	bom.Components = &b.components
	bom.Dependencies = b.dependencies()
	var out bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_6)
	return out.Bytes(), err
}

// root is the reference of the application itself.
const root = "app"

// serial makes a UUID of version 5 (RFC 9562) of a digest.
func serial(digest string) string {
	sum := sha1.Sum(append(serials[:], digest...))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80
	text := hex.EncodeToString(id)
	return fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", text[:8], text[8:12], text[12:16], text[16:20], text[20:])
}

// A bill is one that is being made.
type bill struct {
	app        *bundle.App
	components []cyclonedx.Component
	seen       map[string]bool     // references of components
	refs       map[string][]string // of the Python packages, by name
	graph      map[string][]string // what each needs, by reference
}

func (b *bill) add(c cyclonedx.Component) bool {
	if b.seen[c.BOMRef] {
		return false
	}
	b.seen[c.BOMRef] = true
	b.components = append(b.components, c)
	return true
}

func (b *bill) needs(ref, other string) {
	if !slices.Contains(b.graph[ref], other) {
		b.graph[ref] = append(b.graph[ref], other)
	}
}

// dependencies gives the graph, in the order of the references.
func (b *bill) dependencies() *[]cyclonedx.Dependency {
	all := []cyclonedx.Dependency{}
	for _, ref := range slices.Sorted(maps.Keys(b.graph)) {
		slices.Sort(b.graph[ref])
		others := b.graph[ref]
		all = append(all, cyclonedx.Dependency{Ref: ref, Dependencies: &others})
	}
	return &all
}

// python adds the packages of the environment, or those of the lock.
func (b *bill) python() {
	var locked []schema.LockedPackage
	if b.app.Lock != nil {
		locked = b.app.Lock.Packages
	}
	installed := map[string]*schema.InstalledPackage{}
	if env := b.app.Environment; env != nil && len(env.Site) == 0 {
		for i := range env.Packages {
			p := &env.Packages[i]
			installed[p.Name] = p
			b.installed(p, locked)
		}
	}
	var there []*schema.LockedPackage
	for i := range locked {
		p := &locked[i]
		in := installed[p.Name]
		if len(installed) > 0 && (in == nil || in.Version != p.Version) {
			continue // of another target
		}
		if in == nil {
			b.locked(p)
		}
		there = append(there, p)
	}
	for _, p := range there {
		ref := pythonRef(p.Name, p.Version)
		if len(p.Tool.From) > 0 {
			b.needs(root, ref)
		}
		for _, d := range p.Dependencies {
			for _, other := range b.refs[d.Name] {
				if d.Version == "" || other == pythonRef(d.Name, d.Version) {
					b.needs(ref, other)
				}
			}
		}
	}
}

func pythonRef(name, version string) string { return purl("pypi", nil, name, version) }

func (b *bill) installed(p *schema.InstalledPackage, locked []schema.LockedPackage) {
	ref := pythonRef(p.Name, p.Version)
	c := cyclonedx.Component{
		BOMRef: ref, PackageURL: ref, Type: cyclonedx.ComponentTypeLibrary, Name: p.Name, Version: p.Version,
		Hashes: sha256(p.SHA256), Properties: properties("appbundle:file", p.File),
	}
	for i := range locked {
		if l := &locked[i]; l.Name == p.Name && l.Version == p.Version {
			c.Licenses = licenses(l.Tool.License)
			c.ExternalReferences = files(l, p.SHA256)
		}
	}
	if b.add(c) {
		b.refs[p.Name] = append(b.refs[p.Name], ref)
	}
	if p.Requested {
		b.needs(root, ref)
	}
}

func (b *bill) locked(p *schema.LockedPackage) {
	ref := pythonRef(p.Name, p.Version)
	c := cyclonedx.Component{
		BOMRef: ref, PackageURL: ref, Type: cyclonedx.ComponentTypeLibrary, Name: p.Name, Version: p.Version,
		Licenses: licenses(p.Tool.License), ExternalReferences: files(p, ""),
	}
	if p.VCS != nil {
		c.ExternalReferences = &[]cyclonedx.ExternalReference{{Type: cyclonedx.ERTypeVCS, URL: cmp.Or(p.VCS.URL, p.VCS.Path), Comment: p.VCS.CommitID}}
	}
	if b.add(c) {
		b.refs[p.Name] = append(b.refs[p.Name], ref)
	}
}

// files refers to the files of a package that have a SHA-256: to all, or to the one
// that was installed.
func files(p *schema.LockedPackage, installed string) *[]cyclonedx.ExternalReference {
	var all []cyclonedx.ExternalReference
	add := func(f *schema.LockedFile) {
		sum := f.SHA256()
		if sum == "" || installed != "" && sum != installed {
			return
		}
		at := f.URL
		if at == "" {
			at = (&url.URL{Path: f.Path}).String()
		}
		all = append(all, cyclonedx.ExternalReference{Type: cyclonedx.ERTypeDistribution, URL: at, Hashes: sha256(sum)})
	}
	for i := range p.Wheels {
		add(&p.Wheels[i])
	}
	for _, f := range []*schema.LockedFile{p.Sdist, p.Archive} {
		if f != nil {
			add(f)
		}
	}
	if all == nil {
		return nil
	}
	return &all
}

// modules adds what go.mod requires. What a module needs itself is not in go.mod.
func (b *bill) modules() {
	if b.app.GoMod == nil {
		return
	}
	for _, m := range b.app.GoMod.Requires {
		version := "v" + m.Version.String()
		parts := strings.Split(strings.ToLower(m.Name), "/")
		ref := purl("golang", parts[:len(parts)-1], parts[len(parts)-1], version)
		b.add(cyclonedx.Component{BOMRef: ref, PackageURL: ref, Type: cyclonedx.ComponentTypeLibrary, Name: m.Name, Version: version})
		if !m.Indirect {
			b.needs(root, ref)
		}
	}
}

// external adds what the host provides.
func (b *bill) external() {
	for i := range b.app.External {
		e := &b.app.External[i]
		c := cyclonedx.Component{
			BOMRef: "external:" + e.Name, Type: cyclonedx.ComponentTypeLibrary, Name: e.Name,
			Properties: properties("appbundle:external", e.String()),
		}
		switch d := e.Dep; {
		case d == nil:
			c.PackageURL = purl("generic", nil, e.Name, "")
		case d.Type != "virtual":
			c.Name = d.Name
			c.PackageURL = purl(d.Type, d.Namespace, d.Name, "")
		}
		b.add(c)
		b.needs(root, c.BOMRef)
	}
}

// purl writes a package URL, version "" for none.
func purl(kind string, namespace []string, name, version string) string {
	var s strings.Builder
	s.WriteString("pkg:" + kind)
	for _, part := range append(slices.Clone(namespace), name) {
		s.WriteString("/" + escape(part))
	}
	if version != "" {
		s.WriteString("@" + escape(version))
	}
	return s.String()
}

// escape leaves the characters of a package URL that need no escape: letters,
// digits, ".-_~" and the colon.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".-_~:", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func licenses(expression string) *cyclonedx.Licenses {
	if expression == "" {
		return nil
	}
	return &cyclonedx.Licenses{{Expression: expression}}
}

func sha256(sum string) *[]cyclonedx.Hash {
	return &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}}
}

func properties(pairs ...string) *[]cyclonedx.Property {
	var all []cyclonedx.Property
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, cyclonedx.Property{Name: pairs[i], Value: pairs[i+1]})
	}
	return &all
}
