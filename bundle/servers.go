package bundle

import (
	_ "embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"appbundle/schema"
	"appbundle/schema/pep440"
)

// appSocket is the name of the default watcher's socket, and of that watcher.
const appSocket = "app"

// appFD is what the supervisor replaces by the descriptor of that socket.
const appFD = "$(circus.sockets." + appSocket + ")"

// loader is the program that starts a server on a script, whatever its suffix.
//
//go:embed script.py
var loader string

// A server is a program that serves a script on an inherited socket.
type server struct {
	name  string
	dists []string // distributions that bring it, normalised
	argv  func(*call) []string
	ready bool // it says READY=1 when it has loaded the script, and not before
	// wsgi and asgi are its ranks among the servers of an interface: the lower
	// one is taken. 0 means that it cannot serve the interface.
	wsgi, asgi int
}

// A call is what the argument vector of a server is made of.
type call struct {
	python  string           // the interpreter
	env     string           // its virtual environment, "" for none
	system  bool             // programs are on PATH, and not beside the interpreter
	bin     string           // the script's directory
	script  string           // the script
	module  string           // its name as a module
	iface   schema.Interface // WSGI or ASGI
	dist    string           // the distribution that brings the server
	version string           // of it, "" where nobody knows
}

var servers = []server{
	{"gunicorn", []string{"gunicorn"}, gunicornArgv, true, 1, 3},
	{"uvicorn", []string{"uvicorn"}, uvicornArgv, false, 5, 1},
	{"hypercorn", []string{"hypercorn"}, hypercornArgv, false, 4, 2},
	{"waitress", []string{"waitress"}, waitressArgv, true, 3, 0},
	{"uwsgi", []string{"uwsgi", "pyuwsgi"}, uwsgiArgv, true, 2, 0},
}

// rank is the server's rank for an interface, 0 where it cannot serve it.
func (s *server) rank(i schema.Interface) int {
	if i == schema.ASGI {
		return s.asgi
	}
	return s.wsgi
}

// serversFor lists the servers of an interface, best first.
func serversFor(i schema.Interface) []*server {
	var list []*server
	for j := range servers {
		if servers[j].rank(i) > 0 {
			list = append(list, &servers[j])
		}
	}
	slices.SortFunc(list, func(a, b *server) int { return a.rank(i) - b.rank(i) })
	return list
}

// ServerNames lists the distributions that bring a server of an interface, the
// best server first.
func ServerNames(i schema.Interface) []string {
	var names []string
	for _, s := range serversFor(i) {
		names = append(names, s.dists...)
	}
	return names
}

func serverNames(list []*server) string {
	var names []string
	for _, s := range list {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// run gives the beginning of a command that runs a module of the environment:
// by its name where the script is a module that Python finds, else through the
// loader. The interpreter is called and never the module's script in bin/,
// whose first line names the directory that it was installed in.
func (c *call) run(module string, load bool) []string {
	if load || path.Ext(c.script) != ".py" {
		return []string{c.python, "-c", loader, module, c.script}
	}
	return []string{c.python, "-m", module}
}

func (c *call) app() string { return c.module + ":application" }

// gunicorn is always run by the loader, which has a worker say READY=1.
func gunicornArgv(c *call) []string {
	argv := append(c.run("gunicorn", true), "-b", "fd://"+appFD, "-w", "1")
	if atLeast(c.version, "25.1.0") { // its control socket would be one a host
		argv = append(argv, "--no-control-socket")
	}
	if c.iface == schema.ASGI {
		argv = append(argv, "-k", "asgi") // since 24.0.0
	}
	return append(argv, c.app())
}

func uvicornArgv(c *call) []string {
	argv := append(c.run("uvicorn", false), "--fd", appFD, "--app-dir", c.bin)
	if c.iface == schema.WSGI {
		argv = append(argv, "--interface", "wsgi")
	}
	return append(argv, c.app())
}

// hypercorn takes the directory of the script from its path. Without workers
// it serves in the process that it is, and needs no second one to watch it.
func hypercornArgv(c *call) []string {
	argv := append(c.run("hypercorn", false), "-b", "fd://"+appFD, "-w", "0")
	return append(argv, string(c.iface)+":"+c.script+":application")
}

// waitress can take a socket only by its function serve.
func waitressArgv(c *call) []string {
	return append(c.run("waitress", true), appFD)
}

// uWSGI's own --die-on-term drops the requests in flight; the hook lets its
// workers finish them.
func uwsgiArgv(c *call) []string {
	argv := []string{c.python, "-c", "import pyuwsgi; pyuwsgi.run()"}
	if c.dist == "uwsgi" {
		argv = []string{"uwsgi"} // a program, not a module
		if dir := path.Dir(c.python); dir != "." && !c.system {
			argv[0] = path.Join(dir, "uwsgi")
		}
		if c.env != "" {
			argv = append(argv, "-H", c.env)
		}
	}
	argv = append(argv, "--http-socket", "fd://"+appFD, "--master", "--no-orphans", "--need-app", "--enable-threads",
		"--hook-master-start", "unix_signal:15 gracefully_kill_them_all", "--pythonpath", c.bin)
	if path.Ext(c.script) == ".py" {
		return append(argv, "--module", c.app())
	}
	return append(argv, "--wsgi-file", c.script)
}

// atLeast reports whether version is known and not before least.
func atLeast(version, least string) bool {
	v, err := pep440.Parse(version)
	return err == nil && v.Compare(pep440.MustParse(least)) >= 0
}

// A ServerError says that no server for a script is among its dependencies.
type ServerError struct {
	Script    string
	Interface schema.Interface
	Reason    string
	Line      string // to add to dependencies.txt, "" where that does not help
}

// Error names the script and what is missing.
func (e *ServerError) Error() string { return fmt.Sprintf("%s: %s", e.Script, e.Reason) }

// Hint says what to do.
func (e *ServerError) Hint() string {
	if e.Line == "" {
		return ""
	}
	return fmt.Sprintf("add the line %q to dependencies.txt", e.Line)
}

// An EnvironmentError says that the environment in which a script would run
// has not what it needs: nobody installed it, or into another one.
type EnvironmentError struct {
	Script string
	Python string   // the interpreter that would be called
	Lacks  string   // the distribution that is not there
	Type   []string // the commands that make the environment, typed in the application directory
}

// Error names the script, the interpreter and what is missing.
func (e *EnvironmentError) Error() string {
	return fmt.Sprintf("%s: %s is not installed for %s", e.Script, e.Lacks, e.Python)
}

// Hint gives the commands to type.
func (e *EnvironmentError) Hint() string { return strings.Join(e.Type, " && ") }
