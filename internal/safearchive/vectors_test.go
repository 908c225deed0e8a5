package safearchive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/internal/atomicfile"
)

// A vector is one archive that testdata/gen.py wrote, and what must become of it.
type vector struct {
	File string            `json:"file"`
	Want string            `json:"want"`
	Why  string            `json:"why"`
	Note string            `json:"note"`
	Tree map[string]string `json:"tree"`
}

// generate runs the generator and returns the directory and the vectors.
func generate(tb testing.TB) (string, []vector) {
	tb.Helper()
	dir := tb.TempDir()
	if out, err := exec.Command("python3", "testdata/gen.py", dir).CombinedOutput(); err != nil {
		tb.Fatalf("gen.py needs python3 and zstd: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		tb.Fatal(err)
	}
	if len(all) != 196 {
		tb.Fatalf("%d vectors", len(all))
	}
	return dir, all
}

// limits are those that the note of a vector asks for.
func (v vector) limits(t *testing.T) Limits {
	switch {
	case strings.Contains(v.Note+v.Why, "total limit of 32 MiB"):
		return Limits{Total: 32 << 20}
	case strings.Contains(v.Why, "entry limit of 100,000"):
		return Limits{Entries: 100_000}
	case strings.Contains(v.Note+v.Why, "run with"):
		t.Fatalf("%s: do not know how to run it: %s %s", v.File, v.Note, v.Why)
	}
	return Limits{}
}

// judge says whether err is what the vector wants.
func (v vector) judge(t *testing.T, how string, err error) {
	t.Helper()
	var refused *RefusedError
	var limit *LimitError
	switch {
	case v.Want == "accept" && err == nil:
		return
	case v.Want == "reject" && errors.As(err, &refused) && !errors.As(err, &limit):
	case v.Want == "limit" && errors.As(err, &refused) && errors.As(err, &limit):
		if msg := err.Error(); !strings.Contains(msg, string(limit.Limit)+" is over the limit of "+fmt.Sprint(limit.Max)) {
			t.Errorf("%s: %s: message %q does not name the limit", v.File, how, msg)
		}
	default:
		t.Errorf("%s: %s: %v, want %s: %s", v.File, how, err, v.Want, v.Why)
		return
	}
	if !strings.HasPrefix(err.Error(), v.File+": ") || len(err.Error()) > 600 {
		t.Errorf("%s: %s: message %q", v.File, how, err)
	}
	t.Logf("%v", err)
}

// open opens r, which may be a zip archive where it is a file or bytes.
func open(ctx context.Context, name string, r io.Reader, opts OpenOptions) (*Reader, error) {
	switch f := r.(type) {
	case *os.File:
		return Open(ctx, name, f, opts)
	case *bytes.Reader:
		return newReader(ctx, name, r, &zipInput{ctx: ctx, r: f, size: f.Size()}, opts)
	}
	return newReader(ctx, name, r, nil, opts)
}

// scan reads an archive to its end and writes nothing.
func scan(name string, r io.Reader, lim Limits) error {
	ar, err := open(context.Background(), name, r, OpenOptions{Limits: lim, Foreign: true})
	if err != nil {
		return err
	}
	defer ar.Close()
	for {
		if _, err := ar.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// unpack extracts an archive to target as a command would do it.
func unpack(ctx context.Context, name string, r io.Reader, lim Limits, f atomicfile.FS, target string, opts Options) error {
	ar, err := open(ctx, name, r, OpenOptions{Limits: lim, Foreign: true})
	if err != nil {
		return err
	}
	defer ar.Close()
	dir, err := f.Staging(target, 0o755)
	if err != nil {
		return err
	}
	defer dir.Abort()
	if err := Extract(ctx, ar, dir.Root(), opts); err != nil {
		return err
	}
	return dir.Commit()
}

// wantTree compares a directory with the tree of a vector: "->x" is a link to
// x, "*n" n bytes of anything; directories are not listed. Modes are exact.
func wantTree(t *testing.T, name, dir string, want map[string]string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch w, ok := want[filepath.ToSlash(rel)]; {
		case d.IsDir():
			if st.Mode().Perm() != 0o755 {
				t.Errorf("%s: %s has mode %v", name, rel, st.Mode())
			}
			return nil
		case !ok:
			t.Errorf("%s: %s should not be there", name, rel)
		case strings.HasPrefix(w, "->"):
			if to, _ := os.Readlink(p); to != w[2:] {
				t.Errorf("%s: %s is a link to %q, want %q", name, rel, to, w[2:])
			}
		default:
			text, _ := os.ReadFile(p)
			if strings.HasPrefix(w, "*") && fmt.Sprintf("*%d", len(text)) != w || w[:min(1, len(w))] != "*" && string(text) != w {
				t.Errorf("%s: %s has %d bytes, want %q", name, rel, len(text), w)
			}
			if st.Mode() != 0o644 && (st.Mode() != 0o755 || rel != "bin/app") {
				t.Errorf("%s: %s has mode %v", name, rel, st.Mode())
			}
		}
		seen++
		return nil
	})
	if err != nil || seen != len(want) {
		t.Errorf("%s: %d entries, %v, want %d", name, seen, err, len(want))
	}
}

// Each hostile, damaged and awkward archive gets what it deserves, both when it
// is only read and when it is extracted; nothing is written elsewhere, and
// after a refusal nothing is left.
func TestVectors(t *testing.T) {
	src, vectors := generate(t)
	for _, v := range vectors {
		t.Run(v.File, func(t *testing.T) {
			box := t.TempDir()
			target := filepath.Join(box, "out")
			file := func() *os.File {
				f, err := os.Open(filepath.Join(src, v.File))
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			f := file()
			defer f.Close()
			v.judge(t, "scan", scan(v.File, f, v.limits(t)))

			sums := map[string][sha256.Size]byte{}
			opts := Options{Observe: func(e Entry, sum [sha256.Size]byte) error {
				sums[e.Path] = sum
				return nil
			}}
			g := file()
			defer g.Close()
			err := unpack(context.Background(), v.File, g, v.limits(t), atomicfile.FS{}, target, opts)
			v.judge(t, "extract", err)
			entries, rerr := os.ReadDir(box)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if err != nil {
				if len(entries) != 0 {
					t.Errorf("%s: left %v", v.File, entries)
				}
				return
			}
			if len(entries) != 1 {
				t.Errorf("%s: left %v", v.File, entries)
			}
			wantTree(t, v.File, target, v.Tree)
			for name := range v.Tree {
				text, err := os.ReadFile(filepath.Join(target, name))
				if st, _ := os.Lstat(filepath.Join(target, name)); st.Mode().IsRegular() && (err != nil || sums[name] != sha256.Sum256(text)) {
					t.Errorf("%s: %s: observed sum %x, %v", v.File, name, sums[name], err)
				}
			}
		})
	}
	if _, err := os.Lstat("/tmp/appbundle-evil"); err == nil {
		t.Error("an archive wrote /tmp/appbundle-evil")
	}
}
