package resolve_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
)

var update = flag.Bool("update", false, "write the answers into testdata")

// Each case of testdata has its answer.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut("\n"+string(text), "\n=== ")
		cases, err := resolvetest.ParseCases(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var out strings.Builder
		out.WriteString(strings.TrimPrefix(head, "\n"))
		for _, c := range cases {
			t.Run(c.Title, func(t *testing.T) {
				got := answer(t, c)
				if len(c.Universe.Builds) > 0 {
					got += "built " + strings.Join(c.Universe.Builds, " ") + "\n"
				}
				fmt.Fprintf(&out, "\n=== %s\n%s", c.Title, c.Input)
				for l := range strings.Lines(got) {
					out.WriteString("> " + l)
				}
				if got != c.Want && !*update {
					t.Errorf("%s: Lock gives\n%s\nwant\n%s", name, got, c.Want)
				}
			})
		}
		if *update {
			if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// answer writes what Lock says.
func answer(t *testing.T, c *resolvetest.Case) string {
	t.Helper()
	r, err := resolve.Lock(t.Context(), c.Universe, c.Request)
	var no *resolve.ConflictError
	if errors.As(err, &no) {
		return no.Error() + "\n"
	}
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, p := range r.Packages {
		fmt.Fprintf(&b, "%s %s", p.Name, p.Version)
		if len(p.Extras) > 0 {
			fmt.Fprintf(&b, " [%s]", strings.Join(p.Extras, ","))
		}
		if p.Prerelease != "" {
			fmt.Fprintf(&b, " (%s)", p.Prerelease)
		}
		if p.Marker != nil {
			fmt.Fprintf(&b, " ; %s", p.Marker)
		}
		if p.Built != nil {
			fmt.Fprintf(&b, " from %s", p.Built.Wheel.Path)
		}
		b.WriteString("\n")
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w.Error())
	}
	if b.Len() == 0 {
		b.WriteString("nothing\n")
	}
	return b.String()
}
