package watch

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "print the table into docs/SUPERVISOR.md")

// TestTableInDocs fails when the page for operators tells of other steps than
// those that run.
func TestTableInDocs(t *testing.T) {
	const file = "../../../docs/SUPERVISOR.md"
	const begin, end = "<!-- the table is printed from the code: make golden -->\n", "<!-- end of the table -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: the marks around the table are gone", file)
	}
	want := head + begin + Table() + end + tail
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s: the table of the steps is not the code's; make golden prints it", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
