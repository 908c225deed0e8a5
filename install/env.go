package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"appbundle/internal/atomicfile"
	"appbundle/schema"
	"appbundle/schema/pep425"
)

// configName is the file that makes a directory an environment.
const configName = "pyvenv.cfg"

// stampName is the file that says what is in an environment.
const stampName = "installed.json"

// linkers is how many goroutines link files: the kernel does the work.
const linkers = 4

// A link is a file of the cache on its way into the environment.
type link struct {
	from, to string
	perm     fs.FileMode
}

// A builder fills a new environment.
type builder struct {
	*plan
	fill  *atomicfile.Filler
	site  string // "lib/python3.11/site-packages"
	owner map[string]owned
	links []link
	res   *Result
}

// owned is a path of the environment with the wheel that has it.
type owned struct {
	by  string
	sum string
}

// build makes the environment beside env and exchanges the two.
func (p *plan) build(ctx context.Context, env string, wheels []prepared, res *Result) error {
	d, err := p.req.fs.Replacing(env, 0o755)
	if err != nil {
		return err
	}
	defer d.Abort()
	b := &builder{
		plan: p, fill: d.Filler(), res: res, owner: map[string]owned{},
		site: "lib/python" + p.python.Env.PythonVersion + "/site-packages",
	}
	if err := b.fill.Mkdir(b.site); err != nil {
		return err
	}
	for i := range wheels {
		if err := b.wheel(&wheels[i]); err != nil {
			return err
		}
	}
	if err := b.linkAll(ctx); err != nil {
		return err
	}
	if err := b.own(); err != nil {
		return err
	}
	return d.Commit()
}

// to gives the path in the environment of a file of a tree.
func (b *builder) to(name, file string) string {
	top, rest, _ := strings.Cut(file, "/")
	switch top {
	case siteDir:
		return b.site + "/" + rest
	case headerDir:
		return "include/site/python" + b.python.Env.PythonVersion + "/" + name + "/" + rest
	case dataDir:
		return rest
	}
	return file
}

// wheel plans the links of a wheel and writes what belongs to this environment
// alone.
func (b *builder) wheel(w *prepared) error {
	if w.tree.warning != "" {
		b.res.Warnings = append(b.res.Warnings, w.tree.warning)
	}
	record := &record{site: b.site}
	for _, f := range w.tree.files {
		to := b.to(w.tree.name, f.path)
		record.add(to, f.sum, f.size)
		if b.claim(w, to, f.sum) {
			b.links = append(b.links, link{filepath.Join(w.tree.path, filepath.FromSlash(f.path)), to, f.perm()})
		}
		if name, ok := strings.CutPrefix(f.path, siteDir+"/"); ok && path.Ext(name) == ".pth" && !strings.Contains(name, "/") {
			b.res.Startup = append(b.res.Startup, name)
		}
	}
	if w.bytecode != nil {
		for _, f := range w.bytecode.files {
			to := b.to(w.tree.name, f)
			record.add(to, "", -1)
			if b.claim(w, to, "") {
				b.links = append(b.links, link{filepath.Join(w.bytecode.path, filepath.FromSlash(f)), to, 0o444})
			}
		}
	}
	return b.info(w, record)
}

// info writes the parts of dist-info that are the installer's.
func (b *builder) info(w *prepared, record *record) error {
	info := b.site + "/" + w.tree.info + "/"
	write := func(name string, text []byte) error {
		sum := sumOf(text)
		record.add(info+name, sum, int64(len(text)))
		return b.fill.WriteFile(info+name, text, 0o644)
	}
	if b.req.Requested == nil || b.req.Requested(w.p.Name) {
		if err := write("REQUESTED", nil); err != nil {
			return err
		}
	}
	if a := w.p.Archive; a != nil && a.URL != "" {
		text, err := json.Marshal(directURL{a.URL, archiveInfo{map[string]string{"sha256": a.SHA256()}}})
		if err != nil {
			return err
		}
		if err := write("direct_url.json", append(text, '\n')); err != nil {
			return err
		}
	}
	return b.fill.WriteFile(info+"RECORD", record.end(info+"RECORD"), 0o644)
}

// A directURL says that a package came from a URL and from no index.
type directURL struct {
	URL     string      `json:"url"`
	Archive archiveInfo `json:"archive_info"`
}

type archiveInfo struct {
	Hashes map[string]string `json:"hashes"`
}

// claim takes a path for a wheel. Of two wheels with one path the first by name
// keeps it: packages do ship each other's files, tests above all, and somebody
// should know where they differ.
func (b *builder) claim(w *prepared, to, sum string) bool {
	first, taken := b.owner[to]
	if !taken {
		b.owner[to] = owned{w.String(), sum}
		return true
	}
	if first.sum != sum {
		b.res.Warnings = append(b.res.Warnings, fmt.Sprintf("%s and %s both have %s; the one of %s stays", first.by, w, to, first.by))
	}
	return false
}

// linkAll makes all links, several at once. Their directories come first: there
// is one writer for these, which the others would wait for.
func (b *builder) linkAll(ctx context.Context) error {
	for i := range b.links {
		if err := b.fill.Mkdir(path.Dir(b.links[i].to)); err != nil {
			return err
		}
	}
	const batch = 64
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range linkers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(batch)) - batch
				if i >= len(b.links) {
					return
				}
				for _, l := range b.links[i:min(i+batch, len(b.links))] {
					if err := b.link(l); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (b *builder) link(l link) error {
	err := b.fill.Link(l.from, l.to, l.perm)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Lstat(l.from); gone != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, gone)
		}
	}
	return err
}

// own writes what belongs to no wheel. Links come last, so that no file was
// written through one.
func (b *builder) own() error {
	for _, f := range []struct {
		name string
		text []byte
	}{
		{configName, b.python.config()},
		{"bin/activate", []byte(activate)},
		{stampName, b.stamp()},
	} {
		if err := b.fill.WriteFile(f.name, f.text, 0o644); err != nil {
			return err
		}
	}
	for _, l := range b.python.links() {
		if err := b.fill.Symlink(l[0], l[1]); err != nil {
			return err
		}
	}
	return nil
}

// links are the names of the interpreter in an environment, each behind what it
// points to. The one that leads out comes last: with it there is an environment.
func (i *Interpreter) links() [][2]string {
	return [][2]string{
		{"python", "bin/python3"},
		{"python", "bin/python" + i.Env.PythonVersion},
		{i.Executable, "bin/python"},
	}
}

// homeSince is the minor version of Python 3 that takes an environment for one
// only where pyvenv.cfg says where the interpreter is. Older ones follow the
// link, and a home would be the host's.
const homeSince = 14

func (i *Interpreter) config() []byte {
	var text bytes.Buffer
	if py, _, err := i.version(); err == nil && py.Minor >= homeSince {
		fmt.Fprintf(&text, "home = %s\n", filepath.Dir(i.Executable))
	}
	fmt.Fprintf(&text, "implementation = CPython\nversion_info = %s\ninclude-system-site-packages = false\nrelocatable = true\n", i.Env.PythonVersion)
	return text.Bytes()
}

// activate is for people, in bash and zsh.
const activate = `# Use it with ". bin/activate" in bash or zsh; "deactivate" takes it back.
deactivate () {
    if [ -n "${_APPBUNDLE_PATH:-}" ]; then
        PATH=$_APPBUNDLE_PATH
        export PATH
    fi
    if [ -n "${_APPBUNDLE_PS1:-}" ]; then
        PS1=$_APPBUNDLE_PS1
    fi
    unset _APPBUNDLE_PATH _APPBUNDLE_PS1 VIRTUAL_ENV
    hash -r 2>/dev/null
    if [ "${1:-}" != keep ]; then
        unset -f deactivate
    fi
}
deactivate keep
VIRTUAL_ENV=$(cd "$(dirname "${BASH_SOURCE:-$0}")/.." && pwd -P)
_APPBUNDLE_PATH=$PATH
PATH=$VIRTUAL_ENV/bin:$PATH
export VIRTUAL_ENV PATH
if [ -n "${PS1:-}" ]; then
    _APPBUNDLE_PS1=$PS1
    PS1="(env) $PS1"
fi
hash -r 2>/dev/null
`

// stamp is installed.json: what decides whether an environment is current.
func (p *plan) stamp() []byte {
	py, _, _ := p.python.version() // makePlan has seen that there is one
	e := schema.Environment{Format: schema.EnvironmentFormat, Python: py.ABI(), Platform: platformName(p.target.Platform)}
	if p.req.Compile {
		e.Bytecode = p.python.bytecode()
	}
	for _, w := range p.wheels {
		e.Packages = append(e.Packages, schema.InstalledPackage{Name: w.p.Name, Version: w.file.Wheel.Version.String(), File: w.file.Name,
			SHA256: w.file.SHA256(), Requested: p.req.Requested == nil || p.req.Requested(w.p.Name)})
	}
	text, _ := e.Encode() // of strings, which cannot fail
	return text
}

// platformName names a platform as archives do. Which glibc a wheel needs is
// said by its name.
func platformName(p pep425.Platform) string {
	if p.Kind == pep425.Manylinux {
		return "linux_" + p.Arch
	}
	return p.String()
}

// isCurrent reports whether the environment is what the plan says: the stamp is
// written last, in a directory that appears whole.
func (p *plan) isCurrent(env string) bool {
	e, err := readStamp(env)
	if err != nil {
		return false
	}
	e.Site = nil // whoever moved the packages says where they are
	if text, err := e.Encode(); err != nil || !bytes.Equal(text, p.stamp()) {
		return false
	}
	to, err := os.Readlink(filepath.Join(env, "bin/python"))
	return err == nil && to == p.python.Executable
}
