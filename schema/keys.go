package schema

import (
	"cmp"
	"strings"
	"time"
)

// A KeyDoc describes one key of app.ini.
type KeyDoc struct {
	Section string // "app", "watcher", …
	Name    string // "rlimit_NAME" for a family
	Doc     string // one line: the value, and what it does
}

// Keys lists every key that app.ini knows, section by section.
func Keys() []KeyDoc {
	var out []KeyDoc
	for _, k := range keyTable {
		name := k.name
		if k.family {
			name += cmp.Or(k.rest, "NAME")
		}
		out = append(out, KeyDoc{k.section, name, k.doc})
	}
	return out
}

// A keySpec is one row of the table that decoding, suggestions and
// documentation are made from.
type keySpec struct {
	section, name, doc string
	family             bool   // name is the beginning of the key
	rest               string // of the name of a family, in its documentation; "" for NAME
	decode             func(t *target, k *INIKey) *fault
	copy               func(dst, src *target)
}

// A target is what the keys of one section are decoded into.
type target struct {
	cfg     *Config
	watcher *Watcher
	socket  *socketKeys
	args    []string // of a watcher, to be joined with its Cmd
}

// socketKeys is a socket with what only its checks need.
type socketKeys struct {
	Socket
	family string
	has    map[string]bool
}

// A fault is why a value is none. off is the byte of the value, -1 for all.
type fault struct {
	msg, fix string
	off      int
}

// key makes a row whose value is parsed and put at one place.
func key[T any](section, name, doc string, parse func(string) (T, *fault), at func(*target) *T) keySpec {
	return keySpec{
		section: section, name: name, doc: doc,
		decode: func(t *target, k *INIKey) *fault {
			v, f := parse(k.Value)
			if f == nil {
				*at(t) = v
			}
			return f
		},
		copy: func(dst, src *target) { *at(dst) = *at(src) },
	}
}

var keyTable = concat(appKeys, buildKeys, packageKeys, supervisorKeys, watcherKeys, socketTable, checkKeys)

func concat(tables ...[]keySpec) []keySpec {
	var out []keySpec
	for _, t := range tables {
		out = append(out, t...)
	}
	return out
}

var appKeys = []keySpec{
	key("app", "name", "name of the application; the directory's without it", appName, func(t *target) *string { return &t.cfg.App.Name }),
	key("app", "version", "version (semver)", appVersion, func(t *target) *string { return &t.cfg.App.Version }),
	key("app", "description", "one line that says what the application does", oneLine, func(t *target) *string { return &t.cfg.App.Description }),
	key("app", "license", "SPDX expression", licenseExpression, func(t *target) *string { return &t.cfg.App.License }),
	key("app", "interface", "wsgi, asgi or exec: how the entrypoint is called", oneOf[Interface](WSGI, ASGI, Exec), func(t *target) *Interface { return &t.cfg.App.Interface }),
	key("app", "server", "gunicorn, uvicorn, hypercorn, waitress or uwsgi; the one among the dependencies without it", oneOf("gunicorn", "uvicorn", "hypercorn", "waitress", "uwsgi"), func(t *target) *string { return &t.cfg.App.Server }),
	key("app", "python", "version of Python, such as 3.11", pythonVersion, func(t *target) *string { return &t.cfg.App.Python }),
}

var buildKeys = []keySpec{
	key("build", "command", "command that makes the outputs, run without a shell", command, func(t *target) *[]string { return &t.cfg.Build.Command }),
	{
		section: "build", name: "outputs", doc: "what the command makes: globs, one a line",
		decode: func(t *target, k *INIKey) *fault { return decodeOutputs(&t.cfg.Build, k) },
	},
	{
		section: "build", name: "targets", doc: "platforms to lock for, one a line: linux_x86_64, manylinux_2_34_x86_64, musllinux_1_2_aarch64",
		decode: func(t *target, k *INIKey) *fault { return decodeTargets(&t.cfg.Build, k) },
	},
}

var packageKeys = []keySpec{
	key("package", "user", "system user that the unit runs as; the name of the application without it", account, func(t *target) *string { return &t.cfg.Package.User }),
	key("package", "group", "group that the unit runs as; the user's without it", account, func(t *target) *string { return &t.cfg.Package.Group }),
	key("package", "sandbox", "strict, default or none: what systemd keeps from the processes", oneOf("strict", "default", "none"), func(t *target) *string { return &t.cfg.Package.Sandbox }),
	key("package", "rolling", "whether an upgrade of the package replaces the processes one at a time, and does not restart the supervisor; false without it", boolean, func(t *target) *bool { return &t.cfg.Package.Rolling }),
	key("package", "release", "release of the packages: a number, counted up when the same version is packaged again", between(1, 1<<20), func(t *target) *int { return &t.cfg.Package.Release }),
	key("package", "maintainer", "NAME <ADDRESS> of who makes the packages", oneLine, func(t *target) *string { return &t.cfg.Package.Maintainer }),
	key("package", "homepage", "URL of the application, https or http", webURL, func(t *target) *string { return &t.cfg.Package.Homepage }),
}

var supervisorKeys = []keySpec{
	key("supervisor", "umask", "umask of the supervisor and of what it starts, octal", octal, func(t *target) *int { return &t.cfg.Supervisor.Umask }),
	key("supervisor", "warmup_delay", "seconds between the starts of two watchers", seconds, func(t *target) *time.Duration { return &t.cfg.Supervisor.WarmupDelay }),
	key("supervisor", "pidfile", "file for the pid of the supervisor", filePath, func(t *target) *string { return &t.cfg.Supervisor.PIDFile }),
}

var socketTable = []keySpec{
	key("socket", "host", "address to listen on; 127.0.0.1 without it", hostName, func(t *target) *string { return &t.socket.Host }),
	key("socket", "port", "port to listen on; 0 for one that the kernel picks", between(0, 65535), func(t *target) *int { return &t.socket.Port }),
	key("socket", "path", "path of a Unix socket, relative to the run directory", socketPath, func(t *target) *string { return &t.socket.Path }),
	key("socket", "family", "AF_INET, AF_INET6 or AF_UNIX", oneOf("AF_INET", "AF_INET6", "AF_UNIX"), func(t *target) *string { return &t.socket.family }),
	key("socket", "type", "stream, dgram or seqpacket; SOCK_STREAM and so on are the same", socketType, func(t *target) *string { return &t.socket.Type }),
	key("socket", "backlog", "connections that wait to be accepted", between(1, 65535), func(t *target) *int { return &t.socket.Backlog }),
	key("socket", "replace", "whether an existing socket file is replaced, even a live one's", boolean, func(t *target) *bool { return &t.socket.Replace }),
	key("socket", "umask", "umask for the file of a Unix socket, octal", octal, func(t *target) *int { return &t.socket.Umask }),
	key("socket", "so_reuseport", "whether each process gets a socket of its own with SO_REUSEPORT", boolean, func(t *target) *bool { return &t.socket.ReusePort }),
	key("socket", "blocking", "whether the socket is without O_NONBLOCK", boolean, func(t *target) *bool { return &t.socket.Blocking }),
}

var checkKeys = []keySpec{{
	section: "check", name: "AB", family: true, rest: "NNN",
	doc:    "findings of this rule that do not count: GLOB: REASON, one a line",
	decode: func(t *target, k *INIKey) *fault { return decodeOptOuts(t.cfg, k) },
}}

// findKey gives the row of a key; a family is asked for by its whole name.
func findKey(section, name string) *keySpec {
	for i := range keyTable {
		k := &keyTable[i]
		if k.section == section && (k.name == name || k.family && strings.HasPrefix(name, k.name)) {
			return k
		}
	}
	return nil
}

// keyNames lists the keys of a section.
func keyNames(section string) []string {
	var names []string
	for _, k := range keyTable {
		if k.section == section {
			names = append(names, k.name)
		}
	}
	return names
}

// isCircusKey reports whether Circus has a key that app.ini has not.
func isCircusKey(section, name string) bool {
	switch section {
	case "watcher":
		for _, prefix := range []string{"hooks.", "stdout_stream.", "stderr_stream."} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return isWord(name, "shell shell_args executable copy_path virtualenv virtualenv_py_ver max_age max_age_variance send_hup on_demand check_flapping")
	case "socket":
		return isWord(name, "proto interface")
	case "supervisor":
		return isWord(name, "endpoint endpoint_owner pubsub_endpoint stats_endpoint statsd multicast_endpoint check_delay include include_dir loglevel logoutput loggerconfig debug debug_gc fqdn_prefix httpd httpd_host httpd_port stream_backend statsd_close_outputs httpd_close_outputs ssh_server prereload_fn")
	}
	return false
}

func isWord(s, words string) bool {
	return s != "" && strings.Contains(" "+words+" ", " "+s+" ")
}
