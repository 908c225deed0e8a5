package schema

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func sampleEnvironment() *Environment {
	return &Environment{
		Format: EnvironmentFormat, Python: "cp311", Platform: "linux_x86_64", Bytecode: "cpython-311-a70d0d0a",
		Packages: []InstalledPackage{
			{"flask", "3.1.3", "flask-3.1.3-py3-none-any.whl", strings.Repeat("a", 64), true},
			{"ruamel-yaml", "0.18", "ruamel.yaml-0.18.0-py3-none-any.whl", strings.Repeat("b", 64), false},
		},
	}
}

func TestEnvironmentRoundTrip(t *testing.T) {
	for _, e := range []*Environment{sampleEnvironment(), {
		Format: 1, Python: "cp313t", Platform: "musllinux_1_2_aarch64", Packages: []InstalledPackage{},
	}, {
		Format: 1, Python: "cp311", Platform: "linux_x86_64", Site: []string{"/usr/lib/python3/dist-packages"}, Packages: []InstalledPackage{},
	}} {
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, ps := ParseEnvironment("e.json", data)
		if err := ps.Err(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s\nreads as %+v, want %+v", data, got, e)
		}
	}
	e := sampleEnvironment()
	if got := e.Target(); got != "cp311-linux_x86_64" {
		t.Errorf("Target = %q", got)
	}
	if got := e.PythonVersion(); got != "3.11" {
		t.Errorf("PythonVersion = %q", got)
	}
}

func TestEnvironmentProblems(t *testing.T) {
	text, err := sampleEnvironment().Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ old, new, want string }{
		{`"format": 1`, `"format": 2`, "e.json: the environment has the format 2, this appbundle reads 1; use a newer appbundle"},
		{`"cp311"`, `"py3"`, `e.json: "py3" is no Python`},
		{`"linux_x86_64"`, `"linux x"`, `e.json: "linux x" is no platform`},
		{`"cpython-311-a70d0d0a"`, `"../x"`, `e.json: "../x" is no byte code`},
		{`"flask"`, `"Flask"`, `e.json: package "Flask": the name is not a normalised one`},
		{`"3.1.3"`, `"x"`, `e.json: package "flask": "x" is no version`},
		{`"flask-3.1.3-py3-none-any.whl"`, `"flask.zip"`, `e.json: package "flask": "flask.zip" is no name of a wheel`},
		{`"flask-3.1.3-py3-none-any.whl"`, `"flask-3.1.2-py3-none-any.whl"`, `e.json: package "flask": flask-3.1.2-py3-none-any.whl is not a wheel of version 3.1.3 of it`},
		{`"` + strings.Repeat("a", 64), `"a`, `e.json: package "flask": "a" is no sha256`},
		{`"ruamel-yaml"`, `"flask"`, `e.json: package "flask": ruamel.yaml-0.18.0-py3-none-any.whl is not a wheel of version 0.18 of it`},
		{`"requested": true`, `"requested": 1`, `e.json:12:18: packages.requested: number does not fit`},
		{`"packages"`, `"site": ["/usr/lib", "lib"], "packages"`, "e.json: site has what is no absolute, clean path, or more than 8 of them"},
		{`"packages"`, `"site": ["/usr/../lib"], "packages"`, "e.json: site has what is no absolute, clean path, or more than 8 of them"},
		{`"packages"`, `"site": ["/a","/b","/c","/d","/e","/f","/g","/h","/i"], "packages"`, "e.json: site has what is no absolute, clean path, or more than 8 of them"},
		{`"platform"`, `"platforms"`, `e.json:22:2: unknown field "platforms"`},
	}
	for _, tt := range tests {
		in := bytes.Replace(text, []byte(tt.old), []byte(tt.new), 1)
		_, ps := ParseEnvironment("e.json", in)
		if got := ps.Error(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("with %s for %s: %s, want %s", tt.new, tt.old, got, tt.want)
		}
	}
	twice := sampleEnvironment()
	twice.Packages[1] = twice.Packages[0]
	text, err = twice.Encode()
	if err != nil {
		t.Fatal(err)
	}
	_, ps := ParseEnvironment("e.json", text)
	if got, want := ps.Error(), `e.json: package "flask": it is not after "flask" in bytewise order`; got != want {
		t.Errorf("a package twice: %s, want %s", got, want)
	}
	_, ps = ParseEnvironment("e.json", make([]byte, MaxEnvironment+1))
	if got, want := ps.Error(), "e.json: the environment has 16777217 bytes, more than 16777216"; got != want {
		t.Errorf("a large file: %s, want %s", got, want)
	}
}

func FuzzEnvironment(f *testing.F) {
	data, err := sampleEnvironment().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ps := ParseEnvironment("f", data)
		if len(ps) > 0 {
			return
		}
		out, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, ps := ParseEnvironment("f", out); len(ps) > 0 || len(again.Packages) != len(e.Packages) || again.Target() != e.Target() {
			t.Errorf("%s reads back with %v", out, ps)
		}
	})
}
