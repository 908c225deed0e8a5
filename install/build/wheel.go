package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"appbundle/install"
	"appbundle/schema"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

// check judges the wheel that a backend says it has made.
func (b *builder) check(ctx context.Context, name string) (*Wheel, error) {
	fail := func(format string, args ...any) (*Wheel, error) {
		return nil, &Error{Reason: "build_wheel: " + fmt.Sprintf(format, args...)}
	}
	if name == "" || name != filepath.Base(name) {
		return fail("%.100q is no name of a file", name)
	}
	parsed, err := pep508.ParseWheelName(name)
	if err != nil {
		return fail("%v", err)
	}
	if parsed.Name != b.Project || pep440.Compare(parsed.Version, b.Version) != 0 {
		return fail("%s is no wheel of %s %s", name, b.Project, b.Version)
	}
	w := &Wheel{Name: name, Path: filepath.Join(b.work, outDir, name)}
	if st, err := os.Lstat(w.Path); err != nil || !st.Mode().IsRegular() {
		return fail("there is no file %s", name)
	}
	if w.SHA256, w.Size, err = sumOf(w.Path); err != nil {
		return nil, err
	}
	locked := schema.LockedFile{Name: name, Size: w.Size, Hashes: map[string]string{"sha256": w.SHA256}, Wheel: &parsed}
	if err := install.Keep(ctx, b.Cache, &locked, w.Path); err != nil {
		return nil, err
	}
	return w, nil
}

// sumOf hashes a file.
func sumOf(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}
