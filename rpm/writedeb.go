package rpm

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// writeDeb streams the files to the spool, and gives all that comes before them.
func (p *Package) writeDeb(ctx context.Context, raw []byte, s *spool) ([]byte, error) {
	members, err := splitAr(raw)
	if err != nil {
		return nil, fmt.Errorf("nfpm: %w", err)
	}
	sums, kib, err := p.writeData(ctx, members["data.tar.gz"], s)
	if err != nil {
		return nil, err
	}
	control, err := fillControl(members["control.tar.gz"], sums, kib)
	if err != nil {
		return nil, err
	}
	suffix := ".zst"
	if p.Compression == Gzip {
		suffix = ".gz"
	}
	var head bytes.Buffer
	head.WriteString(arMagic)
	add := func(name string, content []byte) {
		head.Write(arMember(name, p.unix(), int64(len(content))))
		head.Write(content)
		if len(content)%2 == 1 {
			head.WriteByte('\n')
		}
	}
	add("debian-binary", members["debian-binary"])
	add("control.tar.gz", control)
	if s.n > 9_999_999_999 {
		return nil, fmt.Errorf("its files are %d bytes when compressed, and a member of a deb has up to ten digits", s.n)
	}
	head.Write(arMember("data.tar"+suffix, p.unix(), s.n))
	if s.n%2 == 1 {
		if _, err := s.Write([]byte("\n")); err != nil {
			return nil, err
		}
	}
	return head.Bytes(), nil
}

// splitAr gives the members of a deb, which are parts of raw.
func splitAr(raw []byte) (map[string][]byte, error) {
	if !bytes.HasPrefix(raw, []byte(arMagic)) {
		return nil, errors.New("wrote no ar archive")
	}
	r := bytes.NewReader(raw[len(arMagic):])
	ar := &arReader{r: r}
	members := map[string][]byte{}
	for {
		name, size, err := ar.next()
		if err == io.EOF {
			return members, nil
		}
		if err != nil {
			return nil, err
		}
		at := len(raw) - r.Len()
		if size > int64(r.Len()) {
			return nil, io.ErrUnexpectedEOF
		}
		members[name] = raw[at : at+int(size) : at+int(size)]
	}
}

// writeData fills the content into the archive of empty files. It gives the lines of
// md5sums, and the installed size as du would say it.
func (p *Package) writeData(ctx context.Context, skeleton []byte, s *spool) (sums []byte, kib int64, err error) {
	zr, err := gzip.NewReader(bytes.NewReader(skeleton))
	if err != nil {
		return nil, 0, fmt.Errorf("nfpm: %w", err)
	}
	z, err := p.compressor(s)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			z.Close() // for its goroutines; the error is that of before
		}
	}()
	files := make(map[string]*File, len(p.Files))
	for i := range p.Files {
		files[p.Files[i].Path] = &p.Files[i]
	}
	var lines bytes.Buffer
	feed := newFeeder(ctx)
	in, out := tar.NewReader(zr), tar.NewWriter(z)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("nfpm: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			kib++
			if err := out.WriteHeader(h); err != nil {
				return nil, 0, fmt.Errorf("file %q: %w", h.Name, err)
			}
			continue
		}
		f := files[strings.TrimPrefix(h.Name, ".")]
		if f == nil {
			return nil, 0, fmt.Errorf("nfpm: wrote a file %q", h.Name)
		}
		h.Size = f.Size
		kib += (f.Size + 1023) / 1024
		if err := out.WriteHeader(h); err != nil {
			return nil, 0, fmt.Errorf("file %q: %w", f.Path, err)
		}
		weak := md5.New()
		if err := feed.copy(io.MultiWriter(out, weak), *f); err != nil {
			return nil, 0, err
		}
		fmt.Fprintf(&lines, "%x  %s\n", weak.Sum(nil), f.Path[1:])
	}
	if err := out.Close(); err != nil {
		return nil, 0, err
	}
	return lines.Bytes(), kib, z.Close()
}

var installedSize = regexp.MustCompile(`(?m)^Installed-Size: 0$`)

// fillControl sets what the control archive says of the content.
func fillControl(skeleton, sums []byte, kib int64) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(skeleton))
	if err != nil {
		return nil, fmt.Errorf("nfpm: %w", err)
	}
	var b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	in, out := tar.NewReader(zr), tar.NewWriter(zw)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("nfpm: %w", err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("nfpm: %w", err)
		}
		switch h.Name {
		case "./control":
			content = installedSize.ReplaceAll(content, fmt.Appendf(nil, "Installed-Size: %d", kib))
		case "./md5sums":
			content = sums
		}
		h.Size = int64(len(content))
		if err := out.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := out.Write(content); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(out.Close(), zw.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
