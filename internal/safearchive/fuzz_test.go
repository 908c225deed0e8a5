package safearchive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appbundle/internal/atomicfile"
)

// fuzzLimits keep one input cheap.
var fuzzLimits = Limits{Total: 1 << 20, Entries: 200, Window: 1 << 20, RatioAfter: 4 << 20, Header: 64 << 10, Names: 1 << 20}

// seeds are archives from which a fuzzer finds the interesting ones.
func seeds(tb testing.TB) [][]byte {
	end := make([]byte, 2*blockSize)
	join := func(parts ...[]byte) []byte { return append(bytes.Join(parts, nil), end...) }
	pax := record("path", "p/q") + record("linkpath", "r") + record("size", "3")
	return [][]byte{
		end,
		tarOf(tb, item{name: "./"}, item{name: "a/b", body: "text", mode: 0o755}, item{name: "l", link: "a/b"},
			item{name: "h", link: "a/b", kind: tar.TypeLink}, item{name: strings.Repeat("long/", 30) + "é"}),
		join(rawHeader("x", 'x', len(pax), nil), body(pax), rawHeader("a", '0', 0, nil), body("abc")),
		join(rawHeader("x", 'L', 6, nil), body("../ev\x00"), rawHeader("a", '0', 0, nil)),
		join(rawHeader("x", 'K', 6, nil), body("../ev\x00"), rawHeader("a", '2', 0, nil)),
		join(rawHeader("a", '0', 0, func(b *block) { copy(b[124:], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03") }), body("abc")),
		join(rawHeader("b", '2', 0, func(b *block) { copy(b[157:], "c/..") }), rawHeader("c", '2', 0, func(b *block) { copy(b[157:], ".") })),
	}
}

// tryArchive extracts b. It fails when anything is outside of the target, when
// something is left after a refusal, or when an error is no refusal although
// neither the disk nor the source failed.
func tryArchive(t *testing.T, b []byte) {
	box := t.TempDir()
	target := filepath.Join(box, "in")
	err := unpack(context.Background(), "", bytes.NewReader(b), fuzzLimits, noSync(), target, Options{})
	var refused *RefusedError
	if err != nil && !errors.As(err, &refused) && !errors.Is(err, errNoSync) {
		t.Errorf("extract: %v is no refusal", err)
	}
	left, rerr := os.ReadDir(box)
	if rerr != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, rerr)
	}
	// noSync made an accepted archive fail; scanning has to agree.
	scanned := scan("", bytes.NewReader(b), fuzzLimits)
	if (scanned == nil) != errors.Is(err, errNoSync) {
		t.Errorf("scan: %v, but extract: %v", scanned, err)
	}
}

var errNoSync = errors.New("not flushed: only a test")

// noSync ends an extraction where it would flush the disk, which costs more
// than all the rest of a fuzz run.
func noSync() atomicfile.FS {
	return atomicfile.FS{Before: func(op atomicfile.Op, _ string) error {
		if op == atomicfile.OpSync {
			return errNoSync
		}
		return nil
	}}
}

// FuzzTar: whatever the bytes, nothing is written outside, nothing is left after
// a refusal, and what is accepted is what archive/tar reads too.
func FuzzTar(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b) // the bytes are the fuzzer's, which hardly ever finds a checksum
		repair(b)
		tryArchive(t, b)
		ours, err := list("a.tar", b, fuzzLimits)
		if err != nil {
			return
		}
		theirs, ok := stdlibList(b)
		if got := sorted(ours); ok && got != theirs {
			t.Errorf("we read\n%s\narchive/tar reads\n%s", got, theirs)
		}
	})
}

// FuzzGzip and FuzzZstd: the decompressors and the walk of frames.
func FuzzGzip(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(gzipOf(f, s))
		f.Add(append(gzipOf(f, s[:blockSize]), gzipOf(f, s[blockSize:])...))
	}
	f.Fuzz(tryArchive)
}

func FuzzZstd(f *testing.F) {
	skippable := []byte("\x51\x2a\x4d\x18\x02\x00\x00\x00ab")
	for _, s := range seeds(f) {
		f.Add(zstdOf(f, s))
		f.Add(append(append(zstdOf(f, s[:blockSize]), skippable...), zstdOf(f, s[blockSize:])...))
	}
	f.Fuzz(tryArchive)
}

// FuzzZipWalk and the two behind it: a zip as the tree that it is, and what is only
// read on demand.
func FuzzZipWalk(f *testing.F) {
	f.Add(treeZip(f))
	f.Add(append([]byte("#!/bin/sh\n"), treeZip(f)...))
	f.Add(rawZip(f, linked("a", "b/.."), linked("b", "c")))
	f.Fuzz(tryArchive)
}

func FuzzXz(f *testing.F) { fuzzCommand(f, "xz", "-c", "-6") }

func FuzzBzip2(f *testing.F) { fuzzCommand(f, "bzip2", "-c") }

// fuzzCommand begins with what a program makes of the seeds.
func fuzzCommand(f *testing.F, name string, args ...string) {
	for _, s := range seeds(f) {
		cmd := exec.Command(name, args...)
		cmd.Stdin = bytes.NewReader(s)
		out, err := cmd.Output()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out)
	}
	f.Fuzz(tryArchive)
}

// repair gives each block that looks like a header its right checksum.
func repair(b []byte) {
	for ; len(b) >= blockSize; b = b[blockSize:] {
		blk := (*block)(b)
		if string(blk[257:262]) == "ustar" {
			copy(blk[148:], fmt.Sprintf("%06o\x00 ", checksum(blk)))
		}
	}
}

// stdlibList lists an archive as list does; ok is false when archive/tar does
// not read it.
func stdlibList(b []byte) (text string, ok bool) {
	sizes := map[string]int64{}
	var s strings.Builder
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return sorted(s.String()), true
		}
		if err != nil {
			return "", false
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return "", false
		}
		path, top := canonical(h.Name, h.Typeflag == tar.TypeDir)
		switch x := h.Mode&0o100 != 0; {
		case top || h.Typeflag == tar.TypeXGlobalHeader:
		case h.Typeflag == tar.TypeDir:
			fmt.Fprintf(&s, "d %s\n", path)
		case h.Typeflag == tar.TypeSymlink:
			fmt.Fprintf(&s, "l %s %s\n", path, h.Linkname)
		case h.Typeflag == tar.TypeLink:
			to, _ := canonical(h.Linkname, false)
			sizes[path] = sizes[to]
			fmt.Fprintf(&s, "h %s %v %d %s\n", path, x, sizes[to], to)
		default:
			sizes[path] = int64(len(body))
			fmt.Fprintf(&s, "f %s %v %d %s\n", path, x, len(body), body)
		}
	}
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
