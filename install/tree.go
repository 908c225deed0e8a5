package install

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// The directories of an unpacked wheel: one for each place that its files go to.
const (
	siteDir    = "site"    // site-packages
	scriptDir  = "bin"     // beside the interpreter
	headerDir  = "include" // headers of the package
	dataDir    = "data"    // the environment itself
	indexName  = "index"
	indexStart = "appbundle wheel 1\n"
)

// A tree is an unpacked wheel in the cache. The index file lists it, so that
// nobody walks over thousands of files to link them.
type tree struct {
	path    string // of the directory in the cache
	name    string // normalised
	version string
	info    string // name of the dist-info directory
	warning string // what a person should read; "" for nothing
	files   []treeFile
}

// A treeFile is one file of a tree.
type treeFile struct {
	path string // "site/flask/app.py"
	x    bool
	size int64
	sum  string // SHA-256 as RECORD writes it
}

// encodeSum writes a hash as RECORD does.
func encodeSum(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum) }

// encode writes the index: a field between two tabs, which no name has.
func (t *tree) encode() []byte {
	var b bytes.Buffer
	b.WriteString(indexStart)
	fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", t.name, t.version, t.info, t.warning)
	for _, f := range t.files {
		x := "-"
		if f.x {
			x = "x"
		}
		b.WriteString(x + "\t" + strconv.FormatInt(f.size, 10) + "\t" + f.sum + "\t" + f.path + "\n")
	}
	b.WriteString("end\n")
	return b.Bytes()
}

// ErrDamaged says that an entry of the cache is not what was put there; Verify
// finds and removes it.
var ErrDamaged = errors.New("the cache is damaged")

var errIndex = fmt.Errorf("%w: it is no index of an unpacked wheel", ErrDamaged)

// openIndex opens the index of an entry, and tells an entry that is not there from
// one without its index. An entry appears whole, with its index; it may do so
// between the two looks, so that the index is looked for once more.
func openIndex(path string) (*os.File, error) {
	at := filepath.Join(path, indexName)
	f, err := os.Open(at)
	if _, there := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || there != nil {
		return f, err
	}
	if f, err = os.Open(at); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, errIndex)
	}
	return f, err
}

// readTree reads the index of the tree at path.
func readTree(path string) (*tree, error) {
	f, err := openIndex(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	t := &tree{path: path}
	if !t.decode(string(text)) {
		return nil, fmt.Errorf("%s: %w", f.Name(), errIndex)
	}
	return t, nil
}

func (t *tree) decode(text string) bool {
	text, ok := strings.CutPrefix(text, indexStart)
	head, rest, ok2 := strings.Cut(text, "\n")
	fields := strings.Split(head, "\t")
	if !ok || !ok2 || len(fields) != 4 || !strings.HasSuffix(rest, "end\n") {
		return false
	}
	t.name, t.version, t.info, t.warning = fields[0], fields[1], fields[2], fields[3]
	rest = strings.TrimSuffix(rest, "end\n")
	t.files = make([]treeFile, 0, strings.Count(rest, "\n"))
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		x, line, _ := strings.Cut(line, "\t")
		size, line, _ := strings.Cut(line, "\t")
		sum, path, ok := strings.Cut(line, "\t")
		n, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil {
			return false
		}
		t.files = append(t.files, treeFile{path: path, x: x == "x", size: n, sum: sum})
	}
	return true
}

// isOf reports whether the tree is of the package and version that the name of a
// wheel says.
func (t *tree) isOf(w *pep508.WheelName) bool {
	v, err := pep440.Parse(t.version)
	return err == nil && t.name == w.Name && pep440.Compare(v, w.Version) == 0
}

// perm is the mode of the file in the cache and in every environment.
func (f *treeFile) perm() os.FileMode {
	if f.x {
		return 0o555
	}
	return 0o444
}
