package safearchive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// An item is a member of an archive that a test makes. The kind is that of the
// tar header; 0 is told by the name and the link.
type item struct {
	name, body, link string
	kind             byte
	mode             int64
	pax              map[string]string
}

// tarOf makes a tar archive with the standard library's writer.
func tarOf(tb testing.TB, items ...item) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, it := range items {
		h := &tar.Header{Name: it.name, Linkname: it.link, Typeflag: it.kind, Mode: it.mode, PAXRecords: it.pax, Size: int64(len(it.body))}
		switch {
		case it.kind != 0:
		case it.link != "":
			h.Typeflag = tar.TypeSymlink
		case strings.HasSuffix(it.name, "/"):
			h.Typeflag = tar.TypeDir
		default:
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, it.body); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func gzipOf(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func zstdOf(tb testing.TB, b []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// list reads an archive and gives its entries as text, with contents.
func list(name string, b []byte, lim Limits) (string, error) {
	r, err := open(context.Background(), name, bytes.NewReader(b), OpenOptions{Limits: lim})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var s strings.Builder
	for {
		e, err := r.Next()
		if err == io.EOF {
			return s.String(), nil
		}
		if err != nil {
			return s.String(), err
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return s.String(), err
		}
		switch {
		case e.Type == Dir:
			fmt.Fprintf(&s, "d %s\n", e.Path)
		case e.Type == Link:
			fmt.Fprintf(&s, "l %s %s\n", e.Path, e.Link)
		case e.Hard != "":
			fmt.Fprintf(&s, "h %s %v %d %s\n", e.Path, e.X, e.Size, e.Hard)
		default:
			fmt.Fprintf(&s, "f %s %v %d %s\n", e.Path, e.X, e.Size, body)
		}
	}
}

// Entries come in order, links last, and only the owner's x bit is kept.
func TestList(t *testing.T) {
	b := tarOf(t,
		item{name: "./"},
		item{name: "./bin/"},
		item{name: "./run", link: "bin/app"},
		item{name: "./bin/app", body: "#!", mode: 0o711},
		item{name: "./bin/read", body: "text", mode: 0o677},
		item{name: "./bin/copy", link: "./bin/app", kind: tar.TypeLink, mode: 0o600},
		item{name: "./lib/" + strings.Repeat("n", 200) + "/deep", body: "x"},
		item{name: "./top", link: "."},
	)
	want := "d bin\nf bin/app true 2 #!\nf bin/read false 4 text\nh bin/copy false 2 bin/app\n" +
		"f lib/" + strings.Repeat("n", 200) + "/deep false 1 x\nl run bin/app\nl top .\n"
	for name, b := range map[string][]byte{"a.tar": b, "a.tgz": gzipOf(t, b), "a.tar.zst": zstdOf(t, b), "stdin": zstdOf(t, b)} {
		if got, err := list(name, b, Limits{}); err != nil || got != want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// What the archive says is refused with a sentence that shows the reason. The
// rules that the vectors exercise are not repeated.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("d/", 60) + strings.Repeat("x", 3000)
	for _, test := range []struct {
		name string
		in   []item
		want string
	}{
		{"C1 control", []item{{name: "a\u0085b"}}, `"a\u0085b": name has a control character`},
		{"line separator", []item{{name: "a\u2028b"}}, `"a\u2028b": name has a control character`},
		{"drive", []item{{name: "c:x"}}, `"c:x": name begins with a drive letter`},
		{"only slash", []item{{name: "/"}}, `"/": name is absolute`},
		{"dot slash slash", []item{{name: ".//etc"}}, `"/etc": name is absolute`},
		{"two slashes at the end", []item{{name: "a//"}}, `"a/": name is not canonical: it has an empty or . component`},
		{"dot inside", []item{{name: "a/./b"}}, `"a/./b": name is not canonical: it has an empty or . component`},
		{"dot file", []item{{name: ".", body: "x"}}, `".": name of a directory on something else`},
		{"top twice", []item{{name: "./"}, {name: "."}}, `".": name of a directory on something else`},
		{"top twice as directory", []item{{name: "./"}, {name: "./"}}, `"./": the same name occurs twice`},
		{"directory twice", []item{{name: "a/"}, {name: "a/"}}, `"a": the same name occurs twice`},
		{"folded directory", []item{{name: "Lib/a"}, {name: "lib/b"}}, `"lib/b": name is the same as "Lib" where case or Unicode form do not count`},
		{"long s", []item{{name: "s"}, {name: "ſ"}}, `"ſ": name is the same as "s" where case or Unicode form do not count`},
		{"sharp s", []item{{name: "STRASSE"}, {name: "straße"}}, `"straße": name is the same as "STRASSE" where case or Unicode form do not count`},
		{"normal form", []item{{name: "e\u0301"}, {name: "é"}}, `"é": name is the same as "e\u0301" where case or Unicode form do not count`},
		{"link over implied directory", []item{{name: "a/b"}, {name: "a", link: "b"}}, `"a": a symbolic link replaces a directory`},
		{"link target backslash", []item{{name: "a", link: `b\c`}}, `"a": link to "b\\c": target has a backslash`},
		{"xattr", []item{{name: "x", pax: map[string]string{"SCHILY.xattr.user.a": "b"}}},
			`"x": extended attributes and capabilities are refused ("SCHILY.xattr.user.a")`},
		{"link up through link", []item{{name: "a/b/c"}, {name: "x", link: "a/b"}, {name: "y", link: "x/../../.."}}, `"y": link to "x/../../.." climbs out of the archive`},
		{"text says inside, walk says outside", []item{{name: "d/"}, {name: "d/x", link: ".."}, {name: "d/y", link: "x/../d"}}, `"d/y": link to "x/../d" climbs out of the archive`},
		{"dangling up", []item{{name: "a", link: "none/../b"}}, `"a": link to "none/../b" has a .. behind a name that is no directory of the archive`},
		{"up from a file", []item{{name: "f"}, {name: "a", link: "f/../f"}}, `"a": link to "f/../f" has a .. behind a name that is no directory of the archive`},
		{"up from a dangling link", []item{{name: "a", link: "b/.."}, {name: "b", link: "none"}}, `"a": link to "b/.." has a .. behind a name that is no directory of the archive`},
		{"loop through a directory", []item{{name: "d/a", link: "../b/x"}, {name: "b", link: "d/a"}}, `"d/a": link to "../b/x" is part of a loop`},
		{"loop of three", []item{{name: "a", link: "b"}, {name: "b", link: "c"}, {name: "c", link: "a"}}, `"a": link to "b" is part of a loop`},
		{"hard link to a directory", []item{{name: "d/"}, {name: "a", link: "d", kind: tar.TypeLink}}, `"a": hard link to "d", which is a directory`},
		{"hard link to a link", []item{{name: "l", link: "x"}, {name: "a", link: "l", kind: tar.TypeLink}}, `"a": hard link to "l", which is a symbolic link`},
		{"hard link through a link", []item{{name: "d/f"}, {name: "l", link: "d"}, {name: "a", link: "l/f", kind: tar.TypeLink}}, `"a": hard link to "l/f", which is not an earlier entry`},
		{"hard link to itself", []item{{name: "a", link: "a", kind: tar.TypeLink}}, `"a": hard link to "a", which is not an earlier entry`},
		{"hard link in other case", []item{{name: "F"}, {name: "a", link: "f", kind: tar.TypeLink}}, `"a": hard link to "f", which is not an earlier entry`},
		{"hard link without target", []item{{name: "a", kind: tar.TypeLink}}, `"a": link with an empty target`},
		{"selinux", []item{{name: "a", pax: map[string]string{"RHT.security.selinux": "x"}}}, `"a": access control lists and labels are refused ("RHT.security.selinux")`},
		{"other type", []item{{name: "a", pax: map[string]string{"SCHILY.filetype": "x"}}}, `"a": another file type in an extended header is refused ("SCHILY.filetype")`},
		{"global xattr", []item{{kind: 'g', pax: map[string]string{"LIBARCHIVE.xattr.user.a": "x"}}}, `extended attributes and capabilities are refused ("LIBARCHIVE.xattr.user.a") in a global header`},
		{"global size", []item{{kind: 'g', pax: map[string]string{"size": "1"}}}, `global header with a size for all that follows`},
		{"long target", []item{{name: "a", link: long + long}}, `"a": length of a path is over the limit of 4096 bytes`},
		{"long target component", []item{{name: "a", link: long}}, `"a": length of a name is over the limit of 255 bytes`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := list("a.tar", tarOf(t, test.in...), Limits{})
			if want := "a.tar: " + test.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// Legal things that a strict reader may get wrong.
func TestAccepted(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []item
		want string
	}{
		{"directory after what is in it", []item{{name: "a/b"}, {name: "a/"}}, "f a/b false 0 \nd a\n"},
		{"link to the top", []item{{name: "a/b", link: ".."}}, "l a/b ..\n"},
		{"link forward", []item{{name: "a", link: "b"}, {name: "b", body: "1"}}, "f b false 1 1\nl a b\n"},
		{"link through a link", []item{{name: "lib64", link: "lib"}, {name: "lib/x"}, {name: "y", link: "lib64/x"}}, "f lib/x false 0 \nl lib64 lib\nl y lib64/x\n"},
		{"up through a link stays inside", []item{{name: "a/b/c"}, {name: "x", link: "a/b"}, {name: "y", link: "x/../b/c"}}, "f a/b/c false 0 \nl x a/b\nl y x/../b/c\n"},
		{"slashes and dots in a target", []item{{name: "a/b"}, {name: "x", link: "./a//./b"}}, "f a/b false 0 \nl x ./a//./b\n"},
		{"dots in names", []item{{name: "..."}, {name: "..a"}, {name: "a.."}, {name: ".a"}}, "f ... false 0 \nf ..a false 0 \nf a.. false 0 \nf .a false 0 \n"},
		{"same name elsewhere", []item{{name: "a/x"}, {name: "b/X"}}, "f a/x false 0 \nf b/X false 0 \n"},
		{"global comment", []item{{kind: 'g', pax: map[string]string{"comment": "0123"}}, {name: "a"}}, "f a false 0 \n"},
		{"replacement character", []item{{name: "a\ufffd"}}, "f a\ufffd false 0 \n"},
		{"times and owners", []item{{name: "a", pax: map[string]string{"mtime": "-1.5", "uname": "ü", "SCHILY.fflags": "nodump"}}}, "f a false 0 \n"},
	} {
		got, err := list("a.tar", tarOf(t, test.in...), Limits{})
		if err != nil || got != test.want {
			t.Errorf("%s: %v\n%s", test.name, err, got)
		}
	}
}

// A chain of links as long as the kernel's is accepted, a longer one refused,
// whichever link comes first, and many links cost no more than their length.
func TestLinkChains(t *testing.T) {
	chain := func(n int, backwards bool) []item {
		items := make([]item, n)
		for i := range items {
			at := i
			if backwards {
				at = n - 1 - i
			}
			items[at] = item{name: fmt.Sprintf("l%d", i), link: fmt.Sprintf("l%d", i+1)}
		}
		return items
	}
	for _, backwards := range []bool{false, true} {
		if err := scan("a.tar", bytes.NewReader(tarOf(t, chain(40, backwards)...)), Limits{}); err != nil {
			t.Errorf("40 links, backwards %v: %v", backwards, err)
		}
		err := scan("a.tar", bytes.NewReader(tarOf(t, chain(41, backwards)...)), Limits{})
		if err == nil || !strings.Contains(err.Error(), "passes too many links") {
			t.Errorf("41 links, backwards %v: %v", backwards, err)
		}
	}
	// Each follows the one before it twice: 2^n steps for whoever walks them all.
	items := []item{{name: "d/x"}, {name: "l0", link: "d"}}
	for i := 1; i < 40; i++ {
		items = append(items, item{name: fmt.Sprintf("l%d", i), link: fmt.Sprintf("l%d/../l%d", i-1, i-1)})
	}
	err := scan("a.tar", bytes.NewReader(tarOf(t, items...)), Limits{})
	if err == nil || !strings.Contains(err.Error(), "passes too many links") {
		t.Errorf("doubling links: %v", err)
	}
}

// Each limit is met exactly by what it allows and names itself beyond that.
func TestLimits(t *testing.T) {
	three := []item{{name: "aaa/bb", body: "12345"}, {name: "aaa/c", body: "678"}}
	zeros := gzipOf(t, tarOf(t, item{name: "z", body: strings.Repeat("\x00", 4<<20)}))
	noise := zstdOf(t, tarOf(t, three...))
	for _, test := range []struct {
		limit   Limit
		archive []byte
		ok, no  Limits
	}{
		{LimitTotal, tarOf(t, three...), Limits{Total: 8}, Limits{Total: 7}},
		{LimitFile, tarOf(t, three...), Limits{File: 5}, Limits{File: 4}},
		{LimitEntries, tarOf(t, three...), Limits{Entries: 3}, Limits{Entries: 2}}, // aaa is implied
		{LimitPath, tarOf(t, three...), Limits{Path: 6}, Limits{Path: 5}},
		{LimitComponent, tarOf(t, three...), Limits{Component: 3}, Limits{Component: 2}},
		{LimitDepth, tarOf(t, three...), Limits{Depth: 2}, Limits{Depth: 1}},
		{LimitNames, tarOf(t, three...), Limits{Names: 6}, Limits{Names: 5}},
		{LimitRatio, zeros, Limits{RatioAfter: 8 << 20, Ratio: 50}, Limits{RatioAfter: 1 << 20, Ratio: 50}},
		{LimitRatio, zeros, Limits{RatioAfter: 1, Ratio: 2000}, Limits{RatioAfter: 1, Ratio: 500}},
		{LimitWindow, noise, Limits{Window: 8 << 20}, Limits{Window: 1024}},
		{LimitHeader, tarOf(t, item{name: "a", pax: map[string]string{"comment": "x"}}), Limits{Header: 13}, Limits{Header: 12}},
		{LimitTotal, tarOf(t, item{name: "a", body: "1234"}, item{name: "b", link: "a", kind: tar.TypeLink}), Limits{Total: 8}, Limits{Total: 7}},
	} {
		if err := scan("a", bytes.NewReader(test.archive), test.ok); err != nil {
			t.Errorf("%s: %+v: %v", test.limit, test.ok, err)
		}
		var limit *LimitError
		if err := scan("a", bytes.NewReader(test.archive), test.no); !errors.As(err, &limit) || limit.Limit != test.limit {
			t.Errorf("%s: %+v: %v", test.limit, test.no, err)
		}
	}
}

// What was announced may be out of proportion, and nothing more; a larger
// announcement than the other limits allow is refused.
func TestAnnounce(t *testing.T) {
	const size = 4 << 20
	text := tarOf(t, item{name: "z", body: strings.Repeat("\x00", size)})
	lim := Limits{Ratio: 50, RatioAfter: 1 << 20, Total: 2 * size, Entries: 10}
	for _, c := range []struct {
		entries int
		bytes   int64
		want    Limit
	}{
		{0, 0, LimitRatio},
		{1, size, ""},
		{1, 2 * size, ""},
		{1, size / 2, LimitRatio},
		{1, 2*size + 1, LimitTotal},
		{1, -1, LimitTotal},
		{11, size, LimitEntries},
		{-1, size, LimitEntries},
	} {
		for name, b := range map[string][]byte{"gzip": gzipOf(t, text), "zstd": zstdOf(t, text)} {
			r, err := NewReader(t.Context(), "a", bytes.NewReader(b), lim)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Announce(c.entries, c.bytes)
			for err == nil {
				_, err = r.Next()
			}
			var limit *LimitError
			if c.want == "" && err != io.EOF || c.want != "" && (!errors.As(err, &limit) || limit.Limit != c.want) {
				t.Errorf("%s: Announce(%d, %d): %v, want %q", name, c.entries, c.bytes, err, c.want)
			}
			if _, again := r.Next(); again != err {
				t.Errorf("%s: Announce(%d, %d): then %v, want %v", name, c.entries, c.bytes, again, err)
			}
			r.Close()
		}
	}
}

// No proper beginning of an archive is accepted, and no byte behind it.
func TestCutAnywhere(t *testing.T) {
	plain := tarOf(t, item{name: "a", body: strings.Repeat("1", 700)}, item{name: "b", link: "a"})
	for name, b := range map[string][]byte{"a.tar": plain, "a.tar.gz": gzipOf(t, plain), "a.tar.zst": zstdOf(t, plain)} {
		if _, err := list(name, b, Limits{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var refused *RefusedError
		for n := range b {
			if _, err := list(name, b[:n], Limits{}); !errors.As(err, &refused) {
				t.Errorf("%s cut to %d of %d bytes: %v", name, n, len(b), err)
			}
		}
		for n := 1; n < 40; n++ {
			for _, fill := range []string{"\x00", "x", "\x1f\x8b\x08\x00", "\x28\xb5\x2f\xfd", "\x50\x2a\x4d\x18"} {
				tail := strings.Repeat(fill, 40)[:n]
				// A skippable frame that is whole may follow.
				if name == "a.tar.zst" && fill[0] == 0x50 {
					continue
				}
				if _, err := list(name, append(b[:len(b):len(b)], tail...), Limits{}); !errors.As(err, &refused) {
					t.Errorf("%s with %q behind: %v", name, tail, err)
				}
			}
		}
	}
}

// The name and the content have to agree, and a foreign format is named.
func TestRecognise(t *testing.T) {
	plain := tarOf(t, item{name: "a"})
	xz := append([]byte("\xfd7zXZ\x00"), make([]byte, 600)...)
	for _, test := range []struct {
		name, want string
		b          []byte
	}{
		{"a.tar.gz", "a.tar.gz: is a tar archive, but its name says tar.gz", plain},
		{"a.tar", "a.tar: is a tar.zst archive, but its name says tar", zstdOf(t, plain)},
		{"a.TZST", "a.TZST: is a tar.gz archive, but its name says tar.zst", gzipOf(t, plain)},
		{"a.whl", "a.whl: is a tar archive, but its name says zip", plain},
		{"a", "a: is xz data; an archive is tar.zst, tar.gz, tar or zip", xz},
		{"a", "a: is no tar archive", []byte("<html>")},
		{"a.gz", "a.gz: has no end-of-archive blocks: it may be cut", gzipOf(t, nil)},
		{"a.gz", `a.gz: is damaged: the checksum of a header is wrong`, gzipOf(t, bytes.Repeat([]byte("<html>"), 100))},
	} {
		if _, err := list(test.name, test.b, Limits{}); err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}

// A failure of the source or of the context is no answer about the archive,
// wherever it strikes.
func TestFailuresAreNoRefusals(t *testing.T) {
	noise := make([]byte, 200_000) // must not fit into the first read when compressed
	if _, err := rand.NewChaCha8([32]byte{}).Read(noise); err != nil {
		t.Fatal(err)
	}
	plain := tarOf(t, item{name: "a", body: string(noise)})
	broken := errors.New("connection reset")
	for name, b := range map[string][]byte{"a.tar": plain, "a.tar.gz": gzipOf(t, plain), "a.tar.zst": zstdOf(t, plain)} {
		for n := 0; n <= len(b); n += max(1, len(b)/97) {
			err := scan(name, io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)), Limits{})
			var refused *RefusedError
			if !errors.Is(err, broken) || errors.As(err, &refused) || err.Error() != name+": connection reset" {
				t.Errorf("%s broken after %d bytes: %v", name, n, err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		r, err := NewReader(ctx, name, iotest.OneByteReader(bytes.NewReader(b)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err = r.Next(); err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: after cancel: %v", name, err)
		}
		if _, again := r.Next(); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: Next after an error: %v", name, again)
		}
		r.Close()
	}
}

// CheckName is the same rule for writers.
func TestCheckName(t *testing.T) {
	var limit *LimitError
	if err := CheckName("bin/app", Limits{}); err != nil {
		t.Error(err)
	}
	if err := CheckName("./a", Limits{}); err == nil || err.Error() != `"./a": name is not canonical: it has an empty or . component` {
		t.Errorf("got %v", err)
	}
	if err := CheckName("abc", Limits{Path: 2}); !errors.As(err, &limit) || limit.Max != 2 {
		t.Errorf("got %v", err)
	}
}
