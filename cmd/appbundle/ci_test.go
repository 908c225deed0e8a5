package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The YAML of docs/CI.md and of the hooks can be read, its commands succeed, and the
// hook that the document names is there.
func TestCI(t *testing.T) {
	t.Parallel()
	const read = `
import json, re, sys, yaml
hooks, doc = open(sys.argv[1]).read(), open(sys.argv[2]).read()
found = {'hooks': yaml.safe_load(hooks), 'commands': [], 'ids': []}
def walk(v):
    for k, x in v.items() if isinstance(v, dict) else enumerate(v) if isinstance(v, list) else ():
        if k == 'run':
            found['commands'].append(x)
        elif k == 'script':
            found['commands'] += x
        elif k == 'hooks':
            found['ids'] += [h['id'] for h in x]
        walk(x)
for block in re.findall(r'^` + "```" + `yaml\n(.*?)^` + "```" + `', doc, re.M | re.S):
    walk(yaml.safe_load(block))
print(json.dumps(found))
`
	out, err := exec.CommandContext(t.Context(), filepath.Join(serversEnv(t), "bin/python"), "-I", "-c", read, "../../.pre-commit-hooks.yaml", "../../docs/CI.md").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var found struct {
		Hooks []struct {
			ID, Entry, Language string
			Files               bool `json:"pass_filenames"`
		}
		Commands, IDs []string
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, h := range found.Hooks {
		ids = append(ids, h.ID)
		if h.Files || h.Language != "system" {
			t.Errorf("%+v gets the names of files, or is built", h)
		}
		found.Commands = append(found.Commands, h.Entry+" examples/wsgi-app")
	}
	for _, id := range found.IDs {
		if !slices.Contains(ids, id) {
			t.Errorf("there is no hook %q", id)
		}
	}
	if len(found.IDs) < 1 || len(found.Commands) < 5 {
		t.Errorf("%d hooks are named, and there are %q", len(found.IDs), found.Commands)
	}
	dir := t.TempDir()
	copyTree(t, "../../examples/wsgi-app", filepath.Join(dir, "examples/wsgi-app"))
	for _, command := range found.Commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), raceEnv)
		if said, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(command, "appbundle ") {
			t.Errorf("%s: %v\n%s", command, err, said)
		}
	}
}
