package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "rewrite generated schemas and their copies in docs/schemas")

// published is where people find the schemas.
const published = "../docs/schemas"

// Each schema says what it is, and docs/schemas has a copy of it and a row about
// it, and nothing else.
func TestPublished(t *testing.T) {
	same(t, "schemas/app-ini.json", appINISchema(t))
	files, err := filepath.Glob("schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| schema | of | what it describes |\n|---|---|---|\n")
	want := []string{"README.md"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		name := strings.TrimSuffix(base, ".json")
		want = append(want, base)
		var s struct {
			Schema      string `json:"$schema"`
			ID          string `json:"$id"`
			Title       string
			Description string
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.ID != "urn:appbundle:"+name+":1" || s.Title == "" || s.Description == "" {
			t.Errorf("%s: it needs the draft, the identifier urn:appbundle:%s:1, a title and a description: %+v", file, name, s)
		}
		fmt.Fprintf(&table, "| [%s](%s) | %s | %s |\n", name, base, s.Title, s.Description)
		same(t, filepath.Join(published, base), text)
	}
	entries, err := os.ReadDir(published)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(want, e.Name()) {
			t.Errorf("docs/schemas/%s is the copy of nothing", e.Name())
		}
	}
	readme, err := os.ReadFile(filepath.Join(published, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(readme), "<!-- schemas: written by make golden -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end of schemas -->")
	if !ok || !ok2 {
		t.Fatal("docs/schemas/README.md has no place for the table")
	}
	same(t, filepath.Join(published, "README.md"), []byte(head+"<!-- schemas: written by make golden -->\n"+table.String()+"<!-- end of schemas -->"+tail))
}

// same compares a file with what it should have, or writes it.
func same(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what it should be (%v): make golden writes it", file, err)
	}
}

// A valueForm is what a schema can say of the values of a key: never less than
// the decoder reads.
type valueForm struct {
	enum    []string // with no other value
	pattern string
	min     int // of the length
}

// fold makes a pattern of words in any case.
func fold(words string) string {
	var b strings.Builder
	for _, r := range words {
		if unicode.IsLetter(r) {
			fmt.Fprintf(&b, "[%c%c]", unicode.ToUpper(r), unicode.ToLower(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

var (
	oneLineForm = valueForm{pattern: `^[^\n]*$`}
	pathForm    = valueForm{pattern: `^[^\n]+$`, min: 1}
	wholeForm   = valueForm{pattern: `^[+-]?[0-9]+$`}
	secondsForm = valueForm{pattern: `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$`}
	octalForm   = valueForm{pattern: `^(0o)?0*[0-7]{1,3}$`}
	booleanForm = valueForm{pattern: "^(1|0|" + fold("yes|true|on|no|false|off") + ")$"}
	accountForm = valueForm{pattern: `^[A-Za-z0-9_.$@\\][A-Za-z0-9_.$@\\-]{0,63}$`}
	anyForm     = valueForm{}
)

// valueForms has the form of every key of app.ini.
var valueForms = []struct {
	valueForm
	keys string
}{
	{valueForm{pattern: `^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`}, "app.name"},
	{valueForm{pattern: `^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`}, "app.version"},
	{oneLineForm, "app.description package.maintainer"},
	{valueForm{pattern: ":", min: 3}, "check.ABNNN"},
	{anyForm, "app.license build.outputs build.targets build.command watcher.args"},
	{valueForm{enum: []string{"wsgi", "asgi", "exec"}}, "app.interface"},
	{valueForm{enum: []string{"gunicorn", "uvicorn", "hypercorn", "waitress", "uwsgi"}}, "app.server"},
	{valueForm{pattern: `^3\.(0|[1-9][0-9]{0,2})$`}, "app.python"},
	{accountForm, "package.user package.group watcher.uid watcher.gid"},
	{valueForm{enum: []string{"strict", "default", "none"}}, "package.sandbox"},
	{booleanForm, `package.rolling socket.replace socket.so_reuseport socket.blocking watcher.copy_env watcher.autostart watcher.singleton
		watcher.respawn watcher.stop_children watcher.use_sockets watcher.close_child_stdin watcher.close_child_stdout watcher.close_child_stderr`},
	{wholeForm, "package.release socket.port socket.backlog watcher.numprocesses watcher.max_retry watcher.priority watcher.flapping.attempts watcher.flapping.max_retry"},
	{valueForm{pattern: "^" + fold("http") + "[Ss]?://[^ \\n<>\"]+$"}, "package.homepage"},
	{octalForm, "supervisor.umask socket.umask"},
	{secondsForm, `supervisor.warmup_delay watcher.warmup_delay watcher.graceful_timeout watcher.flapping.window watcher.flapping.retry_in
		watcher.backoff.first watcher.backoff.max`},
	{pathForm, "supervisor.pidfile socket.path watcher.working_dir"},
	{valueForm{pattern: `^[A-Za-z0-9_.:%*-]{1,255}$`}, "socket.host"},
	{valueForm{enum: []string{"AF_INET", "AF_INET6", "AF_UNIX"}}, "socket.family"},
	{valueForm{pattern: "^(" + fold("sock_") + ")?(" + fold("stream|dgram|seqpacket") + ")$"}, "socket.type"},
	{valueForm{min: 1}, "watcher.cmd"},
	{valueForm{pattern: `^[A-Za-z0-9+-]+$`}, "watcher.stop_signal"},
	{valueForm{pattern: `^[A-Za-z0-9_.-]{1,64}$`}, "watcher.stdin_socket"},
	{valueForm{pattern: "^([0-9]+|" + fold("unlimited|infinity") + ")?$"}, "watcher.rlimit_NAME"},
}

// formOf gives the form of a key; every key has one.
func formOf(t *testing.T, k KeyDoc) valueForm {
	t.Helper()
	for _, f := range valueForms {
		if slices.Contains(strings.Fields(f.keys), k.Section+"."+k.Name) {
			return f.valueForm
		}
	}
	t.Fatalf("nobody says what the values of [%s] %s look like", k.Section, k.Name)
	return valueForm{}
}

// A property is a part of a schema, in the order in which it is written.
type property struct {
	Description          string          `json:"description,omitempty"`
	Type                 string          `json:"type,omitempty"`
	Enum                 []string        `json:"enum,omitempty"`
	Pattern              string          `json:"pattern,omitempty"`
	MinLength            int             `json:"minLength,omitempty"`
	AdditionalProperties any             `json:"additionalProperties,omitempty"`
	Properties           json.RawMessage `json:"properties,omitempty"`
	PatternProperties    json.RawMessage `json:"patternProperties,omitempty"`
}

// object writes properties in the order of names.
func object(t *testing.T, names []string, properties map[string]property) json.RawMessage {
	t.Helper()
	var parts []string
	for _, n := range names {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(properties[n]); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, fmt.Sprintf("%q:%s", n, strings.TrimSpace(b.String())))
	}
	return json.RawMessage("{" + strings.Join(parts, ",") + "}")
}

// sectionSchema describes the keys of one section.
func sectionSchema(t *testing.T, section, description string) property {
	t.Helper()
	p := property{Description: description, Type: "object", AdditionalProperties: false}
	var names []string
	all := map[string]property{}
	for _, k := range Keys() {
		if k.Section != section {
			continue
		}
		f := formOf(t, k)
		value := property{Description: k.Doc, Type: "string", Enum: f.enum, Pattern: f.pattern, MinLength: f.min}
		family := ""
		if stem, ok := strings.CutSuffix(k.Name, "NAME"); ok {
			family = "^" + stem + "(" + fold(strings.ReplaceAll(rlimitNames, " ", "|")) + ")$"
		} else if stem, ok := strings.CutSuffix(k.Name, "NNN"); ok {
			family = "^" + stem + "[0-9]{3}$"
		}
		if family != "" {
			p.PatternProperties = object(t, []string{family}, map[string]property{family: value})
			continue
		}
		names = append(names, k.Name)
		all[k.Name] = value
	}
	p.Properties = object(t, names, all)
	return p
}

// appINISchema writes the schema of app.ini from the table of keys.
func appINISchema(t *testing.T) []byte {
	t.Helper()
	env := property{Description: "variables of every watcher", Type: "object", AdditionalProperties: property{Type: "string"}}
	envOf := env
	envOf.Description = "variables of the watchers that the names and globs are for"
	const itemPattern = `[A-Za-z0-9_.-]{1,64}$`
	sections := map[string]property{
		"app":                       sectionSchema(t, "app", "what the application is"),
		"build":                     sectionSchema(t, "build", "how what is not in the sources is made"),
		"package":                   sectionSchema(t, "package", "what Linux packages say"),
		"check":                     sectionSchema(t, "check", "findings that do not count"),
		"supervisor":                sectionSchema(t, "supervisor", "how the supervisor runs"),
		"env":                       env,
		"^watcher: *" + itemPattern: sectionSchema(t, "watcher", "processes that are kept alive"),
		"^socket: *" + itemPattern:  sectionSchema(t, "socket", "a socket that watchers inherit"),
		"^env:":                     envOf,
	}
	parts := []string{
		`"$schema":"https://json-schema.org/draft/2020-12/schema"`,
		`"$id":"urn:appbundle:app-ini:1"`,
		`"title":"app.ini"`,
		`"description":"app.ini as a mapping: sections to keys to values, all of them text"`,
		`"type":"object"`,
		`"additionalProperties":false`,
		`"properties":` + string(object(t, []string{"app", "build", "package", "check", "supervisor", "env"}, sections)),
		`"patternProperties":` + string(object(t, []string{"^watcher: *" + itemPattern, "^socket: *" + itemPattern, "^env:"}, sections)),
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte("{"+strings.Join(parts, ",")+"}"), "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// What the decoder reads fits the schema, and what fits an enumeration or the
// pattern of a value is read: but for numbers, whose range a pattern cannot say.
func TestAppINISchemaAgrees(t *testing.T) {
	samples := []string{
		"", "x", "shop", "My_Shop", "-x", "a b", "a\nb", "1", "0", "-1", "+7", "007", "022", "0o17", "777", "1000", "99999999999", "1.5", ".5", "5.", "1e3", "0x10", "inf",
		"yes", "TRUE", "On", "off", "maybe", "1.0.0", "1.2.0-rc.1", "1.0", "v1.0.0", "01.0.0", "1.0.0+b", "3.11", "3.011", "3.11.2", "2.7", "wsgi", "WSGI", "exec",
		"gunicorn", "strict", "default", "none", "AF_INET", "AF_UNIX", "af_inet", "stream", "SOCK_dgram", "Seqpacket", "raw", "SIGTERM", "term", "9", "sigrtmin+2",
		"http://h.test/", "https://h.test/x y", "HTTPS://h.test", "ftp://h.test", "MIT", "/var/run/x", "::1", "*", "127.0.0.1", "unlimited", "Infinity", "www-data", "DOMAIN\\user", "a$",
		"cmd 'x", "linux_x86_64", "static/*.js\nstatic/*.css", "é",
	}
	ranged := []valueForm{wholeForm, secondsForm}
	for _, k := range Keys() {
		f := formOf(t, k)
		name := strings.NewReplacer("NAME", "nofile", "NNN", "013").Replace(k.Name)
		row := findKey(k.Section, name)
		for _, value := range samples {
			_, fault := row.decoded(value, name)
			fits := len(value) >= f.min && regexp.MustCompile(f.pattern).MatchString(value) && (f.enum == nil || slices.Contains(f.enum, value))
			if fault == nil && !fits {
				t.Errorf("[%s] %s = %q is read, and the schema has no such value", k.Section, k.Name, value)
			}
			isRanged := slices.ContainsFunc(ranged, func(r valueForm) bool { return r.pattern == f.pattern })
			if exact := f.enum != nil || f.pattern == booleanForm.pattern || f.pattern == octalForm.pattern || isRanged && value == "1"; exact && fault != nil && fits {
				t.Errorf("[%s] %s = %q fits the schema, and is refused: %s", k.Section, k.Name, value, fault.msg)
			}
		}
	}
}

// decoded reads a value as the key of that name does.
func (k *keySpec) decoded(value, name string) (*target, *fault) {
	t := &target{cfg: &Config{}, watcher: &Watcher{}, socket: &socketKeys{has: map[string]bool{}}}
	return t, k.decode(t, &INIKey{Name: name, Value: value})
}
