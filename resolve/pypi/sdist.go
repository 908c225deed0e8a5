package pypi

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"appbundle/resolve"
)

const (
	maxUnpacked = 2 << 30
	maxMembers  = 200_000
)

// isPkgInfo reports whether a member is the PKG-INFO of an sdist: that of its
// one directory, and none of those deeper inside.
func isPkgInfo(name string) bool {
	dir, base, _ := strings.Cut(strings.TrimPrefix(name, "./"), "/")
	return dir != "" && base == "PKG-INFO"
}

const pkgInfo = "PKG-INFO in its top directory"

func readZipSdist(f *file, r io.ReaderAt, size int64) ([]byte, error) {
	z, err := openZip(f, r, size)
	if err != nil {
		return nil, err
	}
	return readMember(f, z, pkgInfo, isPkgInfo)
}

// readTarSdist reads all of an sdist: another PKG-INFO further on would replace
// the first for who unpacks it.
func readTarSdist(f *file, r io.Reader) ([]byte, error) {
	data, err := scanTar(r)
	if err != nil {
		return nil, &resolve.MetadataError{File: f.Name, Reason: err.Error()}
	}
	return data, nil
}

func scanTar(r io.Reader) ([]byte, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("it is no tar.gz archive: %w", err)
	}
	limited := &io.LimitedReader{R: z, N: maxUnpacked}
	t := tar.NewReader(limited)
	var found []byte
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case limited.N <= 0:
			return nil, fmt.Errorf("it unpacks to more than %d bytes", int64(maxUnpacked))
		case errors.Is(err, io.EOF) && found == nil:
			return nil, errors.New("it has no " + pkgInfo)
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, fmt.Errorf("it is no tar.gz archive: %w", err)
		case n == maxMembers:
			return nil, fmt.Errorf("it has more than %d members", maxMembers)
		case !isPkgInfo(h.Name):
			continue
		case found != nil:
			return nil, errors.New("it has more than one " + pkgInfo)
		case h.Typeflag != tar.TypeReg:
			return nil, errors.New("its PKG-INFO is no file")
		case h.Size > maxMetadata:
			return nil, fmt.Errorf("its metadata has %d bytes, more than %d", h.Size, maxMetadata)
		}
		if found, err = io.ReadAll(t); err != nil {
			return nil, fmt.Errorf("it is no tar.gz archive: %w", err)
		}
		if found == nil {
			found = []byte{}
		}
	}
}
