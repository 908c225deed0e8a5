package install

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"appbundle/schema"
	"appbundle/schema/pep508"
)

// A part is a file of a wheel.
type part struct {
	name, text string
	mode       uint32 // 0 means 0644
	raw        *zip.FileHeader
}

// makeWheel makes a wheel of parts. WHEEL, METADATA and RECORD are added where
// the parts have none; a part with an empty name takes one of them away.
func makeWheel(t testing.TB, file string, parts ...part) []byte {
	t.Helper()
	fields := strings.Split(file, "-")
	info := fields[0] + "-" + fields[1] + ".dist-info/"
	has := map[string]bool{}
	var all []part
	for _, p := range parts {
		has[p.name] = true
		if p.name == "" {
			has[info+p.text] = true
			continue
		}
		all = append(all, p)
	}
	for _, p := range []part{
		{name: info + "WHEEL", text: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{name: info + "METADATA", text: fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n\nText\n", fields[0], fields[1])},
	} {
		if !has[p.name] {
			all = append(all, p)
		}
	}
	if !has[info+"RECORD"] {
		var record strings.Builder
		for _, p := range all {
			if !strings.HasSuffix(p.name, "/") {
				fmt.Fprintf(&record, "\"%s\",sha256=%s,%d\n", p.name, sumOf([]byte(p.text)), len(p.text))
			}
		}
		record.WriteString(info + "RECORD,,\n")
		all = append(all, part{name: info + "RECORD", text: record.String()})
	}
	return zipOf(t, all)
}

func zipOf(t testing.TB, parts []part) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range parts {
		mode := p.mode
		if mode == 0 {
			mode = 0o100644
		}
		h := &zip.FileHeader{Name: p.name, CreatorVersion: 3 << 8, ExternalAttrs: mode << 16}
		h.CompressedSize64, h.UncompressedSize64, h.CRC32 = uint64(len(p.text)), uint64(len(p.text)), crc32.ChecksumIEEE([]byte(p.text))
		if strings.ContainsFunc(p.name, func(r rune) bool { return r >= 0x80 }) {
			h.Flags = 1 << 11 // UTF-8
		}
		if p.raw != nil {
			p.raw.Name = p.name
			h = p.raw
		}
		w, err := z.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, p.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A shelf is an index: wheels by file name.
type shelf map[string][]byte

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// lock makes a lock of all wheels of the shelf.
func (s shelf) lock(t testing.TB) *schema.PyLock {
	t.Helper()
	l := &schema.PyLock{File: "pylock.toml", CreatedBy: "test"}
	for file, data := range s {
		f := schema.LockedFile{Name: file, URL: "https://files.example/" + file, Size: int64(len(data)), Hashes: map[string]string{"sha256": sha(data)}}
		fields := strings.Split(file, "-")
		l.Packages = append(l.Packages, schema.LockedPackage{Name: pep508.NormalizeName(fields[0]), Version: fields[1], Wheels: []schema.LockedFile{f}})
	}
	text, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l, problems := schema.ParsePyLock("pylock.toml", text)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (s shelf) fetch(_ context.Context, f schema.LockedFile, w io.Writer) error {
	data, ok := s[f.Name]
	if !ok {
		return errors.New("404")
	}
	_, err := w.Write(data)
	return err
}

// realPython asks the interpreter on PATH, which may be a script, where it is.
var realPython = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	return strings.TrimSpace(string(out)), err
})

// python is the interpreter of the tests.
func python(t testing.TB) string {
	t.Helper()
	path, err := realPython()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// request installs the shelf into a directory of the test.
func (s shelf) request(t testing.TB) Request {
	t.Helper()
	dir := t.TempDir()
	app := filepath.Join(dir, "app")
	if err := os.Mkdir(app, 0o755); err != nil {
		t.Fatal(err)
	}
	return Request{Lock: s.lock(t), Dir: app, Python: python(t), Cache: filepath.Join(dir, "cache"), Fetch: s.fetch}
}

// list gives the names below dir, sorted, directories left out.
func list(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		b.WriteString(rel + "\n")
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b.String()
}
