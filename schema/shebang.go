package schema

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// MaxShebang is how much of a first line the kernel looks at, with "#!" and
// without the line feed.
const MaxShebang = 255

// A Shebang is the first line of a script as the kernel reads it.
type Shebang struct {
	Interpreter string // as it is written: a path, in most cases absolute
	Arg         string // the rest of the line: one argument; "" for none
	// Command is what runs: the interpreter and its arguments, or what env is
	// asked to run.
	Command []string
	// Env: the interpreter is env, which looks Command[0] up in PATH.
	Env bool
	// Relative: the kernel would take the interpreter's path from the working
	// directory.
	Relative bool
	// Python is the version that the name of the command says, such as "3.11"
	// for python3.11 and "3" for python3; "" for others.
	Python string
}

var pythonCommand = regexp.MustCompile(`^python([0-9]+(?:\.[0-9]+)?)$`)

// IsPython reports whether the script is for some Python.
func (s *Shebang) IsPython() bool {
	name := path.Base(s.Command[0])
	return name == "python" || s.Python != ""
}

// ParseShebang reads the first line of a file, which may have its line feed and
// more after it. ok is false for a file without a shebang. The error says why
// the kernel would not run the file, or not with what is written.
func ParseShebang(first []byte) (s *Shebang, ok bool, err error) {
	rest, ok := bytes.CutPrefix(first, []byte("#!"))
	if !ok {
		return nil, false, nil
	}
	line, _, hasEnd := bytes.Cut(rest, []byte("\n"))
	switch {
	case len(line)+2 > MaxShebang || !hasEnd && len(rest)+2 > MaxShebang:
		return nil, true, &Problem{Msg: "the shebang is longer than the 255 bytes that the kernel reads", Fix: "write a shorter path, or use env"}
	case bytes.IndexByte(line, 0) >= 0:
		return nil, true, &Problem{Msg: "the shebang has a NUL"}
	case bytes.HasSuffix(line, []byte("\r")):
		return nil, true, &Problem{Msg: "the shebang ends with a carriage return, which is a part of the name for the kernel", Fix: "save the file with line feeds"}
	}
	text := strings.Trim(string(line), " \t")
	if text == "" {
		return nil, true, &Problem{Msg: "the shebang names no interpreter"}
	}
	s = &Shebang{Interpreter: text}
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		s.Interpreter, s.Arg = text[:i], strings.TrimLeft(text[i:], " \t")
	}
	s.Relative = !path.IsAbs(s.Interpreter)
	if err := s.resolve(); err != nil {
		return nil, true, err
	}
	if m := pythonCommand.FindStringSubmatch(path.Base(s.Command[0])); m != nil {
		s.Python = m[1]
	}
	return s, true, nil
}

// resolve fills Command in.
func (s *Shebang) resolve() error {
	s.Command = []string{s.Interpreter}
	if s.Arg != "" {
		s.Command = append(s.Command, s.Arg)
	}
	if path.Base(s.Interpreter) != "env" {
		return nil
	}
	s.Env = true
	words := s.Command[1:]
	rest, split := strings.CutPrefix(s.Arg, "-S")
	if !split {
		rest, split = strings.CutPrefix(s.Arg, "--split-string")
		rest = strings.TrimPrefix(rest, "=")
	}
	if split {
		var err error
		if words, err = SplitWords(rest); err != nil {
			return &Problem{Msg: "the shebang: " + err.Error()}
		}
		// Assignments and further options come before the command.
		for len(words) > 0 && (strings.HasPrefix(words[0], "-") || strings.Contains(words[0], "=")) {
			words = words[1:]
		}
	}
	switch {
	case len(words) == 0 || strings.HasPrefix(words[0], "-"):
		return &Problem{Msg: "the shebang names no command after env", Fix: "write #!/usr/bin/env COMMAND"}
	case strings.ContainsAny(words[0], " \t"):
		return &Problem{Msg: "the kernel gives env one argument, so env looks for a command called " + quote(words[0]), Fix: "write #!/usr/bin/env -S COMMAND ARG"}
	}
	s.Command = words
	return nil
}
