package runner

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"appbundle/schema"
)

// A Config says what a Runner supervises and where. The zero value of a field
// is described with it.
type Config struct {
	Name    string // of the application; it names its directories and its cgroup
	Version string // "" leaves APPBUNDLE_VERSION empty
	Dir     string // the app directory; "" is the working directory
	EnvDir  string // the environment, whose bin comes first in PATH; "" for none
	Self    string // the file that the command "appbundle" means where PATH has none; "" for none

	// RunDir holds the notify socket and the lock. "" is the library form: no
	// lock, no notify socket, no cgroup.
	RunDir   string
	StateDir string // data of the application; "" for none

	Watchers    []schema.Watcher
	Sockets     []schema.Socket
	WarmupDelay time.Duration // between the starts of two watchers

	Stdout   io.Writer // of the children; nil is os.Stdout
	Stderr   io.Writer // of the children; nil is os.Stderr
	NoPrefix bool      // lines without "WATCHER.WID | "

	// Environ is the supervisor's own environment: $NAME, copy_env and TMPDIR
	// are taken from it. Nil is that of the process.
	Environ []string
	// Adopt makes the process a child subreaper that reaps every orphan, and at
	// the end kills those that are left. It is for a program that starts no
	// process by other means.
	Adopt bool
	// Once starts each process once, replaces none, and ends when all have ended.
	Once bool
	// Report is told of everything that happens, from several goroutines; nil
	// tells nobody. It must return soon.
	Report func(Event)

	bad       error // what Workers found wrong
	noCgroups bool  // for tests: as if the host had none

	comeUp time.Duration // for tests: how long a rolling waits for a process to be up
}

func (c Config) withDefaults() Config {
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	if c.Report == nil {
		c.Report = func(Event) {}
	}
	if abs, err := filepath.Abs(c.Dir); err == nil {
		c.Dir = abs
	}
	return c
}

func (c Config) validate() error {
	if c.bad != nil {
		return c.bad
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "/\x00") {
		return fmt.Errorf("%q cannot be the name of an application", c.Name)
	}
	seen := map[string]bool{}
	for _, w := range c.Watchers {
		key := strings.ToLower(w.Name)
		if w.Name == "" || strings.ContainsAny(w.Name, "/\x00\n") {
			return fmt.Errorf("%q cannot be the name of a watcher", w.Name)
		}
		if seen[key] {
			return fmt.Errorf("two watchers are called %q", w.Name)
		}
		if w.NumProcesses < 0 {
			return fmt.Errorf("watcher %q: %d processes", w.Name, w.NumProcesses)
		}
		seen[key] = true
	}
	return nil
}

// environ looks a variable of the supervisor's own environment up.
func (c Config) environ(name string) (string, bool) {
	for i := len(c.Environ) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(c.Environ[i], "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}
