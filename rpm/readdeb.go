package rpm

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// readDeb reads a package: debian-binary, the control archive, the files.
func readDeb(in *sum, lim Limits) (*Info, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(in, magic); err != nil {
		return nil, err
	}
	ar := &arReader{r: in}
	name, size, err := ar.next()
	if err != nil {
		return nil, err
	}
	version := make([]byte, min(size, 16))
	if _, err := io.ReadFull(ar.body, version); err != nil {
		return nil, err
	}
	if name != "debian-binary" || !bytes.HasPrefix(version, []byte("2.")) || size > 16 {
		return nil, malformed("is not a deb of version 2: its first member is %.20q with %.20q", name, version)
	}
	control, err := ar.member("control.tar")
	if err != nil {
		return nil, err
	}
	members, err := readControl(control, ar.body, lim)
	if err != nil {
		return nil, err
	}
	info := &Info{}
	if err := info.fillDeb(members); err != nil {
		return nil, err
	}
	data, err := ar.member("data.tar")
	if err != nil {
		return nil, err
	}
	if lim.HeadOnly {
		return info, nil
	}
	if err := info.readData(data, ar.body, members, lim); err != nil {
		return nil, err
	}
	for {
		name, _, err := ar.next()
		if err == io.EOF {
			return info, nil
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(name, "_gpg") {
			return nil, malformed("has a member %q behind its files", name)
		}
	}
}

// member goes to the member that has to come next, and gives the suffix of its name.
func (a *arReader) member(want string) (suffix string, err error) {
	name, _, err := a.next()
	if err != nil {
		return "", cut(err)
	}
	suffix, ok := strings.CutPrefix(name, want)
	if !ok {
		return "", malformed("has the member %.20q where %s comes", name, want)
	}
	return suffix, nil
}

// readControl gives the files of the control archive by name.
func readControl(suffix string, r io.Reader, lim Limits) (map[string][]byte, error) {
	members := map[string][]byte{}
	left := lim.Control
	err := walkTar(suffix, r, 1000, func(name string, h *tar.Header, r io.Reader) error {
		if h.Typeflag == tar.TypeDir && name == "" {
			return nil
		}
		if h.Typeflag != tar.TypeReg || strings.Contains(name, "/") {
			return badFile(h.Name, "is in the control archive, and is no file of its")
		}
		if left -= h.Size; left < 0 {
			return badFile(h.Name, "makes the control archive larger than %d bytes", lim.Control)
		}
		content, err := io.ReadAll(r)
		members[name] = content
		return err
	})
	if err != nil {
		return nil, err
	}
	if members["control"] == nil {
		return nil, malformed("has a control archive without a control file")
	}
	return members, nil
}

// walkTar calls f for each entry, with its name without ./ and the slash at its end.
// Names are clean, and occur once.
func walkTar(suffix string, r io.Reader, most int, f func(name string, h *tar.Header, r io.Reader) error) error {
	z, err := decompress(strings.TrimPrefix(suffix, "none"), bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return err
	}
	defer z.Close()
	in := newWindow(z)
	t := tar.NewReader(in)
	seen := map[string]bool{}
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "."), "/")
		if h.Name == "." || h.Name == "./" {
			name = ""
		} else if name = strings.TrimPrefix(name, "/"); path.Clean("/"+name) != "/"+name || name == "" || !printable(name) || len(name) > maxPath {
			return badFile(h.Name, "is not a clean name")
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return badFile(h.Name, "is a sparse file")
			}
		}
		if seen[name] {
			return badFile(h.Name, "occurs twice")
		}
		if seen[name] = true; len(seen) > most {
			return malformed("has more than %d files", most)
		}
		if err := f(name, h, t); err != nil {
			return err
		}
	}
	return zeros(in)
}

// zeros reads to the end, where there must be nothing but padding.
func zeros(r *bufio.Reader) error {
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		b, err := r.Peek(r.Buffered())
		if err != nil {
			return err
		}
		if len(bytes.Trim(b, "\x00")) > 0 {
			return malformed("has data behind the end of its files")
		}
		if _, err := r.Discard(len(b)); err != nil {
			return err
		}
	}
}

// readData reads the files, and compares them with md5sums where there is one.
func (p *Info) readData(suffix string, r io.Reader, members map[string][]byte, lim Limits) error {
	sums, err := parseSums(members["md5sums"])
	if err != nil {
		return err
	}
	index := map[string]int{}
	left := lim.Content
	buf := make([]byte, 64<<10)
	err = walkTar(suffix, r, lim.Files, func(name string, h *tar.Header, r io.Reader) error {
		if name == "" {
			return nil // the root
		}
		f, err := p.debFile(name, h, index)
		if err != nil {
			return err
		}
		if left -= f.Size; left < 0 {
			return badFile(f.Path, "is more than the limit of bytes in a package")
		}
		if h.Typeflag == tar.TypeReg {
			sum, weak := sha256.New(), md5.New()
			if _, err := io.CopyBuffer(io.MultiWriter(sum, weak), r, buf); err != nil {
				return err
			}
			f.SHA256 = [32]byte(sum.Sum(nil))
			if want, ok := sums[name]; ok && want != hex.EncodeToString(weak.Sum(nil)) {
				return badFile(f.Path, "has another MD5 than md5sums says")
			}
			delete(sums, name)
		}
		index[f.Path] = len(p.Files)
		return p.addFile(f)
	})
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(members["conffiles"])) {
		words := strings.Fields(line)
		if len(words) != 1 {
			continue // remove-on-upgrade: the file is in an older package
		}
		i, ok := index[words[0]]
		if !ok || p.Files[i].Kind != Regular {
			return badFile(words[0], "is a configuration file, and not in the package")
		}
		p.Files[i].Kind = Config
	}
	slices.SortFunc(p.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// debFile makes an entry.
func (p *Info) debFile(name string, h *tar.Header, index map[string]int) (File, error) {
	f := File{Path: "/" + name, Owner: h.Uname, Group: h.Gname, Mode: fs.FileMode(h.Mode & 0o777)}
	if h.Uname == "" && h.Uid == 0 {
		f.Owner = "root"
	}
	if h.Gname == "" && h.Gid == 0 {
		f.Group = "root"
	}
	if !printable(f.Owner) || !printable(f.Group) || !printable(h.Linkname) {
		return f, badFile(f.Path, "has the owner %.100q, group %.100q and link %.100q", f.Owner, f.Group, h.Linkname)
	}
	f.Mode |= h.FileInfo().Mode() & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if p.Time.IsZero() || h.ModTime.After(p.Time) {
		p.Time = time.Unix(h.ModTime.Unix(), 0).UTC()
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Size = h.Size
	case tar.TypeDir:
		f.Kind = Directory
	case tar.TypeSymlink:
		if f.Kind, f.Link = Symlink, h.Linkname; f.Link == "" {
			return f, badFile(f.Path, "is a link to nothing")
		}
	case tar.TypeLink:
		i, ok := index["/"+strings.TrimPrefix(strings.TrimPrefix(h.Linkname, "."), "/")]
		if !ok || p.Files[i].Kind != Regular {
			return f, badFile(f.Path, "is a hard link to %.100q, which is no file before it", h.Linkname)
		}
		f.Size, f.SHA256 = p.Files[i].Size, p.Files[i].SHA256
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		f.Kind = Special
	default:
		return f, badFile(f.Path, "is of type %q", h.Typeflag)
	}
	return f, nil
}

// parseSums reads md5sums: digests by path without the slash in front.
func parseSums(b []byte) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) < 35 || line[32:34] != "  " {
			return nil, malformed("has %.100q in md5sums", line)
		}
		sums[line[34:]] = line[:32]
	}
	return sums, nil
}
