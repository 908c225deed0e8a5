package schema

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// appSections are the headers of app.ini; a ":" asks for a name.
var appSections = []string{"app", "build", "package", "supervisor", "check", "env", "watcher:", "socket:", "env:"}

// ParseAppINI reads app.ini. What the file does not say has the values of
// [DefaultWatcher] and [DefaultSocket]. A watcher called "app" may be without
// cmd; its Cmd is nil, and [Watcher.Over] makes one of it.
func ParseAppINI(file string, data []byte) (*Config, Problems) {
	ini, problems := ParseINI(file, data, Dialect{})
	d := decoder{cfg: &Config{Supervisor: SupervisorSection{Umask: -1}}, problems: problems}
	for i := range ini.Sections {
		if d.full(ini.Sections[i].Pos) {
			return d.cfg, d.problems.inOrder()
		}
		d.appSection(&ini.Sections[i])
	}
	d.applyEnv()
	d.checkReferences()
	return d.cfg, d.problems.inOrder()
}

// A decoder makes a Config of sections.
type decoder struct {
	cfg      *Config
	problems Problems
	circus   bool
	findings []*Problem // circus.ini: what Circus would do and we do not

	varCount, globCount int // in all sections of [env]
}

// maxItems is how many watchers, sockets, sections of [env:GLOB] and globs a
// file has at most; maxVars how many variables.
const (
	maxItems = 1000
	maxVars  = 10_000
)

// full reports whether to give up: what comes would only cost time.
func (d *decoder) full(pos Pos) bool {
	if len(d.problems) >= MaxProblems {
		return true
	}
	if max(len(d.cfg.Watchers), len(d.cfg.Sockets), len(d.cfg.Env), len(d.cfg.OptOuts), d.globCount) > maxItems || d.varCount > maxVars {
		d.problems.Add(pos, "", "the file has too many sections or variables")
		return true
	}
	return false
}

func (d *decoder) appSection(s *INISection) {
	kind, name, named := strings.Cut(s.Name, ":")
	switch header := s.Name; {
	case header == "app":
		d.cfg.App.Pos = s.Pos
		d.keys(s, "app", &target{cfg: d.cfg})
	case header == "build":
		d.cfg.Build.Pos = s.Pos
		d.keys(s, "build", &target{cfg: d.cfg})
	case header == "package":
		d.cfg.Package.Pos = s.Pos
		d.keys(s, "package", &target{cfg: d.cfg})
	case header == "supervisor":
		d.cfg.Supervisor.Pos = s.Pos
		d.keys(s, "supervisor", &target{cfg: d.cfg})
	case header == "check":
		d.keys(s, "check", &target{cfg: d.cfg})
	case header == "env":
		d.env(s, nil)
	case named && kind == "env":
		d.env(s, d.globs(s, name))
	case named && kind == "watcher":
		d.watcher(s, name)
	case named && kind == "socket":
		d.socket(s, name)
	default:
		d.unknownSection(s)
	}
}

func (d *decoder) unknownSection(s *INISection) {
	kind, name, named := strings.Cut(s.Name, ":")
	fix := ""
	switch {
	case s.Name == "circus":
		fix = "write [supervisor]"
	case s.Name == "DEFAULT" || kind == "plugin":
		fix = "remove it, appbundle does not honour this section of Circus"
	case isWord(s.Name, "watcher socket"):
		fix = fmt.Sprintf("write [%s:NAME]", s.Name)
	default:
		want := kind
		if named {
			want += ":"
		}
		if near := Closest(want, appSections); near != "" {
			if strings.HasSuffix(near, ":") && named {
				near += name
			}
			fix = fmt.Sprintf("did you mean [%s]?", near)
		}
	}
	d.problems.Add(s.Pos, fix, "unknown section [%s]", s.Name)
}

// keys decodes every key of a section into t.
func (d *decoder) keys(s *INISection, kind string, t *target) {
	for i := range s.Keys {
		k := &s.Keys[i]
		if len(d.problems) >= MaxProblems {
			return
		}
		spec := findKey(kind, k.Name)
		if spec == nil {
			d.unknownKey(s, kind, k)
			continue
		}
		if f := spec.decode(t, k); f != nil {
			d.fault(s, k, f)
		}
	}
}

func (d *decoder) unknownKey(s *INISection, kind string, k *INIKey) {
	fix := ""
	if isCircusKey(kind, k.Name) {
		fix = "remove it, appbundle does not honour this key of Circus"
	} else if near := Closest(k.Name, keyNames(kind)); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	d.problems.Add(k.Pos, fix, "[%s]: unknown key %q", s.Name, k.Name)
}

func (d *decoder) fault(s *INISection, k *INIKey, f *fault) {
	pos := k.Pos
	if f.off >= 0 {
		pos = k.PosAt(f.off)
	}
	d.problems.Add(pos, f.fix, "[%s]: %s: %s", s.Name, k.Name, f.msg)
}

func (d *decoder) watcher(s *INISection, name string) {
	name = strings.TrimSpace(name)
	if _, f := itemName(name); f != nil && (!d.circus || name == "") {
		d.problems.Add(s.Pos, f.fix, "[%s]: %s of a watcher", s.Name, f.msg)
		return
	}
	w := DefaultWatcher(name)
	w.Pos, w.keys = s.Pos, map[string]Pos{}
	w.BareEnv = d.circus
	for _, other := range d.cfg.Watchers {
		if strings.EqualFold(other.Name, name) {
			d.problems.Add(s.Pos, "give it another name", "[%s]: the watcher in line %d has this name", s.Name, other.Line)
		}
	}
	t := &target{cfg: d.cfg, watcher: &w}
	if d.circus {
		d.circusKeys(s, "watcher", t)
	} else {
		d.keys(s, "watcher", t)
	}
	for _, k := range s.Keys {
		w.keys[k.Name] = k.Pos
	}
	d.finishWatcher(s, t)
	d.cfg.Watchers = append(d.cfg.Watchers, w)
}

// finishWatcher joins cmd and args and checks what no key can say alone.
func (d *decoder) finishWatcher(s *INISection, t *target) {
	w := t.watcher
	switch {
	case w.Has("cmd"):
		w.Cmd = append(w.Cmd, t.args...)
	case d.circus || !strings.EqualFold(w.Name, "app"):
		d.problems.Add(s.Pos, "write cmd = COMMAND", "[%s]: cmd is missing", s.Name)
	case w.Has("args"):
		d.problems.Add(w.KeyPos("args"), "write cmd too", "[%s]: args without cmd", s.Name)
	}
	if w.Singleton && w.NumProcesses > 1 {
		d.problems.Add(w.KeyPos("numprocesses"), "remove one of the two", "[%s]: a singleton with %d processes", s.Name, w.NumProcesses)
	}
	if w.Backoff.First > w.Backoff.Max {
		d.problems.Add(w.KeyPos("backoff.first"), "", "[%s]: backoff.first is more than backoff.max", s.Name)
	}
}

func (d *decoder) env(s *INISection, globs []string) {
	sec := EnvSection{Pos: s.Pos, Globs: globs}
	for i := range s.Keys {
		k := &s.Keys[i]
		if !isEnvName(k.Name) && !d.circus {
			d.problems.Add(k.Pos, "use letters, digits and _", "[%s]: %s is no name of a variable", s.Name, quote(k.Name))
			continue
		}
		sec.Vars = append(sec.Vars, EnvVar{Pos: k.PosAt(0), Name: k.Name, Value: k.Value})
	}
	d.varCount += len(s.Keys)
	d.globCount += len(globs)
	d.cfg.Env = append(d.cfg.Env, sec)
}

func isEnvName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

func (d *decoder) globs(s *INISection, list string) []string {
	globs := []string{}
	for g := range strings.SplitSeq(list, ",") {
		if g = strings.TrimSpace(g); g == "" || !validGlob(pathGlob(g)) {
			d.problems.Add(s.Pos, "write [env:NAME,NAME]", "[%s]: %s is no name or glob", s.Name, quote(g))
			continue
		}
		globs = append(globs, g)
	}
	return globs
}

// pathGlob writes a glob as package path reads it, which negates with "^". Names
// have no slash and no backslash.
func pathGlob(g string) string { return strings.ReplaceAll(g, "[!", "[^") }

// applies reports whether the section is for the watcher of that name.
func (e *EnvSection) applies(name string) bool {
	if e.Globs == nil {
		return true
	}
	return slices.ContainsFunc(e.Globs, func(g string) bool {
		ok, err := path.Match(pathGlob(g), name)
		return ok && err == nil
	})
}

// EnvFor gives what the file adds to the environment of the watcher of that
// name, whether or not the file has one. A name occurs once.
func (c *Config) EnvFor(name string) []EnvVar {
	var vars []EnvVar
	for i := range c.Env {
		if c.Env[i].applies(name) {
			vars = withVars(vars, c.Env[i].Vars)
		}
	}
	return vars
}

// applyEnv gives the watchers their variables, and reports a section for a
// watcher that there is not: a misspelling would change nothing, silently.
func (d *decoder) applyEnv() {
	names := []string{"app"}
	for i := range d.cfg.Watchers {
		w := &d.cfg.Watchers[i]
		w.Env = d.cfg.EnvFor(w.Name)
		names = append(names, w.Name)
	}
	if d.circus {
		return
	}
	for _, sec := range d.cfg.Env {
		for _, g := range sec.Globs {
			if strings.ContainsAny(g, "*?[") || slices.Contains(names, g) {
				continue
			}
			fix := ""
			if near := Closest(g, names); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			d.problems.Add(sec.Pos, fix, "there is no watcher %q for this section", g)
		}
	}
}

// checkReferences reports sockets that watchers name and the file lacks.
func (d *decoder) checkReferences() {
	var names []string
	for _, s := range d.cfg.Sockets {
		names = append(names, strings.ToLower(s.Name))
	}
	for i := range d.cfg.Watchers {
		w := &d.cfg.Watchers[i]
		for _, name := range SocketRefs(w.Cmd) {
			d.checkSocket(w, "cmd", name, names)
		}
		if w.StdinSocket != "" {
			d.checkSocket(w, "stdin_socket", strings.ToLower(w.StdinSocket), names)
		}
	}
}

func (d *decoder) checkSocket(w *Watcher, key, name string, names []string) {
	if slices.Contains(names, name) || len(d.problems) >= MaxProblems {
		return
	}
	fix := fmt.Sprintf("write [socket:%s]", name)
	if near := Closest(name, names); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	if d.circus && key == "cmd" {
		d.finding(w.KeyPos(key), fix, "[watcher:%s]: %s: there is no socket %q, so the reference reaches the program", w.Name, key, name)
		return
	}
	d.problems.Add(w.KeyPos(key), fix, "[watcher:%s]: %s: there is no socket %q", w.Name, key, name)
}
