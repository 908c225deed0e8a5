package install

import (
	"context"
	"io"

	"appbundle/internal/fetch"
	"appbundle/schema"
)

// A Remote gets the files of a lock from where their URLs say. The zero value of
// a field means none.
type Remote struct {
	Cache     string           // the cache directory; required
	CAFile    string           // PEM file with the authorities to trust; "" means the system's
	Netrc     string           // path of a netrc file, which need not exist
	UserAgent string           // "" means "appbundle"
	Warn      func(msg string) // is told once when the cache cannot be written
}

// Open gives what [Request] calls Fetch, and a function that ends it. What is
// fetched is not kept, but for what Sync makes of it: only what a resolver had
// to download whole is in the cache as it was, and taken from there.
func (r Remote) Open(ctx context.Context) (get func(context.Context, schema.LockedFile, io.Writer) error, end func(), err error) {
	c, err := fetch.New(ctx, fetch.Config{Dir: r.Cache, CAFile: r.CAFile, Netrc: r.Netrc, UserAgent: r.UserAgent, Warn: r.Warn})
	if err != nil {
		return nil, nil, err
	}
	get = func(ctx context.Context, f schema.LockedFile, w io.Writer) error {
		return c.Copy(ctx, fetch.File{URL: f.URL, Size: f.Size, Hashes: f.Hashes}, w)
	}
	return get, c.Close, nil
}
