package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"appbundle/schema/pep508"
)

// unescape makes the line ends of a case visible: "~" is a carriage return, and
// a "$" at the end of all takes the last line feed away.
func unescape(s string) string {
	s = strings.ReplaceAll(s, "~", "\r")
	if open, ok := strings.CutSuffix(s, "$\n"); ok {
		return open
	}
	return s
}

func escape(s string) string {
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "$\n"
	}
	return strings.ReplaceAll(s, "\r", "~")
}

// The first lines of a case are what is done to the file: "add TEXT",
// "remove KEY"; "set SECTION KEY VALUE", "delete SECTION KEY" of app.ini.
func TestEdits(t *testing.T) {
	for _, c := range readCases(t, "edits.txt") {
		t.Run(c.name, func(t *testing.T) {
			commands, text, _ := strings.Cut(c.in, "--\n")
			kind, _, _ := strings.Cut(c.name, " ")
			var said []string
			var got string
			if kind == "app.ini" {
				got, said = editINI(t, unescape(text), commands)
			} else {
				got, said = editLines(t, kind, unescape(text), commands)
			}
			if got := strings.TrimRight(strings.Join(append(said, escape(got)), "\n"), "\n"); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func editLines(t *testing.T, kind, text, commands string) (string, []string) {
	begin := EditRequirements
	if kind == "external" {
		begin = EditExternal
	}
	e, ps := begin("f", []byte(text))
	if len(ps) > 0 {
		return "", []string{ps.Error()}
	}
	var said []string
	for line := range strings.Lines(commands) {
		command, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var edits []Edit
		if command == "add" {
			edits, ps = e.Add(strings.ReplaceAll(rest, `\n`, "\n"))
			if len(ps) > 0 {
				said = append(said, ps.Error())
			}
		} else {
			edits = e.Remove(func(d Demand) bool { return d.Key == rest })
		}
		for _, d := range edits {
			said = append(said, fmt.Sprintf("%s %s: %q -> %q", d.Pos, d.Key, d.Was, d.Is))
		}
	}
	return string(e.Bytes()), said
}

func editINI(t *testing.T, text, commands string) (string, []string) {
	e, ps := EditAppINI("f", []byte(text))
	if len(ps) > 0 {
		return "", []string{ps.Error()}
	}
	var said []string
	for line := range strings.Lines(commands) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if f[0] == "set" {
			if ps := e.Set(f[1], f[2], strings.ReplaceAll(f[3], `\n`, "\n")); len(ps) > 0 {
				said = append(said, ps.Error())
			}
		} else {
			said = append(said, fmt.Sprint(e.Delete(f[1], f[2])))
		}
	}
	return string(e.Bytes()), said
}

// Adding and then removing a name changes no byte; in between the file asks for
// what it asked for, and for the name.
func FuzzEditRequirements(f *testing.F) {
	for _, c := range pipCases(f) {
		for _, text := range c.Files {
			f.Add([]byte(text))
		}
	}
	for _, c := range readCases(f, "edits.txt") {
		_, text, _ := strings.Cut(c.in, "--\n")
		f.Add([]byte(unescape(text)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, add := range []string{"new-name>=1 ; python_version > '3'", "aaa", "go:example.test/new ^1"} {
			e, ps := EditRequirements("f", data)
			if len(ps) > 0 {
				return
			}
			addAndRemove(t, e, data, add)
		}
		replaceAll(t, data)
	})
}

// addAndRemove does that with a line of a new name.
func addAndRemove(t *testing.T, e *EditDemands, data []byte, add string) {
	was := e.Demands()
	d, _ := e.Demand(add)
	if slices.ContainsFunc(was, func(o Demand) bool { return o.Key == d.Key }) || len(data) > MaxFile/2 {
		return
	}
	edits, ps := e.Add(add)
	if len(ps) > 0 || len(edits) != 1 || edits[0].Is != d.Text {
		t.Fatalf("add to %q: %v, %v", data, edits, ps)
	}
	if got, want := texts(e.Demands(), d.Key), texts(was, ""); !slices.Equal(got, want) {
		t.Fatalf("%q has become %q: it asks for %q, want %q", data, e.Bytes(), got, want)
	}
	e.Remove(func(o Demand) bool { return o.Key == d.Key })
	if string(e.Bytes()) != string(data) {
		t.Fatalf("%q is %q after add and remove", data, e.Bytes())
	}
}

// replaceAll gives each line another version, one after the other.
func replaceAll(t *testing.T, data []byte) {
	e, _ := EditRequirements("f", data)
	for _, d := range e.Demands() {
		if !pep508.ValidName(d.Key) || len(e.Demands()) > 20 {
			continue
		}
		comments := strings.Count(string(e.Bytes()), "#")
		edits, ps := e.Add(d.Key + "===replaced")
		if len(ps) > 0 || len(edits) == 0 {
			t.Fatalf("replace %s in %q: %v, %v", d.Key, data, edits, ps)
		}
		if n := len(texts(e.Demands(), "")); n == 0 || !slices.Contains(texts(e.Demands(), ""), d.Key+"===replaced") {
			t.Fatalf("%q has become %q without %s", data, e.Bytes(), d.Key)
		}
		if len(edits) == 1 && strings.Count(string(e.Bytes()), "#") < comments-strings.Count(d.Text, "#") {
			t.Fatalf("%q has become %q and lost a comment", data, e.Bytes())
		}
	}
}

// texts gives the texts of the demands but of one key.
func texts(list []Demand, without string) []string {
	var out []string
	for _, d := range list {
		if without == "" || d.Key != without {
			out = append(out, d.Text)
		}
	}
	return out
}

func FuzzEditExternal(f *testing.F) {
	for _, c := range readCases(f, "external.txt") {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ps := EditExternal("f", data)
		if len(ps) > 0 {
			return
		}
		addAndRemove(t, e, data, "new-name (>=1)")
	})
}

// A key that was set has the value, and all others have theirs.
func FuzzEditAppINI(f *testing.F) {
	for _, c := range readCases(f, "ini.txt") {
		f.Add([]byte(c.in), "app", "version", "1.0")
	}
	f.Add([]byte("[a]\nb = 1\n  2\n# c\n[d]\n"), "a", "b", "x\ny")
	f.Fuzz(func(t *testing.T, data []byte, section, key, value string) {
		e, ps := EditAppINI("f", data)
		if len(ps) > 0 || len(data)+len(section)+len(key)+len(value) > MaxLine {
			return
		}
		want := values(e.ini)
		if ps := e.Set(section, key, value); len(ps) > 0 {
			if string(e.Bytes()) != string(data) {
				t.Fatalf("%q is %q, though %v", data, e.Bytes(), ps)
			}
			return
		}
		want[section+"\n"+key] = value
		if got := values(e.ini); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q has become %q: %v, want %v", data, e.Bytes(), got, want)
		}
		if delete(want, section+"\n"+key); !e.Delete(section, key) || fmt.Sprint(values(e.ini)) != fmt.Sprint(want) {
			t.Fatalf("%q has become %q after delete", data, e.Bytes())
		}
	})
}

func values(ini *INI) map[string]string {
	all := map[string]string{}
	for _, s := range ini.Sections {
		for _, k := range s.Keys {
			all[s.Name+"\n"+k.Name] = k.Value
		}
	}
	return all
}
