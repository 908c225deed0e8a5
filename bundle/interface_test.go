package bundle

import (
	"testing"
)

func TestBindApplication(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      Binding
	}{
		{"nothing", "import os\nx = 1\n", Binding{}},
		{"flask", "from flask import Flask\napplication = Flask(__name__)\n", Binding{true, 2, false}},
		{"def", "def application(environ, start_response):\n    return []\n", Binding{true, 1, false}},
		{"async def", "async def application(scope, receive, send):\n    pass\n", Binding{true, 1, true}},
		{"chain", "app = application = make()\n", Binding{true, 1, false}},
		{"chain the other way", "application = app = make()\n", Binding{true, 1, false}},
		{"annotated", "application: 'T' = make()\n", Binding{true, 1, false}},
		{"annotation only", "application: T\n", Binding{}},
		{"tuple", "(a, application) = f()\nb, *application = g()", Binding{true, 2, false}},
		{"import", "from shop import application\n", Binding{true, 1, false}},
		{"import as", "from shop import (\n    a,\n    app as application,\n)\n", Binding{true, 3, false}},
		{"import asgi", "from shop.asgi import application\n", Binding{true, 1, true}},
		{"import star", "from shop import *\n", Binding{true, 1, false}},
		{"import module", "import shop.app as application\n", Binding{true, 1, false}},
		{"import other", "from application import app\nimport x\n", Binding{}},
		{"in try", "try:\n    from a import application\nexcept ImportError:\n\tfrom b import application\n", Binding{true, 4, false}},
		{"in if else on one line", "if x: application = 1\nelse: y = 2\n", Binding{true, 1, false}},
		{"with as", "with open(p) as application:\n    pass\n", Binding{true, 1, false}},
		{"for", "for application in apps: break\n", Binding{true, 1, false}},
		{"after a semicolon", "import a; application = a.b\n", Binding{true, 1, false}},
		{"inside def", "def f():\n    application = 1\n\n    application = 2\n", Binding{}},
		{"inside class", "class A:\n    application = 1\n", Binding{}},
		{"after def", "def f():\n    pass\napplication = f()\n", Binding{true, 3, false}},
		{"attribute", "x.application = 1\n", Binding{}},
		{"keyword argument", "f(application=1)\nx = f(application, application=2)\n", Binding{}},
		{"subscript", "d[a, application] = 1\nd[f(application), application] = 2", Binding{}},
		{"lambda", "x = lambda application=1: 2\n", Binding{}},
		{"comparison", "application == 1\napplication += 1\n", Binding{}},
		{"in a string", "'''\napplication = 1\n'''\nx = \"\\\napplication = 2\"\n", Binding{}},
		{"in a comment", "# application = 1\n", Binding{}},
		{"continued line", "application \\\n  = 1\n", Binding{true, 1, false}},
		{"in brackets", "x = [\napplication,\n]\n", Binding{}},
		{"byte order mark", "\ufeffapplication = 1\n", Binding{true, 1, false}},
		{"carriage returns", "import a\r\napplication = a\r\n", Binding{true, 2, false}},
		{"fastapi", "from fastapi import FastAPI\napp = FastAPI()\napplication = app\n", Binding{true, 3, true}},
		{"starlette", "import starlette.applications\napplication = starlette.applications.Starlette()\n", Binding{true, 2, true}},
		{"django asgi", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n", Binding{true, 2, true}},
		{"django wsgi", "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n", Binding{true, 2, false}},
		{"async call", "class App:\n    def __init__(self): pass\n    async def __call__(self, s, r, w): pass\napplication = App()\n", Binding{true, 4, true}},
		{"class", "class application:\n    async def __call__(self, s, r, w): pass\n", Binding{true, 1, true}},
		{"sync call", "class App:\n    def __call__(self, e, s): pass\napplication = App()\n", Binding{true, 3, false}},
		{"last one wins", "async def application(): pass\ndef application(e, s): pass\n", Binding{true, 2, false}},
		{"prefixed string", "application = rb'x' f\"{a}\"\n", Binding{true, 1, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := bindApplication(c.src); got != c.want {
				t.Errorf("bindApplication(%q) = %+v, want %+v", c.src, got, c.want)
			}
		})
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
