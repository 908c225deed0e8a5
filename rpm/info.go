package rpm

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// An Info is a package that was read.
type Info struct {
	Package // of an rpm with what was added when it was written; Open of a file is nil

	File      string   // its name as the caller gave it
	Size      int64    // bytes of the package
	SHA256    [32]byte // of the package
	Installed int64    // bytes of its files, as it says
	Archive   int64    // bytes of its payload before compression, as it says

	Vendor, BuildHost, Source string // of an rpm
	IsSource                  bool   // an rpm of sources
	HeaderStart, HeaderEnd    int64  // of an rpm: where in the package its header is
	Suggests, Obsoletes       []Relation
	Supplements, Enhances     []Relation
	Signatures                [][]byte // of an rpm: OpenPGP signatures of its header
	Fields                    []Field  // of a deb: its control file
	header                    []byte   // of an rpm: what was signed
	names                     int      // bytes of the names of all files
}

// A Field is a field of a control file. Lines after the first begin with a space.
type Field struct{ Name, Value string }

// Limits bound what a package may cost whoever reads it. The zero value of each
// field means its default.
type Limits struct {
	Files   int   // entries of the file list; 0 means 500,000
	Content int64 // bytes of all files; 0 means 10 GiB
	Control int64 // bytes of the control archive of a deb; 0 means 64 MiB
	// HeadOnly says that files are not read: the list of an rpm is then what its header
	// says, and a deb has none. The digest of the package still is that of all
	// of it.
	HeadOnly bool
}

func (l Limits) withDefaults() Limits {
	l.Files = cmp.Or(l.Files, 500_000)
	l.Content = cmp.Or(l.Content, 10<<30)
	l.Control = cmp.Or(l.Control, 64<<20)
	return l
}

// The limits of names: of a path, and of all paths and targets of links together, which
// are kept in memory and may come from much less.
const (
	maxPath  = 4096
	maxNames = 64 << 20
)

// addFile appends to the file list, within the limit of names.
func (p *Info) addFile(f File) error {
	if p.names += len(f.Path) + len(f.Link); p.names > maxNames {
		return malformed("has names of files with more than %d bytes", maxNames)
	}
	p.Files = append(p.Files, f)
	return nil
}

// Read reads a package of either format, which messages call name, and checks its
// files against the digests that it has of them. Signatures are not checked.
func Read(ctx context.Context, name string, r io.Reader, limits Limits) (*Info, error) {
	src := &source{ctx: ctx, r: r}
	in := bufio.NewReaderSize(src, 64<<10)
	head, err := in.Peek(8)
	if err != nil && err != io.EOF {
		return nil, inPackage(name, err, src.err)
	}
	sum := newSum(in)
	var info *Info
	switch {
	case bytes.HasPrefix(head, leadMagic[:]):
		info, err = readRPM(sum, limits.withDefaults())
	case bytes.HasPrefix(head, []byte(arMagic)):
		info, err = readDeb(sum, limits.withDefaults())
	default:
		err = malformed("is neither an rpm nor a deb")
	}
	if err == nil {
		err = sum.drain(limits.HeadOnly)
	}
	if err != nil {
		return nil, inPackage(name, err, src.err)
	}
	info.File = name
	info.Size, info.SHA256 = sum.n, [32]byte(sum.h.Sum(nil))
	return info, nil
}

// ReadFile reads the package at path.
func ReadFile(ctx context.Context, path string, limits Limits) (*Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no regular file", path)
	}
	return Read(ctx, filepath.Base(path), f, limits)
}
