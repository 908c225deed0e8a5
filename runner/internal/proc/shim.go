package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// shimName is what the shim is called in argv[0]. A program that starts with
// [Init] becomes the shim when it is executed under this name.
const shimName = "appbundle-exec"

// A Shim says what must be done between fork and exec. The supervisor's own
// binary is executed, does it, and executes the program in its place, in the
// same process.
type Shim struct {
	Rlimits []Rlimit
	FDNames []string // LISTEN_FDNAMES of descriptors 3, 4, …; nil for no LISTEN_FDS
}

// An Rlimit is a limit by its number (RLIMIT_NOFILE is 7), soft and hard alike.
type Rlimit struct {
	Resource int
	Value    uint64
}

// rlimits are the names of setrlimit(2), in lower case and without RLIMIT_.
var rlimits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// LimitNumber gives the number of a limit by its name.
func LimitNumber(name string) (int, bool) {
	n, ok := rlimits[strings.ToLower(name)]
	return n, ok
}

// shimOrder is what the shim is told, in its second argument.
type shimOrder struct {
	Path    []byte              // not a string: a path need not be UTF-8
	Limits  []Rlimit            `json:",omitempty"`
	FDNames []string            `json:",omitempty"`
	Cred    *syscall.Credential `json:",omitempty"`
}

// command gives what to execute instead of the program.
func (sh *Shim) command(spec Spec) (path string, argv []string) {
	order, err := json.Marshal(shimOrder{Path: []byte(spec.Path), Limits: sh.Rlimits, FDNames: sh.FDNames, Cred: spec.Cred})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return "/proc/self/exe", append([]string{shimName, string(order)}, spec.Argv...)
}

// shim does what the order in args[1] says and executes args[2:]. It returns
// only to say what went wrong.
func shim(args []string) error {
	order, argv, err := parseOrder(args)
	if err != nil {
		return err
	}
	for _, l := range order.Limits {
		if err := syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Value, Max: l.Value}); err != nil {
			return fmt.Errorf("setrlimit %s to %d: %w", limitName(l.Resource), l.Value, err)
		}
	}
	if err := setUser(order.Cred); err != nil {
		return err
	}
	env := os.Environ()
	if order.FDNames != nil {
		// sd_listen_fds(3): LISTEN_PID must be the pid of who is executed.
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "LISTEN_") }) // who reads takes the first
		env = append(env, "LISTEN_FDS="+strconv.Itoa(len(order.FDNames)), "LISTEN_PID="+strconv.Itoa(os.Getpid()),
			"LISTEN_FDNAMES="+strings.Join(order.FDNames, ":"))
	}
	path := string(order.Path)
	return fmt.Errorf("exec %s: %w", path, syscall.Exec(path, argv, env))
}

// parseOrder is the inverse of command.
func parseOrder(args []string) (order shimOrder, argv []string, err error) {
	if len(args) < 3 {
		return order, nil, errors.New("usage: this name is for the supervisor's own use")
	}
	err = json.Unmarshal([]byte(args[1]), &order)
	return order, args[2:], err
}

func setUser(c *syscall.Credential) error {
	if c == nil {
		return nil
	}
	groups := make([]int, len(c.Groups))
	for i, g := range c.Groups {
		groups[i] = int(g)
	}
	if !c.NoSetGroups {
		if err := syscall.Setgroups(groups); err != nil {
			return fmt.Errorf("setgroups: %w", err)
		}
	}
	if err := syscall.Setgid(int(c.Gid)); err != nil {
		return fmt.Errorf("setgid %d: %w", c.Gid, err)
	}
	if err := syscall.Setuid(int(c.Uid)); err != nil {
		return fmt.Errorf("setuid %d: %w", c.Uid, err)
	}
	return nil
}

func limitName(resource int) string {
	for name, n := range rlimits {
		if n == resource {
			return "RLIMIT_" + strings.ToUpper(name)
		}
	}
	return strconv.Itoa(resource)
}
