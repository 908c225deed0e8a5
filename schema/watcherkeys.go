package schema

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var watcherKeys = []keySpec{
	{
		section: "watcher", name: "cmd", doc: "command, split into words as a shell does, run without one",
		decode: decodeCmd,
		copy:   func(dst, src *target) { dst.watcher.Cmd, dst.watcher.CmdPos = src.watcher.Cmd, src.watcher.CmdPos },
	},
	key("watcher", "args", "more arguments of the command", command, func(t *target) *[]string { return &t.args }),
	key("watcher", "working_dir", "working directory, relative to the app directory", filePath, func(t *target) *string { return &t.watcher.Dir }),
	key("watcher", "uid", "user, by name or number", account, func(t *target) *string { return &t.watcher.UID }),
	key("watcher", "gid", "group, by name or number; the user's without it", account, func(t *target) *string { return &t.watcher.GID }),
	key("watcher", "copy_env", "whether the environment starts from the supervisor's", boolean, func(t *target) *bool { return &t.watcher.CopyEnv }),
	key("watcher", "numprocesses", "how many processes", between(0, 1000), func(t *target) *int { return &t.watcher.NumProcesses }),
	key("watcher", "warmup_delay", "seconds between the starts of two processes", seconds, func(t *target) *time.Duration { return &t.watcher.WarmupDelay }),
	key("watcher", "autostart", "whether it starts with the supervisor", boolean, func(t *target) *bool { return &t.watcher.Autostart }),
	key("watcher", "singleton", "whether there is at most one process", boolean, func(t *target) *bool { return &t.watcher.Singleton }),
	key("watcher", "respawn", "whether a process that ends is replaced", boolean, func(t *target) *bool { return &t.watcher.Respawn }),
	key("watcher", "max_retry", "exec failures in a row before it gives up; -1 for never", between(-1, 1_000_000), func(t *target) *int { return &t.watcher.MaxRetry }),
	key("watcher", "graceful_timeout", "seconds from the stop signal to KILL", seconds, func(t *target) *time.Duration { return &t.watcher.GracefulTimeout }),
	key("watcher", "stop_signal", "signal that asks a process to end: TERM, SIGINT, 3, SIGRTMIN+1", signalNumber, func(t *target) *syscall.Signal { return &t.watcher.StopSignal }),
	key("watcher", "stop_children", "whether direct children get the stop signal too", boolean, func(t *target) *bool { return &t.watcher.StopChildren }),
	key("watcher", "priority", "order of the starts, higher ones first", between(-1_000_000, 1_000_000), func(t *target) *int { return &t.watcher.Priority }),
	key("watcher", "use_sockets", "whether it inherits every socket, with LISTEN_FDS", boolean, func(t *target) *bool { return &t.watcher.UseSockets }),
	key("watcher", "stdin_socket", "name of the socket that is its standard input", itemName, func(t *target) *string { return &t.watcher.StdinSocket }),
	key("watcher", "close_child_stdin", "whether its standard input is /dev/null", boolean, func(t *target) *bool { return &t.watcher.CloseStdin }),
	key("watcher", "close_child_stdout", "whether its standard output is /dev/null", boolean, func(t *target) *bool { return &t.watcher.CloseStdout }),
	key("watcher", "close_child_stderr", "whether its standard error is /dev/null", boolean, func(t *target) *bool { return &t.watcher.CloseStderr }),
	{
		section: "watcher", name: "rlimit_", doc: "resource limit, soft and hard; empty for none", family: true,
		decode: decodeRlimit,
		copy:   func(dst, src *target) { dst.watcher.setRlimits(src.watcher.Rlimits) },
	},
	key("watcher", "flapping.attempts", "deaths within flapping.window that make a process flap", between(1, 100_000), func(t *target) *int { return &t.watcher.Flapping.Attempts }),
	key("watcher", "flapping.window", "seconds over which deaths are counted", seconds, func(t *target) *time.Duration { return &t.watcher.Flapping.Window }),
	key("watcher", "flapping.retry_in", "seconds that a flapping process rests", seconds, func(t *target) *time.Duration { return &t.watcher.Flapping.RetryIn }),
	key("watcher", "flapping.max_retry", "rests before it gives up; -1 for never", between(-1, 1_000_000), func(t *target) *int { return &t.watcher.Flapping.MaxRetry }),
	key("watcher", "backoff.first", "seconds that the replacement of a process that died young waits at first, and that of one whose short life ended as announced (then 0.1 at least)", seconds, func(t *target) *time.Duration { return &t.watcher.Backoff.First }),
	key("watcher", "backoff.max", "seconds that it waits at most, after doubling", seconds, func(t *target) *time.Duration { return &t.watcher.Backoff.Max }),
}

func decodeCmd(t *target, k *INIKey) *fault {
	words, f := command(k.Value)
	if f == nil && len(words) == 0 {
		f = &fault{"the command is empty", "", -1}
	}
	t.watcher.Cmd, t.watcher.CmdPos = words, k.PosAt(0)
	return f
}

const rlimitNames = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"

func decodeRlimit(t *target, k *INIKey) *fault {
	name := strings.ToLower(strings.TrimPrefix(k.Name, "rlimit_"))
	if !isWord(name, rlimitNames) {
		fix := "use one of " + rlimitNames
		if near := Closest(name, strings.Fields(rlimitNames)); near != "" {
			fix = "did you mean \"rlimit_" + near + "\"?"
		}
		return &fault{"there is no such limit", fix, -1}
	}
	limit := Rlimit{Name: name, Value: math.MaxUint64}
	if !isWord(strings.ToLower(k.Value), "unlimited infinity") && k.Value != "" {
		n, err := strconv.ParseUint(k.Value, 10, 64)
		if err != nil {
			return &fault{quote(k.Value) + " is no whole number", "leave it empty for no limit", -1}
		}
		limit.Value = n
	}
	t.watcher.setRlimits([]Rlimit{limit})
	return nil
}

// setRlimits replaces limits of the same name and adds the others. The slice is
// a new one: w may be the copy of a watcher.
func (w *Watcher) setRlimits(limits []Rlimit) {
	out := slices.Clone(w.Rlimits)
	for _, l := range limits {
		i := slices.IndexFunc(out, func(r Rlimit) bool { return r.Name == l.Name })
		if i < 0 {
			out = append(out, l)
		} else {
			out[i] = l
		}
	}
	w.Rlimits = out
}

// Over gives base as the keys that the file writes for w change it: what
// [watcher:app] without cmd does to the watcher that nobody wrote down. The
// environment is that of base with w's added.
func (w *Watcher) Over(base Watcher) Watcher {
	dst, src := &target{watcher: &base}, &target{watcher: w}
	for _, k := range watcherKeys {
		if w.Has(k.name) || k.family && len(w.Rlimits) > 0 {
			k.copy(dst, src)
		}
	}
	base.Pos, base.keys = w.Pos, w.keys
	base.Env = withVars(base.Env, w.Env)
	return base
}

// withVars gives env with vars set; a name occurs once.
func withVars(env, vars []EnvVar) []EnvVar {
	out := slices.Clone(env)
	at := make(map[string]int, len(env)+len(vars))
	for i, v := range out {
		at[v.Name] = i
	}
	for _, v := range vars {
		i, ok := at[v.Name]
		if ok {
			out[i] = v
			continue
		}
		at[v.Name] = len(out)
		out = append(out, v)
	}
	return out
}
