// Package pypi is the [resolve.Provider] of Python packages: it reads indexes
// that speak the simple API, in JSON or HTML, and directories of wheels.
//
// # What there is of a project
//
// Extra indexes are asked before the main one, and the first that has a name
// has all of it: an index that denies access or fails is not one that lacks the
// name, and nothing of a later one is looked at. [Config].MergeIndexes takes the
// files of all of them, as pip does; then whoever can upload to one can replace
// what another has. FindLinks count in addition to every index. A file that a
// requirement names by URL or path is there as well, and where nothing else asks
// for its project, is all of it.
//
// A file whose name is not, to the letter, that of a wheel or an sdist of the
// project, whose URL cannot be fetched, or that an https page offers over http
// is passed over and counted. A page of another major version of the protocol
// is an error. The order of a page means nothing.
//
// # What a release says of itself
//
// Metadata is taken from the first of these that has it:
//
//  1. the cache: the metadata of a file never changes;
//  2. the file's own ".metadata" beside it, checked where the page has its hash.
//     An index whose pages advertise none is asked for one once: some have them
//     all the same, and the answer is remembered;
//  3. the end of the wheel, where its directory is, with one or two requests for
//     a range. A server that answers with the whole file has sent it: it is
//     checked and kept;
//  4. the whole wheel;
//  5. for an sdist, its PKG-INFO, where that says that no build can change what
//     counts (PEP 643); else the wheel that [Config].Build makes of it.
//
// What 2 and 3 give is what the index says and is compared with the wheel when
// that is installed; it is cached for that index alone, so that no other
// index's word counts for it.
//
// # Limits
//
// A page has at most 64 MiB and 200,000 files; the name of a file 255 bytes, its
// version 128, its URL 4 KiB. Metadata has at most 4 MiB, an sdist 2 GiB when it
// is unpacked. One member of an archive is read and nothing is written of it,
// so names and links in an archive mean nothing here.
package pypi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"appbundle/internal/fetch"
	"appbundle/resolve"
)

// A Config says where packages come from.
type Config struct {
	// Index is the URL below which every project has its page. Required, but for
	// NoIndex. A user and a password in it, as in the others, are sent there and
	// appear nowhere else.
	Index        string
	Extra        []string // indexes that are asked first, in this order
	NoIndex      bool     // FindLinks alone
	MergeIndexes bool     // take what all indexes have of a name; the Index of a project that several have is ""

	// FindLinks are directories, file: URLs of such, and URLs of HTML pages. A
	// directory that does not exist is worth a warning.
	FindLinks []string
	Direct    []Direct // files that requirements name
	Root      string   // the application directory, which paths are relative to; "" means "."

	// Build makes a wheel of a source distribution: of one whose PKG-INFO is no
	// promise, and of what [Index.Build] is called for. A *resolve.MetadataError
	// says that it may not be built, a *resolve.BuildError that it could not. Nil
	// means that nothing is built.
	Build func(ctx context.Context, s Sdist) (*Wheel, error)

	Fetch fetch.Config // cache, credentials, limits, offline

	// Warn is told what somebody may want to know, each thing once, and by one
	// goroutine at a time. Nil means nobody.
	Warn func(msg string)
}

// An Index knows projects and their metadata. Its methods may be called from
// many goroutines at once, and give the same answer for as long as it lives.
type Index struct {
	client  *fetch.Client
	servers []*server
	links   []*links
	directs []direct
	root    string
	merge   bool
	now     func() time.Time
	builder func(context.Context, Sdist) (*Wheel, error)

	projects memo[string, *catalog]
	metadata memo[string, *resolve.Metadata]
	wheels   memo[string, *Wheel] // that were built

	mu     sync.Mutex
	told   map[string]bool
	tellTo func(string)
}

var _ resolve.Provider = (*Index)(nil)

// New makes an Index, which the caller closes. Nothing is fetched yet; it waits
// while somebody removes entries from the cache.
func New(ctx context.Context, cfg Config) (*Index, error) {
	if cfg.Index == "" && !cfg.NoIndex {
		return nil, errors.New("no index is given")
	}
	x := &Index{root: cfg.Root, merge: cfg.MergeIndexes, told: map[string]bool{}, tellTo: cfg.Warn, now: cfg.Fetch.Now, builder: cfg.Build}
	if x.now == nil {
		x.now = time.Now
	}
	x.projects.answer = func(err error) bool { return errors.Is(err, resolve.ErrNotFound) }
	x.metadata.answer, x.wheels.answer = isOutcome, isOutcome
	if cfg.Fetch.Warn == nil {
		cfg.Fetch.Warn = x.warn
	}
	var err error
	if x.client, err = fetch.New(ctx, cfg.Fetch); err != nil {
		return nil, err
	}
	if err := x.addSources(cfg); err != nil {
		x.Close()
		return nil, err
	}
	return x, nil
}

func (x *Index) addSources(cfg Config) error {
	if !cfg.NoIndex {
		for _, raw := range slices.Concat(cfg.Extra, []string{cfg.Index}) {
			if err := x.addServer(raw); err != nil {
				return err
			}
		}
	}
	for _, d := range cfg.Direct {
		if err := x.addDirect(d); err != nil {
			return err
		}
	}
	for _, spec := range cfg.FindLinks {
		if err := x.addLinks(spec); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up the connections that are kept open, and the cache.
func (x *Index) Close() { x.client.Close() }

func (x *Index) addServer(raw string) error {
	clean, err := x.client.Login(raw)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	u, err := url.Parse(clean)
	if err != nil {
		return fmt.Errorf("index: %s cannot be read", fetch.Display(clean))
	}
	if u.RawQuery != "" {
		return fmt.Errorf("index: %s has a query, which the pages below it could not have", fetch.Display(clean))
	}
	x.servers = append(x.servers, newServer(u))
	return nil
}

func (x *Index) addLinks(spec string) error {
	switch {
	case strings.HasPrefix(spec, "https://"), strings.HasPrefix(spec, "http://"):
		clean, err := x.client.Login(spec)
		if err != nil {
			return fmt.Errorf("find-links: %w", err)
		}
		x.links = append(x.links, &links{url: clean})
		return nil
	case strings.HasPrefix(spec, "file:"):
		u, err := url.Parse(spec)
		if err != nil || u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
			return fmt.Errorf("find-links: %q is no file: URL of a directory", spec)
		}
		spec = u.Path
	}
	dir := spec
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(x.root, dir)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		x.warn(fmt.Sprintf("find-links: there is no directory %s", spec))
		return nil
	case err != nil:
		return fmt.Errorf("find-links: %w", err)
	case !info.IsDir():
		return fmt.Errorf("find-links: %s is no directory", spec)
	}
	x.links = append(x.links, &links{dir: dir})
	return nil
}

// warn passes msg on once.
func (x *Index) warn(msg string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tellTo != nil && !x.told[msg] {
		x.told[msg] = true
		x.tellTo(msg)
	}
}
