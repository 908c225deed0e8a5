// Package fetch gets documents and files over HTTP, with limits, retries and a
// cache on disk. What the bytes mean is its callers' business.
//
// [Client.Page] gets a document that changes, such as the list of a project's
// files, and keeps what the caller makes of it. [Client.File] gets a file that
// never changes and is known by its digest, [Client.Range] and [Client.Tail] a
// piece of one.
//
// # Requests
//
// Only GET is sent, so everything may be sent again: a connection that fails, an
// answer of 429 or 5xx, and a body that ends early are tried again after a
// growing wait, or after what Retry-After says where that is at most a minute.
// Up to ten redirects are followed, never from https to http. At most
// [Config].Requests are under way at once. Proxies are those of Go's net/http.
//
// A request ends when less than 1 KiB comes in [Config].Stall, whatever it waits
// for: a connection, a header, or the rest of a body. Sizes are limited after
// decompression.
//
// # Credentials
//
// User and password come from a URL ([Client.Login]), from [Config].Credentials,
// or from a netrc file. They are sent to the origin (scheme, host and port) that
// they were given for and to no other, after a redirect too; of several for one
// origin the one whose path has most in common with the request's. They are not
// part of any error, cache key or file. A password of the netrc file is not
// sent over plain http, but to this host; its default entry is ignored.
//
// # The cache
//
// It is a directory that any number of processes may use at once, and that may
// be removed at any time. Each file is written whole or not at all
// (internal/atomicfile) and carries a checksum or is named by one; what does not
// match is as good as not there. A page is fresh for as long as the server says,
// 10 minutes where it says nothing, and at most a day; then it is asked for anew,
// with the validators that the server gave. That a page does not exist is
// remembered too. Files are fresh for ever.
//
// What is not whole yet is in a directory of its own. What killed processes left
// there is removed by the next New that finds nobody else.
//
// A Client that is not closed has the directory's lock together with others;
// [Prune] and [Verify] take it alone where they remove something. When an entry
// was used last is its time of modification, to the minute.
//
// # Errors
//
// An [*Error] is one sentence that names the URL, without credentials and query,
// and the cause. It wraps [ErrNotFound], [ErrDenied], [ErrUnreachable] or
// [ErrOffline] where it is one of these.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"appbundle/internal/atomicfile"
)

// A Config says how to fetch.
type Config struct {
	Dir string // of the cache; it is made where it is missing. Required

	Offline bool // send nothing: the cache answers, however old it is
	Refresh bool // ask for every page anew, however fresh it is

	Requests int           // at once; 0 means 16
	Attempts int           // for one request; 0 means 4
	Backoff  time.Duration // before the second attempt, then twice as long each time; 0 means 250ms
	Stall    time.Duration // how long less than 1 KiB may take; 0 means 30s
	Fresh    time.Duration // for how long a page is fresh whose server says nothing; 0 means 10m

	CAFile      string       // PEM file with the authorities to trust; "" means the system's
	Credentials []Credential // those of the environment and the command line
	Netrc       string       // path of a netrc file; "" means none, and it need not exist
	UserAgent   string       // "" means "appbundle"

	Now  func() time.Time // nil means time.Now
	Warn func(msg string) // is told once when the cache cannot be written; nil means nobody
}

// A Client fetches. Its methods may be called from many goroutines at once.
type Client struct {
	cfg   Config
	http  *http.Transport // an http.Client would quote URLs in its errors, and add a Referer
	slots chan struct{}   // one for each request that is under way
	netrc []netrcEntry
	wait  func(ctx context.Context, d time.Duration) error

	mu     sync.Mutex
	logins []login

	warned  sync.Once
	release func() // the lock of the cache; may be called again
}

// New makes a Client and the directory of its cache. It waits while somebody
// removes entries from there.
func New(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Dir == "" {
		return nil, errors.New("a cache needs a directory")
	}
	if cfg.Offline && cfg.Refresh {
		return nil, errors.New("offline, nothing can be refreshed")
	}
	setDefault(&cfg.Requests, 16)
	setDefault(&cfg.Attempts, 4)
	setDefault(&cfg.Backoff, 250*time.Millisecond)
	setDefault(&cfg.Stall, 30*time.Second)
	setDefault(&cfg.Fresh, 10*time.Minute)
	setDefault(&cfg.UserAgent, "appbundle")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	roots, err := readRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	entries, err := readNetrc(cfg.Netrc)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, netrc: entries, slots: make(chan struct{}, cfg.Requests), wait: wait}
	for _, cred := range cfg.Credentials {
		if err := c.addLogin(cred); err != nil {
			return nil, err
		}
	}
	c.http = &http.Transport{
		Proxy:                  proxy,
		TLSClientConfig:        &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2 * cfg.Requests,
		MaxIdleConnsPerHost:    cfg.Requests,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    cfg.Stall,
		MaxResponseHeaderBytes: 256 << 10,
	}
	if err := atomicfile.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	sweep(cfg.Dir)
	if c.release, err = atomicfile.Lock(ctx, cfg.Dir, false, nil); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return c, nil
}

// Close gives up the connections that are kept open, and the cache: the Client
// and the files that it gave must not be used any more.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.release()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// readRoots reads the authorities to trust, nil for those of the system.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificates: %s holds none", file)
	}
	return pool, nil
}

// proxy is Go's own choice. Its error would quote the URL of the proxy, which
// may have a password in it.
func proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, errors.New("the proxy that the environment names has no URL that can be read")
	}
	return u, nil
}

// wait lets d pass, or less when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
