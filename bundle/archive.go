package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ArchiveOptions are the settings of [App.Archive].
type ArchiveOptions struct {
	Type ArchiveType // "" means TarZst
	Tool string      // name and version of the tool, for the manifest
	// SBOM is the bill of materials, which becomes the second entry; nil leaves it
	// out.
	SBOM []byte
	// Progress is called after every piece with the bytes of content that are
	// written and that there are. It may be nil.
	Progress func(done, total int64)
}

// Archive writes the application as an archive: the manifest, then every entry in canonical order, with nothing of the host, the user, the
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
	own, _, err := a.encodeManifest(opts)
	if err != nil {
		return err
	}
	return a.archive(ctx, opts.Type, w, own, opts.Progress)
}

// ownFiles are the files of an archive that are none of the application's.
type ownFiles struct {
	manifest []byte
	sbom     []byte // nil for none
}

// archive is Archive with a manifest that is written already.
func (a *App) archive(ctx context.Context, t ArchiveType, w io.Writer, own *ownFiles, progress func(done, total int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	r := newReadAhead(ctx, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run()
	}()
	err := a.pack(ctx, t, w, own, r, progress)
	cancel()
	<-done
	return err
}

func (a *App) pack(ctx context.Context, t ArchiveType, w io.Writer, own *ownFiles, r *readAhead, progress func(done, total int64)) error {
	p, err := newPacker(t, w)
	if err != nil {
		return err
	}
	if err := a.writeEntries(ctx, p, own, r, progress); err != nil {
		p.discard()
		return err
	}
	return p.end()
}

func (a *App) writeEntries(ctx context.Context, w packer, own *ownFiles, r *readAhead, progress func(done, total int64)) error {
	if err := writeEntry(w, &Entry{Path: manifestPath, Type: File, Size: int64(len(own.manifest))}, own.manifest); err != nil {
		return err
	}
	if own.sbom != nil {
		if err := writeEntry(w, &Entry{Path: sbomPath, Type: File, Size: int64(len(own.sbom))}, own.sbom); err != nil {
			return err
		}
	}
	var done int64
	total := a.size()
	for i := range a.Entries {
		e := &a.Entries[i]
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := w.begin(e); err != nil {
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
			if _, err := w.Write(p); err != nil {
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

func (a *App) size() int64 {
	var n int64
	for i := range a.Entries {
		n += a.Entries[i].Size
	}
	return n
}
