package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
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
	return a.archive(ctx, w, manifest, opts.Progress)
}

// archive is Archive with a manifest that is written already.
func (a *App) archive(ctx context.Context, w io.Writer, manifest []byte, progress func(done, total int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	r := newReadAhead(ctx, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run()
	}()
	err := a.compress(ctx, w, manifest, r, progress)
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
			p, err := r.next(left)
			if err != nil {
				return err
			}
			if _, err := tw.Write(p); err != nil {
				return err
			}
			left -= int64(len(p))
			done += int64(len(p))
			if progress != nil {
				progress(done, total)
			}
		}
	}
	// The last file's verdict comes after its last byte.
	if _, err := r.next(1); !errors.Is(err, io.EOF) {
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
