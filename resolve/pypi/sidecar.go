package pypi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"appbundle/internal/fetch"
)

// sidecar gets the metadata beside f, nil where there is none.
func (x *Index) sidecar(ctx context.Context, f *file) ([]byte, error) {
	switch f.side.state {
	case sideThere:
		data, err := x.besides(ctx, f)
		if isRefusal(err) {
			return nil, nil // the file itself will tell
		}
		if err == nil && f.side.sha256 != "" {
			err = checkSidecar(f, data)
		}
		return data, err
	case sideUnsaid:
		if f.Wheel != nil && f.server != nil {
			return x.hiddenSidecar(ctx, f)
		}
	}
	return nil, nil
}

// besides gets what is at the URL of f with ".metadata" at the end of its path.
func (x *Index) besides(ctx context.Context, f *file) ([]byte, error) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil, fmt.Errorf("the URL of %s cannot be read", f.Name)
	}
	u.Path += ".metadata"
	if u.RawPath != "" {
		u.RawPath += ".metadata"
	}
	return x.client.Document(ctx, u.String(), maxMetadata)
}

// isRefusal reports whether a server has no such document, or will not give
// it: stores of files often say "forbidden" for what they do not have.
func isRefusal(err error) bool {
	var e *fetch.Error
	return errors.As(err, &e) && (e.Status >= 400 && e.Status < 500 && e.Status != 429 || errors.Is(err, fetch.ErrOffline))
}

func checkSidecar(f *file, data []byte) error {
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != f.side.sha256 {
		return fmt.Errorf("%s.metadata: the file has the sha256 %s and not %s", fetch.Display(f.URL), got, f.side.sha256)
	}
	return nil
}

// hiddenSidecar gets metadata that the page does not advertise, where the index
// has such.
func (x *Index) hiddenSidecar(ctx context.Context, f *file) ([]byte, error) {
	var first []byte
	a, err := f.server.ask(ctx, func() answer {
		a := x.recall(f.server)
		if a == unknown {
			a, first = x.probe(ctx, f)
		}
		return a
	})
	if a != yes || err != nil {
		return nil, err
	}
	if first != nil {
		return first, nil
	}
	data, err := x.besides(ctx, f)
	if err != nil || !isMetadata(data) {
		return nil, ctx.Err() // nobody promised it; the file itself will tell
	}
	return data, nil
}

// probe asks for the first sidecar of an index, and remembers what came. An
// index that cannot say has none for this run.
func (x *Index) probe(ctx context.Context, f *file) (answer, []byte) {
	data, err := x.besides(ctx, f)
	switch {
	case err == nil && isMetadata(data):
		x.remember(f.server, yes)
		return yes, data
	case ctx.Err() != nil:
		return unknown, nil
	case err == nil, isRefusal(err) && !errors.Is(err, fetch.ErrOffline):
		x.remember(f.server, no)
	}
	return no, nil
}

// isMetadata reports whether a document that nobody promised is what it should
// be, and not some friendly page.
func isMetadata(data []byte) bool {
	return bytes.HasPrefix(data, []byte("Metadata-Version:"))
}

// How long an index's answer is remembered: it may learn.
const (
	rememberYes = 7 * 24 * time.Hour
	rememberNo  = 24 * time.Hour
)

func (x *Index) remember(s *server, a answer) {
	word := map[answer]string{yes: "yes", no: "no"}[a]
	x.client.Store(fetch.Sidecars, s.url, []byte(word+" "+strconv.FormatInt(x.now().Unix(), 10)))
}

func (x *Index) recall(s *server) answer {
	data, ok := x.client.Load(fetch.Sidecars, s.url)
	if !ok {
		return unknown
	}
	word, at, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return unknown
	}
	age := x.now().Sub(time.Unix(seconds, 0))
	switch {
	case word == "yes" && age >= 0 && age < rememberYes:
		return yes
	case word == "no" && age >= 0 && age < rememberNo:
		return no
	}
	return unknown
}
