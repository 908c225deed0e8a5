package rpm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Options are what is not part of a package and needed to write it.
type Options struct {
	// Signer signs an rpm; nil for a package without a signature. A deb is never signed:
	// apt trusts what the signed Release of a repository lists.
	Signer Signer
}

// FileName gives the name that the tools of the format expect a package to have.
func (p *Package) FileName() string {
	e := p.EVR
	e.Epoch = 0
	if p.Format == Deb {
		return fmt.Sprintf("%s_%s_%s.deb", p.Name, e, p.Arch)
	}
	return fmt.Sprintf("%s-%s.%s.rpm", p.Name, e, p.Arch)
}

// Write writes p to the file at path, whole or not at all, and gives what it read back
// before the file appeared. While it works, the package is spooled in the directory
// of path.
func Write(ctx context.Context, path string, p *Package, opts Options) (*Info, error) {
	var b Batch
	return atOnce(&b, func() (*Info, error) { return b.Write(ctx, path, p, opts) })
}

// Write is [Write] for a file of the batch.
func (b *Batch) Write(ctx context.Context, path string, p *Package, opts Options) (*Info, error) {
	info, err := b.write(ctx, path, p, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return info, nil
}

// writers is how many packages are written at the same time, at most: each needs
// its window, and the memory is to be that of few.
const writers = 4

// WriteAll writes packages into the directory dir, several at a time, as [Batch.Write]
// does. It calls done for each, in their order, in the goroutine of the caller. After an
// error no other package is written.
func (b *Batch) WriteAll(ctx context.Context, dir string, packages []*Package, opts Options, done func(*Package, *Info)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if opts.Signer != nil {
		opts.Signer = &turns{signer: opts.Signer}
	}
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		once  sync.Once
		first error
	)
	written := make([]chan *Info, len(packages)) // of each its Info, or nil
	for i := range written {
		written[i] = make(chan *Info, 1)
	}
	for range min(writers, runtime.GOMAXPROCS(0), len(packages)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(packages)); i = next.Add(1) - 1 {
				info, err := b.Write(ctx, filepath.Join(dir, packages[i].FileName()), packages[i], opts)
				if err != nil {
					once.Do(func() { first = err })
					cancel()
				}
				written[i] <- info
			}
		})
	}
	for i, p := range packages {
		info := <-written[i]
		if info == nil {
			break
		}
		done(p, info)
	}
	wg.Wait()
	return first
}

// turns lets a Signer sign one thing at a time.
type turns struct {
	mu     sync.Mutex
	signer Signer
}

func (t *turns) Sign(ctx context.Context, data io.Reader, s Signing) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signer.Sign(ctx, data, s)
}

func (b *Batch) write(ctx context.Context, path string, p *Package, opts Options) (_ *Info, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	raw, err := p.skeleton()
	if err != nil {
		return nil, err
	}
	s, err := newSpool(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.file.Close()) }()
	var head []byte // what comes before the spool
	if p.Format == Deb {
		head, err = p.writeDeb(ctx, raw, s)
	} else {
		head, err = p.writeRPM(ctx, raw, s, opts.Signer)
	}
	if err != nil {
		return nil, err
	}
	whole := func() io.Reader {
		return io.MultiReader(strings.NewReader(string(head)), io.NewSectionReader(s.file, 0, s.n))
	}
	info, err := Read(ctx, filepath.Base(path), whole(), Limits{Files: maxFiles + 100_000, Content: p.mostBytes() + 1, Control: 1 << 30})
	if err != nil {
		return nil, fmt.Errorf("reading back: %w", err)
	}
	if err := p.compare(info); err != nil {
		return nil, fmt.Errorf("reading back: %w", err)
	}
	return info, b.add(path, whole(), info)
}

// add takes the package, if it is the one that was read back.
func (b *Batch) add(path string, r io.Reader, info *Info) error {
	out, err := b.create(path)
	if err != nil {
		return err
	}
	sum := newSum(r)
	if _, err := io.Copy(out, sum); err != nil {
		return err
	}
	if [32]byte(sum.h.Sum(nil)) != info.SHA256 {
		return errors.New("reading back: the package changed while it was copied")
	}
	if err := out.Prepare(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.infos == nil {
		b.infos = map[string]*Info{}
	}
	b.infos[filepath.Clean(path)] = info
	return nil
}

// A spool takes the part of a package that has no bound. Its file has no name, so
// that nothing is left of it, whatever happens.
type spool struct {
	file *os.File
	h    hash.Hash
	n    int64
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, ".package.tmp-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spool{file: f, h: sha256.New()}, nil
}

func (s *spool) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	return n, err
}

// compressor compresses into w. The bytes do not depend on the number of processors.
func (p *Package) compressor(w io.Writer) (io.WriteCloser, error) {
	if p.Compression == Gzip {
		return gzip.NewWriterLevel(w, 6)
	}
	size, whole := p.window()
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(size), zstd.WithLowerEncoderMem(whole))
}

// The window of zstd. One of less than a block would make smaller blocks.
const (
	leastWindow = 128 << 10
	fullWindow  = 8 << 20
)

// window is how far zstd looks back: as far as the package is large, and not further.
// Who packs and who unpacks needs that much memory. Where it holds the whole package,
// it never has to move.
func (p *Package) window() (size int, whole bool) {
	n := int64(0)
	for _, f := range p.Files {
		n += 1<<10 + f.Size // with what an archive says of it
	}
	for size = leastWindow; size < fullWindow && int64(size) < n; {
		size *= 2
	}
	return size, n <= int64(size)
}

// A feeder copies content into packages, through one buffer.
type feeder struct {
	ctx context.Context
	buf []byte
}

func newFeeder(ctx context.Context) *feeder { return &feeder{ctx, make([]byte, 256<<10)} }

// copy writes the content of f to w, and compares it with what f says of it.
func (c *feeder) copy(w io.Writer, f File) (err error) {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h := sha256.New()
	src := &source{ctx: c.ctx, r: io.LimitReader(r, f.Size+1)}
	// Only Write of w is used, and the buffer: a file would bring one of its own.
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(h, w)}, struct{ io.Reader }{src}, c.buf)
	switch {
	case err != nil:
		return fmt.Errorf("file %q: %w", f.Path, err)
	case n != f.Size:
		return fmt.Errorf("file %q: has not the %d bytes that it had; was it changed meanwhile?", f.Path, f.Size)
	case [32]byte(h.Sum(nil)) != f.SHA256:
		return fmt.Errorf("file %q: has other content than it had; was it changed meanwhile?", f.Path)
	}
	return nil
}

// script is the text of a script as the format takes it.
func (p *Package) script(text string) string {
	if strings.HasPrefix(text, "#!") {
		_, text, _ = strings.Cut(text, "\n")
	}
	if text = "set -e\n" + strings.TrimRight(text, "\n") + "\n"; p.Format == Deb {
		text = "#!/bin/sh\n" + text
	}
	return text
}
