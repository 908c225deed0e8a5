package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of the README do what it says: a server runs on secrets that were made,
// and has a node. The port alone is another one.
func TestTour(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 || strings.Count(blocks[0][1], "appbundle run ") != 1 {
		t.Fatalf("the README has %d blocks of commands, want one that runs the server, and one beside it", len(blocks))
	}
	got(t, archive) // made of a copy of the tree, in which the tour begins
	begin := "cd '" + filepath.Join(work, "a/examples/token-app") + "'\nPATH='" + filepath.Dir(got(t, tool)) + "':$PATH\nexport TMPDIR='" + work + "'\n"
	s := supervise(t, "sh", "-euc", begin+strings.Replace(blocks[0][1], "appbundle run ", "exec appbundle run --bind 127.0.0.1:0 ", 1))
	s.after("serving on ")
	place := s.after("it is in ")
	out := output(t, place, "sh", "-euc", blocks[1][1])
	if !strings.Contains(out, "https://db1.example.com") || !strings.Contains(out, "10000") {
		t.Errorf("the nodes are\n%s", out)
	}
	s.stop()
}
