package safearchive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"appbundle/internal/invariant"
)

// streamBuffer is how much of the decompressed stream is read ahead, in bytes.
const streamBuffer = 64 << 10

// An Entry is one directory, file or link, after every check.
type Entry struct {
	Path string // canonical, slash-separated, from the top of the archive
	Type Type
	X    bool   // of a file: its owner may execute it
	Size int64  // of a file, in bytes; of a hard link, that of the file it copies
	Link string // of a symbolic link: the target as written, walked and found inside
	// Hard is the path of an earlier file that this one is a copy of. The
	// content is not in the archive a second time: Read gives none.
	Hard string
}

// A Reader reads one archive from front to back. It belongs to one goroutine.
type Reader struct {
	name  string
	in    *input
	lim   Limits
	close func() error
	ratio *ratio // nil where nothing is compressed
	tar   tarReader
	zip   *zipWalk // nil where the archive is a tar
	tree  *tree
	total int64
	entry string    // path of the current entry
	body  io.Reader // of the current entry, nil where it has none
	links int       // given out; only counts when ended
	ended bool      // the archive is complete and all its links are good
	last  Entry     // what Next gave
	again bool      // Next gives it once more
	err   error     // of Next, for ever
	plain bool      // modes are cut down
}

// OpenOptions are what [Open] may be told.
type OpenOptions struct {
	Limits Limits
	// Foreign opens what others packed as well: tar.xz and tar.bz2.
	Foreign bool
}

// Open begins to read the archive f from its beginning, which messages call name.
// What f is is told by its content; a name with the suffix of another format is a
// refusal, and a format that is none of ours a [*ForeignError]. A zip archive has
// to be a regular file, everything else may come through a pipe. Reading ends with
// the error of ctx when ctx does. The caller closes the Reader, which leaves f open.
func Open(ctx context.Context, name string, f *os.File, opts OpenOptions) (*Reader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return newReader(ctx, name, f, nil, opts)
	}
	return newReader(ctx, name, io.NewSectionReader(f, 0, st.Size()), &zipInput{ctx: ctx, r: f, size: st.Size()}, opts)
}

// NewReader is Open for a stream: tar, tar.gz and tar.zst.
func NewReader(ctx context.Context, name string, r io.Reader, limits Limits) (*Reader, error) {
	return newReader(ctx, name, r, nil, OpenOptions{Limits: limits})
}

// newReader reads r, or zip where that is not nil and the archive is one.
func newReader(ctx context.Context, name string, r io.Reader, zip *zipInput, opts OpenOptions) (*Reader, error) {
	z := &Reader{name: name, in: newInput(ctx, r), lim: opts.Limits.withDefaults()}
	raw := bufio.NewReaderSize(z.in, streamBuffer)
	head, err := raw.Peek(blockSize)
	if err != nil && err != io.EOF {
		return nil, z.explain(err)
	}
	f, err := recognise(ctx, name, head, opts.Foreign)
	if err != nil {
		return nil, z.explain(err)
	}
	z.tree = newTree(&z.lim)
	if f == formatZip {
		if zip == nil {
			return nil, z.explain(refuse("", "is a zip archive, which is read from a file and not from a stream"))
		}
		zip.keep = z.in
		if z.zip, err = openWalk(name, zip, scriptLine(head), z.tree); err != nil {
			return nil, z.explain(err)
		}
		z.close = func() error { return nil }
		return z, nil
	}
	stream, ratio, err := decompress(f, raw, z.in, &z.lim)
	if err != nil {
		return nil, z.explain(err)
	}
	z.close, z.ratio = stream.Close, ratio
	z.tar = tarReader{r: bufio.NewReaderSize(stream, streamBuffer), lim: &z.lim}
	return z, nil
}

// Unread makes Next give the entry that it gave last once more. Nothing of its
// content may have been read.
func (r *Reader) Unread() { r.again = true }

// Close releases the memory of the decompressor. It does not close what the
// Reader reads from.
func (r *Reader) Close() error { return r.close() }

// DropModes makes set-id, sticky and type bits of a mode no refusal: of a mode one
// bit counts in any case, and source distributions were made on file systems where
// directories have them.
func (r *Reader) DropModes() { r.plain = true }

// Announce says that the rest of the archive has so many entries with so many
// bytes of content, as the archive itself does. That much is no matter of
// [Limits.Ratio], what goes beyond it still is. The announcement may be a lie:
// more than [Limits.Total] and [Limits.Entries] is refused at once, and every
// other limit holds as before.
func (r *Reader) Announce(entries int, bytes int64) error {
	switch {
	case r.err != nil:
		return r.err
	case bytes < 0 || bytes > r.lim.Total-r.total:
		r.err = r.explain(over("", LimitTotal, r.lim.Total))
	case entries < 0 || entries > r.lim.Entries:
		r.err = r.explain(over("", LimitEntries, r.lim.Entries))
	case r.ratio != nil:
		// A header, and the padding of the content, for each.
		r.ratio.announced += bytes + 2*blockSize*int64(entries)
	case r.zip != nil:
		r.zip.announced += bytes
	}
	return r.err
}

// Next goes to the next entry: directories and files in the order of the
// archive, then the links in theirs. It returns [io.EOF] when the archive was
// accepted as a whole. After any other error the archive is worth nothing, and
// Next returns that error again.
func (r *Reader) Next() (Entry, error) {
	if r.err != nil {
		return Entry{}, r.err
	}
	if r.again {
		r.again = false
		return r.last, nil
	}
	e, err := r.next()
	if err != nil {
		r.err = err
		if err != io.EOF {
			r.err = r.explain(err)
		}
		return Entry{}, r.err
	}
	r.last = e
	return e, nil
}

// Read reads the content of the current entry, a file that is no hard link. It
// returns [io.EOF] at its end.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.body == nil {
		return 0, io.EOF
	}
	n, err := r.body.Read(p)
	if err != nil && err != io.EOF {
		r.err = r.explain(err)
		err = r.err
	}
	return n, err
}

func (r *Reader) next() (Entry, error) {
	for !r.ended {
		e, err := r.nextInOrder()
		if err == io.EOF {
			r.ended, r.entry, r.body = true, "", nil
			if err := r.tree.checkLinks(); err != nil {
				return Entry{}, err
			}
			break
		}
		if err != nil {
			return Entry{}, err
		}
		if e.Type == Dir || e.Type == File {
			r.entry = e.Path
			return e, nil
		}
	}
	if r.links == len(r.tree.links) {
		return Entry{}, io.EOF
	}
	l := &r.tree.links[r.links]
	r.links++
	return Entry{Path: r.tree.path(l.node), Type: Link, Link: l.target}, nil
}

// nextInOrder gives the next entry of the archive; it has no Type where Next
// does not give it out now.
func (r *Reader) nextInOrder() (Entry, error) {
	if r.zip != nil {
		e, body, err := r.zip.next(r.body)
		r.entry, r.body = "", body
		return e, err
	}
	h, err := r.tar.next()
	r.entry, r.body = "", nil
	if err != nil {
		return Entry{}, err
	}
	return r.accept(h)
}

// accept checks a header and takes it into the tree. The entry has no Type
// when Next does not give it out now: a link, or the top directory.
func (r *Reader) accept(h header) (Entry, error) {
	if r.plain {
		h.mode &= 0o777
	}
	kind, err := kindOf(h)
	if err != nil {
		return Entry{}, err
	}
	path, top := canonical(h.name, kind == kindDir)
	if top {
		if kind != kindDir {
			return Entry{}, refuse(h.name, "name of a directory on something else")
		}
		return Entry{}, r.tree.addRoot()
	}
	if err := checkName(path, &r.lim); err != nil {
		return Entry{}, err
	}
	e := Entry{Path: path, X: h.mode&0o100 != 0}
	switch kind {
	case kindDir:
		e.Type, e.X = Dir, false
		_, err = r.tree.add(path, Dir, 0)
	case kindLink:
		if err := r.tree.addLink(path); err != nil {
			return Entry{}, err
		}
		return Entry{}, r.tree.setTarget(len(r.tree.links)-1, path, h.link)
	case kindHard:
		e.Type = File
		e.Hard, _ = canonical(h.link, false)
		if e.Size, err = r.tree.addHard(path, e.Hard); err == nil {
			err = r.count(path, e.Size)
		}
	default:
		e.Type, e.Size, r.body = File, h.size, &r.tar
		if err = r.count(path, h.size); err == nil {
			_, err = r.tree.add(path, File, h.size)
		}
	}
	return e, err
}

// count adds a file to the total.
func (r *Reader) count(path string, size int64) error {
	invariant.Check(size >= 0 && r.total >= 0, "%q: size %d, total %d", path, size, r.total)
	if size > r.lim.Total-r.total {
		return over(path, LimitTotal, r.lim.Total)
	}
	if size > r.lim.File {
		return over(path, LimitFile, r.lim.File)
	}
	r.total += size
	return nil
}

// canonical strips what tar writes around a name: a leading "./", repeatedly,
// and the slash behind a directory. top says that nothing is left but the top
// directory itself.
func canonical(name string, dir bool) (path string, top bool) {
	path = name
	for strings.HasPrefix(path, "./") {
		path = path[2:]
	}
	if path == "." || path == "" && name != "" {
		return path, true
	}
	if dir {
		path = strings.TrimSuffix(path, "/")
		if path == "" {
			path = name // "/": absolute, not empty
		}
	}
	return path, false
}

// explain turns an error into one that says whose it is: a refusal with the
// archive's name, or a failure outside that wraps its cause.
func (r *Reader) explain(err error) error {
	switch {
	case r.in.ioErr != nil:
		return fmt.Errorf("%s: %w", r.name, r.in.ioErr)
	case r.in.cause != nil:
		err = r.in.cause
	}
	var foreign *ForeignError
	var limit *LimitError
	var refused *RefusedError
	switch {
	case errors.As(err, &foreign):
		return &ForeignError{Archive: r.name, Format: foreign.Format, Known: foreign.Known}
	case errors.As(err, &limit):
		return &LimitError{Archive: r.name, Entry: limit.Entry, Limit: limit.Limit, Max: limit.Max}
	case errors.As(err, &refused):
		return &RefusedError{Archive: r.name, Entry: refused.Entry, Reason: refused.Reason}
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF:
		return &RefusedError{Archive: r.name, Entry: r.entry, Reason: "is cut: the archive ends too early"}
	}
	return &RefusedError{Archive: r.name, Entry: r.entry, Reason: fmt.Sprintf("is damaged: %v", err)}
}
