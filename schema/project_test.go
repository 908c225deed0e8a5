package schema

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestProject(t *testing.T) {
	const text = `[project]
name = "Shop"
version = "1.2"
description = "sells"
license = "MIT"
dependencies = [
  "flask>=3",
  "gunicorn",
]
dynamic = ["readme"]
[project.scripts]
shop = "shop.cli:main"
admin = "shop.cli:admin"
[tool.poetry.dependencies]
python = "^3.9"
`
	p, problems := ParseProject("f", []byte(text))
	got := fmt.Sprint(p.Pos, p.Dynamic, p.Poetry.Line, len(problems))
	for _, l := range slices.Concat([]Located{p.Name, p.Version, p.Description, p.License}, p.Dependencies, p.Scripts) {
		got += fmt.Sprintf(" %d=%s", l.Line, l.Text)
	}
	const want = "f:1 [readme] 14 0 2=Shop 3=1.2 4=sells 5=MIT 7=flask>=3 8=gunicorn 13=admin = shop.cli:admin 12=shop = shop.cli:main"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for text, want := range map[string]string{
		"":                                "",
		"[project]\nlicense = {text='x'}": "",
		"[project\n":                      "f:2",
		"[project]\nname = 1\n":           "f:2: name",
		"project = 1\n":                   "f:1: project",
		"[project]\ndependencies = [1]\n": "f:2: dependencies",
		"[project.scripts]\na = ['x']\n":  "f:2: a",
		strings.Repeat("#", MaxFile+1):    "f: the file has",
	} {
		p, problems := ParseProject("f", []byte(text))
		if p == nil || (len(problems) == 0) != (want == "") || !strings.HasPrefix(problems.Error(), want) {
			t.Errorf("ParseProject(%.40q): %v, want %q", text, problems, want)
		}
	}
}

func FuzzProject(f *testing.F) {
	f.Add([]byte("[project]\nname = 'a'\ndependencies = ['b']\n[project.scripts]\nc = 'd:e'\n[tool.poetry.dependencies]\nx = '1'\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, problems := ParseProject("f", data)
		if p == nil {
			t.Fatal("nothing")
		}
		positionsInside(t, "f", data, problems)
	})
}

func TestProcfile(t *testing.T) {
	const text = "# x\n\nweb: bin/web --port $PORT\r\n  work-er2:sleep 1\nno\nweb: other\nempty: \n"
	got, problems := ParseProcfile("f", []byte(text))
	if len(got) != 2 || got[0] != (Process{Pos{File: "f", Line: 3}, "web", "bin/web --port $PORT"}) || got[1] != (Process{Pos{File: "f", Line: 4}, "work-er2", "sleep 1"}) {
		t.Errorf("got %+v", got)
	}
	const want = "f:5: \"no\" is no process; write NAME: COMMAND\nf:6: \"web\" occurs twice; give it another name\nf:7: \"empty:\" is no process; write NAME: COMMAND"
	if problems.Error() != want {
		t.Errorf("problems\n%v\nwant\n%s", problems, want)
	}
	var many bytes.Buffer
	for i := range maxProcesses + 1 {
		fmt.Fprintf(&many, "p%d: x\n", i)
	}
	if got, problems := ParseProcfile("f", many.Bytes()); len(got) != maxProcesses || len(problems) != 1 {
		t.Errorf("%d processes, %v", len(got), problems)
	}
}

func FuzzProcfile(f *testing.F) {
	f.Add([]byte("web: x\nweb: y\n#\nno"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, problems := ParseProcfile("f", data)
		positionsInside(t, "f", data, problems)
		for _, p := range all {
			if p.Name == "" || p.Command == "" || strings.ContainsAny(p.Command, "\r\n") {
				t.Fatalf("%+v", p)
			}
		}
	})
}
