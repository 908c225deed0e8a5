package pypi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"appbundle/internal/fetch"
)

// links are files that count beside every index: those of a directory, or those
// that a page links to.
type links struct {
	dir string // "" for a page
	url string

	content memo[struct{}, map[string][]byte] // of a page: compact listings by project
}

// String is how messages name them.
func (l *links) String() string {
	if l.dir != "" {
		return l.dir
	}
	return fetch.Display(l.url)
}

// linked gives what l has of a project, nil for nothing.
func (x *Index) linked(ctx context.Context, l *links, name string) (*listing, error) {
	if l.dir != "" {
		return x.directory(l.dir, name)
	}
	content, err := l.content.do(ctx, struct{}{}, func(ctx context.Context) (map[string][]byte, error) {
		return x.linksPage(ctx, l.url)
	})
	if err != nil {
		return nil, fmt.Errorf("find-links: %w", err)
	}
	data, ok := content[name]
	if !ok {
		return nil, nil
	}
	return decodeListing(data, name)
}

// linksForm is the form in which a page of links is cached: a JSON object that
// has for each project what an index's page would be.
const linksForm = "links 1, " + compactForm

func (x *Index) linksPage(ctx context.Context, url string) (content map[string][]byte, err error) {
	err = x.client.Page(ctx, fetch.Page{
		URL:    url,
		Accept: "text/html",
		Max:    maxPage,
		Form:   linksForm,
		Reduce: func(a fetch.Answer) ([]byte, error) {
			p, err := readPage(a)
			if err != nil {
				return nil, err
			}
			return json.Marshal(p.byProject())
		},
		Use: func(data []byte) error {
			content = nil
			if err := json.Unmarshal(data, &content); err != nil {
				return err
			}
			for name, data := range content {
				if _, err := decodeListing(data, name); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return content, err
}

// byProject gives a compact page for every project that p links to.
func (p *page) byProject() map[string][]byte {
	pages := map[string]*page{}
	for _, o := range p.offers {
		if pages[o.project] == nil {
			pages[o.project] = &page{base: p.base}
		}
		of := pages[o.project]
		of.offers = append(of.offers, o)
	}
	out := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		pages[name].settle(name)
		out[name] = pages[name].encode()
	}
	return out
}

// directory gives the files of a directory that are of a project, with their
// digests.
func (x *Index) directory(dir, name string) (*listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("find-links: %w", err)
	}
	p := &page{}
	for _, e := range entries {
		o := offer{name: e.Name()}
		if !o.readName() || o.project != name {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		p.offers = append(p.offers, o)
	}
	if len(p.offers) == 0 {
		return nil, nil
	}
	p.settle(name)
	l := &listing{files: make([]file, len(p.offers))}
	for i := range p.offers {
		o := &p.offers[i]
		path := filepath.Join(dir, o.name)
		f := &l.files[i]
		f.Name, f.Path, f.version, f.Wheel = o.name, x.relative(path), &o.version, o.wheel
		sum, size, err := digest(path)
		if err != nil {
			return nil, fmt.Errorf("find-links: %w", err)
		}
		f.Size, f.Hashes = size, map[string]string{"sha256": sum}
	}
	return l, nil
}

// relative gives path as seen from the application directory.
func (x *Index) relative(path string) string {
	root, err := filepath.Abs(x.root)
	if err != nil {
		return filepath.ToSlash(path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.ToSlash(path)
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil {
		return filepath.ToSlash(path)
	}
	return filepath.ToSlash(rel)
}

// local is the path of a local file, from the working directory.
func (x *Index) local(path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(x.root, path)
}

func digest(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
