package rpm

import (
	"errors"
	"fmt"
	"testing"

	"appbundle/schema"
)

func TestPlanRefuses(t *testing.T) {
	tests := []struct{ name, user, by, want string }{
		{"shop", "", "me", `app.ini: [package] maintainer: "me" is not NAME <ADDRESS>; write it as Jane Doe <jane@example.org>`},
		{"appbundle", "", "", "appbundle: is the name of the package that runs applications; rename the application"},
		{"3shop", "", "", "3shop: is no name of an account, which has up to 31 letters, digits and -, and begins with a letter; name one in app.ini: [package] user"},
		{"shop-of-thirty-two-letters-or-so", "", "", "shop-of-thirty-two-letters-or-so: is no name of an account, which has up to 31 letters, digits and -, and begins with a letter; name one in app.ini: [package] user"},
		{"backup", "", "", "backup: is the name of an account of the system, with its rights; name another in app.ini: [package] user"},
		{"systemd-shop", "", "", "systemd-shop: is the name of an account of the system, with its rights; name another in app.ini: [package] user"},
		{"shop-of-thirty-one-letters-or-so", "shop", "", ""},
		{"backup", "shop", "", ""},
		{"3shop", "shop", "A <a@localhost>", ""},
	}
	for _, tt := range tests {
		app := *planApp(t)
		app.Name, app.Config.Package.User, app.Config.Package.Maintainer = tt.name, tt.user, tt.by
		_, _, err := Plan(RPM, Input{App: &app})
		var refused *RefusedError
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (!errors.As(err, &refused) || err.Error() != tt.want):
			t.Errorf("Plan of %s as %q by %q = %v, want %q", tt.name, tt.user, tt.by, err, tt.want)
		}
	}
}

// Only root may do what a watcher with a user of its own asks for.
func TestPlanRefusesUsers(t *testing.T) {
	for _, tt := range []struct{ uid, gid, user, want string }{
		{"www", "", "", "app.ini:7: [watcher:web] uid and gid: the unit runs as shop, and only root may start a process as somebody else; leave them out, or set [package] user = root"},
		{"", "www", "clerk", "app.ini:7: [watcher:web] uid and gid: the unit runs as clerk, and only root may start a process as somebody else; leave them out, or set [package] user = root"},
		{"www", "", "root", ""},
	} {
		app := *planApp(t)
		w := schema.DefaultWatcher("web")
		w.UID, w.GID, w.Line = tt.uid, tt.gid, 7
		app.Config.Watchers, app.Config.Package.User = []schema.Watcher{w}, tt.user
		_, _, err := Plan(RPM, Input{App: &app})
		if got := fmt.Sprint(err); tt.want != "" && got != tt.want || tt.want == "" && err != nil {
			t.Errorf("uid %q, gid %q in a unit of %q: %s, want %q", tt.uid, tt.gid, tt.user, got, tt.want)
		}
	}
	app := *planApp(t)
	app.Name = "s"
	if _, _, err := Plan(Deb, Input{App: &app}); err == nil || err.Error() != "s: a Debian package has a name of two letters or more; give it another in app.ini: [app] name" {
		t.Errorf("a deb called s: %v", err)
	}
}

func TestFold(t *testing.T) {
	words := "The directories that the packages of shop share, and the link to their interpreter."
	tests := [][2]string{
		{"short\n\n  kept\n", "short\n\n  kept\n"},
		{words, "The directories that the packages of shop share, and the link to their\ninterpreter."},
		{words[:79] + "\n", words[:79] + "\n"},
		{longWord + " and\n", longWord + " and\n"},
	}
	for _, tt := range tests {
		if got := fold(tt[0]); got != tt[1] {
			t.Errorf("fold(%q) = %q, want %q", tt[0], got, tt[1])
		}
	}
}

const longWord = "https://shop.example.org/a/page/with/a/name/that/has/more/than/eighty/characters/in/it"
