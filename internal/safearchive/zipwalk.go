package safearchive

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// A zipInput is a zip archive that may be read until ctx ends. What fails outside
// is kept apart, as an [input] does.
type zipInput struct {
	ctx  context.Context
	r    io.ReaderAt
	size int64
	keep *input
}

func (in *zipInput) ReadAt(p []byte, at int64) (int, error) {
	if in.ctx.Err() != nil {
		in.keep.ioErr = context.Cause(in.ctx)
		return 0, in.keep.ioErr
	}
	n, err := in.r.ReadAt(p, at)
	if err != nil && err != io.EOF {
		in.keep.ioErr = err
	}
	return n, err
}

// A zipWalk gives the entries of a zip archive as a tar gives its own, in the
// order of the directory. Its rules are those of a tar: there may be links, and no
// set-id bits; a comment says nothing, and before the first entry there may be one
// line that begins with #!.
type zipWalk struct {
	zip       *Zip
	size      int64 // of the archive
	at        int   // the next entry
	given     int64 // bytes of the files that were given out
	announced int64 // see Reader.Announce
	buf       []byte
}

// openWalk reads the directory into the tree. The archive begins with a script's
// line of that many bytes.
func openWalk(name string, in *zipInput, line int64, t *tree) (*zipWalk, error) {
	z := &Zip{name: name, r: in, lim: *t.lim}
	d := &zipDirectory{Zip: z, tree: t, size: in.size, first: line}
	err := d.read()
	if err == nil {
		err = d.readTargets()
	}
	if err != nil {
		return nil, z.explain("", err)
	}
	return &zipWalk{zip: z, size: in.size}, nil
}

// readTargets reads where the links lead.
func (d *zipDirectory) readTargets() error {
	for n, i := range d.links {
		e := &d.entries[i]
		e.Size = d.targets[n] // which Open compares
		text, err := io.ReadAll(d.Open(i))
		if err != nil {
			return err
		}
		e.Size, e.Link = 0, string(text)
		if err := d.tree.setTarget(n, e.Path, e.Link); err != nil {
			return err
		}
	}
	return nil
}

// next goes to the next entry. What is left of body, the content of the one before,
// is read too, for its checksum.
func (w *zipWalk) next(body io.Reader) (Entry, io.Reader, error) {
	if err := w.drain(body); err != nil {
		return Entry{}, nil, err
	}
	if w.at == len(w.zip.entries) {
		return Entry{}, nil, io.EOF
	}
	i := w.at
	w.at++
	e := w.zip.entries[i]
	switch e.Type {
	case Link:
		return Entry{}, nil, nil
	case Dir:
		return e, nil, nil
	}
	w.given += e.Size
	lim := &w.zip.lim
	if n := w.given - w.announced; n > lim.RatioAfter && n/lim.Ratio > w.size {
		return Entry{}, nil, over("", LimitRatio, lim.Ratio)
	}
	return e, w.zip.Open(i), nil
}

func (w *zipWalk) drain(body io.Reader) error {
	if body == nil {
		return nil
	}
	if w.buf == nil {
		w.buf = make([]byte, streamBuffer)
	}
	for {
		_, err := body.Read(w.buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// looksLikeZip reports whether an archive that begins with head may be zip: an
// entry, or the end of one without any, perhaps behind a script's line.
func looksLikeZip(head []byte) bool {
	head = head[scriptLine(head):]
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06"))
}

// scriptLine is the length of a first line that begins with #!, and 0 without one.
func scriptLine(head []byte) int64 {
	if !bytes.HasPrefix(head, []byte("#!")) {
		return 0
	}
	return int64(bytes.IndexByte(head, '\n') + 1)
}
