package main

import (
	"fmt"
	"os"
	"testing"
)

// The directories of the host, by every way to name them. The test runs as
// root and as an ordinary user; what differs is a row of its own.
func TestHostDirectories(t *testing.T) {
	root, uid := os.Getuid() == 0, os.Getuid()
	pick := func(asRoot, asUser string) string {
		if root {
			return asRoot
		}
		return asUser
	}
	tests := []struct {
		name             string
		flags            globals
		env              map[string]string
		wantRun, wantDir string // "" for an error
	}{
		{"flags", globals{runDir: "/a/run", stateDir: "/a/state"},
			map[string]string{"APPBUNDLE_RUN_DIR": "/b", "APPBUNDLE_STATE_DIR": "/b", "RUNTIME_DIRECTORY": "/c", "STATE_DIRECTORY": "/c"},
			"/a/run", "/a/state"},
		{"our variables", globals{},
			map[string]string{"APPBUNDLE_RUN_DIR": "/b/run", "APPBUNDLE_STATE_DIR": "/b/state", "RUNTIME_DIRECTORY": "/c", "STATE_DIRECTORY": "/c"},
			"/b/run", "/b/state"},
		{"systemd's variables", globals{},
			map[string]string{"RUNTIME_DIRECTORY": "/run/shop:/run/more", "STATE_DIRECTORY": "/var/lib/shop"},
			"/run/shop", "/var/lib/shop"},
		{"XDG", globals{},
			map[string]string{"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/home/u/state", "HOME": "/home/u"},
			pick("/run/appbundle/shop", "/run/user/7/appbundle/shop"),
			pick("/var/lib/appbundle/shop", "/home/u/state/appbundle/shop")},
		{"relative ones of XDG do not count", globals{},
			map[string]string{"XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state", "HOME": "/home/u"},
			pick("/run/appbundle/shop", fmt.Sprintf("/tmp/appbundle-%d/shop", uid)),
			pick("/var/lib/appbundle/shop", "/home/u/.local/state/appbundle/shop")},
		{"nothing at all", globals{}, nil,
			pick("/run/appbundle/shop", fmt.Sprintf("/tmp/appbundle-%d/shop", uid)),
			pick("/var/lib/appbundle/shop", "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := tt.flags
			g.env = func(name string) string { return tt.env[name] }
			if got, err := g.runDirectory("shop"); err != nil || got != tt.wantRun {
				t.Errorf("runDirectory(shop) = %q, %v, want %q", got, err, tt.wantRun)
			}
			got, err := g.stateDirectory("shop")
			if got != tt.wantDir || (err != nil) != (tt.wantDir == "") {
				t.Errorf("stateDirectory(shop) = %q, %v, want %q", got, err, tt.wantDir)
			}
		})
	}
}

// The cache, by every way to name it.
func TestCacheDirectory(t *testing.T) {
	root := os.Getuid() == 0
	for _, tt := range []struct {
		name   string
		flag   string
		env    map[string]string
		asUser string // "" for an error
		asRoot string
	}{
		{"flag", "/a", map[string]string{"APPBUNDLE_CACHE_DIR": "/b", "CACHE_DIRECTORY": "/c"}, "/a", "/a"},
		{"our variable", "", map[string]string{"APPBUNDLE_CACHE_DIR": "/b", "CACHE_DIRECTORY": "/c"}, "/b", "/b"},
		{"systemd's variable", "", map[string]string{"CACHE_DIRECTORY": "/c:/d", "HOME": "/home/u"}, "/c", "/c"},
		{"XDG", "", map[string]string{"XDG_CACHE_HOME": "/x", "HOME": "/home/u"}, "/x/appbundle", "/var/cache/appbundle"},
		{"a relative one does not count", "", map[string]string{"XDG_CACHE_HOME": "x", "HOME": "/home/u"}, "/home/u/.cache/appbundle", "/var/cache/appbundle"},
		{"nothing at all", "", nil, "", "/var/cache/appbundle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.asUser
			if root {
				want = tt.asRoot
			}
			g := globals{cacheDir: tt.flag, env: func(name string) string { return tt.env[name] }}
			got, err := g.cachePlace()
			if got != want || (err != nil) != (want == "") {
				t.Errorf("cachePlace() = %q, %v, want %q", got, err, want)
			}
		})
	}
}
