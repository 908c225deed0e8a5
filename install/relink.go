package install

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// relink makes an environment current that is what the plan says but for this
// host's part of it, as an archive brings it: without network and cache. It
// reports false, and leaves all to build, where a file is not what its RECORD
// says.
func (p *plan) relink(ctx context.Context, env string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(env, stampName))
	if err != nil || !bytes.Equal(text, p.stamp()) {
		return false, nil
	}
	if _, err := os.Lstat(filepath.Join(env, "bin/python")); !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	site := filepath.Join(env, "lib", "python"+p.python.Env.PythonVersion, "site-packages")
	infos, err := filepath.Glob(filepath.Join(globQuote(site), "*.dist-info"))
	if err != nil || len(infos) != len(p.wheels) {
		return false, err
	}
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		if !isRecorded(env, site, info) {
			return false, nil
		}
	}
	if p.req.Compile {
		if err := compileEnv(ctx, env, p.python); err != nil {
			return false, err
		}
	}
	return true, linkHost(env, p.python)
}

// globQuote keeps the letters of a directory from being read as a pattern.
func globQuote(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

// isRecorded reports whether every file of an installed package is what its
// RECORD says.
func isRecorded(env, site, info string) bool {
	errOther := errors.New("another content")
	return eachRecorded(info, func(file, hash string) error {
		want, ok := strings.CutPrefix(hash, "sha256=")
		if !ok {
			return nil // RECORD itself, and byte code
		}
		rel, err := filepath.Rel(env, filepath.Join(site, filepath.FromSlash(file)))
		if err != nil || !filepath.IsLocal(rel) {
			return errOther
		}
		if got, _, err := hashFile(filepath.Join(env, rel)); err != nil || got != want {
			return errOther
		}
		return nil
	}) == nil
}

// eachRecorded calls do for every line of the RECORD in a dist-info directory, with
// the path, relative to site-packages, and the hash, which may be empty.
func eachRecorded(info string, do func(file, hash string) error) error {
	f, err := os.Open(filepath.Join(info, "RECORD"))
	if err != nil {
		return err
	}
	defer f.Close() // opened for reading: nothing can be lost
	r := csv.NewReader(f)
	r.FieldsPerRecord, r.ReuseRecord = 3, true
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		if err := do(fields[0], fields[1]); err != nil {
			return err
		}
	}
}
