package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/schema"
)

// validator is a validator of somebody else: every schema is one of its draft, what
// is to conform does, and nothing of it conforms with a field more.
const validator = `
import glob, json, os, sys
from jsonschema import Draft202012Validator
schemas = {os.path.basename(f)[:-5]: json.load(open(f)) for f in glob.glob(sys.argv[1] + "/*.json")}
for name, schema in sorted(schemas.items()):
    Draft202012Validator.check_schema(schema)
    print("schema", name)
for name, good, doc in json.load(sys.stdin):
    validator = Draft202012Validator(schemas[name])
    for error in validator.iter_errors(doc):
        if good:
            sys.exit("%s: %s: %s" % (name, error.json_path, error.message))
        break
    else:
        if not good:
            sys.exit("%s: conforms, and should not: %r" % (name, doc))
    if good and validator.is_valid({**doc, "surprise": 1}):
        sys.exit("%s: anything may be added" % name)
    print("document", name)
`

// TestSchemas asks a validator of somebody else about the schemas that are
// published, and about documents of each kind that needs no network.
func TestSchemas(t *testing.T) {
	t.Parallel()
	python, err := filepath.Abs("../../out/servers/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	app := filepath.Join(dir, "app")
	copyTree(t, "../../examples/wsgi-app", app)
	type document struct {
		name string
		good bool
		doc  any
	}
	var docs []document
	add := func(name string, good bool, text []byte) {
		t.Helper()
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatalf("%s: %v in %s", name, err, text)
		}
		docs = append(docs, document{name, good, doc})
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "appbundle", append(args, "--format", "json")...)
		cmd.Env = append(os.Environ(), raceEnv, "APPBUNDLE_CACHE_DIR="+filepath.Join(dir, "cache"))
		out, _ := cmd.Output() // a lock that is missing is an answer as well
		add(name, true, out)
	}
	run("check", "check", app)
	run("check", "check", t.TempDir()) // which has findings
	run("explain", "explain")
	run("init", "init", t.TempDir())
	run("edit", "add", "mako>=1", app)
	run("edit", "add", "--dry-run", "--external", "dep:generic/openssl", app)
	run("external", "external", "--for", "debian-12", app)
	run("lock-check", "lock", "--check", app)
	run("build", "build", "--no-env", "-o", filepath.Join(dir, "app.tar.zst"), app)
	run("diff", "diff", app, filepath.Join(dir, "app.tar.zst"))
	run("cache-prune", "cache", "prune")
	run("cache-verify", "cache", "verify")
	for text, good := range map[string]bool{
		"[app]\nname = shop\nversion = 1.0.0\n[watcher:app]\nnumprocesses = 2\nrlimit_NOFILE = 10\n[socket:web]\nport = 80\n[env]\nA = b\n[env:app]\nB = c\n": true,
		"[app]\nnam = shop\n":             false,
		"[watchers]\n":                    false,
		"[app]\ninterface = cgi\n":        false,
		"[watcher:a b]\ncmd = x\n":        false,
		"[watcher:a]\nrlimit_files = 1\n": false,
	} {
		ini, problems := schema.ParseINI("app.ini", []byte(text), schema.Dialect{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		doc := map[string]map[string]string{}
		for _, s := range ini.Sections {
			doc[s.Name] = map[string]string{}
			for _, k := range s.Keys {
				doc[s.Name][k.Name] = k.Value
			}
		}
		docs = append(docs, document{"app-ini", good, doc})
		if _, problems := schema.ParseAppINI("app.ini", []byte(text)); good != (len(problems) == 0) {
			t.Errorf("the decoder sees it otherwise: %q: %v", text, problems)
		}
	}
	add("check", false, []byte(`{"format": 2, "findings": [], "errors": 0, "warnings": 0}`))
	add("edit", false, []byte(`{"format": 1, "file": "x", "edits": [], "written": true}`))
	var list [][3]any
	for _, d := range docs {
		list = append(list, [3]any{d.name, d.good, d.doc})
	}
	input, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", validator, "../../docs/schemas")
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if schemas, documents := strings.Count(string(out), "schema "), strings.Count(string(out), "document "); schemas < 17 || documents != len(docs) {
		t.Errorf("it judged %d schemas and %d documents of %d", schemas, documents, len(docs))
	}
}

// Every schema is compared with what a command writes, in a script.
func TestSchemasAreUsed(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	files, err := fs.Glob(schema.JSONSchemas, "schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if name != "app-ini" && !strings.Contains(all.String(), "\nconforms "+name+"\n") { // which nothing writes
			t.Errorf("no script says that something conforms to %s", file)
		}
	}
}
