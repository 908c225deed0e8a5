package bundle

import (
	"cmp"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"appbundle/schema"
)

// checkSockets looks for sockets of which only the first can be bound. The
// socket of a script that has none of its own counts.
func checkSockets(a *App) []Finding {
	sockets := slices.Clone(a.Config.Sockets)
	if a.Entrypoint.Interface != schema.Exec && a.Entrypoint.Path != "" && !a.hasAppCommand() && !slices.ContainsFunc(sockets, isAppSocket) {
		s := schema.DefaultSocket(appSocket)
		s.Host, s.Port = "127.0.0.1", 8000
		sockets = slices.Insert(sockets, 0, s)
	}
	var all []Finding
	for i := range sockets {
		for j := range i {
			if at := sameAddress(&sockets[j], &sockets[i]); at != "" {
				all = append(all, findAt(sockets[i].Pos, "give it another address", "[socket:%s] listens on %s, as the socket %q does", sockets[i].Name, at, sockets[j].Name))
				break
			}
		}
	}
	return all
}

// sameAddress names the address that two sockets cannot both have, "" for none.
func sameAddress(a, b *schema.Socket) string {
	switch {
	case a.Type != b.Type:
	case a.Path != "" || b.Path != "":
		if a.Path != "" && b.Path != "" && path.Clean(a.Path) == path.Clean(b.Path) {
			return b.Path
		}
	case a.Port == 0 || a.Port != b.Port || a.ReusePort && b.ReusePort:
	case a.Host == b.Host && a.IPv6 == b.IPv6 || isEveryIPv4(a.Host) && isIPv4(b.Host) || isEveryIPv4(b.Host) && isIPv4(a.Host):
		return net.JoinHostPort(b.Host, strconv.Itoa(b.Port))
	}
	return ""
}

func isEveryIPv4(host string) bool { return host == "0.0.0.0" }

func isIPv4(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.To4() != nil
}

// checkServed looks for sockets that the supervisor listens on and nobody
// accepts from.
func checkServed(a *App) []Finding {
	var refs []string
	for i := range a.Config.Watchers {
		w := &a.Config.Watchers[i]
		if w.UseSockets {
			return nil
		}
		refs = append(append(refs, schema.SocketRefs(w.Cmd)...), strings.ToLower(w.StdinSocket))
	}
	var all []Finding
	for i := range a.Config.Sockets {
		s := &a.Config.Sockets[i]
		if isAppSocket(*s) && !a.hasAppCommand() || slices.Contains(refs, strings.ToLower(s.Name)) {
			continue
		}
		fix := fmt.Sprintf("write $(circus.sockets.%s) in the command that serves it, or remove it", s.Name)
		all = append(all, findAt(s.Pos, fix, "[socket:%s]: no watcher inherits it", s.Name))
	}
	return all
}

// interpreters take a script as their first argument.
var interpreters = regexp.MustCompile(`^(python(3(\.[0-9]+)?)?|sh|bash|dash|perl|ruby|node)$`)

// checkWatcherPaths looks for what a watcher's process would look for in the
// directory: where it works, and the script that an interpreter gets.
func checkWatcherPaths(a *App) []Finding {
	var all []Finding
	for i := range a.Config.Watchers {
		w := &a.Config.Watchers[i]
		dir := ""
		if w.Dir != "" {
			if path.IsAbs(w.Dir) || strings.Contains(w.Dir, "$") {
				continue
			}
			dir = path.Clean(w.Dir)
			if dir != "." && !a.has(dir, Dir) {
				all = append(all, findAt(w.KeyPos("working_dir"), "correct it, or make it with a file in it", "[watcher:%s]: working_dir: %s is no directory of the application", w.Name, w.Dir))
				continue
			}
		}
		if len(w.Cmd) < 2 || !interpreters.MatchString(path.Base(w.Cmd[0])) {
			continue
		}
		script := w.Cmd[1]
		if strings.HasPrefix(script, "-") || strings.Contains(script, "$") || path.IsAbs(script) || a.has(path.Join(dir, script), File) {
			continue
		}
		pos, fix := w.CmdPos, "correct its path"
		if a.has(path.Join("bin", script), File) {
			fix = "write bin/" + script
		}
		all = append(all, findAt(pos, fix, "[watcher:%s]: %s gets the script %s, which is not in the application", w.Name, w.Cmd[0], script))
	}
	return all
}

// has reports whether p is, or leads to, an entry of that type, or is to be made
// by [build].
func (a *App) has(p string, t Type) bool {
	if e := a.resolve(p); e != nil {
		return e.Type == t || t == File && e.Type == Dir && a.resolve(p+"/__main__.py") != nil
	}
	if a.built || inEnv(p) {
		return inEnv(p)
	}
	return slices.ContainsFunc(a.Config.Build.Outputs, func(glob string) bool {
		return isOutput(glob, p) || strings.HasPrefix(glob, p+"/")
	})
}

var (
	secretName = regexp.MustCompile(`(?i)(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|SECRET_KEY|API_?KEY|PRIVATE_KEY|ACCESS_KEY|TOKEN)$`)
	secretURL  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[^/@:\s]*:[^/@\s]+@`)
)

// checkEnvSecrets looks for a variable that holds a password. One that takes it
// from the supervisor, or says where it is, does not.
func checkEnvSecrets(a *App) []Finding {
	var all []Finding
	for _, v := range a.envVars() {
		switch {
		case v.Value == "" || strings.Contains(v.Value, "$"):
		case secretURL.MatchString(v.Value):
			all = append(all, findAt(v.Pos, "take it from a variable of the supervisor, or from a file of the host", "%s has a URL with a password", v.Name))
		case secretName.MatchString(v.Name) && !strings.Contains(v.Value, "/"):
			all = append(all, findAt(v.Pos, "write "+v.Name+" = $"+strings.ToUpper(v.Name)+", or say which file of the host has it", "%s looks like a secret", v.Name))
		}
	}
	return all
}

// envVars are the variables that app.ini sets, each as it is written.
func (a *App) envVars() []schema.EnvVar {
	var all []schema.EnvVar
	for i := range a.Config.Env {
		all = append(all, a.Config.Env[i].Vars...)
	}
	return all
}

var homeDir = regexp.MustCompile(`(?:^|[\s=:,"'])(/(?:home|Users)/[^/\s:,"']+)`)

// checkHomes looks in app.ini for the home directory of whoever wrote it.
func checkHomes(a *App) []Finding {
	var all []Finding
	look := func(pos schema.Pos, what, value string) {
		if m := homeDir.FindStringSubmatch(value); m != nil {
			all = append(all, findAt(pos, "name a path in the directory, or take it from a variable of the supervisor", "%s names %s", what, m[1]))
		}
	}
	for _, v := range a.envVars() {
		look(v.Pos, v.Name, v.Value)
	}
	for i := range a.Config.Watchers {
		w := &a.Config.Watchers[i]
		look(w.KeyPos("working_dir"), "[watcher:"+w.Name+"]: working_dir", w.Dir)
		for _, word := range w.Cmd {
			if n := len(all); n == 0 || all[n-1].Pos != w.CmdPos { // one finding a command
				look(w.CmdPos, "[watcher:"+w.Name+"]: cmd", word)
			}
		}
	}
	for i := range a.Config.Sockets {
		s := &a.Config.Sockets[i]
		look(s.Pos, "[socket:"+s.Name+"]: path", s.Path)
	}
	look(a.Config.Supervisor.Pos, "[supervisor]: pidfile", a.Config.Supervisor.PIDFile)
	slices.SortStableFunc(all, func(x, y Finding) int { return cmp.Compare(x.Line, y.Line) })
	return all
}
