package rpm

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"appbundle/schema"
)

// host adds what makes the application a service of the host: its unit, its user,
// its state, its configuration, and the scripts that tell systemd of them.
func (p *planner) host(pkg *Package) {
	name, c := p.app.Name, &p.app.Config.Package
	user := cmp.Or(c.User, name)
	group := cmp.Or(c.Group, user)
	pkg.Files = append(pkg.Files,
		textFile("/usr/lib/systemd/system/"+name+".service", Regular, 0o644, p.unit(user, group)),
		File{Path: "/etc/" + name, Kind: Directory, Mode: 0o755},
		textFile("/etc/"+name+"/environment", Config, 0o640, environmentFile(name)),
	)
	if c.User == "" { // whoever names a user has one
		pkg.Files = append(pkg.Files,
			textFile("/usr/lib/sysusers.d/"+name+".conf", Regular, 0o644, fmt.Sprintf("u %s - \"Application %s\" /var/lib/%s\n", user, name, name)))
	}
	pkg.Files = append(pkg.Files,
		textFile("/usr/lib/tmpfiles.d/"+name+".conf", Regular, 0o644, fmt.Sprintf("d /var/lib/%s 0750 %s %s -\n", name, user, group)))
	pkg.Scripts = p.scripts()
}

// stopTime is after how many seconds systemd kills what does not end: not before the
// supervisor has done so.
func (p *planner) stopTime() int {
	grace := schema.DefaultWatcher("").GracefulTimeout
	for i := range p.app.Config.Watchers {
		grace = max(grace, p.app.Config.Watchers[i].GracefulTimeout)
	}
	return int((grace + 30*time.Second + time.Second - 1) / time.Second)
}

// sandbox are the lines of the unit that take rights away. The one to listen below
// port 1024 stays with an application that does.
func (p *planner) sandbox() string {
	lines := sandboxes[cmp.Or(p.app.Config.Package.Sandbox, "default")]
	for _, s := range p.app.Config.Sockets {
		if s.Path == "" && s.Port > 0 && s.Port < 1024 {
			const bind = "CAP_NET_BIND_SERVICE"
			return strings.ReplaceAll(lines, "CapabilityBoundingSet=\n", "CapabilityBoundingSet="+bind+"\n") + "AmbientCapabilities=" + bind + "\n"
		}
	}
	return lines
}

// environmentFile is the configuration that the administrator may edit.
func environmentFile(name string) string {
	return fmt.Sprintf(`# Variables of %s, NAME=VALUE a line. A process sees those that [env] of app.ini
# passes on with "KEY = $NAME".
`, name)
}

// sandboxes are what systemd keeps from the processes. A sandbox leaves them the
// state, the run directory and the network. RestrictNamespaces is in none: with it
// systemd denies clone3, and a child starts in its cgroup by nothing else.
var sandboxes = map[string]string{
	"none": "",
	"default": `NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
RestrictSUIDSGID=yes
`,
	"strict": `NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
CapabilityBoundingSet=
`,
}

// unit is the text of the unit. The supervisor, a child of the main process, says
// when the application is up, and delegates its cgroup to its processes.
func (p *planner) unit(user, group string) string {
	name := p.app.Name
	about := cmp.Or(p.app.Config.App.Description, "application "+name)
	return fmt.Sprintf(`[Unit]
Description=%s
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/appbundle run --no-color %s
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
User=%s
Group=%s
WorkingDirectory=%s
EnvironmentFile=-/etc/%s/environment
StateDirectory=%s
StateDirectoryMode=0750
RuntimeDirectory=%s
RuntimeDirectoryMode=0750
Delegate=yes
KillMode=mixed
TimeoutStopSec=%d
Restart=on-failure
%s
[Install]
WantedBy=multi-user.target
`, strings.ReplaceAll(about, "%", "%%"), p.home, user, group, p.home, name, name, name, p.stopTime(), p.sandbox())
}

// scripts tell systemd what came and went. They do nothing where it does not run,
// and may run twice. Data, and a configuration that was edited, stay.
func (p *planner) scripts() Scripts {
	unit := p.app.Name + ".service"
	made := fmt.Sprintf(`if command -v systemd-sysusers >/dev/null 2>&1; then
    test ! -e /usr/lib/sysusers.d/%[1]s.conf || systemd-sysusers %[1]s.conf
    systemd-tmpfiles --create %[1]s.conf || :
fi
`, p.app.Name)
	running := `test -d /run/systemd/system` // sd_booted(3)
	upgraded := "systemctl try-restart " + unit
	if p.app.Config.Package.Rolling {
		upgraded = fmt.Sprintf("! systemctl is-active --quiet %[1]s || systemctl kill --kill-who=main --signal=USR2 %[1]s", unit)
	}
	reload := fmt.Sprintf(`if %s; then
    systemctl daemon-reload || :
fi
`, running)
	enabled := fmt.Sprintf(`if command -v systemctl >/dev/null 2>&1; then
    systemctl --no-reload preset %s || :
fi
`, unit)
	disabled := fmt.Sprintf(`if %[2]s; then
    systemctl disable --now %[1]s || :
elif command -v systemctl >/dev/null 2>&1; then
    systemctl --no-reload disable %[1]s || :
fi
`, unit, running)
	restarted := fmt.Sprintf(`if %s; then
    %s || :
fi
`, running, upgraded)
	if p.format == Deb {
		return Scripts{
			PostInstall: "test \"$1\" = configure || exit 0\n" + made + reload + "if test -z \"$2\"; then\n" + indent(enabled) + "else\n" + indent(restarted) + "fi\n",
			PreRemove:   "test \"$1\" = remove || exit 0\n" + disabled,
			PostRemove:  reload,
		}
	}
	marker := upgradeMarker(p.app.Name)
	return Scripts{
		PostInstall:     made + "if test \"$1\" -eq 1; then\n" + indent(enabled) + "elif " + running + "; then\n    true >" + marker + " || :\nfi\n" + reload + ":\n",
		PreRemove:       "if test \"$1\" -eq 0; then\n" + indent(disabled) + "fi\n:\n",
		PostRemove:      reload + ":\n",
		PostTransaction: "if test -e " + marker + "; then\n    rm -f " + marker + "\n" + indent(reload+restarted) + "fi\n:\n",
	}
}

// upgradeMarker is the file with which %post of an rpm tells %posttrans, which on most
// hosts is told nothing, that this is an upgrade. Only there the files of the release
// before are gone: its own %postun runs while those of other packages still are. The
// directory is root's, and empty after a boot.
func upgradeMarker(name string) string { return "/run/appbundle-" + name + ".upgraded" }

// indent moves the lines of a script to the right.
func indent(lines string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n    ") + "\n"
}
