package bundle

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBindApplication(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      Binding
	}{
		{"nothing", "import os\nx = 1\n", Binding{}},
		{"flask", "from flask import Flask\napplication = Flask(__name__)\n", Binding{Bound: true, Line: 2}},
		{"def", "def application(environ, start_response):\n    return []\n", Binding{Bound: true, Line: 1}},
		{"async def", "async def application(scope, receive, send):\n    pass\n", Binding{Bound: true, Line: 1, Async: true}},
		{"chain", "app = application = make()\n", Binding{Bound: true, Line: 1}},
		{"chain the other way", "application = app = make()\n", Binding{Bound: true, Line: 1}},
		{"annotated", "application: 'T' = make()\n", Binding{Bound: true, Line: 1}},
		{"annotation only", "application: T\n", Binding{}},
		{"tuple", "(a, application) = f()\nb, *application = g()", Binding{Bound: true, Line: 2}},
		{"import", "from shop import application\n", Binding{Bound: true, Line: 1}},
		{"import as", "from shop import (\n    a,\n    app as application,\n)\n", Binding{Bound: true, Line: 3}},
		{"import asgi", "from shop.asgi import application\n", Binding{Bound: true, Line: 1, Async: true}},
		{"import star", "from shop import *\n", Binding{Bound: true, Line: 1}},
		{"import module", "import shop.app as application\n", Binding{Bound: true, Line: 1}},
		{"import other", "from application import app\nimport x\n", Binding{}},
		{"in try", "try:\n    from a import application\nexcept ImportError:\n\tfrom b import application\n", Binding{Bound: true, Line: 4}},
		{"in if else on one line", "if x: application = 1\nelse: y = 2\n", Binding{Bound: true, Line: 1}},
		{"with as", "with open(p) as application:\n    pass\n", Binding{Bound: true, Line: 1}},
		{"for", "for application in apps: break\n", Binding{Bound: true, Line: 1}},
		{"after a semicolon", "import a; application = a.b\n", Binding{Bound: true, Line: 1}},
		{"inside def", "def f():\n    application = 1\n\n    application = 2\n", Binding{}},
		{"inside class", "class A:\n    application = 1\n", Binding{}},
		{"after def", "def f():\n    pass\napplication = f()\n", Binding{Bound: true, Line: 3}},
		{"attribute", "x.application = 1\n", Binding{}},
		{"keyword argument", "f(application=1)\nx = f(application, application=2)\n", Binding{}},
		{"subscript", "d[a, application] = 1\nd[f(application), application] = 2", Binding{}},
		{"lambda", "x = lambda application=1: 2\n", Binding{}},
		{"comparison", "application == 1\napplication += 1\n", Binding{}},
		{"in a string", "'''\napplication = 1\n'''\nx = \"\\\napplication = 2\"\n", Binding{}},
		{"in a comment", "# application = 1\n", Binding{}},
		{"continued line", "application \\\n  = 1\n", Binding{Bound: true, Line: 1}},
		{"in brackets", "x = [\napplication,\n]\n", Binding{}},
		{"byte order mark", "\ufeffapplication = 1\n", Binding{Bound: true, Line: 1}},
		{"carriage returns", "import a\r\napplication = a\r\n", Binding{Bound: true, Line: 2}},
		{"fastapi", "from fastapi import FastAPI\napp = FastAPI()\napplication = app\n", Binding{Bound: true, Line: 3, Async: true}},
		{"starlette", "import starlette.applications\napplication = starlette.applications.Starlette()\n", Binding{Bound: true, Line: 2, Async: true}},
		{"django asgi", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n", Binding{Bound: true, Line: 2, Async: true}},
		{"django wsgi", "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n", Binding{Bound: true, Line: 2}},
		{"async call", "class App:\n    def __init__(self): pass\n    async def __call__(self, s, r, w): pass\napplication = App()\n", Binding{Bound: true, Line: 4, Async: true}},
		{"class", "class application:\n    async def __call__(self, s, r, w): pass\n", Binding{Bound: true, Line: 1, Async: true}},
		{"sync call", "class App:\n    def __call__(self, e, s): pass\napplication = App()\n", Binding{Bound: true, Line: 3}},
		{"last one wins", "async def application(): pass\ndef application(e, s): pass\n", Binding{Bound: true, Line: 2}},
		{"prefixed string", "application = rb'x' f\"{a}\"\n", Binding{Bound: true, Line: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := bindApplication(c.src); got != c.want {
				t.Errorf("bindApplication(%q) = %+v, want %+v", c.src, got, c.want)
			}
		})
	}
}

// TestPythonIsNotBroken reads Python's own library, in which nothing is broken
// but what its tests need so.
func TestPythonIsNotBroken(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "python3", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))").Output()
	must(t, err)
	n := 0
	must(t, filepath.WalkDir(strings.TrimSpace(string(out)), func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "test" || d.Name() == "tests" || d.Name() == "site-packages" || d.Name() == "dist-packages" || d.Name() == "lib2to3"):
			return fs.SkipDir
		case filepath.Ext(p) != ".py":
			return nil
		}
		src, err := os.ReadFile(p)
		if b := bindApplication(string(src)); b.Broken != "" {
			t.Errorf("%s:%d: %s", p, b.BrokenLine, b.Broken)
		}
		n++
		return err
	}))
	if n < 100 {
		t.Errorf("only %d files", n)
	}
}

func FuzzBindApplication(f *testing.F) {
	f.Add("class A:\n async def __call__(s): pass\nx = application = A(\n'''")
	f.Add("if a: with b as application: (\\\n")
	f.Fuzz(func(t *testing.T, src string) {
		b := bindApplication(src)
		if !b.Bound && (b.Async || b.Line != 0) {
			t.Errorf("bindApplication(%q) = %+v", src, b)
		}
	})
}
