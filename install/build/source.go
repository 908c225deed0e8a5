package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
	"appbundle/schema"
)

// limits are those of a source distribution.
var limits = safearchive.Limits{Total: 2 << 30, Entries: 200_000}

// epoch is the time of everything in a build. One time for all files keeps make
// from believing that one is older than what it was made of, and is the first
// that an entry of a wheel can have.
const epoch = 315532800 // 1980-01-01

// unpack fills the source directory and reads how it is built.
func (b *builder) unpack(ctx context.Context) error {
	in, err := os.Open(b.Sdist)
	if err != nil {
		return err
	}
	defer in.Close() // opened for reading: nothing can be lost
	top := filepath.Join(b.work, "src")
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	if strings.HasSuffix(b.Name, ".zip") {
		err = unzip(ctx, b.Name, in, top)
	} else {
		err = untar(ctx, b.Name, in, top)
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(top)
	if err != nil {
		return err
	}
	// Some have files beside the directory, which other systems put there.
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() })
	if len(entries) != 1 {
		return &Error{Reason: fmt.Sprintf("it has %d directories at its top, and not one", len(entries))}
	}
	b.source = filepath.Join(top, entries[0].Name())
	if err := setTimes(top); err != nil {
		return err
	}
	return b.readSystem()
}

func untar(ctx context.Context, name string, in *os.File, dir string) error {
	r, err := safearchive.NewReader(ctx, name, in, limits)
	if err != nil {
		return err
	}
	defer r.Close() // it reads
	r.DropModes()
	root, err := atomicfile.FS{}.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() // nothing was written through this descriptor
	return safearchive.Extract(ctx, r, root, safearchive.Options{})
}

// unzip writes what a zip archive has: directories and files, no links.
func unzip(ctx context.Context, name string, in *os.File, dir string) error {
	st, err := in.Stat()
	if err != nil {
		return err
	}
	z, err := safearchive.OpenZip(name, in, st.Size(), limits)
	if err != nil {
		return err
	}
	for i, e := range z.Entries() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at := filepath.Join(dir, filepath.FromSlash(e.Path))
		if e.Type == safearchive.Dir {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := unzipFile(z.Open(i), at, e.X); err != nil {
			return err
		}
	}
	return nil
}

func unzipFile(from io.Reader, at string, x bool) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if x {
		perm = 0o755
	}
	out, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}

// setTimes gives everything below dir one time. Links have none that counts.
func setTimes(dir string) error {
	at := time.Unix(epoch, 0)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, at, at)
	})
}

// readSystem reads [build-system] of pyproject.toml, which need not be there.
func (b *builder) readSystem() error {
	const name = "pyproject.toml"
	root, err := os.OpenRoot(b.source)
	if err != nil {
		return err
	}
	defer root.Close() // opened for reading: nothing can be lost
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		b.system = schema.DefaultBuildSystem()
		return nil
	}
	if err != nil {
		return &Error{Reason: "its pyproject.toml cannot be read: " + err.Error()}
	}
	defer f.Close() // opened for reading: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, schema.MaxFile+1))
	if err != nil {
		return &Error{Reason: "its pyproject.toml cannot be read: " + err.Error()}
	}
	system, problems := schema.ParseBuildSystem(path.Join(filepath.Base(b.source), name), data)
	if len(problems) > 0 {
		return &Error{Reason: problems[0].Error()}
	}
	b.system = system
	return nil
}
