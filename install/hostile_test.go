package install

import (
	"archive/zip"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/internal/safearchive"
)

const evilInfo = "evil-1.dist-info/"

// evil makes a wheel of the package evil.
func evil(t testing.TB, parts ...part) []byte {
	t.Helper()
	return makeWheel(t, "evil-1-py3-none-any.whl", append([]part{{name: "evil.py", text: "x = 1\n"}}, parts...)...)
}

// without is a part that takes one of dist-info away.
func without(name string) part { return part{text: name} }

func scripts(text string) part {
	return part{name: evilInfo + "entry_points.txt", text: "[console_scripts]\n" + text + "\n"}
}

// Every wheel that must not be installed, and why it is not. What is wrong with
// the archive itself is tested in safearchive; some of it is here once more, to
// show that it is asked.
func TestHostile(t *testing.T) {
	record := func(text string) part {
		return part{name: evilInfo + "RECORD", text: text}
	}
	good := "evil.py,sha256=" + sumOf([]byte("x = 1\n")) + ",6\n"
	for _, c := range []struct {
		name  string
		parts []part
		want  string
	}{
		{"climbing", []part{{name: "../../x"}}, `"../../x": name climbs out of the archive`},
		{"absolute", []part{{name: "/x"}}, `"/x": name is absolute`},
		{"climbing data", []part{{name: "evil-1.data/data/../../x"}}, `name is not canonical`},
		{"a backslash", []part{{name: `..\x`}}, `name has a backslash`},
		{"a link", []part{{name: "x", text: "/etc", mode: 0o120777}}, `"x": is a symbolic link`},
		{"twice", []part{{name: "evil.py", text: "other"}}, `"evil.py": the same name occurs twice`},
		{"case", []part{{name: "EVIL.py"}}, `"EVIL.py": name is the same as "evil.py" where case or Unicode form do not count`},
		{"encrypted", []part{{name: "x", raw: &zip.FileHeader{Flags: 1}}}, `"x": is encrypted`},
		{"a bomb", []part{{name: "x", text: "x", raw: &zip.FileHeader{Method: zip.Deflate, CompressedSize64: 1, UncompressedSize64: 300 << 20}}}, "compression ratio is over the limit of 200"},

		{"no RECORD", []part{without("RECORD")}, "has no evil-1.dist-info/RECORD"},
		{"no WHEEL", []part{without("WHEEL")}, "has no evil-1.dist-info/WHEEL"},
		{"no METADATA", []part{without("METADATA")}, "has no evil-1.dist-info/METADATA"},
		{"another package", []part{{name: evilInfo + "METADATA", text: "Name: good\nVersion: 1\n"}}, `says that it is "good" "1"`},
		{"another version", []part{{name: evilInfo + "METADATA", text: "Name: evil\nVersion: 2\n"}}, `says that it is "evil" "2"`},
		{"a name in the text", []part{{name: evilInfo + "METADATA", text: "Version: 1\n\nName: evil\n"}}, `says that it is "" "1"`},
		{"a second dist-info", []part{{name: "good-1.dist-info/METADATA"}}, `"good-1.dist-info": is of another package than the wheel`},
		{"the same in another spelling", []part{{name: "Evil-1.0.dist-info/METADATA"}}, "has both Evil-1.0.dist-info and evil-1.dist-info"},
		{"data of another package", []part{{name: "good-1.data/scripts/x"}}, `"good-1.data": is of another package than the wheel`},
		{"a later format", []part{{name: evilInfo + "WHEEL", text: "Wheel-Version: 2.0\n"}}, `is a wheel of the version "2.0", and 1 is read`},
		{"no format", []part{{name: evilInfo + "WHEEL"}}, `is a wheel of the version "", and 1 is read`},

		{"a file not in RECORD", []part{{name: "x.py"}, record(good + evilInfo + "WHEEL,sha256=" + sumOf(nil) + ",\n")}, `is not in RECORD`},
		{"a file not in the wheel", []part{record(good + "y.py,sha256=" + sumOf(nil) + ",0\n")}, `"y.py": is in RECORD and not in the wheel`},
		{"a line twice", []part{record(good + good)}, `"evil.py": occurs twice in RECORD`},
		{"no hash", []part{record("evil.py,,\n")}, `"evil.py": has no sha256, sha384 or sha512 in RECORD`},
		{"a weak hash", []part{record("evil.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0\n")}, `"evil.py": has no sha256, sha384 or sha512 in RECORD`},
		{"no size", []part{record("evil.py,sha256=" + sumOf(nil) + ",x\n")}, `"evil.py": has no size in RECORD`},
		{"no list", []part{record("evil.py\n")}, `"evil-1.dist-info/RECORD": is no list: record on line 1: wrong number of fields`},

		{"data of no kind", []part{{name: "evil-1.data/x"}}, `"evil-1.data/x": is data of no kind`},
		{"data of an unknown kind", []part{{name: "evil-1.data/x/y"}}, `"evil-1.data/x/y": is data of the unknown kind "x"`},
		{"the interpreter as data", []part{{name: "evil-1.data/data/bin/python3"}}, `"evil-1.data/data/bin/python3": belongs to the environment`},
		{"the configuration", []part{{name: "evil-1.data/data/PyVenv.cfg"}}, `belongs to the environment`},
		{"the stamp", []part{{name: "evil-1.data/data/installed.json"}}, `belongs to the environment`},
		{"the interpreter as a script", []part{{name: "evil-1.data/scripts/python"}}, `"evil-1.data/scripts/python": belongs to the environment`},
		{"a script in a directory", []part{{name: "evil-1.data/scripts/x/y"}}, `"evil-1.data/scripts/x/y": is no name of a file`},
		{"two places, one file", []part{{name: "evil-1.data/purelib/evil.py"}}, `goes where another file of the wheel goes`},
		{"a script that is too large", []part{{name: "evil-1.data/scripts/x", text: "#!python\n" + strings.Repeat("#", maxMetadata)}}, `"evil-1.data/scripts/x": is a script of more than 16777216 bytes`},
		{"a script twice", []part{{name: "evil-1.data/scripts/x", text: "y"}, scripts("x = evil:x")}, `"x": goes where another file of the wheel goes`},

		{"an entry point that climbs", []part{scripts("../../x = evil:x")}, `script "../../x" is no name of a file`},
		{"the interpreter as an entry point", []part{scripts("Python3.11 = evil:x")}, `script "Python3.11" belongs to the environment`},
		{"a hidden entry point", []part{scripts(".x = evil:x")}, `script ".x" begins with a dot or a dash`},
		{"an entry point with a control character", []part{scripts("a\x1bb = evil:x")}, `script "a\x1bb" has a control character`},
		{"an entry point without a name", []part{scripts(" = evil:x")}, `script "" is no name of a file`},
		{"an entry point that is code", []part{scripts("x = evil:x; import os")}, `has the script "x = evil:x; import os" without module:attribute`},
		{"an entry point of two lines", []part{scripts("x = evil:x\r y")}, `without module:attribute`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := shelf{"evil-1-py3-none-any.whl": evil(t, c.parts...)}
			checkRefused(t, s, c.want)
		})
	}
}

// checkRefused installs s, which must be refused and leave nothing.
func checkRefused(t *testing.T, s shelf, want string) {
	t.Helper()
	req := s.request(t)
	_, err := Sync(context.Background(), req)
	var refused *safearchive.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := list(t, req.Dir) + list(t, filepath.Join(req.Cache, wheelsDir)); got != "" {
		t.Errorf("left %s", got)
	}
	outside, err := filepath.Glob(filepath.Join(filepath.Dir(req.Dir), "*"))
	if err != nil || len(outside) != 2 {
		t.Errorf("beside the application and the cache: %v, %v", outside, err)
	}
}

// A hash of RECORD that is wrong is found while the file is written.
func TestHostileContent(t *testing.T) {
	s := shelf{}
	good := evil(t)
	for _, c := range []struct{ name, from, to, want string }{
		{"hash", "evil.py\",sha256=" + sumOf([]byte("x = 1\n")), "evil.py\",sha256=" + sumOf([]byte("x = 2\n")), `"evil.py": is not what RECORD says: its sha256 is another`},
		{"size", ",6\n", ",7\n", `"evil.py": has 6 bytes, and RECORD says 7`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := readPart(t, good, evilInfo+"RECORD")
			changed := strings.Replace(text, c.from, c.to, 1)
			if changed == text {
				t.Fatalf("%q is not in %s", c.from, text)
			}
			s["evil-1-py3-none-any.whl"] = evil(t, part{name: evilInfo + "RECORD", text: changed},
				part{name: evilInfo + "METADATA", text: readPart(t, good, evilInfo+"METADATA")},
				part{name: evilInfo + "WHEEL", text: readPart(t, good, evilInfo+"WHEEL")})
			checkRefused(t, s, c.want)
		})
	}
}

func readPart(t testing.TB, data []byte, name string) string {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(string(data)), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(z, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is odd and harmless is installed.
func TestOdd(t *testing.T) {
	s := shelf{"evil-1-py3-none-any.whl": evil(t, part{name: evilInfo + "WHEEL", text: "Wheel-Version: 1.9\n"}, part{name: "setuid", mode: 0o106755})}
	res := sync1(t, s.request(t))
	if got := strings.Join(res.Warnings, "; "); got != `evil-1-py3-none-any.whl is a wheel of the version "1.9", newer than 1.0` {
		t.Errorf("warnings %q", got)
	}
}

func FuzzWheel(f *testing.F) {
	f.Add(shop(f)["shop_front-1.0-py3-none-any.whl"])
	f.Add(evil(f, scripts("x = evil:x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := openWheel("evil-1-py3-none-any.whl", strings.NewReader(string(data)), int64(len(data)))
		if err != nil {
			return
		}
		u := unpacker{wheel: w, seen: map[string]bool{}}
		for _, e := range w.Entries() {
			to, err := u.place(e.Path)
			if err == nil && to != "" && !fs.ValidPath(to) {
				t.Fatalf("%q goes to %q", e.Path, to)
			}
		}
		for _, s := range w.scripts {
			if !fs.ValidPath(s.name) || strings.Contains(s.name, "/") {
				t.Fatalf("script %q", s.name)
			}
		}
	})
}

// The names of the environment are nobody else's; names that begin like them are.
func TestBadScript(t *testing.T) {
	for name, bad := range map[string]bool{
		"python": true, "Python3": true, "python3.13t": true, "pythonw": true, "python.exe": true,
		"activate": true, "Activate.ps1": true, "activate_this.py": true,
		"activate-global-python-argcomplete": false, "python-argcomplete-check-easy-install-script": false,
		"python3-config": false, "pythonpath": false, "deactivate": false,
	} {
		if got := badScript(name); (got != "") != bad {
			t.Errorf("badScript(%q) = %q, bad is %v", name, got, bad)
		}
	}
}
