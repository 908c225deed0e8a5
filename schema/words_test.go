package schema

import (
	"errors"
	"slices"
	"testing"
)

func TestSplitWords(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
		off  int // of the error, -1 for none
	}{
		{"", nil, -1},
		{" a\tb\nc ", []string{"a", "b", "c"}, -1},
		{`a 'b c' "d e"f`, []string{"a", "b c", "d ef"}, -1},
		{`'' ""`, []string{"", ""}, -1},
		{`a\ b \\ \$x`, []string{"a b", `\`, "$x"}, -1},
		{`"a\"b\\c\$d\n"`, []string{`a"b\c\$d\n`}, -1},
		{`'a\'`, []string{`a\`}, -1},
		{`a $HOME; > # b`, []string{"a", "$HOME;", ">", "#", "b"}, -1},
		{`a "b`, nil, 2},
		{`ab'c`, nil, 2},
		{`a \`, nil, 2},
	} {
		got, err := SplitWords(c.in)
		off := -1
		var at *WordError
		if errors.As(err, &at) {
			off = at.Offset
		}
		if !slices.Equal(got, c.want) || off != c.off {
			t.Errorf("SplitWords(%q) = %q, %v, want %q, offset %d", c.in, got, err, c.want, c.off)
		}
	}
}

func FuzzSplitWords(f *testing.F) {
	for _, s := range []string{`a 'b c' "d\"e" \f`, `"`, `\`, "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := SplitWords(s)
		var at *WordError
		if errors.As(err, &at) && (at.Offset < 0 || at.Offset >= len(s)) {
			t.Errorf("%q: offset %d", s, at.Offset)
		}
		n := 0
		for _, w := range words {
			n += len(w)
		}
		if n > len(s) {
			t.Errorf("%q: %d bytes of words", s, n)
		}
	})
}

func TestExpand(t *testing.T) {
	vars := Vars{
		WID:     3,
		Sockets: map[string]int{"web": 7},
		Env:     func(name string) (string, bool) { return "E", name == "HOME" },
		Options: map[string]string{"uid": "www"},
	}
	for in, want := range map[string]string{
		"--fd=$(circus.sockets.WEB)/$(CIRCUS.WID)":  "--fd=7/3",
		"((circus.wid))-((circus.sockets.web))":     "3-7",
		"$(circus.sockets.nope) $(circus.env.home)": "$(circus.sockets.nope) $(circus.env.home)",
		"$(circus.env.HOME)$(circus.uid)":           "Ewww",
		"$(circus.wid $(circus.) circus.wid ((x))":  "$(circus.wid $(circus.) circus.wid ((x))",
	} {
		w := Watcher{Cmd: []string{in}}
		if got := w.Expand(vars); got[0] != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got[0], want)
		}
	}
	w := Watcher{Cmd: []string{"$(circus.wid)$(circus.env.A)$(circus.sockets.a)"}}
	if got := w.Expand(Vars{}); got[0] != w.Cmd[0] {
		t.Errorf("without variables: %q, want %q", got[0], w.Cmd[0])
	}
	refs := SocketRefs([]string{"$(circus.sockets.Web)", "x((circus.sockets.b))$(circus.sockets.web)"})
	if want := []string{"web", "b"}; !slices.Equal(refs, want) {
		t.Errorf("SocketRefs = %q, want %q", refs, want)
	}
}

func TestExpandEnv(t *testing.T) {
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"HOME": "/h", "A1_B": "$HOME"}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"$HOME/x": "/h/x", "$A1_B": "$HOME", "a$NOPE.": "a.", "$home ${HOME} $$": "$home ${HOME} $$", "$HOMEx": "/hx",
	} {
		if got := ExpandEnv(in, lookup); got != want {
			t.Errorf("ExpandEnv(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLockFind(t *testing.T) {
	var none *Lock
	if _, ok := none.Find("x"); ok {
		t.Error("a nil lock has x")
	}
	l := &Lock{Packages: []Pin{{"a", "1"}, {"b", "2"}}}
	if p, ok := l.Find("b"); !ok || p.Version != "2" {
		t.Errorf("Find(b) = %v, %v", p, ok)
	}
}
