package schema

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Vars are what $(circus.NAME) stands for when a process is started.
type Vars struct {
	WID     int            // of the process; 0 leaves $(circus.wid) as it is
	Sockets map[string]int // file descriptors by the lower-case names of sockets
	// Env looks a variable of the child up, by its exact name. Nil knows none.
	Env func(name string) (string, bool)
	// Options are the other names, in lower case: "working_dir", "uid".
	Options map[string]string
}

// references matches both spellings.
var references = regexp.MustCompile(`(?i)\$\(circus\.([\w.-]+)\)|\(\(circus\.([\w.-]+)\)\)`)

// Expand gives the argument vector of w for one process: $(circus.NAME) and
// ((circus.NAME)) replaced in every argument. What is unknown stays as it is.
func (w *Watcher) Expand(v Vars) []string {
	out := make([]string, len(w.Cmd))
	for i, arg := range w.Cmd {
		out[i] = v.Expand(arg)
	}
	return out
}

// Expand replaces the references in one argument.
func (v Vars) Expand(arg string) string {
	if !strings.Contains(strings.ToLower(arg), "circus.") {
		return arg
	}
	return references.ReplaceAllStringFunc(arg, func(ref string) string {
		if s, ok := v.lookup(referenceName(ref)); ok {
			return s
		}
		return ref
	})
}

// referenceName gives what is between "circus." and the closing parenthesis.
func referenceName(ref string) string {
	m := references.FindStringSubmatch(ref)
	return m[1] + m[2]
}

func (v Vars) lookup(name string) (string, bool) {
	lower := strings.ToLower(name)
	if lower == "wid" && v.WID != 0 {
		return strconv.Itoa(v.WID), true
	}
	if socket, ok := strings.CutPrefix(lower, "sockets."); ok {
		fd, ok := v.Sockets[socket]
		return strconv.Itoa(fd), ok
	}
	if strings.HasPrefix(lower, "env.") {
		if v.Env == nil {
			return "", false
		}
		return v.Env(name[len("env."):])
	}
	s, ok := v.Options[lower]
	return s, ok
}

// SocketRefs gives the lower-case names of the sockets that a command refers
// to, each once, in the order in which they occur.
func SocketRefs(cmd []string) []string {
	var names []string
	for _, arg := range cmd {
		for _, ref := range references.FindAllString(arg, -1) {
			name, ok := strings.CutPrefix(strings.ToLower(referenceName(ref)), "sockets.")
			if ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

var envNames = regexp.MustCompile(`\$([A-Z_][A-Z0-9_]*)`)

// ExpandEnv replaces $NAME in a value, NAME in upper case, by what lookup gives;
// an unset variable is empty. Nothing else is special: "${NAME}" and "$$" stay.
func ExpandEnv(value string, lookup func(name string) (string, bool)) string {
	return envNames.ReplaceAllStringFunc(value, func(ref string) string {
		s, _ := lookup(ref[1:])
		return s
	})
}
