package safearchive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"

	"appbundle/internal/atomicfile"
)

// copyBuffer is how much of a file is copied at once, in bytes.
const copyBuffer = 1 << 20

// Options are what [Extract] may be told.
type Options struct {
	// Observe is called for each entry after it was written, with the SHA-256
	// of its content, or zeros for a directory or link. The bytes were hashed
	// while they were written, and the file is complete below the root. An
	// error ends the extraction and is returned as it is. Nil means that
	// nobody wants to know, and nothing is hashed.
	Observe func(e Entry, sum [sha256.Size]byte) error
}

// Extract writes the rest of the archive r below dir and returns nil when the
// archive was accepted as a whole. After an error dir holds a part of it, and
// the caller removes that: dir is the root of an [atomicfile.Dir], or of
// another directory that nobody else can see.
//
// Files have mode 0644 or 0755 and directories 0755, whatever the umask. What
// is in dir already is not replaced. Links come last, and so no file is ever
// written through one. A refusal is a [*RefusedError] or [*LimitError]; an
// error of the disk wraps its cause.
func Extract(ctx context.Context, r *Reader, dir *atomicfile.Root, opts Options) error {
	x := &extractor{r: r, opts: opts, at: cursor{root: dir}}
	defer x.at.leave(0)
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", r.name, context.Cause(ctx))
		}
		e, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := x.entry(ctx, e); err != nil {
			return err
		}
	}
}

// An extractor is one call of Extract.
type extractor struct {
	r    *Reader
	opts Options
	at   cursor
	hash hash.Hash
	buf  []byte
}

func (x *extractor) entry(ctx context.Context, e Entry) error {
	var sum [sha256.Size]byte
	dir, base := split(e.Path)
	if e.Type == Dir {
		dir = e.Path
	}
	at, err := x.at.enter(dir)
	if err != nil {
		return x.explain(e, err)
	}
	switch e.Type {
	case File:
		err = x.file(ctx, at, base, e, &sum)
	case Link:
		err = at.Symlink(e.Link, base)
	}
	if err != nil {
		return x.explain(e, err)
	}
	if x.opts.Observe == nil {
		return nil
	}
	return x.opts.Observe(e, sum)
}

// explain adds what the disk cannot know, and leaves a refusal as it is.
func (x *extractor) explain(e Entry, err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) || err == x.r.err {
		return err
	}
	return fmt.Errorf("%s: %s: %w", x.r.name, quote(e.Path), err)
}

// file writes one file and hashes it on the way.
func (x *extractor) file(ctx context.Context, at *atomicfile.Root, base string, e Entry, sum *[sha256.Size]byte) error {
	perm := fs.FileMode(0o644)
	if e.X {
		perm = 0o755
	}
	var from io.Reader = x.r
	if e.Hard != "" {
		f, err := x.at.root.Open(e.Hard)
		if err != nil {
			return err
		}
		defer f.Close() // opened for reading: nothing can be lost
		from = f
	}
	out, err := at.Create(base, perm)
	if err != nil {
		return err
	}
	if err := x.copy(ctx, out, from); err != nil {
		out.Close() // the first error counts
		return err
	}
	if x.hash != nil {
		x.hash.Sum(sum[:0])
	}
	return out.Close()
}

// copy copies from to out through the one buffer.
func (x *extractor) copy(ctx context.Context, out io.Writer, from io.Reader) error {
	if x.buf == nil {
		x.buf = make([]byte, copyBuffer)
		if x.opts.Observe != nil {
			x.hash = sha256.New()
		}
	}
	if x.hash != nil {
		x.hash.Reset()
	}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := from.Read(x.buf)
		if n > 0 {
			if x.hash != nil {
				x.hash.Write(x.buf[:n]) // never fails
			}
			if _, err := out.Write(x.buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// split cuts a path at its last slash.
func split(path string) (dir, base string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// A cursor is a directory below root and the open directories on the way
// there. Entries come in the order of a walk, so that nearly every file is made
// by one call in a directory that is open already.
type cursor struct {
	root  *atomicfile.Root
	names []string
	open  []*atomicfile.Root
}

// enter goes to the directory path and makes what is missing.
func (c *cursor) enter(path string) (*atomicfile.Root, error) {
	depth, rest := 0, path
	for depth < len(c.names) && rest != "" {
		part, tail, _ := strings.Cut(rest, "/")
		if part != c.names[depth] {
			break
		}
		depth, rest = depth+1, tail
	}
	c.leave(depth)
	for rest != "" {
		part, tail, _ := strings.Cut(rest, "/")
		next, err := openOrMake(c.here(), part)
		if err != nil {
			return nil, err
		}
		c.names, c.open, rest = append(c.names, part), append(c.open, next), tail
	}
	return c.here(), nil
}

func openOrMake(at *atomicfile.Root, name string) (*atomicfile.Root, error) {
	next, err := at.OpenRoot(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return next, err
	}
	if err := at.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	return at.OpenRoot(name)
}

// here is the directory that the cursor is in.
func (c *cursor) here() *atomicfile.Root {
	if n := len(c.open); n > 0 {
		return c.open[n-1]
	}
	return c.root
}

// leave goes back until depth directories are open.
func (c *cursor) leave(depth int) {
	for _, r := range c.open[depth:] {
		r.Close() // nothing was written through this descriptor
	}
	c.names, c.open = c.names[:depth], c.open[:depth]
}
