package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// bufSize is the size of a reading buffer; there is one a worker.
const bufSize = 256 << 10

// hashFiles reads every file once with one worker a processor, and fills in
// what its content says. keep tells which contents are wanted whole.
func (a *App) hashFiles(keep func(*Entry) bool) (map[string][]byte, error) {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		kept  = map[string][]byte{}
	)
	for range min(runtime.GOMAXPROCS(0), len(a.Entries)) {
		wg.Go(func() {
			r := newFileReader(a.seed)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(a.Entries) {
					return
				}
				e := &a.Entries[i]
				if e.Type != File {
					continue
				}
				data, err := r.read(a.Dir, e, keep(e))
				mu.Lock()
				if data != nil {
					kept[e.Path] = data
				}
				if err != nil && first == nil {
					first = err
				}
				stop := first != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return kept, first
}

// A fileReader reads one file after the other with the same buffers.
type fileReader struct {
	buf   []byte
	sum   hash.Hash
	check maphash.Hash
}

func newFileReader(seed maphash.Seed) *fileReader {
	r := &fileReader{buf: make([]byte, bufSize), sum: sha256.New()}
	r.check.SetSeed(seed)
	return r
}

// read reads the file of e, whose size must be the one that the walk saw, and
// returns its content when it is wanted.
func (r *fileReader) read(dir string, e *Entry, keep bool) ([]byte, error) {
	f, before, err := openEntry(dir, e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data []byte
	if keep {
		data = make([]byte, 0, e.Size)
	}
	if err := r.content(f, e, &data); err != nil {
		return nil, err
	}
	after, err := f.stat()
	if err != nil {
		return nil, err
	}
	if after.Mtim != before.Mtim || after.Size != e.Size {
		return nil, fmt.Errorf("%s: %w", e.Path, ErrChanged)
	}
	return data, nil
}

// archived reads the current file of an archive.
func (r *fileReader) archived(f io.Reader, e *Entry, keep bool) ([]byte, error) {
	var data []byte
	if keep {
		data = make([]byte, 0, e.Size)
	}
	err := r.content(f, e, &data)
	return data, err
}

// content fills in the digests and the facts of e from its stream, and fails
// when that has not e.Size bytes. *data is appended to unless it is nil.
func (r *fileReader) content(f io.Reader, e *Entry, data *[]byte) error {
	r.sum.Reset()
	r.check.Reset()
	var size int64
	for {
		n, err := readFull(f, r.buf)
		if size == 0 {
			e.setFacts(r.buf[:min(n, headSize)])
		}
		size += int64(n)
		r.sum.Write(r.buf[:n])
		r.check.Write(r.buf[:n])
		if *data != nil {
			*data = append(*data, r.buf[:n]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
	}
	if size != e.Size {
		return fmt.Errorf("%s: %w", e.Path, ErrChanged)
	}
	r.sum.Sum(e.Sum[:0])
	e.check = r.check.Sum64()
	return nil
}

// readFull fills buf; io.EOF comes with the last, shorter piece.
func readFull(f io.Reader, buf []byte) (int, error) {
	n, err := io.ReadFull(f, buf)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// openEntry opens the file that the walk saw: not what a link in its place
// points to, and without waiting for the other end of a pipe in its place.
func openEntry(dir string, e *Entry) (*rawFile, syscall.Stat_t, error) {
	f, err := openRaw(filepath.Join(dir, filepath.FromSlash(e.Path)), e.Size)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
		err = ErrChanged
	}
	if err != nil {
		return nil, syscall.Stat_t{}, fmt.Errorf("%s: %w", e.Path, err)
	}
	st, err := f.stat()
	if err == nil && (st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size != e.Size || st.Mode&0o100 != 0 != e.X) {
		err = ErrChanged
	}
	if err != nil {
		f.Close()
		return nil, st, fmt.Errorf("%s: %w", e.Path, err)
	}
	return f, st, nil
}

// A rawFile is a regular file that is open for reading. An os.File would ask
// the poller to watch it, in vain, for each of many small files. A read that
// gives the last byte says io.EOF at once when there was room for more.
type rawFile struct {
	fd   int
	left int64 // of the size that the file should have
}

func openRaw(name string, size int64) (*rawFile, error) {
	for {
		fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err == nil {
			return &rawFile{fd, size}, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, err
		}
	}
}

func (f *rawFile) stat() (st syscall.Stat_t, err error) {
	err = syscall.Fstat(f.fd, &st)
	return st, err
}

func (f *rawFile) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(f.fd, p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		f.left -= int64(n)
		if f.left == 0 && n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
}

func (f *rawFile) Close() error { return syscall.Close(f.fd) }
