package schema

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func buildSystemCases(t testing.TB) []txtar.File {
	t.Helper()
	ar, err := txtar.ParseFile("testdata/buildsystem.txt")
	if err != nil {
		t.Fatal(err)
	}
	return ar.Files
}

func TestBuildSystem(t *testing.T) {
	files := buildSystemCases(t)
	for i := 0; i+1 < len(files); i += 2 {
		t.Run(files[i].Name, func(t *testing.T) {
			b, problems := ParseBuildSystem("pyproject.toml", files[i].Data)
			got := problems.Error() + "\n"
			if len(problems) == 0 {
				got = fmt.Sprintf("%s %v %v\n", b.Backend, b.Requires, b.BackendPath)
			}
			if want := string(files[i+1].Data); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
	if _, problems := ParseBuildSystem("f", bytes.Repeat([]byte("#"), MaxFile+1)); len(problems) != 1 {
		t.Errorf("a large file: %v", problems)
	}
	many := "[build-system]\nrequires = [" + strings.Repeat(`"a", `, MaxBuildRequires+1) + "]"
	if _, problems := ParseBuildSystem("f", []byte(many)); len(problems) != 1 {
		t.Errorf("many requirements: %v", problems)
	}
}

func FuzzBuildSystem(f *testing.F) {
	for i, file := range buildSystemCases(f) {
		if i%2 == 0 {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, problems := ParseBuildSystem("f", data)
		if len(problems) == 0 && !backendName.MatchString(b.Backend) {
			t.Fatalf("backend %q", b.Backend)
		}
	})
}
