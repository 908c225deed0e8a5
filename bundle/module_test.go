package bundle

import (
	"fmt"
	"testing"
)

func TestOutline(t *testing.T) {
	for src, want := range map[string]string{
		"from flask import Flask\napp = Flask(__name__)\n":                "[{app 2 Flask 0}] [flask]",
		"import a.b as c, d\napp: T = c.make.it(1, x=2)(3)\n":             "[{app 2 c.make.it 0}] [a.b d]",
		"from . import x\nfrom .y import (z,\n  w)\n":                     "[] [. .y]",
		"def make(a, b=1, *c, d: T[int, str], **e):\n    app = Flask()\n": "[{make 1  2}] []",
		"def make(a=f(1, 2), /):\n  pass\ndef none(): pass":               "[{make 1  0} {none 3  0}] []",
		"'''\napp = Flask()\n'''\nif x:\n  app = Flask()\n":               "[] []",
		"a.app = Flask()\napp[0] = Flask()\napp == F()\n(app) = F()\n":    "[] []",
		"app = 'x'.join()\napp = 1 + F()\napp = (F)()\napp = lambda: F()": "[] []",
		"x = app = F()\n": "[{x 1 F 0}] []",
		"def":             "[{ 1  0}] []",
		"def x(":          "[{x 1  0}] []",
	} {
		defs, imports := Outline(src)
		if got := fmt.Sprint(defs, imports); got != want {
			t.Errorf("Outline(%q) = %s, want %s", src, got, want)
		}
	}
}

func FuzzOutline(f *testing.F) {
	f.Add("from a import b\napp = c.d(e)\ndef f(g, h=1): pass\nimport i as j, k")
	f.Fuzz(func(t *testing.T, src string) { Outline(src) })
}
