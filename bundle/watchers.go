package bundle

import (
	"fmt"
	"net"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"appbundle/schema"
)

// Watchers says which processes an application is, and on which sockets: the
// watchers and sockets of app.ini, and the watcher "app" that runs the
// entrypoint unless the file gives it a command. lock says which versions are
// installed; nil means that there is none, and the environment and
// dependencies.txt are asked. The paths in the command of "app" are absolute
// for a directory that was loaded. Nothing is started or looked for here.
//
// The error is a [*ServerError] or an [*EnvironmentError], which have a hint, or
// a [*CheckError] where there is no entrypoint.
func Watchers(app *App, lock *schema.Lock) ([]schema.Watcher, []schema.Socket, error) {
	watchers := slices.Clone(app.Config.Watchers)
	sockets := slices.Clone(app.Config.Sockets)
	if app.hasAppCommand() {
		return watchers, sockets, nil
	}
	i := app.appWatcher()
	if app.Entrypoint.Path == "" {
		return nil, nil, app.noEntrypoint()
	}
	w := schema.DefaultWatcher(appSocket)
	w.Env = app.Config.EnvFor(appSocket)
	hasSocket := slices.ContainsFunc(sockets, isAppSocket)
	if app.Entrypoint.Interface == schema.Exec {
		w.Cmd, w.UseSockets = []string{app.place(app.Entrypoint.Path)}, hasSocket
	} else {
		l, err := app.Launch(lock)
		if err != nil {
			return nil, nil, err
		}
		w.Cmd, w.SaysReady = l.argv, l.ready
		if !hasSocket {
			s := schema.DefaultSocket(appSocket)
			s.Host, s.Port = "127.0.0.1", 8000
			sockets = append(sockets, s)
		}
	}
	if i >= 0 {
		watchers[i] = watchers[i].Over(w)
		return watchers, sockets, nil
	}
	return slices.Insert(watchers, 0, w), sockets, nil
}

// appWatcher is the index of [watcher:app], -1 where there is none.
func (a *App) appWatcher() int {
	return slices.IndexFunc(a.Config.Watchers, func(w schema.Watcher) bool { return w.Name == appSocket })
}

// hasAppCommand reports whether app.ini says itself how the application runs.
func (a *App) hasAppCommand() bool {
	i := a.appWatcher()
	return i >= 0 && a.Config.Watchers[i].Cmd != nil
}

// noEntrypoint is the finding of a tree that must be built by now.
func (a *App) noEntrypoint() error {
	b := *a
	b.built = true
	var all []Finding
	for _, f := range Check(&b) {
		if f.Rule == "AB003" || f.Rule == "AB018" {
			all = append(all, f)
		}
	}
	return &CheckError{all}
}

func isAppSocket(s schema.Socket) bool { return strings.EqualFold(s.Name, appSocket) }

// place gives the absolute path of a path in the application directory.
func (a *App) place(p string) string {
	if path.IsAbs(p) || a.Dir == "" {
		return p
	}
	return filepath.Join(a.Dir, filepath.FromSlash(p))
}

// A Launch says how a script is served.
type Launch struct {
	Server  string // as [app] server names it
	Dist    string // the distribution that brings it
	Python  Env    // where it runs
	script  string
	argv    []string
	ready   bool     // see schema.Watcher.SaysReady
	makeEnv []string // see MakeEnv
}

// Missing gives the error of a launch whose environment lacks the server, for
// a caller that found out by asking the interpreter.
func (l *Launch) Missing() *EnvironmentError {
	return &EnvironmentError{Script: l.script, Python: l.Python.Python, Lacks: l.Dist, Type: l.makeEnv}
}

// MakeEnv gives the commands that make the environment of the application,
// typed in its directory: from its lock, where it has one.
func (a *App) MakeEnv() []string {
	if a.resolve(lockFile) != nil {
		return []string{"appbundle install"}
	}
	return []string{"python3 -m venv .venv", ".venv/bin/pip install -r " + dependenciesFile}
}

// Launch decides which server serves the script and which interpreter runs it.
// It is nil where there is nothing to decide: the entrypoint is an executable,
// or [watcher:app] has a command. Where the interpreter is not a virtual
// environment's (Python.Dists is nil) nobody can tell here whether the server
// is installed.
func (a *App) Launch(lock *schema.Lock) (*Launch, error) {
	ep := &a.Entrypoint
	if ep.Interface == schema.Exec || a.hasAppCommand() {
		return nil, nil
	}
	s, dist, version, err := a.findServer(lock)
	if err != nil {
		return nil, err
	}
	env := Env{Python: "python3"}
	if v := a.Config.App.Python; v != "" {
		env.Python = "python" + v
	}
	if len(a.Envs) > 0 {
		env = a.Envs[0]
	}
	l := &Launch{Server: s.name, Dist: dist, Python: env, script: ep.Path, makeEnv: a.MakeEnv()}
	if env.Dists != nil {
		installed, ok := env.Dists[dist]
		if !ok {
			return nil, l.Missing()
		}
		version = installed // it is what will run, whatever a lock says
	}
	c := &call{python: env.Python, bin: a.place(path.Dir(ep.Path)), script: a.place(ep.Path),
		module: strings.TrimSuffix(path.Base(ep.Path), ".py"), iface: ep.Interface, dist: dist, version: version}
	if strings.Contains(env.Python, "/") {
		c.python = a.place(env.Python)
	}
	if env.Dir != "" {
		c.env = a.place(env.Dir)
	}
	if c.system = len(env.Site) > 0; c.system {
		c.env = ""
	}
	l.argv, l.ready = s.argv(c), s.ready
	return l, nil
}

// findServer gives the server, the distribution that brings it, and its version
// where a lock or a pin says so.
func (a *App) findServer(lock *schema.Lock) (s *server, dist, version string, err error) {
	i := a.Entrypoint.Interface
	fail := func(line, format string, args ...any) (*server, string, string, error) {
		return nil, "", "", &ServerError{a.Entrypoint.Path, i, fmt.Sprintf(format, args...), line}
	}
	list := serversFor(i)
	if want := a.Config.App.Server; want != "" {
		list = slices.DeleteFunc(list, func(s *server) bool { return s.name != want })
		if len(list) == 0 {
			return fail("", "[app] server = %s cannot serve an application of interface %s", want, i)
		}
	}
	for _, s := range list {
		for _, dist := range s.dists {
			if version, ok := a.depends(lock, dist); ok {
				return s, dist, version, nil
			}
		}
	}
	if len(list) == 1 {
		return fail(list[0].name, "%s, which is to serve it, is not among the dependencies", list[0].name)
	}
	return fail(list[0].name, "none of the servers for interface %s is among the dependencies (%s)", i, serverNames(list))
}

// depends reports whether a distribution is locked or, without a lock, asked
// for, and at which version where that is certain.
func (a *App) depends(lock *schema.Lock, dist string) (version string, ok bool) {
	if lock != nil {
		pin, ok := lock.Find(dist)
		return pin.Version, ok
	}
	version, ok = a.Pins[dist]
	return version, ok
}

// Bind gives sockets with the socket "app" listening on spec, HOST:PORT or
// unix:PATH. Used on the sockets of an App's Config before [Watchers], it
// makes an executable inherit the socket too.
func Bind(sockets []schema.Socket, spec string) ([]schema.Socket, error) {
	s := schema.DefaultSocket(appSocket)
	out := slices.Clone(sockets)
	i := slices.IndexFunc(out, isAppSocket)
	if i >= 0 {
		s = out[i]
	}
	s.Host, s.Port, s.Path, s.IPv6 = "", 0, "", false
	if p, ok := strings.CutPrefix(spec, "unix:"); ok {
		if p == "" {
			return nil, fmt.Errorf("%q has no path", spec)
		}
		s.Path = p
	} else {
		host, port, err := net.SplitHostPort(spec)
		if err != nil {
			return nil, fmt.Errorf("%q is neither HOST:PORT nor unix:PATH", spec)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q: %q is no port", spec, port)
		}
		if host == "" {
			host = "0.0.0.0"
		}
		s.Host, s.Port = host, int(n)
	}
	if i >= 0 {
		out[i] = s
		return out, nil
	}
	return append(out, s), nil
}
