package install

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// A script finds the interpreter beside itself, wherever the environment is and
// whatever link leads to the script. A shebang cannot say that: it is a path
// from the root, of at most 255 bytes and without blanks.
const (
	// selfShell is a line for two readers: a shell executes the interpreter and
	// ends, and Python sees a string.
	selfShell = `'''true' && at=$(realpath "$0") && exec "${at%/*}/python" "$0" "$@"; exit 127 # '''`
	// selfEnv is the same in the first line, for scripts before whose first
	// statement no string may stand. It needs an env that knows -S.
	selfEnv = `#!/usr/bin/env -S sh -c 'at=$(realpath "$0") && exec "${at%/*}/python" "$0" "$@"'`
)

// script gives the text of an entry point.
func (p entryPoint) script() []byte {
	first, _, _ := strings.Cut(p.attr, ".")
	return fmt.Appendf(nil, `#!/bin/sh
%s
import sys

from %s import %s

if __name__ == "__main__":
    sys.exit(%s())
`, selfShell, p.module, first, p.attr)
}

// ScriptFor gives a script of an environment for the interpreter at an absolute
// path, to be installed anywhere: its first line names it. Others, and programs,
// stay as they are.
func ScriptFor(text []byte, python string) []byte {
	for _, start := range []string{"#!/bin/sh\n" + selfShell + "\n", selfEnv + "\n"} {
		if body, ok := bytes.CutPrefix(text, []byte(start)); ok {
			return append([]byte("#!"+python+"\n"), body...)
		}
	}
	return text
}

// pythonStart is how a script of a wheel asks for the Python of its environment.
const pythonStart = "#!python"

var (
	anyPython = regexp.MustCompile(`^` + pythonStart + `[^\n]*\n`)
	coding    = regexp.MustCompile(`^[ \t\f]*#.*?coding[:=]`)
	future    = regexp.MustCompile(`(?m)^from[ \t]+__future__[ \t]`)
)

// relocatable replaces the first line of a script that asks for the Python of
// its environment. Others, and programs, stay as they are.
func relocatable(text []byte) []byte {
	first := anyPython.Find(text)
	if first == nil {
		return text
	}
	body := text[len(first):]
	// The encoding counts in the first two lines only.
	if coding.Match(body) || future.Match(body) {
		return append([]byte(selfEnv+"\n"), body...)
	}
	return bytes.Join([][]byte{[]byte("#!/bin/sh\n" + selfShell + "\n"), body}, nil)
}
