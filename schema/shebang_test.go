package schema

import (
	"fmt"
	"strings"
	"testing"
)

func TestShebang(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"print()\n", "none"},
		{"", "none"},
		{"#!/usr/bin/python3.11\nx", `["/usr/bin/python3.11"] python 3.11`},
		{"#! /usr/bin/python3 -I -u\n", `["/usr/bin/python3" "-I -u"] python 3`},
		{"#!/usr/bin/env python3", `["python3"] env python 3`},
		{"#!/usr/bin/env -S A=1 python3.12 -u", `["python3.12" "-u"] env python 3.12`},
		{"#!/usr/bin/env --split-string=python -u", `["python" "-u"] env python `},
		{"#!.appbundle/env/bin/python\n", `[".appbundle/env/bin/python"] relative python `},
		{"#!/bin/sh -e\n", `["/bin/sh" "-e"]`},
		{"#!/usr/bin/pythonic\n", `["/usr/bin/pythonic"]`},
		{"#!/usr/bin/env python3 -u\n", `error the kernel gives env one argument, so env looks for a command called "python3 -u"; write #!/usr/bin/env -S COMMAND ARG`},
		{"#!/usr/bin/env\n", "error the shebang names no command after env; write #!/usr/bin/env COMMAND"},
		{"#!/usr/bin/env -i\n", "error the shebang names no command after env; write #!/usr/bin/env COMMAND"},
		{"#!  \n", "error the shebang names no interpreter"},
		{"#!/bin/sh\r\n", "error the shebang ends with a carriage return, which is a part of the name for the kernel; save the file with line feeds"},
		{"#!/bin/s\x00h\n", "error the shebang has a NUL"},
		{"#!/" + strings.Repeat("x", 252) + "\n", `["/` + strings.Repeat("x", 252) + `"]`},
		{"#!/" + strings.Repeat("x", 253) + "\n", "error the shebang is longer than the 255 bytes that the kernel reads; write a shorter path, or use env"},
	} {
		s, ok, err := ParseShebang([]byte(c.in))
		got := "none"
		switch {
		case err != nil:
			got = "error " + err.Error()
		case ok:
			got = fmt.Sprintf("%q", s.Command)
			for word, on := range map[string]bool{" env": s.Env, " relative": s.Relative} {
				if on {
					got += word
				}
			}
			if s.IsPython() {
				got += " python " + s.Python
			}
		}
		if got != c.want {
			t.Errorf("ParseShebang(%.40q) = %s, want %s", c.in, got, c.want)
		}
	}
}

func FuzzShebang(f *testing.F) {
	for _, s := range []string{"#!/bin/sh -e\n", "#!/usr/bin/env -S a b='c'\n", "#!\n", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, ok, err := ParseShebang(data)
		if ok && err == nil && (len(s.Command) == 0 || s.Interpreter == "" || strings.Contains(s.Interpreter, "\n")) {
			t.Errorf("ParseShebang(%q) = %+v", data, s)
		}
	})
}
