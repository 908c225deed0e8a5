package safearchive

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// rawZip makes an archive of headers as they are; body is what is stored, and
// sizes and checksum are those of it where the header has none.
func rawZip(t testing.TB, heads ...zip.FileHeader) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, h := range heads {
		body := h.Comment
		h.Comment = ""
		if h.CompressedSize64 == 0 {
			h.CompressedSize64, h.UncompressedSize64, h.CRC32 = uint64(len(body)), uint64(len(body)), crc32.ChecksumIEEE([]byte(body))
		}
		f, err := w.CreateRaw(&h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unixMode(mode uint32) zip.FileHeader {
	return zip.FileHeader{Name: "a", CreatorVersion: 3 << 8, ExternalAttrs: mode << 16}
}

// readZip gives "path x size content" for every entry.
func readZip(data []byte, lim Limits) (string, error) {
	z, err := OpenZip("z", bytes.NewReader(data), int64(len(data)), lim)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, e := range z.Entries() {
		if e.Type == Dir {
			fmt.Fprintf(&b, "%s/\n", e.Path)
			continue
		}
		content, err := io.ReadAll(z.Open(i))
		if err != nil {
			return "", err
		}
		if len(content) > 20 {
			content = content[:20]
		}
		fmt.Fprintf(&b, "%s %v %d %s\n", e.Path, e.X, e.Size, content)
	}
	return b.String(), nil
}

func goodZip(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range []struct {
		name, body string
		mode       uint32
	}{{"dir/", "", 0o040755}, {"dir/größe.txt", strings.Repeat("hello ", 1000), 0o100644}, {"run", "#!/bin/sh\n", 0o104755}, {"empty", "", 0}} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: zip.Deflate, CreatorVersion: 3 << 8, ExternalAttrs: e.mode << 16})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestZip(t *testing.T) {
	got, err := readZip(goodZip(t), Limits{})
	want := "dir/\ndir/größe.txt false 6000 hello hello hello he\nrun true 10 #!/bin/sh\n\nempty false 0 \n"
	if err != nil || got != want {
		t.Errorf("%v, got\n%s", err, got)
	}
	got, err = readZip(rawZip(t, zip.FileHeader{Name: "a", Comment: "x"}, zip.FileHeader{Name: "b"}), Limits{})
	if want := "a false 1 x\nb false 0 \n"; err != nil || got != want {
		t.Errorf("%v, got\n%s", err, got)
	}
	if got, err := readZip(rawZip(t), Limits{}); err != nil || got != "" {
		t.Errorf("an empty archive: %q, %v", got, err)
	}
}

// Sizes that do not fit into four bytes come from the extra field, of which a
// large file is not needed: the fields may say so for any size.
func TestZip64(t *testing.T) {
	data := rawZip(t, zip.FileHeader{Name: "a", Comment: "hello", Extra: append([]byte{1, 0, 16, 0}, le64(5, 5)...)})
	for _, at := range []int{18, 22, bytes.Index(data, []byte("PK\x01\x02")) + 20, bytes.Index(data, []byte("PK\x01\x02")) + 24} {
		binary.LittleEndian.PutUint32(data[at:], 0xffffffff)
	}
	if got, err := readZip(data, Limits{}); err != nil || got != "a false 5 hello\n" {
		t.Errorf("%q, %v", got, err)
	}
	// A place that fits may be there as well, if it is the same.
	for offset, want := range map[uint64]string{0: "a false 5 hello\n", 7: ""} {
		data := rawZip(t, zip.FileHeader{Name: "a", Comment: "hello", Extra: append([]byte{1, 0, 24, 0}, le64(5, 5, offset)...)})
		at := bytes.Index(data, []byte("PK\x01\x02"))
		copy(data[at+20:], bytes.Repeat([]byte{0xff}, 8))
		if got, err := readZip(data, Limits{}); got != want || (err == nil) != (want != "") {
			t.Errorf("the place %d: %q, %v", offset, got, err)
		}
	}
	// The same at the end of the archive.
	dir, end := bytes.Index(data, []byte("PK\x01\x02")), len(data)-zipEndSize
	large := append([]byte(nil), data[:end]...)
	large = binary.LittleEndian.AppendUint32(large, zipEnd64)
	large = append(large, le64(zipEnd64Size-12)...)
	large = append(large, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	large = append(large, le64(1, 1, uint64(end-dir), uint64(dir))...)
	large = binary.LittleEndian.AppendUint32(large, zipLocator64)
	large = append(large, 0, 0, 0, 0)
	large = append(large, le64(uint64(end))...)
	large = append(large, 1, 0, 0, 0)
	large = append(large, data[end:]...)
	copy(large[len(large)-zipEndSize+8:], bytes.Repeat([]byte{0xff}, 12))
	if got, err := readZip(large, Limits{}); err != nil || got != "a false 5 hello\n" {
		t.Errorf("%q, %v", got, err)
	}
	copy(large[end+40:], le64(7)) // another length of the directory
	if _, err := readZip(large, Limits{}); err == nil || !strings.Contains(err.Error(), "its directory does not end where its end begins") {
		t.Errorf("got %v", err)
	}
}

func le64(values ...uint64) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func TestZipRefused(t *testing.T) {
	file := func(name string) zip.FileHeader { return zip.FileHeader{Name: name, Comment: "x"} }
	patched := func(data []byte, record string, at int, with ...byte) []byte {
		copy(data[bytes.LastIndex(data, []byte(record))+at:], with)
		return data
	}
	const local, central, end = "PK\x03\x04", "PK\x01\x02", "PK\x05\x06"
	one := func() []byte { return rawZip(t, file("a")) }
	two := func() []byte { return rawZip(t, file("aa"), file("bb")) }
	streamed := goodZip(t)
	zeros := deflated(t, make([]byte, 4<<20))
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "z: is no zip archive"},
		{"text", []byte(strings.Repeat("text", 20)), "z: is no zip archive, is cut, or has a comment at its end"},
		{"a cut end", one()[:len(one())-1], "z: is no zip archive, is cut, or has a comment at its end"},
		{"a comment", append(patched(one(), end, 20, 1), 'c'), "z: is no zip archive, is cut, or has a comment at its end"},
		{"volumes", patched(one(), end, 4, 1), "z: is one of several volumes"},
		{"bytes before", append([]byte("MZ"), one()...), "z: is damaged: its directory does not end where its end begins"},
		{"more entries than said", patched(two(), end, 8, 1, 0, 1, 0), "z: is damaged: its directory has more than the 1 entries that it says"},
		{"fewer entries than said", patched(one(), end, 8, 2, 0, 2, 0), "z: is cut: the archive ends too early"},
		{"a hole", patched(two(), end, 8, 1, 0, 1, 0, 48, 0, 0, 0), "z: is damaged: its directory does not end where its end begins"},
		{"an entry twice", patched(two(), central, 42, 0, 0, 0, 0), `z: "bb": overlaps another entry`},
		{"another name inside", patched(one(), local, 30, 'b'), `z: "a": is called "b" where it begins`},
		{"another size inside", patched(one(), local, 22, 2), `z: "a": differs between its own header and the directory`},
		{"another method inside", patched(one(), local, 8, 8), `z: "a": differs between its own header and the directory`},
		{"another descriptor", patched(bytes.Clone(streamed), "PK\x07\x08", 8, 9), `z: "empty": differs between what follows it and the directory`},
		{"a wrong checksum", rawZip(t, zip.FileHeader{Name: "a", Comment: "x", CompressedSize64: 1, UncompressedSize64: 1}), `z: "a": is damaged: its checksum is wrong`},
		{"no deflate", rawZip(t, zip.FileHeader{Name: "a", Comment: "\xff", Method: zip.Deflate, CompressedSize64: 1, UncompressedSize64: 1}), `z: "a": is damaged: corrupt input before offset 1`},
		{"too short", rawZip(t, zip.FileHeader{Name: "a", Comment: zeros, Method: zip.Deflate, CompressedSize64: uint64(len(zeros)), UncompressedSize64: 5 << 20}), `z: "a": has less than the bytes that the directory says`},
		{"too long", rawZip(t, zip.FileHeader{Name: "a", Comment: zeros, Method: zip.Deflate, CompressedSize64: uint64(len(zeros)), UncompressedSize64: 1 << 20}), `z: "a": has more than the 1048576 bytes that the directory says`},
		{"bytes behind the stream", rawZip(t, zip.FileHeader{Name: "a", Comment: zeros + "x", Method: zip.Deflate, CompressedSize64: uint64(len(zeros) + 1), UncompressedSize64: 4 << 20, CRC32: crc32.ChecksumIEEE(make([]byte, 4<<20))}), `z: "a": has bytes behind its compressed content`},
		{"a bomb", rawZip(t, zip.FileHeader{Name: "a", Comment: zeros, Method: zip.Deflate, CompressedSize64: uint64(len(zeros)), UncompressedSize64: 4 << 20}), "z: compression ratio is over the limit of 200"},
		{"stored with two sizes", rawZip(t, zip.FileHeader{Name: "a", Comment: "x", CompressedSize64: 1, UncompressedSize64: 2}), `z: "a": is damaged: it is stored with two sizes`},
		{"a large file", rawZip(t, zip.FileHeader{Name: "a", Comment: "x", Method: zip.Deflate, CompressedSize64: 1, UncompressedSize64: 9 << 20}), `z: "a": file size is over the limit of 8388608 bytes`},
		{"encrypted", rawZip(t, zip.FileHeader{Name: "a", Flags: 1}), `z: "a": is encrypted, or of a kind that is not read`},
		{"another method", rawZip(t, zip.FileHeader{Name: "a", Method: 14}), `z: "a": is compressed by a method other than deflate`},
		{"a comment of an entry", commented(t), `z: "a": has a comment`},
		{"climbing", rawZip(t, file("../a")), `z: "../a": name climbs out of the archive`},
		{"absolute", rawZip(t, file("/a")), `z: "/a": name is absolute`},
		{"a backslash", rawZip(t, file(`..\a`)), `z: "..\\a": name has a backslash`},
		{"NUL", rawZip(t, file("a\x00b")), `z: "a\x00b": name has a control character`},
		{"no UTF-8", rawZip(t, zip.FileHeader{Name: "\xff", NonUTF8: true}), `z: "\xff": name is not marked as UTF-8`},
		{"marked and no UTF-8", rawZip(t, zip.FileHeader{Name: "\xff", Flags: zipFlagUTF8}), `z: "\xff": name is not UTF-8`},
		{"a long name", rawZip(t, file(strings.Repeat("n", 256))), `z: "` + strings.Repeat("n", 160) + `"…: length of a name is over the limit of 255 bytes`},
		{"twice", rawZip(t, file("a"), file("a")), `z: "a": the same name occurs twice`},
		{"case", rawZip(t, file("A.py"), file("a.py")), `z: "a.py": name is the same as "A.py" where case or Unicode form do not count`},
		{"through a file", rawZip(t, file("a"), file("a/b")), `z: "a/b": name leads through the file "a"`},
		{"a link", rawZip(t, unixMode(0o120777)), `z: "a": is a symbolic link`},
		{"a device", rawZip(t, unixMode(0o020600)), `z: "a": is a device`},
		{"a directory by mode", rawZip(t, unixMode(0o040755)), `z: "a": is a directory by its mode or by its name, not by both`},
		{"a second name", rawZip(t, zip.FileHeader{Name: "a", Extra: []byte{0x75, 0x70, 1, 0, 'b'}}), `z: "a": has a second name`},
		{"half an extra field", rawZip(t, zip.FileHeader{Name: "a", Extra: []byte{9, 9, 5, 0, 'b'}}), `z: "a": is damaged: half an extra field`},
		{"sizes that are not asked for", rawZip(t, zip.FileHeader{Name: "a", Extra: append([]byte{1, 0, 8, 0}, le64(5)...)}), `z: "a": is damaged: its sizes for large files do not fit`},
		{"a missing size", patched(one(), central, 24, 0xff, 0xff, 0xff, 0xff), `z: "a": is damaged: its size is missing`},
		{"many entries", rawZip(t, file("a"), file("b"), file("c"), file("d"), file("e")), "z: number of entries is over the limit of 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readZip(c.data, Limits{File: 8 << 20, RatioAfter: 2 << 20, Entries: 4})
			if strings.HasPrefix(c.name, "too ") || c.name == "bytes behind the stream" {
				_, err = readZip(c.data, Limits{})
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func commented(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if _, err := w.CreateHeader(&zip.FileHeader{Name: "a", Comment: "c"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func deflated(t testing.TB, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }

// An error of the disk is no judgement of the archive.
func TestZipOutside(t *testing.T) {
	_, err := OpenZip("z", brokenDisk{}, 100, Limits{})
	if !errors.Is(err, iotest.ErrTimeout) || errors.As(err, new(*RefusedError)) {
		t.Errorf("got %v", err)
	}
}

// Whatever is accepted, archive/zip reads in the same way.
func FuzzZip(f *testing.F) {
	f.Add(goodZip(f))
	f.Add(rawZip(f, zip.FileHeader{Name: "a", Comment: "x"}, zip.FileHeader{Name: "b/"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		lim := Limits{Total: 1 << 20, Entries: 100}
		z, err := OpenZip("z", bytes.NewReader(data), int64(len(data)), lim)
		if err != nil {
			return
		}
		other, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
			t.Fatalf("archive/zip: %v", err)
		}
		for i, e := range z.Entries() {
			if other.File[i].Name != e.Path && other.File[i].Name != e.Path+"/" {
				t.Fatalf("entry %d is %q and %q", i, e.Path, other.File[i].Name)
			}
			if e.Type == Dir {
				continue
			}
			content, err := io.ReadAll(z.Open(i))
			if err != nil {
				continue
			}
			r, err := other.File[i].Open()
			if err != nil {
				t.Fatalf("archive/zip: %v", err)
			}
			theirs, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(content, theirs) {
				t.Fatalf("%q: %v, contents differ", e.Path, err)
			}
		}
	})
}
