package schema

import (
	"errors"
	"strings"
	"testing"
)

func parseCircus(in CircusInput) string {
	cfg, ps, findings := ParseCircusINI(in)
	var b strings.Builder
	if len(ps) == 0 {
		b.WriteString(dumpConfig(cfg))
	}
	for _, p := range ps {
		b.WriteString("problem " + p.Error() + "\n")
	}
	for _, f := range findings {
		b.WriteString("finding " + f.Error() + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

func TestCircusINI(t *testing.T) {
	files := map[string][]CircusFile{
		"conf/*.ini": {{"conf/a.ini", []byte("[watcher:web]\ncmd = other\nnumprocesses = 2\n[watcher:extra]\ncmd = e\n")}},
		"d/*.ini":    {{"d/b.ini", []byte("[env]\nB = 2\nA = 9\n")}},
	}
	in := CircusInput{
		File: "circus.ini",
		Env:  map[string]string{"HOME": "/h", "SHELL": "/bin/sh"},
		Read: func(glob string) ([]CircusFile, error) {
			if glob == "broken" {
				return nil, errors.New("permission denied")
			}
			return files[glob], nil
		},
	}
	for _, c := range readCases(t, "circusini.txt") {
		t.Run(c.name, func(t *testing.T) {
			in.Data = []byte(c.in)
			if got := parseCircus(in); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestCircusWithoutReader(t *testing.T) {
	got := parseCircus(CircusInput{File: "c", Data: []byte("[circus]\ninclude = *.ini\n")})
	if want := `finding c:2: [circus]: the files of "*.ini" are not read; copy the sections into this file`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzCircusINI(f *testing.F) {
	for _, c := range readCases(f, "circusini.txt") {
		f.Add([]byte(c.in))
	}
	for _, c := range readCases(f, "ini.txt") {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, ps, findings := ParseCircusINI(CircusInput{File: "f", Data: data, Env: map[string]string{"A": "b"}})
		positionsInside(t, "f", data, ps)
		positionsInside(t, "f", data, findings)
		for i := range cfg.Watchers {
			if w := &cfg.Watchers[i]; len(ps) == 0 && (w.Cmd == nil || !w.BareEnv) {
				t.Errorf("watcher %+v without a problem", w)
			}
		}
	})
}
