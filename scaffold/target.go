package scaffold

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"appbundle/bundle"
	"appbundle/schema"
)

// findTarget decides what the entrypoint is made of.
func (p *project) findTarget(dir string) {
	if p.keptEntrypoint(dir) {
		return
	}
	for _, find := range []func() bool{p.fromProcfile, p.fromDjango, p.fromPyramid, p.fromModules, p.fromGo, p.fromWebProcess, p.fromScript} {
		if find() {
			return
		}
	}
	if len(p.modules) > 0 || len(p.asked) > 0 {
		p.guess(schema.Pos{File: "bin/app.py"}, "no web application was found; it says hello until you write yours")
	}
	p.script(target{Pos: schema.Pos{File: "bin/app.py"}, iface: schema.WSGI}, ".", helloScript)
}

func (p *project) keptEntrypoint(dir string) bool {
	for _, name := range entrypoints {
		if !p.there(name) {
			continue
		}
		p.target = target{Pos: schema.Pos{File: name}, path: name}
		if a, err := bundle.Survey(dir, nil); err == nil && a.Entrypoint.Path == name && !p.there(appINI) {
			p.target.iface = a.Entrypoint.Interface
			p.guess(p.target.Pos, "is %s: %s", a.Entrypoint.Interface, a.Entrypoint.How)
		}
		return true
	}
	return false
}

const helloScript = `

def application(environ, start_response):
    """Answer every request with a line of text."""
    body = b"hello\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
`

// script plans a Python entrypoint: the modules below the directory root can be
// imported by body.
func (p *project) script(t target, root, body string) {
	t.path = "bin/app.py"
	if p.has(path.Join(root, "app.py")) || p.isDir(path.Join(root, "app")) {
		t.path = "bin/wsgiapp.py"
		p.guess(schema.Pos{File: t.path}, "has this name because the project has a module app of its own")
	}
	t.script = body
	if body != helloScript {
		dir := "ROOT"
		if root != "." {
			dir = fmt.Sprintf("os.path.join(ROOT, %q)", root)
		}
		t.script = "import os\nimport sys\n\nROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\nsys.path.insert(0, " + dir + ")\n" + body
	}
	t.script = fmt.Sprintf("\"\"\"What the server serves: application, by %s.\"\"\"\n", strings.ToUpper(string(t.iface))) + gap(t.script) + t.script
	p.target = t
}

// gap is the line between the docstring of a module and what follows.
func gap(script string) string {
	if strings.HasPrefix(script, "\n") {
		return ""
	}
	return "\n"
}

func (p *project) isDir(name string) bool {
	d, err := p.tree.Open(name)
	if err != nil {
		return false
	}
	defer d.Close() // opened for reading: nothing can be lost
	info, err := d.Stat()
	return err == nil && info.IsDir()
}

var settingsModule = regexp.MustCompile(`DJANGO_SETTINGS_MODULE["']\s*,\s*["']([A-Za-z_][\w.]*)["']`)

// fromDjango finds manage.py, at the top or one directory below.
func (p *project) fromDjango() bool {
	for _, name := range p.modules {
		if path.Base(name) != "manage.py" || strings.Count(name, "/") > 1 {
			continue
		}
		data := p.read(name, maxModule)
		m := settingsModule.FindSubmatchIndex(data)
		if m == nil {
			continue
		}
		settings, root := string(data[m[2]:m[3]]), path.Dir(name)
		t := target{Pos: schema.Pos{File: name, Line: 1 + strings.Count(string(data[:m[0]]), "\n")}, dist: "django", iface: schema.WSGI}
		p.guess(t.Pos, "a Django project, with the settings %s", settings)
		above, _, _ := strings.Cut(settings, ".settings")
		file := func(kind string) string { return path.Join(root, strings.ReplaceAll(above, ".", "/"), kind+".py") }
		kinds := []string{"wsgi", "asgi"}
		if p.asks("channels", "daphne") {
			kinds = []string{"asgi", "wsgi"}
		}
		for _, kind := range kinds {
			if !p.has(file(kind)) {
				continue
			}
			t.iface = schema.Interface(kind)
			p.guess(schema.Pos{File: file(kind)}, "application is its")
			p.script(t, root, fmt.Sprintf("\nfrom %s.%s import application  # noqa: E402,F401\n", above, kind))
			return true
		}
		p.script(t, root, fmt.Sprintf("os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", %q)\n\nfrom django.core.wsgi import get_wsgi_application  # noqa: E402\n\napplication = get_wsgi_application()\n", settings))
		return true
	}
	return false
}

var (
	useEgg     = regexp.MustCompile(`^egg:([A-Za-z0-9._-]+)(#main)?$`)
	appFactory = regexp.MustCompile(`(?m)(?:^|["'\s])main\s*=\s*["']?([A-Za-z_][\w.]*):([A-Za-z_]\w*)`)
)

// fromPyramid finds the settings of a Pyramid project. Its factory is called as
// paste would: paste itself asks for a project that is installed.
func (p *project) fromPyramid() bool {
	for _, name := range []string{"production.ini", "development.ini"} {
		data := p.read(name, schema.MaxFile)
		ini, problems := schema.ParseINI(name, data, schema.Dialect{})
		if data == nil || len(problems) > 0 {
			continue
		}
		for _, s := range ini.Sections {
			if s.Name != "app:main" {
				continue
			}
			for _, k := range s.Keys {
				m := useEgg.FindStringSubmatch(k.Value)
				if k.Name != "use" || m == nil {
					continue
				}
				return p.pyramid(k.Pos, name, m[1])
			}
		}
	}
	return false
}

func (p *project) pyramid(at schema.Pos, ini, dist string) bool {
	module, object := strings.ReplaceAll(dist, "-", "_"), "main"
	for _, file := range []string{"setup.py", "pyproject.toml"} {
		if m := appFactory.FindSubmatch(p.read(file, maxModule)); m != nil {
			module, object = string(m[1]), string(m[2])
		}
	}
	for _, root := range []string{".", "src"} {
		file := path.Join(root, strings.ReplaceAll(module, ".", "/"))
		if !p.has(file+".py") && !p.has(file+"/__init__.py") {
			continue
		}
		p.guess(at, "a Pyramid project, made by %s of %s with these settings", object, module)
		p.script(target{Pos: at, iface: schema.WSGI, dist: "pyramid"}, root, fmt.Sprintf(`INI = os.path.join(ROOT, %q)

from configparser import ConfigParser  # noqa: E402

from %s import %s  # noqa: E402

config = ConfigParser({"here": ROOT, "__file__": INI})
config.optionxform = str
with open(INI, encoding="utf-8") as f:
    config.read_file(f)
settings = dict(config.items("app:main"))
del settings["use"]
application = %s({"here": ROOT, "__file__": INI}, **settings)
`, ini, module, object, object))
		return true
	}
	p.guess(at, "names %s, and there is no module %s", dist, module)
	return false
}

// frameworks make applications: what is called, the distribution that has it, and
// the interface.
var frameworks = map[string]struct {
	dist  string
	iface schema.Interface
}{
	"Flask": {"flask", schema.WSGI}, "APIFlask": {"apiflask", schema.WSGI}, "Bottle": {"bottle", schema.WSGI},
	"FastAPI": {"fastapi", schema.ASGI}, "Starlette": {"starlette", schema.ASGI}, "Quart": {"quart", schema.ASGI}, "Litestar": {"litestar", schema.ASGI},
	"falcon.App": {"falcon", schema.WSGI}, "falcon.asgi.App": {"falcon", schema.ASGI},
	"make_wsgi_app": {"pyramid", schema.WSGI}, "get_wsgi_application": {"django", schema.WSGI}, "get_asgi_application": {"django", schema.ASGI},
}

// A candidate is a definition that may be the application, or make it.
type candidate struct {
	file string
	bundle.Definition
	dist  string
	iface schema.Interface
	rank  int
	root  string // what is imported is below it
}

// factories make an application where they are called without an argument.
var factories = []string{"create_app", "make_app", "build_app", "get_app"}

// fromModules finds an application at the top level of a module.
func (p *project) fromModules() bool {
	var all []candidate
	for _, file := range p.modules {
		if data := p.read(file, maxModule); data != nil {
			all = append(all, p.candidates(file, string(data))...)
		}
	}
	if len(all) == 0 {
		return false
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(a.rank-b.rank, strings.Count(a.file, "/")-strings.Count(b.file, "/"), cmp.Compare(a.file, b.file))
	})
	c := all[0]
	at := schema.Pos{File: c.file, Line: c.Line}
	made := c.Callee
	if c.Callee == "" {
		made = c.Name
	}
	p.guess(at, "the application is %s, made by %s: %s", c.Name, made, c.iface)
	for _, other := range all[1:min(len(all), 4)] {
		p.guess(schema.Pos{File: other.file, Line: other.Line}, "%s may be one as well, and is not taken", other.Name)
	}
	p.imported(target{Pos: at, iface: c.iface, dist: c.dist}, c.root, c.file, c.Name, c.Callee == "")
	return true
}

// imported plans a script that takes an object of a file below root.
func (p *project) imported(t target, root, file, object string, call bool) {
	rel := strings.TrimSuffix(strings.TrimPrefix(file, root+"/"), ".py")
	module := strings.ReplaceAll(strings.TrimSuffix(rel, "/__init__"), "/", ".")
	body := fmt.Sprintf("\nfrom %s import %s as application  # noqa: E402,F401\n", module, object)
	switch {
	case call:
		body = fmt.Sprintf("\nfrom %s import %s  # noqa: E402\n\napplication = %s()\n", module, object, object)
	case object == "application":
		body = fmt.Sprintf("\nfrom %s import application  # noqa: E402,F401\n", module)
	}
	p.script(t, root, body)
}

var importable = regexp.MustCompile(`^([A-Za-z_]\w*/)*[A-Za-z_]\w*\.py$`)

// candidates are those of one module.
func (p *project) candidates(file, src string) []candidate {
	defs, imports := bundle.Outline(src)
	root := p.importRoot(file, imports)
	if !importable.MatchString(strings.TrimPrefix(file, root+"/")) {
		return nil
	}
	base := candidate{file: file, root: root, rank: 4}
	switch path.Base(file) {
	case "wsgi.py", "asgi.py":
		base.rank = 0
	case "app.py", "main.py", "application.py", "server.py":
		base.rank = 1
	case "__init__.py":
		base.rank = 2
	}
	dist, iface := p.frameworkOf(imports)
	var all []candidate
	for _, d := range defs {
		c := base
		c.Definition = d
		last := d.Callee[strings.LastIndexByte(d.Callee, '.')+1:]
		f, known := frameworks[d.Callee]
		if !known {
			f, known = frameworks[last]
		}
		switch {
		case known:
			c.dist, c.iface = f.dist, f.iface
		case slices.Contains(factories, last) && slices.Contains([]string{"app", "application"}, d.Name):
			c.dist, c.iface = dist, cmp.Or(iface, p.likely())
		case d.Callee == "" && slices.Contains(factories, d.Name) && d.Needs == 0 && dist != "":
			c.dist, c.iface = dist, iface
			c.rank += 10
		default:
			continue
		}
		if d.Name != "app" && d.Name != "application" && d.Callee != "" {
			c.rank += 5
		}
		all = append(all, c)
	}
	return all
}

// frameworkOf is the framework among the modules that are imported.
func (p *project) frameworkOf(imports []string) (string, schema.Interface) {
	for _, module := range imports {
		top, _, _ := strings.Cut(module, ".")
		for _, name := range []string{"Flask", "APIFlask", "FastAPI", "Starlette", "Quart", "Litestar", "Bottle"} {
			if f := frameworks[name]; f.dist == top {
				return f.dist, f.iface
			}
		}
	}
	return "", ""
}

// likely is the interface that the project's dependencies speak for.
func (p *project) likely() schema.Interface {
	if p.asks("fastapi", "starlette", "quart", "litestar") && !p.asks("flask", "django", "pyramid") {
		return schema.ASGI
	}
	return schema.WSGI
}

// importRoot is the directory below which a module is imported: above its
// packages, also above one without an __init__.py that its own imports name.
func (p *project) importRoot(file string, imports []string) string {
	dir := path.Dir(file)
	for dir != "." {
		base := path.Base(dir)
		named := slices.ContainsFunc(imports, func(m string) bool {
			return m == base || strings.HasPrefix(m, base+".") || strings.HasPrefix(m, ".")
		})
		if !p.has(dir+"/__init__.py") && !named {
			break
		}
		dir = path.Dir(dir)
	}
	return dir
}

// fromScript takes the one script of [project.scripts].
func (p *project) fromScript() bool {
	if p.python == nil || len(p.python.Scripts) != 1 {
		return false
	}
	s := p.python.Scripts[0]
	_, object, _ := strings.Cut(s.Text, " = ")
	module, name, ok := strings.Cut(object, ":")
	if !ok || !importable.MatchString(strings.ReplaceAll(module, ".", "/")+".py") || !importable.MatchString(name+".py") {
		p.guess(s.Pos, "%q names no function of a module", object)
		return false
	}
	for _, root := range []string{".", "src"} {
		file := path.Join(root, strings.ReplaceAll(module, ".", "/"))
		if !p.has(file+".py") && !p.has(file+"/__init__.py") {
			continue
		}
		p.guess(s.Pos, "the entrypoint runs this script")
		dir := "ROOT"
		if root != "." {
			dir = fmt.Sprintf("os.path.join(ROOT, %q)", root)
		}
		p.target = target{Pos: s.Pos, iface: schema.Exec, path: "bin/app", script: fmt.Sprintf(`#!.appbundle/env/bin/python
"""What starts: the function %s of %s."""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, %s)

from %s import %s  # noqa: E402

if __name__ == "__main__":
    sys.exit(%s())
`, name, module, dir, module, name, name)}
		return true
	}
	return false
}

// addTarget asks for what the entrypoint needs: the framework, and a server.
func (p *project) addTarget() {
	p.addSystem()
	if p.target.iface == schema.WSGI || p.target.iface == schema.ASGI || p.target.iface == schema.Exec && strings.HasPrefix(p.target.script, "#!.appbundle") {
		p.system = append([]string{"python3"}, p.system...)
	}
	if p.there(dependencies) {
		return
	}
	if p.target.dist != "" && !p.asks(p.target.dist) {
		p.guess(p.target.Pos, "%s is added to dependencies.txt, where nothing names it", p.target.dist)
		p.asked[p.target.dist] = true
		p.lines = append(p.lines, p.target.dist)
	}
	if p.target.iface != schema.WSGI && p.target.iface != schema.ASGI {
		return
	}
	servers := bundle.ServerNames(p.target.iface)
	if p.asks(servers...) {
		return
	}
	server := servers[0]
	if slices.Contains(servers, p.target.server) {
		server = p.target.server
	}
	p.guess(schema.Pos{File: dependencies}, "%s is added, as none of its lines brings a server for %s", server, p.target.iface)
	p.lines = append(p.lines, server)
}
