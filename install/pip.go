package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// pipQuestion asks for the index that pip takes when nobody names one. Where pip
// is not installed it is the pip that venv would install. With the answer come
// the files that it depends on: all that was loaded, with all that could have
// led elsewhere, whether it is there or not.
const pipQuestion = `
import glob, json, os, site, sys
looked = sys.path + site.getsitepackages()
try:
    import pip
except ImportError:
    import ensurepip
    for p in getattr(ensurepip, "_WHEEL_PKG_DIR", None), os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"):
        if p:
            wheels = glob.glob(os.path.join(p, "pip-*.whl"))
            looked += [p] + wheels
            sys.path[:0] = wheels
from pip._internal.models.index import PyPI
for p in list(looked):
    if os.path.isdir(p):
        looked += glob.glob(os.path.join(glob.escape(p), "*.pth"))
for m in list(sys.modules.values()):
    looked += [f for f in (getattr(m, "__file__", None),) if f]
json.dump({"index": PyPI.simple_url, "files": sorted(set(map(os.path.abspath, looked)))}, sys.stdout)
`

// A pipAnswer is what the cache keeps of it.
type pipAnswer struct {
	Python string     `json:"python"`
	Index  string     `json:"index"`
	Files  []fileMark `json:"files"`
}

// A fileMark changes whenever a file does: nobody but the kernel sets Changed.
type fileMark struct {
	Path     string `json:"path"`
	Inode    uint64 `json:"inode"` // 0 where there is no file
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`
	Changed  int64  `json:"changed"`
}

// pipPrefix begins the names of answers of pip.
const pipPrefix = "pip-"

// ErrNoPip says that an interpreter has no pip, and none to install.
var ErrNoPip = errors.New("has no pip")

// PipIndex asks the pip of the interpreter at the absolute path python for the
// index that it takes when nobody names one. The answer is kept in the cache
// directory for as long as all files that it depends on stay the same; see
// [Ask].
func PipIndex(ctx context.Context, python, cache string) (string, error) {
	if !filepath.IsAbs(python) {
		return "", fmt.Errorf("python: %q is not an absolute path", python)
	}
	key, err := interpreterKey(python)
	if err != nil {
		return "", err
	}
	if isScript(python) {
		cache = ""
	}
	at := filepath.Join(cache, answersDir, pipPrefix+key+".json")
	var known pipAnswer
	if cache != "" && readJSON(at, &known) == nil && known.Python == python && known.holds() {
		used(at)
		return known.Index, nil
	}
	asked := time.Now()
	said, err := askPip(ctx, python)
	if err != nil {
		return "", fmt.Errorf("%s: %w", python, err)
	}
	known = pipAnswer{Python: python, Index: said.Index}
	for _, path := range said.Files {
		known.Files = append(known.Files, markOf(path))
	}
	if cache != "" && known.settled(asked) {
		keepAnswer(ctx, cache, at, known)
	}
	return said.Index, nil
}

// A pipWord is what the interpreter says.
type pipWord struct {
	Index string   `json:"index"`
	Files []string `json:"files"`
}

func askPip(ctx context.Context, python string) (*pipWord, error) {
	c, err := startChild(ctx, python, "-I", "-B", "-c", pipQuestion)
	if err != nil {
		return nil, err
	}
	text, readErr := io.ReadAll(io.LimitReader(c.out, 1<<20))
	err = errors.Join(c.end(), readErr)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var said pipWord
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err == nil && said.Index == "" {
		err = errors.New("it names no index")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPip, err)
	}
	return &said, nil
}

// holds reports whether all files are what they were.
func (a *pipAnswer) holds() bool {
	return len(a.Files) > 0 && !slices.ContainsFunc(a.Files, func(f fileMark) bool { return f != markOf(f.Path) })
}

// settled reports whether no file changed so late that it may have changed
// between when Python read it and when we looked. The kernel's time of a change
// is some milliseconds behind the clock.
func (a *pipAnswer) settled(asked time.Time) bool {
	const behind = 100 * time.Millisecond
	limit := asked.Add(-behind).UnixNano()
	return !slices.ContainsFunc(a.Files, func(f fileMark) bool { return f.Changed >= limit })
}

func markOf(path string) fileMark {
	st, err := os.Stat(path)
	if err != nil {
		return fileMark{Path: path}
	}
	return fileMark{path, inode(st), st.Size(), st.ModTime().UnixNano(), changed(st).UnixNano()}
}
