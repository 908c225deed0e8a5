package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// chunkSize is what the reading goroutine hands over at a time.
	chunkSize = 1 << 20
	// chunksAhead bounds how far it may be ahead, and with chunkSize the memory.
	chunksAhead = 8
)

// ArchiveOptions are the settings of [App.Archive].
type ArchiveOptions struct {
	Tool string // name and version of the tool, for the manifest
	// Progress is called after every piece with the bytes of content that are
	// written and that there are. It may be nil.
	Progress func(done, total int64)
}

// Archive writes the application as a zstd-compressed tar: the manifest, then
// every entry in canonical order, with nothing of the host, the user, the
// clock or the umask. The files are read a second time; when one is not what
// [Load] saw, the error wraps [ErrChanged] and names it, and what was written
// so far must be thrown away.
func (a *App) Archive(ctx context.Context, w io.Writer, opts ArchiveOptions) error {
	if a.Dir == "" {
		return errors.New("an archive is written from a directory, not from an archive")
	}
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Type == Special {
			return fmt.Errorf("%s: a %s cannot be archived", e.Path, specialName(e.Mode))
		}
	}
	manifest, err := a.Manifest(opts.Tool).Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &readAhead{app: a, ctx: ctx, full: make(chan chunk, chunksAhead), free: make(chan []byte, chunksAhead)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run()
	}()
	err = a.compress(ctx, w, manifest, r, opts.Progress)
	cancel()
	<-done
	return err
}

func (a *App) compress(ctx context.Context, w io.Writer, manifest []byte, r *readAhead, progress func(done, total int64)) error {
	zw, err := zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.SpeedDefault), // "3"
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(true),
		zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	err = a.writeTar(ctx, tw, manifest, r, progress)
	if err != nil {
		discard(zw)
		return err
	}
	if err := tw.Close(); err != nil {
		discard(zw)
		return err
	}
	return zw.Close()
}

// discard frees the compressor after a failure.
func discard(zw *zstd.Encoder) {
	zw.Reset(nil)
	_ = zw.Close() // it writes nothing any more
}

func (a *App) writeTar(ctx context.Context, tw *tar.Writer, manifest []byte, r *readAhead, progress func(done, total int64)) error {
	head := tarHeader(&Entry{Path: manifestPath, Type: File, Size: int64(len(manifest))})
	if err := tw.WriteHeader(head); err != nil {
		return err
	}
	if _, err := tw.Write(manifest); err != nil {
		return err
	}
	var done int64
	total := a.size()
	for i := range a.Entries {
		e := &a.Entries[i]
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := tw.WriteHeader(tarHeader(e)); err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		if e.Type != File {
			continue
		}
		for left := e.Size; left > 0; {
			c, err := r.next()
			if err != nil {
				return err
			}
			if _, err := tw.Write(c); err != nil {
				return err
			}
			left -= int64(len(c))
			done += int64(len(c))
			r.release(c)
			if progress != nil {
				progress(done, total)
			}
		}
	}
	// The last file's verdict comes after its last byte.
	if _, err := r.next(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// tarHeader gives a header that says what the digest covers and nothing else.
func tarHeader(e *Entry) *tar.Header {
	h := &tar.Header{Name: e.Path, Mode: 0o644, Format: tar.FormatUnknown}
	switch e.Type {
	case Dir:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, e.Path+"/", 0o755
	case Link:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.Link, 0o777
	default:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
		if e.X {
			h.Mode = 0o755
		}
	}
	return h
}

func (a *App) size() int64 {
	var n int64
	for i := range a.Entries {
		n += a.Entries[i].Size
	}
	return n
}

// A chunk is a piece of content, or the error that ends the stream.
type chunk struct {
	data []byte
	err  error
}

// A readAhead reads the files of an App in order, in one goroutine, while
// another compresses what it read.
type readAhead struct {
	app  *App
	ctx  context.Context
	full chan chunk
	free chan []byte
}

// run sends the content of every file, and at the end io.EOF or the error.
func (r *readAhead) run() {
	err := r.files()
	if err == nil {
		err = io.EOF
	}
	select {
	case r.full <- chunk{err: err}:
	case <-r.ctx.Done():
	}
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
	defer f.Close()
	for left := e.Size; left > 0; {
		buf, err := r.buffer()
		if err != nil {
			return err
		}
		n, err := io.ReadFull(f, buf[:min(left, chunkSize)])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: %w", e.Path, ErrChanged)
		}
		if err != nil {
			return err
		}
		check.Write(buf[:n])
		left -= int64(n)
		select {
		case r.full <- chunk{data: buf[:n]}:
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	var one [1]byte
	if n, _ := f.Read(one[:]); n > 0 {
		return fmt.Errorf("%s: %w", e.Path, ErrChanged)
	}
	return nil
}

// buffer takes a used buffer, or makes one while few are under way.
func (r *readAhead) buffer() ([]byte, error) {
	select {
	case b := <-r.free:
		return b[:chunkSize], nil
	default:
		return make([]byte, chunkSize), nil
	}
}

func (r *readAhead) release(b []byte) {
	select {
	case r.free <- b[:0]:
	default:
	}
}

// next gives the next piece; the error is io.EOF after the last.
func (r *readAhead) next() ([]byte, error) {
	select {
	case c := <-r.full:
		return c.data, c.err
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
}
