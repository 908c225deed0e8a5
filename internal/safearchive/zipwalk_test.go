package safearchive

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// linked is the header of a symbolic link.
func linked(name, target string) zip.FileHeader {
	return zip.FileHeader{Name: name, Comment: target, CreatorVersion: 3 << 8, ExternalAttrs: 0o120777 << 16}
}

func treeZip(t testing.TB) []byte {
	t.Helper()
	return rawZip(t,
		zip.FileHeader{Name: "./"}, zip.FileHeader{Name: "./bin/"},
		linked("run", "bin/app"),
		zip.FileHeader{Name: "bin/app", Comment: "#!/bin/sh\n", CreatorVersion: 3 << 8, ExternalAttrs: 0o100744 << 16},
		zip.FileHeader{Name: "größe", Comment: "x", CreatorVersion: 3 << 8, ExternalAttrs: 0o100615 << 16})
}

// A zip archive is the tree that a tar with the same entries is: links come last, and
// of the mode the owner's x bit counts.
func TestZipWalk(t *testing.T) {
	data := treeZip(t)
	const want = "d bin\nf bin/app true 10 #!/bin/sh\n\nf größe false 1 x\nl run bin/app\n"
	withComment := append(bytes.Clone(data), "commit 1"...)
	withComment[len(data)-2] = 8
	line := []byte("#!/usr/bin/env python3\n")
	for name, b := range map[string][]byte{
		"a.zip": data, "comment.zip": withComment, "relative.pyz": append(bytes.Clone(line), data...), "no suffix": data,
	} {
		if got, err := list(name, b, Limits{}); err != nil || got != want {
			t.Errorf("%s: %v, got\n%s", name, err, got)
		}
	}
	unicode := binary64(0x7075, append([]byte{1, 0, 0, 0, 0}, "größe"...))
	dos := zip.FileHeader{Name: "größe", NonUTF8: true, Extra: unicode}
	if got, err := list("a.zip", rawZip(t, dos), Limits{}); err != nil || got != "f größe false 0 \n" {
		t.Errorf("a name that a second one confirms: %v, got\n%s", err, got)
	}
}

// binary64 is an extra field.
func binary64(id uint16, body []byte) []byte {
	return append([]byte{byte(id), byte(id >> 8), byte(len(body)), byte(len(body) >> 8)}, body...)
}

func TestZipWalkRefused(t *testing.T) {
	file := func(name string) zip.FileHeader { return zip.FileHeader{Name: name, Comment: "x"} }
	zeros := deflated(t, make([]byte, 4<<20))
	bomb := zip.FileHeader{Name: "a", Comment: zeros, Method: zip.Deflate, CompressedSize64: uint64(len(zeros)),
		UncompressedSize64: 4 << 20, CRC32: crc32.ChecksumIEEE(make([]byte, 4<<20))}
	ended := rawZip(t, file("a"))
	hidden := append(bytes.Clone(ended), rawZip(t)...)
	hidden[len(ended)-2] = 22
	behind := append(bytes.Clone(ended), "PK\x05\x06"...)
	behind[len(ended)-2] = 4
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"absolute", rawZip(t, linked("l", "/etc")), `z: "l": link to the absolute path "/etc"`},
		{"climbing", rawZip(t, linked("a/l", "../..")), `z: "a/l": link to "../.." climbs out of the archive`},
		{"loop", rawZip(t, linked("a", "b"), linked("b", "a")), `z: "a": link to "b" is part of a loop`},
		{"empty target", rawZip(t, linked("a", "")), `z: "a": link with an empty target`},
		{"through a link", rawZip(t, linked("a", "b"), file("a/b")), `z: "a/b": name leads through the symbolic link "a"`},
		{"long target", rawZip(t, linked("a", strings.Repeat("t/", 3000))), `z: "a": length of a path is over the limit of 4096 bytes`},
		{"a target of other bytes", rawZip(t, zip.FileHeader{Name: "a", Comment: "x", CompressedSize64: 1, UncompressedSize64: 1,
			CreatorVersion: 3 << 8, ExternalAttrs: 0o120777 << 16}), `z: "a": is damaged: its checksum is wrong`},
		{"a link that is a directory", rawZip(t, linked("a/", "")), `z: "a/": is a link by its mode and a directory by its name`},
		{"setuid", rawZip(t, unixMode(0o104755)), `z: "a": mode 04755 has a setuid, setgid or sticky bit`},
		{"a top that is a file", rawZip(t, file(".")), `z: ".": name of a directory on something else`},
		{"two tops", rawZip(t, zip.FileHeader{Name: "./"}, zip.FileHeader{Name: "././"}), `z: "./": the same name occurs twice`},
		{"two names", rawZip(t, zip.FileHeader{Name: "a", Extra: binary64(0x7075, []byte("\x01\x00\x00\x00\x00b"))}), `z: "a": has a second name`},
		{"a name in no charset", rawZip(t, zip.FileHeader{Name: "ä", NonUTF8: true}), `z: "ä": name is not marked as UTF-8`},
		{"two ends", hidden, "z: is damaged: its directory does not end where its end begins"},
		{"half an end", behind, "z: is no zip archive, is cut, or has bytes behind its end"},
		{"two lines", append([]byte("#!/bin/sh\nexit\n"), ended...), "z: is no tar archive"},
		{"bytes before it", append([]byte("#!/bin/sh\n"), append(rawZip(t), ended...)...), "z: is damaged: its directory does not end where its end begins"},
		{"a bomb", rawZip(t, bomb), "z: compression ratio is over the limit of 200"},
		{"a wrong checksum", rawZip(t, zip.FileHeader{Name: "a", Comment: "x", CompressedSize64: 1, UncompressedSize64: 1}, file("b")), `z: "a": is damaged: its checksum is wrong`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := scan("z", bytes.NewReader(c.data), Limits{RatioAfter: 2 << 20})
			var refused *RefusedError
			if !errors.As(err, &refused) || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if err := scan("z", io.MultiReader(bytes.NewReader(ended)), Limits{}); err == nil || err.Error() != "z: is a zip archive, which is read from a file and not from a stream" {
		t.Errorf("a stream: %v", err)
	}
}

// What an archive announces is no matter of proportion, and not more than that.
func TestZipAnnounce(t *testing.T) {
	zeros := deflated(t, make([]byte, 4<<20))
	head := zip.FileHeader{Name: "a", Comment: zeros, Method: zip.Deflate, CompressedSize64: uint64(len(zeros)),
		UncompressedSize64: 4 << 20, CRC32: crc32.ChecksumIEEE(make([]byte, 4<<20))}
	data := rawZip(t, zip.FileHeader{Name: "manifest"}, head)
	for announced, want := range map[int64]string{4 << 20: "EOF", 1 << 20: "z: compression ratio is over the limit of 200"} {
		r, err := open(t.Context(), "z", bytes.NewReader(data), OpenOptions{Limits: Limits{RatioAfter: 2 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if err := r.Announce(1, announced); err != nil {
			t.Fatal(err)
		}
		if _, err = r.Next(); err == nil {
			_, err = r.Next()
		}
		if err == nil || err.Error() != want {
			t.Errorf("%d bytes announced: %v, want %s", announced, err, want)
		}
	}
}

// Unread gives an entry once more, and then its content.
func TestUnread(t *testing.T) {
	for name, data := range map[string][]byte{"a.zip": rawZip(t, zip.FileHeader{Name: "a", Comment: "x"}), "a.tar": tarOf(t, item{name: "a", body: "x"})} {
		r, err := open(t.Context(), name, bytes.NewReader(data), OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		first, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		r.Unread()
		again, err := r.Next()
		content, rerr := io.ReadAll(r)
		if first != again || err != nil || rerr != nil || string(content) != "x" {
			t.Errorf("%s: %v, then %v, %v with %q, %v", name, first, again, err, content, rerr)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: behind it %v", name, err)
		}
	}
}

// A failure of the disk or of the context is no answer about the archive, wherever
// it strikes.
func TestZipWalkOutside(t *testing.T) {
	data := treeZip(t)
	for n := range 12 {
		_, err := walkAll(t.Context(), &failingAt{r: bytes.NewReader(data), left: n, err: iotest.ErrTimeout}, int64(len(data)))
		if n < 5 && err == nil || err != nil && (!errors.Is(err, iotest.ErrTimeout) || errors.As(err, new(*RefusedError)) || err.Error() != "z: timeout") {
			t.Errorf("the disk fails at read %d: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := newReader(ctx, "z", bytes.NewReader(data), &zipInput{ctx: ctx, r: bytes.NewReader(data), size: int64(len(data))}, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

type failingAt struct {
	r    io.ReaderAt
	left int
	err  error
}

func (f *failingAt) ReadAt(p []byte, at int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return f.r.ReadAt(p, at)
}

func walkAll(ctx context.Context, at io.ReaderAt, size int64) (n int, err error) {
	r, err := newReader(ctx, "z", io.NewSectionReader(at, 0, size), &zipInput{ctx: ctx, r: at, size: size}, OpenOptions{})
	for err == nil {
		if _, err = r.Next(); err == nil {
			n++
		}
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// An archive that is cut, wherever, is refused.
func TestZipCutAnywhere(t *testing.T) {
	data := treeZip(t)
	for n := range len(data) {
		var refused *RefusedError
		if err := scan("z.zip", bytes.NewReader(data[:n]), Limits{}); !errors.As(err, &refused) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(data), err)
		}
	}
}

// Formats of others are told apart. Those that are read on demand are damaged where a
// byte is missing, is another, or follows.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.tar"), tarOf(t, item{name: "a", body: "hello"}), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, tool, want string }{
		{"a.tar.xz", "xz -c", "is xz data"},
		{"a.tar.bz2", "bzip2 -c", "is bzip2 data"},
		{"a.tar.lz4", "lz4 -cq", "is lz4 data"},
		{"a.7z", "printf '7z\\274\\257\\047\\034' | cat - ", "is a 7z archive"},
		{"a.rar", "printf 'Rar!\\032\\007\\001\\000' | cat - ", "is a rar archive"},
		{"a.tar.lz", "printf 'LZIP\\001' | cat - ", "is lzip data"},
		{"a.tar.sz", "printf '\\377\\006\\000\\000sNaPpY' | cat - ", "is snappy data"},
		{"a.tar.br", "printf '\\001' | cat - ", "is brotli data by its name"},
	} {
		file := filepath.Join(dir, c.name)
		cmd := exec.Command("sh", "-euc", c.tool+" <a.tar >"+c.name)
		if strings.Contains(c.tool, "cat - ") {
			cmd = exec.Command("sh", "-euc", c.tool+"a.tar >"+c.name)
		}
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c.tool, err, out)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = open(t.Context(), c.name, bytes.NewReader(data), OpenOptions{})
		var foreign *ForeignError
		if !errors.As(err, &foreign) || !errors.As(err, new(*RefusedError)) || err.Error() != c.name+": "+c.want+"; an archive is tar.zst, tar.gz, tar or zip" {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := scan(c.name, bytes.NewReader(data), Limits{}); (err == nil) != foreign.Known {
			t.Errorf("%s, known %v: %v", c.name, foreign.Known, err)
		}
		if !foreign.Known {
			continue
		}
		var refused *RefusedError
		for n := range len(data) {
			if err := scan(c.name, bytes.NewReader(data[:n]), Limits{}); !errors.As(err, &refused) {
				t.Errorf("%s cut after %d of %d bytes: %v", c.name, n, len(data), err)
			}
			other := bytes.Clone(data)
			other[n] ^= 0x55
			// Decoders do not look at the first byte of LZMA, which is 0 and says nothing.
			const first = 30
			err := scan(c.name, bytes.NewReader(other), Limits{})
			if !errors.As(err, &refused) && (err != nil || n != first || foreign.Format != "xz data") {
				t.Errorf("%s with another byte %d: %v", c.name, n, err)
			}
		}
		for _, tail := range []string{"x", "junk behind it", "\x00\x00"} {
			if err := scan(c.name, bytes.NewReader(append(bytes.Clone(data), tail...)), Limits{}); !errors.As(err, &refused) {
				t.Errorf("%s followed by %q: %v", c.name, tail, err)
			}
		}
		if err := scan(c.name, bytes.NewReader(append(bytes.Clone(data), data...)), Limits{}); !errors.As(err, &refused) {
			t.Errorf("%s twice: %v", c.name, err)
		}
	}
}
