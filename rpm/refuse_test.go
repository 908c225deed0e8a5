package rpm

import (
	"errors"
	"testing"
)

func TestPlanRefuses(t *testing.T) {
	tests := []struct{ name, user, by, want string }{
		{"shop", "", "me", `app.ini: [package] maintainer: "me" is not NAME <ADDRESS>`},
		{"appbundle", "", "", "appbundle: is the name of the package that runs applications; rename the application"},
		{"3shop", "", "", "3shop: is no name of an account, which has up to 31 letters, digits and -, and begins with a letter; name one in app.ini: [package] user"},
		{"shop-of-thirty-two-letters-or-so", "", "", "shop-of-thirty-two-letters-or-so: is no name of an account, which has up to 31 letters, digits and -, and begins with a letter; name one in app.ini: [package] user"},
		{"backup", "", "", "backup: is the name of an account of the system, with its rights; name another in app.ini: [package] user"},
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
