package install

import (
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"
)

// A Compiled is the byte code of a module.
type Compiled struct {
	Path string // "bin/__pycache__/app.cpython-311.pyc"
	Data []byte
}

// Compile compiles Python sources below dir, given with slashes, for the
// interpreter at the absolute path python. What is no source for it is left out.
// Byte code is as that of an environment: it depends on no time and no place,
// and Python never writes another beside it.
func Compile(ctx context.Context, python, cache, dir string, sources []string) ([]Compiled, error) {
	i, err := Ask(ctx, python, cache)
	if err != nil {
		return nil, err
	}
	pool := newCompilers(ctx, i)
	var list []Compiled
	for _, s := range sources {
		var data []byte
		if data, err = pool.compile(ctx, filepath.Join(dir, filepath.FromSlash(s)), s); err != nil {
			break
		}
		if len(data) > 0 {
			stem := strings.TrimSuffix(path.Base(s), ".py")
			list = append(list, Compiled{path.Join(path.Dir(s), "__pycache__", stem+"."+i.CacheTag+".pyc"), data})
		}
	}
	if err := errors.Join(err, pool.end()); err != nil {
		return nil, err
	}
	return list, nil
}
