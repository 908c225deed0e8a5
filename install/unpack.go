package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"io"
	"path"
	"slices"
	"strings"

	"appbundle/internal/atomicfile"
	"appbundle/internal/safearchive"
)

// An unpacker is one wheel on its way into a tree.
type unpacker struct {
	*wheel
	fill  *atomicfile.Filler
	files []treeFile
	seen  map[string]bool // paths of files, in lower case
	buf   []byte
}

// unpack writes the files of w below fill and gives the tree that they are.
// After an error what was written is worth nothing.
func unpack(ctx context.Context, w *wheel, fill *atomicfile.Filler) (*tree, error) {
	u := &unpacker{wheel: w, fill: fill, seen: map[string]bool{}, buf: make([]byte, 256<<10)}
	for i, e := range w.Entries() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if e.Type != safearchive.File {
			continue
		}
		if err := u.entry(i, e); err != nil {
			return nil, err
		}
	}
	for _, s := range w.scripts {
		if err := u.write(scriptDir+"/"+s.name, s.script(), true); err != nil {
			return nil, err
		}
	}
	if err := u.write(siteDir+"/"+w.info+"/INSTALLER", []byte("appbundle\n"), false); err != nil {
		return nil, err
	}
	slices.SortFunc(u.files, func(a, b treeFile) int { return strings.Compare(a.path, b.path) })
	return &tree{name: w.name, version: w.version, info: w.info, warning: w.warning, files: u.files}, nil
}

// dropped are the files of dist-info that the installer writes itself.
var dropped = []string{"RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"}

// place says where a file of the wheel goes, "" for nowhere.
func (u *unpacker) place(name string) (string, error) {
	top, rest, _ := strings.Cut(name, "/")
	switch {
	case top == u.info && slices.Contains(dropped, rest):
		return "", nil
	case top != u.data || u.data == "":
		return siteDir + "/" + name, nil
	}
	kind, rest, _ := strings.Cut(rest, "/")
	if rest == "" {
		return "", u.refused(name, "is data of no kind")
	}
	switch kind {
	case "purelib", "platlib":
		return siteDir + "/" + rest, nil
	case "headers":
		return headerDir + "/" + rest, nil
	case "scripts":
		if why := badScript(rest); why != "" {
			return "", u.refused(name, "%s", why)
		}
		return scriptDir + "/" + rest, nil
	case "data":
		if why := badData(rest); why != "" {
			return "", u.refused(name, "%s", why)
		}
		return dataDir + "/" + rest, nil
	}
	return "", u.refused(name, "is data of the unknown kind %.40q", kind)
}

// badData says why no wheel may write that path of the environment.
func badData(name string) string {
	top, rest, isBelow := strings.Cut(strings.ToLower(name), "/")
	switch {
	case isBelow && top == "bin":
		first, _, _ := strings.Cut(rest, "/")
		return badScript(first)
	case !isBelow && (top == "pyvenv.cfg" || top == stampName || top == "bin" || top == "lib"):
		return "belongs to the environment"
	}
	return ""
}

// entry writes one file and compares it with its line of RECORD.
func (u *unpacker) entry(i int, e safearchive.Entry) error {
	to, err := u.place(e.Path)
	if err != nil || to == "" {
		return err
	}
	if err := u.claim(e.Path, to); err != nil {
		return err
	}
	x := e.X
	if strings.HasPrefix(to, scriptDir+"/") {
		if u.isPython(i) {
			return u.script(i, e, to)
		}
		x = true
	}
	out, err := u.fill.Create(to, (&treeFile{x: x}).perm())
	if err != nil {
		return err
	}
	own := sha256.New()
	check, err := u.copy(i, e, io.MultiWriter(out, own), own)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := u.compare(e, check); err != nil {
		return err
	}
	u.files = append(u.files, treeFile{to, x, e.Size, encodeSum(own.Sum(nil))})
	return nil
}

// copy reads a file to w and gives the hash that RECORD has: own, where that is
// of its algorithm.
func (u *unpacker) copy(i int, e safearchive.Entry, w io.Writer, own hash.Hash) (hash.Hash, error) {
	check := own
	switch u.record[e.Path].algorithm {
	case "sha384":
		check = sha512.New384()
	case "sha512":
		check = sha512.New()
	}
	if check != own {
		w = io.MultiWriter(w, check)
	}
	_, err := io.CopyBuffer(w, onlyReader{u.Open(i)}, u.buf)
	return check, err
}

// onlyReader keeps io.CopyBuffer from going around its buffer.
type onlyReader struct{ io.Reader }

func (u *unpacker) compare(e safearchive.Entry, check hash.Hash) error {
	line, ok := u.record[e.Path]
	switch {
	case !ok:
		return nil // one of those that RECORD has no hash of
	case line.size >= 0 && line.size != e.Size:
		return u.refused(e.Path, "has %d bytes, and RECORD says %d", e.Size, line.size)
	case string(check.Sum(nil)) != line.sum:
		return u.refused(e.Path, "is not what RECORD says: its %s is another", line.algorithm)
	}
	return nil
}

// isPython reports whether entry i begins as a script for the environment's own
// Python does. A program may be too large to be looked at as a whole.
func (u *unpacker) isPython(i int) bool {
	head := make([]byte, len(pythonStart))
	_, err := io.ReadFull(u.Open(i), head)
	return err == nil && string(head) == pythonStart // an error shows again when it is copied
}

// script installs a script for Python, which RECORD has as it was.
func (u *unpacker) script(i int, e safearchive.Entry, to string) error {
	if e.Size > maxMetadata {
		return u.refused(e.Path, "is a script of more than %d bytes", maxMetadata)
	}
	own := sha256.New()
	var text bytes.Buffer
	check, err := u.copy(i, e, io.MultiWriter(&text, own), own)
	if err != nil {
		return err
	}
	if err := u.compare(e, check); err != nil {
		return err
	}
	return u.add(to, relocatable(text.Bytes()), true)
}

// write adds a file that is made here.
func (u *unpacker) write(to string, text []byte, x bool) error {
	if err := u.claim(path.Base(to), to); err != nil {
		return err
	}
	return u.add(to, text, x)
}

// add writes a file whose path is claimed.
func (u *unpacker) add(to string, text []byte, x bool) error {
	f := treeFile{path: to, x: x, size: int64(len(text)), sum: sumOf(text)}
	if err := u.fill.WriteFile(to, text, f.perm()); err != nil {
		return err
	}
	u.files = append(u.files, f)
	return nil
}

// claim takes a path of the tree, which two files must not have.
func (u *unpacker) claim(name, to string) error {
	key := strings.ToLower(to)
	if u.seen[key] {
		return u.refused(name, "goes where another file of the wheel goes")
	}
	u.seen[key] = true
	return nil
}
