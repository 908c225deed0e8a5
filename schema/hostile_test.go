package schema

import (
	"strings"
	"testing"
	"time"
)

// size is less than MaxFile, for the time that this takes with -race.
const size = MaxFile / 8

// Files that are nothing but one thing take no decoder long: the limits are what
// keeps a hostile file cheap.
func TestHostileFiles(t *testing.T) {
	full := func(unit string) []byte { return []byte(strings.Repeat(unit, size/len(unit))) }
	inputs := map[string][]byte{
		"sections":      full("[watcher:a]\n"),
		"globs":         []byte("[env:" + strings.Repeat("*,", MaxLine/3) + "]\nA=1\n"),
		"keys":          append([]byte("[watcher:a]\n"), full("numproceses=1\n")[:size-20]...),
		"variables":     []byte("[env]\n" + numbered("A%=1\n") + "[watcher:a]\ncmd=x\n"),
		"watchers":      []byte(numbered("[watcher:w%]\ncmd=x\n")),
		"continuations": full("\\\n"),
		"indented":      append([]byte("[a]\nb=c\n"), full(" x\n")[:size-20]...),
		"options":       full("--nope\n"),
		"comments":      full("#\n"),
		"demands":       []byte(numbered("n%\n")[:200_000] + "\n"),
		"one demand":    append([]byte("flask"), full("\\\n")[:19_000]...),
		"names":         full("a;b\n"),
		"controls":      full("\x01\n"),
		"parentheses":   []byte("a; " + strings.Repeat("(", MaxLine-10)),
		"references":    []byte("[watcher:a]\ncmd=" + strings.Repeat("$(circus.sockets.x)", 3000) + "\n"),
	}
	for name, data := range inputs {
		start := time.Now()
		_, ps := ParseAppINI("f", data)
		positionsInside(t, "f", data, ps)
		_, ps, _ = ParseCircusINI(CircusInput{File: "f", Data: data})
		positionsInside(t, "f", data, ps)
		_, ps = ParseRequirements("f", data)
		positionsInside(t, "f", data, ps)
		_, ps = ParseExternal("f", data)
		positionsInside(t, "f", data, ps)
		if e, ps := EditRequirements("f", data); len(ps) == 0 && len(data) < size/2 { // others have nothing to edit
			if _, ps := e.Add("new"); len(ps) > 0 {
				t.Errorf("%s: %v", name, ps)
			}
			e.Remove(func(Demand) bool { return true })
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// numbered repeats unit up to the limit of a file, with another number for each
// "%".
func numbered(unit string) string {
	var b strings.Builder
	for n := 0; b.Len() < size-100; n++ {
		b.WriteString(strings.ReplaceAll(unit, "%", strings.Repeat("x", n%20)+string(rune('a'+n/20%26))+string(rune('a'+n/520%26))+string(rune('a'+n/13520%26))))
	}
	return b.String()
}
