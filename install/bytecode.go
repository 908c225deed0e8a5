package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"appbundle/internal/atomicfile"
)

// A bytecode is the compiled modules of a wheel, in the cache.
type bytecode struct {
	path  string   // of the directory in the cache
	files []string // "site/flask/__pycache__/app.cpython-311.pyc"
}

// compiler is the script of an interpreter that lives as long as there is
// something to compile. It answers each line (a path, a tab, the name that
// goes into the byte code) with the length of the byte code and the byte code;
// 0 says that the source is none for this Python.
const compiler = `
import sys, importlib.util, importlib._bootstrap_external as external
answer = sys.stdout.buffer
for line in sys.stdin.buffer:
    path, name = line[:-1].decode("utf-8", "surrogateescape").split("\t")
    with open(path.encode("utf-8", "surrogateescape"), "rb") as f:
        source = f.read()
    try:
        code = compile(source, name, "exec", dont_inherit=True)
        data = external._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
        data = b""
    answer.write(b"%d\n" % len(data))
    answer.write(data)
    answer.flush()
`

// compilers are interpreters that compile, at most one for each CPU. They start
// when they are needed, and each works for one goroutine at a time.
type compilers struct {
	python *Interpreter
	start  func() (*child, error)
	free   chan *child // nil in it stands for one that has not started

	mu      sync.Mutex
	started []*child
}

// newCompilers makes compilers that end with ctx.
func newCompilers(ctx context.Context, python *Interpreter) *compilers {
	p := &compilers{python: python, free: make(chan *child, runtime.GOMAXPROCS(0))}
	p.start = func() (*child, error) {
		return startChild(ctx, python.Executable, "-I", "-S", "-W", "ignore", "-c", compiler)
	}
	for range cap(p.free) {
		p.free <- nil
	}
	return p
}

// end ends all that have started.
func (p *compilers) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.started {
		if err := c.end(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.python.Executable, err))
		}
	}
	return errors.Join(errs...)
}

// take waits for an interpreter. The caller gives it back to free.
func (p *compilers) take(ctx context.Context) (*child, error) {
	var c *child
	select {
	case c = <-p.free:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c != nil {
		return c, nil
	}
	c, err := p.start()
	if err != nil {
		p.free <- nil
		return nil, err
	}
	p.mu.Lock()
	p.started = append(p.started, c)
	p.mu.Unlock()
	return c, nil
}

// compile gives the byte code of a file, nil where it is no source for this
// Python.
func (p *compilers) compile(ctx context.Context, source, name string) ([]byte, error) {
	c, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { p.free <- c }()
	data, err := c.compile(source, name)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", source, err)
	}
	return data, nil
}

// errEnded says that an interpreter is gone; its status says why.
var errEnded = errors.New("the interpreter ended")

// maxBytecode is far from what any module compiles to.
const maxBytecode = 256 << 20

func (c *child) compile(source, name string) ([]byte, error) {
	if _, err := fmt.Fprintf(c.in, "%s\t%s\n", source, name); errors.Is(err, syscall.EPIPE) {
		return nil, errEnded
	} else if err != nil {
		return nil, err
	}
	line, err := c.out.ReadString('\n')
	if err == io.EOF {
		err = errEnded
	}
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
	if err != nil || n < 0 || n > maxBytecode {
		return nil, fmt.Errorf("the interpreter answered %.40q", line)
	}
	data := make([]byte, n)
	_, err = io.ReadFull(c.out, data)
	return data, err
}

// bytecode gives the byte code of a tree, from the cache or compiled into it.
func (c *cache) bytecode(ctx context.Context, digest string, t *tree, pool *compilers) (b *bytecode, made bool, err error) {
	magic := pool.python.bytecode()
	at := filepath.Join(c.dir, bytecodeDir, magic, digest)
	found := func() error {
		var err error
		if b, err = readBytecode(at); err == nil {
			used(at)
		}
		return err
	}
	made, err = c.fill(ctx, at, magic+"-"+digest, found, func(fill *atomicfile.Filler, _ string) error {
		files, err := compileTree(ctx, t, pool, fill)
		if err != nil {
			return err
		}
		return fill.WriteFile(indexName, []byte(strings.Join(append(files, "end\n"), "\n")), 0o444)
	})
	return b, made, err
}

func readBytecode(at string) (*bytecode, error) {
	f, err := openIndex(at)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing can be lost
	b := &bytecode{path: at}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		b.files = append(b.files, lines.Text())
	}
	if n := len(b.files) - 1; n >= 0 && b.files[n] == "end" {
		b.files = b.files[:n]
		return b, nil
	}
	return nil, fmt.Errorf("%s: %w", f.Name(), errIndex)
}

// compileTree compiles the modules of a tree into fill, as many at once as there
// are interpreters.
func compileTree(ctx context.Context, t *tree, pool *compilers, fill *atomicfile.Filler) ([]string, error) {
	sources := t.modules(pool.python.CacheTag)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	made := make([]bool, len(sources))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(cap(pool.free), len(sources)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(sources) || ctx.Err() != nil {
					return
				}
				s := sources[i]
				data, err := pool.compile(ctx, filepath.Join(t.path, s.path), strings.TrimPrefix(s.path, siteDir+"/"))
				if err == nil && len(data) > 0 {
					made[i] = true
					err = fill.WriteFile(s.compiled, data, 0o444)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var files []string
	for i, s := range sources {
		if made[i] {
			files = append(files, s.compiled)
		}
	}
	return files, nil
}

// A module is a source in site-packages and where its byte code goes.
type module struct{ path, compiled string }

// modules lists the sources that have no byte code in the wheel already.
func (t *tree) modules(cacheTag string) []module {
	has := map[string]bool{}
	for _, f := range t.files {
		if strings.HasSuffix(f.path, ".pyc") {
			has[f.path] = true
		}
	}
	var out []module
	for _, f := range t.files {
		stem, ok := strings.CutSuffix(f.path, ".py")
		if !ok || !strings.HasPrefix(f.path, siteDir+"/") {
			continue
		}
		to := path.Dir(stem) + "/__pycache__/" + path.Base(stem) + "." + cacheTag + ".pyc"
		if !has[to] && fs.ValidPath(to) {
			out = append(out, module{f.path, to})
		}
	}
	return out
}
