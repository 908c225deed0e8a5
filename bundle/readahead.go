package bundle

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
)

const (
	// chunkSize is what the reading goroutine hands over at a time.
	chunkSize = 256 << 10
	// chunks is how many there are, and with chunkSize the memory.
	chunks = 8
)

// A chunk is a piece of the content of all files, or the error that ends it.
type chunk struct {
	data []byte
	err  error
}

// A readAhead reads the files of an App in order, one after the other without
// a gap, in one goroutine, while another compresses what it read. The chunks
// go round between the two.
type readAhead struct {
	app  *App
	ctx  context.Context // of one call of Archive
	full chan chunk
	free chan []byte

	fill []byte // of the reading goroutine: the chunk that it fills
	whole,
	rest []byte // of the other: the chunk that it takes from, and what is left
}

func newReadAhead(ctx context.Context, a *App) *readAhead {
	r := &readAhead{app: a, ctx: ctx, full: make(chan chunk, chunks), free: make(chan []byte, chunks)}
	for range chunks {
		r.free <- make([]byte, 0, chunkSize)
	}
	return r
}

// run sends the content of every file, and at the end io.EOF or the error.
func (r *readAhead) run() {
	err := r.files()
	if err == nil {
		err = r.flush()
	}
	if err == nil {
		err = io.EOF
	}
	r.send(chunk{err: err})
}

func (r *readAhead) files() error {
	var check maphash.Hash
	check.SetSeed(r.app.seed)
	for i := range r.app.Entries {
		e := &r.app.Entries[i]
		if e.Type != File {
			continue
		}
		check.Reset()
		if err := r.file(e, &check); err != nil {
			return err
		}
		if check.Sum64() != e.check {
			return fmt.Errorf("%s: %w", e.Path, ErrChanged)
		}
	}
	return nil
}

// file sends exactly e.Size bytes, or fails.
func (r *readAhead) file(e *Entry, check *maphash.Hash) error {
	f, _, err := openEntry(r.app.Dir, e)
	if err != nil {
		return err
	}
	defer f.Close() // opened for reading: nothing can be lost
	for left := e.Size; ; {
		if err := r.room(); err != nil {
			return err
		}
		at := len(r.fill)
		n, err := f.Read(r.fill[at:chunkSize])
		left -= int64(n)
		if left < 0 || err == io.EOF && left > 0 {
			return fmt.Errorf("%s: %w", e.Path, ErrChanged)
		}
		r.fill = r.fill[:at+n]
		check.Write(r.fill[at:])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
	}
}

// room makes sure that there is a chunk with room in it.
func (r *readAhead) room() error {
	if r.fill != nil && len(r.fill) < chunkSize {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	select {
	case r.fill = <-r.free:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// flush hands over what was read.
func (r *readAhead) flush() error {
	if len(r.fill) == 0 {
		return nil
	}
	c := chunk{data: r.fill}
	r.fill = nil
	return r.send(c)
}

func (r *readAhead) send(c chunk) error {
	select {
	case r.full <- c:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// next gives at most n bytes, valid until the next call; the error is io.EOF
// after the last.
func (r *readAhead) next(n int64) ([]byte, error) {
	if len(r.rest) == 0 {
		if r.whole != nil {
			r.free <- r.whole[:0] // never blocks: there are not more chunks
			r.whole = nil
		}
		select {
		case c := <-r.full:
			if c.err != nil {
				return nil, c.err
			}
			r.whole, r.rest = c.data, c.data
		case <-r.ctx.Done():
			return nil, context.Cause(r.ctx)
		}
	}
	p := r.rest[:min(n, int64(len(r.rest)))]
	r.rest = r.rest[len(p):]
	return p, nil
}
