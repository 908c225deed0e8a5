package schema

import (
	"syscall"
	"time"
)

// A Config is what app.ini or a circus.ini says. Both dialects are read into
// the same values; what differs between them is resolved by their decoders.
type Config struct {
	App        AppSection
	Build      BuildSection
	Package    PackageSection
	Supervisor SupervisorSection
	Watchers   []Watcher // in the order of the file, names unique without regard to case
	Sockets    []Socket  // in the order of the file
	OptOuts    []OptOut  // what [check] says, in the order of the file
	// Env is what [env] and [env:GLOB] say, in the order of the file. The
	// decoders have applied it to the watchers of the file; it is kept for the
	// watcher that nobody wrote down.
	Env []EnvSection
}

// An AppSection is [app]: who the application is.
type AppSection struct {
	Pos
	Name        string // normalised as PEP 503 does; "" where the file does not say
	Version     string // semver; "" where the file does not say
	Description string
	License     string    // an SPDX expression
	Interface   Interface // "" where the file does not say
	Server      string    // gunicorn, uvicorn, hypercorn, waitress or uwsgi; "" for the one among the dependencies
	Python      string    // "3.11"; "" where the file does not say
}

// An Interface is how an entrypoint is called.
type Interface string

// The interfaces of the standard.
const (
	WSGI Interface = "wsgi" // a Python script that binds application (PEP 3333)
	ASGI Interface = "asgi" // a Python script that binds application (ASGI 3)
	Exec Interface = "exec" // an executable that serves on the socket or port it is given
)

// A BuildSection is [build]: what makes a built tree of a source tree.
type BuildSection struct {
	Pos
	Command    []string // an argument vector, run without a shell; nil for none
	Outputs    []string // globs, relative to the directory
	OutputsPos []Pos    // of each output
	Targets    []string // platforms to lock for, as pep425.ParsePlatform reads them; nil for the default
}

// A PackageSection is [package]: how Linux packages of the application are made.
type PackageSection struct {
	Pos
	User       string // "" for the name of the application
	Group      string // "" for the user's
	Sandbox    string // strict, default or none; "" for default
	Rolling    bool   // an upgrade replaces one process at a time
	Release    int    // 0 for 1
	Maintainer string // "" for nobody
	Homepage   string
}

// An OptOut is a line of [check]: the findings of one rule in some files do not
// count, and why. Its Pos is that of the line.
type OptOut struct {
	Pos
	Rule   string // "AB013"
	Glob   string // of paths, as in [build] outputs
	Reason string
}

// A SupervisorSection is [supervisor] of app.ini, or [circus] of a circus.ini.
type SupervisorSection struct {
	Pos
	Umask       int           // -1 where the file does not say
	WarmupDelay time.Duration // between the starts of two watchers
	PIDFile     string        // "" for none
}

// A Watcher is a command and the policy by which n processes of it are kept
// alive. The zero value is not useful: start from [DefaultWatcher].
type Watcher struct {
	Pos  `json:"-"`
	Name string
	// Cmd is the argument vector, cmd and args joined. $(circus.X) is not
	// replaced yet: see Expand.
	Cmd    []string
	CmdPos Pos    `json:"-"` // of the key cmd
	Dir    string // working directory, relative to the app directory; "" is that directory
	UID    string // name or number; "" is the supervisor's own
	GID    string // name or number; "" is the primary group of UID
	// Env is what the file adds to the environment, later ones win. $NAME in a
	// value is not replaced yet.
	Env     []EnvVar
	CopyEnv bool // start from the supervisor's environment
	// BareEnv: the child gets Env (after the supervisor's with CopyEnv) and
	// nothing else, not even PATH, as Circus does.
	BareEnv bool

	NumProcesses int
	Singleton    bool          // at most one process
	WarmupDelay  time.Duration // between the starts of two processes
	Autostart    bool
	Respawn      bool // replace what ends
	Priority     int  // higher ones start first

	MaxRetry int // exec failures in a row before a slot gives up; -1 for never
	Flapping Flapping
	Backoff  Backoff

	// SaysReady: a process is up when it, or one that it started, has said
	// READY=1, and not before. No key of a file says so, but the command of a
	// server that is known to say it.
	SaysReady bool

	StopSignal      syscall.Signal
	GracefulTimeout time.Duration // from the stop signal to KILL
	StopChildren    bool          // the stop signal goes to direct children too

	UseSockets  bool   // inherit every socket, with LISTEN_FDS
	StdinSocket string // name of the socket that is fd 0
	CloseStdin  bool
	CloseStdout bool // to /dev/null
	CloseStderr bool // to /dev/null
	Rlimits     []Rlimit

	keys map[string]Pos // the keys that the file writes
}

// Has reports whether the file writes the key, such as "numprocesses" or
// "rlimit_nofile".
func (w *Watcher) Has(key string) bool {
	_, ok := w.keys[key]
	return ok
}

// KeyPos gives the place of a key that the file writes, and that of the watcher
// for others.
func (w *Watcher) KeyPos(key string) Pos {
	if pos, ok := w.keys[key]; ok {
		return pos
	}
	return w.Pos
}

// Flapping says when a process that ends again and again is given a rest.
// The names are those of Circus' plugin.
type Flapping struct {
	Attempts int           // deaths within Window that make it flap
	Window   time.Duration // over which deaths are counted
	RetryIn  time.Duration // the rest
	MaxRetry int           // rests before the slot gives up; -1 for never
}

// Backoff says how long a process that died young waits for its replacement:
// First, then twice as long each time, up to Max.
type Backoff struct {
	First time.Duration
	Max   time.Duration
}

// An Rlimit is one resource limit, soft and hard alike.
type Rlimit struct {
	Name  string // lower case, without RLIMIT_: "nofile"
	Value uint64 // math.MaxUint64 for no limit
}

// An EnvVar is one variable that a file sets.
type EnvVar struct {
	Pos   `json:"-"`
	Name  string
	Value string
}

// An EnvSection is [env] or [env:GLOB,GLOB].
type EnvSection struct {
	Pos
	Globs []string // nil for every watcher
	Vars  []EnvVar
}

// A Socket is a listening socket that the supervisor holds and its children
// inherit.
type Socket struct {
	Pos       `json:"-"`
	Name      string
	Host      string // "" for a Unix socket
	Port      int    // 0: the kernel picks one
	Path      string // of a Unix socket, relative to the run directory
	Type      string // stream, dgram or seqpacket
	IPv6      bool   // only where Host does not say
	Backlog   int
	Replace   bool // an existing socket file is unlinked, even a live one's
	Umask     int  // of a Unix socket's file; -1 where the file does not say
	ReusePort bool
	Blocking  bool // without O_NONBLOCK
}

// DefaultWatcher gives the values of a watcher whose keys are not written.
func DefaultWatcher(name string) Watcher {
	return Watcher{
		Name:            name,
		NumProcesses:    1,
		Autostart:       true,
		Respawn:         true,
		MaxRetry:        5,
		Flapping:        Flapping{Attempts: 5, Window: 10 * time.Second, RetryIn: 7 * time.Second, MaxRetry: 5},
		Backoff:         Backoff{First: 100 * time.Millisecond, Max: 30 * time.Second},
		StopSignal:      syscall.SIGTERM,
		GracefulTimeout: 30 * time.Second,
		CloseStdin:      true,
	}
}

// DefaultSocket gives the values of a socket whose keys are not written.
func DefaultSocket(name string) Socket {
	return Socket{Name: name, Type: "stream", Backlog: 2048, Umask: -1}
}
