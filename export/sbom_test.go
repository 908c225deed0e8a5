package export

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"appbundle/bundle"
)

var update = flag.Bool("update", false, "rewrite the wanted bills of testdata")

// An app is a file of testdata: the directory, and the bill that is wanted.
func load(t *testing.T, file string) (*bundle.App, *txtar.Archive) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "shop")
	for _, f := range a.Files {
		if f.Name == "want" {
			continue
		}
		p := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	app, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return app, a
}

// Each bill is what is wanted, the same when it is made again, and strictly of its
// format: somebody else's validator reads it with the official schema.
func TestSBOM(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 4 {
		t.Fatalf("%q, %v", files, err)
	}
	var bills []json.RawMessage
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			app, a := load(t, file)
			got, err := SBOM(app, "1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			again, _ := load(t, file)
			if more, err := SBOM(again, "1.2.3"); err != nil || !bytes.Equal(got, more) {
				t.Errorf("the same app in another directory has another bill: %v", err)
			}
			bills = append(bills, got)
			want := a.Files[len(a.Files)-1]
			if *update {
				a.Files[len(a.Files)-1].Data = got
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want.Name != "want" || string(want.Data) != string(got) {
				t.Errorf("got\n%s\nwant\n%s", got, want.Data)
			}
		})
	}
	validate(t, bills)
}

const judge = `
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
bills = json.load(sys.stdin)
for n, bill in enumerate(bills):
    fault = validator.validate_str(json.dumps(bill))
    if fault:
        sys.exit("bill %d: %s" % (n, fault))
    refs = [c["bom-ref"] for c in bill.get("components", [])] + ["app"]
    if len(refs) != len(set(refs)):
        sys.exit("bill %d: a reference is there twice" % n)
    for d in bill.get("dependencies", []):
        for ref in [d["ref"]] + d["dependsOn"]:
            if ref not in refs:
                sys.exit("bill %d: there is no %s" % (n, ref))
print(len(bills), "bills")
`

// validate has the bills read by somebody else.
func validate(t *testing.T, bills []json.RawMessage) {
	t.Helper()
	python, err := filepath.Abs("../out/servers/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(bills)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", judge)
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != fmt.Sprintln(len(bills), "bills") {
		t.Errorf("%v: %s", err, out)
	}
}

// One byte of one file makes another serial number.
func TestSerial(t *testing.T) {
	app, _ := load(t, "testdata/lock.txtar")
	numbers := map[string]bool{}
	for range 2 {
		var head struct{ SerialNumber string }
		data, err := SBOM(app, "1")
		if err != nil || json.Unmarshal(data, &head) != nil || !strings.HasPrefix(head.SerialNumber, "urn:uuid:") {
			t.Fatalf("%v: %s", err, data)
		}
		numbers[head.SerialNumber] = true
		if err := os.WriteFile(filepath.Join(app.Dir, "more"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if app, err = bundle.Load(app.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(numbers) != 2 {
		t.Errorf("two applications have the serial numbers %v", numbers)
	}
}
