package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// remedies say what to do about a key of Circus that we do not honour. A key
// that ends in "." stands for all that begin so.
var remedies = map[string]string{
	"circus.endpoint":           "", // see circusEndpoint
	"circus.pubsub_endpoint":    "",
	"circus.stats_endpoint":     "",
	"circus.multicast_endpoint": "remove it; there is no UDP listener",
	"circus.endpoint_owner":     "remove it; there is no control endpoint",
	"circus.statsd":             "remove it; there is no stats endpoint",
	"circus.check_delay":        "remove it; the death of a child is seen at once",
	"circus.loglevel":           "remove it and use the flags of run",
	"circus.logoutput":          "remove it; the supervisor logs to its standard error",
	"circus.loggerconfig":       "remove it; the supervisor logs to its standard error",
	"circus.debug":              "remove it",
	"circus.debug_gc":           "remove it",
	"circus.fqdn_prefix":        "remove it",
	"circus.httpd":              "remove it; there is no web console",
	"circus.httpd_host":         "remove it; there is no web console",
	"circus.httpd_port":         "remove it; there is no web console",

	"watcher.shell":             "write cmd = sh -c '…'",
	"watcher.shell_args":        "write cmd = sh -c '…'",
	"watcher.executable":        "remove it; Circus ignores it too",
	"watcher.copy_path":         "set PYTHONPATH in [env]",
	"watcher.virtualenv":        "name the interpreter of the environment in cmd",
	"watcher.virtualenv_py_ver": "name the interpreter of the environment in cmd",
	"watcher.max_age":           "let the program end by itself, or restart it from a timer",
	"watcher.max_age_variance":  "let the program end by itself, or restart it from a timer",
	"watcher.send_hup":          "send HUP to the process yourself",
	"watcher.on_demand":         "remove it; the watcher starts at once",
	"watcher.check_flapping":    "remove it; Circus ignores it too",
	"watcher.hooks.":            "move it into the program or into a unit of the host",
	"watcher.stdout_stream.":    "remove it; the output goes to the supervisor's standard output",
	"watcher.stderr_stream.":    "remove it; the output goes to the supervisor's standard error",
	"socket.proto":              "remove it",
	"socket.interface":          "name the address of the interface in host",
}

func (d *decoder) circusSection(s *INISection) {
	kind, name, named := strings.Cut(s.Name, ":")
	switch {
	case s.Name == "circus":
		d.cfg.Supervisor.Pos = s.Pos
		d.circusKeys(s, "circus", &target{cfg: d.cfg})
	case s.Name == "env":
		d.env(s, nil)
	case s.Name == "DEFAULT":
	case named && kind == "env":
		d.env(s, d.globs(s, name))
	case named && kind == "watcher":
		d.watcher(s, name)
	case named && kind == "socket":
		d.socket(s, name)
	case named && kind == "plugin":
		d.finding(s.Pos, "run circus-plugin as a watcher of its own", "[%s]: plugins are not started", s.Name)
	default:
		d.finding(s.Pos, "remove it", "[%s]: Circus ignores this section, and so does appbundle", s.Name)
	}
}

// circusKeys decodes the keys that we honour and reports the others.
func (d *decoder) circusKeys(s *INISection, kind string, t *target) {
	for i := range s.Keys {
		k := &s.Keys[i]
		spec := circusSpec(kind, k.Name)
		switch {
		case len(d.problems) >= MaxProblems:
			return
		case kind == "circus" && strings.HasSuffix(k.Name, "endpoint"):
			d.circusEndpoint(s, k)
		case spec == nil:
			d.circusUnknown(s, kind, k)
		default:
			if f := spec.decode(t, k); f != nil {
				d.circusFault(s, k, f)
			}
		}
	}
}

// circusFault reports a value that is none. A comment after a command is a part
// of it for Circus too.
func (d *decoder) circusFault(s *INISection, k *INIKey, f *fault) {
	d.problems.Add(k.Pos, f.fix, "[%s]: %s: %s", s.Name, k.Name, f.msg)
}

// circusSpec gives the row of a key. The tables are those of app.ini but where
// Circus gives a value another meaning.
func circusSpec(kind, name string) *keySpec {
	for i := range circusRows {
		if k := &circusRows[i]; k.section == kind && k.name == name {
			return k
		}
	}
	if kind == "circus" {
		kind = "supervisor"
	}
	if spec := findKey(kind, name); spec != nil && !isNewKey(name) {
		return spec
	}
	return nil
}

// isNewKey reports whether app.ini has a key that is a free option in Circus.
func isNewKey(name string) bool { return strings.HasPrefix(name, "backoff.") }

var circusRows = []keySpec{
	key("socket", "umask", "", circusUmask, func(t *target) *int { return &t.socket.Umask }),
	key("socket", "type", "", circusSocketType, func(t *target) *string { return &t.socket.Type }),
	key("watcher", "args", "", circusWords, func(t *target) *[]string { return &t.args }),
	{section: "watcher", name: "cmd", decode: func(t *target, k *INIKey) *fault {
		words, f := circusWords(k.Value)
		if f == nil && len(words) == 0 {
			f = &fault{"the command is empty", "", -1}
		}
		t.watcher.Cmd, t.watcher.CmdPos = words, k.PosAt(0)
		return f
	}},
	{section: "circus", name: "include", decode: ignore},
	{section: "circus", name: "include_dir", decode: ignore},
}

func ignore(*target, *INIKey) *fault { return nil }

// circusUmask reads what Circus reads with int(): 022 is twenty-two.
func circusUmask(s string) (int, *fault) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 0o777 {
		return 0, bad("%s is not a whole number from 0 to 511", quote(s))
	}
	return n, nil
}

func circusSocketType(s string) (string, *fault) {
	if isWord(strings.ToUpper(s), "SOCK_RAW SOCK_RDM") {
		return "", bad("appbundle opens no %s", s)
	}
	return socketType(s)
}

// circusWords lets a ";" at the beginning of a word pass: Circus does.
func circusWords(s string) ([]string, *fault) {
	words, err := SplitWords(s)
	if err != nil {
		return nil, bad("%v", err)
	}
	return words, nil
}

func (d *decoder) circusUnknown(s *INISection, kind string, k *INIKey) {
	fix, known := remedies[kind+"."+k.Name]
	if head, _, ok := strings.Cut(k.Name, "."); ok && !known {
		fix, known = remedies[kind+"."+head+"."]
	}
	if on, f := boolean(k.Value); known && f == nil && !on {
		return // as it is without the key
	}
	if known {
		d.finding(k.Pos, fix, "[%s]: %s has no effect", s.Name, k.Name)
		return
	}
	if near := Closest(k.Name, keyNames(kind)); near != "" && near != k.Name {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	d.finding(k.Pos, fix, "[%s]: unknown key %q, which Circus ignores", s.Name, k.Name)
}

// circusEndpoint reports an endpoint over the network: whoever reaches it could
// run commands.
func (d *decoder) circusEndpoint(s *INISection, k *INIKey) {
	switch {
	case k.Value == "" || strings.HasPrefix(k.Value, "ipc://"):
		if k.Value != "" {
			d.finding(k.Pos, "remove it", "[%s]: %s: there is no such socket", s.Name, k.Name)
		}
	case k.Name == "multicast_endpoint":
		d.finding(k.Pos, remedies["circus.multicast_endpoint"], "[%s]: %s has no effect", s.Name, k.Name)
	default:
		d.finding(k.Pos, "remove it", "[%s]: %s: anybody who reaches %s could run commands, so it is not opened", s.Name, k.Name, quote(k.Value))
	}
}

// finishCircusSocket gives a socket the defaults of Circus.
func (d *decoder) finishCircusSocket(sk *socketKeys) {
	isUnix := sk.Path != "" || sk.family == "AF_UNIX"
	switch {
	case isUnix && sk.Path == "":
		d.problems.Add(sk.Pos, "write path = FILE", "[socket:%s]: a Unix socket without path", sk.Name)
	case isUnix:
		sk.Host, sk.Port = "", 0
		if !sk.has["umask"] {
			sk.Umask = 8
		}
	default:
		sk.Umask = -1
		if sk.Host == "" {
			sk.Host = "localhost"
		}
		if !sk.has["port"] {
			sk.Port = 8080
		}
	}
	sk.IPv6 = sk.family == "AF_INET6"
}
