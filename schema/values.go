package schema

import (
	"fmt"
	"math"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/Masterminds/semver/v3"

	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// quote is what a message says for a value.
func quote(s string) string {
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return strconv.Quote(s)
}

func bad(format string, args ...any) *fault {
	return &fault{msg: fmt.Sprintf(format, args...), off: -1}
}

func boolean(s string) (bool, *fault) {
	switch strings.ToLower(s) {
	case "1", "yes", "true", "on":
		return true, nil
	case "0", "no", "false", "off":
		return false, nil
	}
	return false, bad("%s is neither true nor false", quote(s))
}

func between(least, most int) func(string) (int, *fault) {
	return func(s string) (int, *fault) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, bad("%s is not a whole number from %d to %d", quote(s), least, most)
		}
		return n, nil
	}
}

// maxSeconds is a year: more is a mistake, and far from where a duration ends.
const maxSeconds = 365 * 24 * 3600

func seconds(s string) (time.Duration, *fault) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxSeconds || strings.ContainsAny(s, "xX_") {
		return 0, bad("%s is not a number of seconds from 0 to %d", quote(s), maxSeconds)
	}
	return time.Duration(math.Round(n * 1e9)), nil
}

func octal(s string) (int, *fault) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return 0, bad("%s is not an octal number from 0 to 777", quote(s))
	}
	return int(n), nil
}

func oneOf[T ~string](values ...T) func(string) (T, *fault) {
	return func(s string) (T, *fault) {
		var names []string
		for _, v := range values {
			if string(v) == s {
				return v, nil
			}
			names = append(names, string(v))
		}
		f := bad("%s is none of %s", quote(s), strings.Join(names, ", "))
		if near := Closest(s, names); near != "" {
			f.fix = fmt.Sprintf("did you mean %q?", near)
		}
		return "", f
	}
}

func oneLine(s string) (string, *fault) {
	if strings.Contains(s, "\n") {
		return "", &fault{"it has more than one line", "keep it in one", -1}
	}
	return s, nil
}

// webURL checks what others will click on.
func webURL(s string) (string, *fault) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.ContainsAny(s, " \n<>\"") {
		return "", bad("%s is no URL of a page, such as https://example.org/shop", quote(s))
	}
	return s, nil
}

func filePath(s string) (string, *fault) {
	if s == "" {
		return "", bad("the path is empty")
	}
	return oneLine(s)
}

// maxSocketPath is the longest path that the kernel binds, without its NUL.
const maxSocketPath = 107

func socketPath(s string) (string, *fault) {
	if len(s) > maxSocketPath {
		return "", bad("the path has %d bytes, more than the %d of a Unix socket", len(s), maxSocketPath)
	}
	return filePath(s)
}

func command(s string) ([]string, *fault) {
	words, err := splitWords(s)
	if err != nil {
		at := err.(*WordError)
		return nil, &fault{at.Msg, "", at.Offset}
	}
	var out []string
	for _, w := range words {
		// "; comment" would reach the program as arguments.
		if c := s[w.off]; c == ';' || c == '#' {
			return nil, &fault{"a comment after a command is a part of it", "give the comment a line of its own, or quote the word", w.off}
		}
		out = append(out, w.text)
	}
	return out, nil
}

func account(s string) (string, *fault) {
	if s == "" || len(s) > 64 || s[0] == '-' || strings.Trim(s, nameBytes+"$@\\") != "" {
		return "", bad("%s is no name or number of an account", quote(s))
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n >= math.MaxUint32 {
		return "", bad("%s is more than an id can be", s)
	}
	return s, nil
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

// itemName checks the name of a watcher or a socket.
func itemName(s string) (string, *fault) {
	if s == "" || len(s) > 64 || strings.Trim(s, nameBytes) != "" {
		return "", &fault{quote(s) + " is no name", "use up to 64 of A-Z a-z 0-9 _ . -", -1}
	}
	return s, nil
}

func hostName(s string) (string, *fault) {
	if s == "" || len(s) > 255 || strings.Trim(s, nameBytes+":%*") != "" {
		return "", bad("%s is no host name or address", quote(s))
	}
	return s, nil
}

func socketType(s string) (string, *fault) {
	short := strings.ToLower(s)
	return oneOf("stream", "dgram", "seqpacket")(strings.TrimPrefix(short, "sock_"))
}

// signals are those of Linux; 32 and 33 belong to the C library.
var signals = map[string]syscall.Signal{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17,
	"CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26,
	"PROF": 27, "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31, "RTMIN": rtMin, "RTMAX": rtMax,
}

const (
	rtMin = 34
	rtMax = 64
)

// ParseSignal reads a signal: a name with or without SIG in any case, a number,
// or SIGRTMIN+n and SIGRTMAX-n.
func ParseSignal(s string) (syscall.Signal, error) {
	n, f := signalNumber(s)
	if f != nil {
		return 0, fmt.Errorf("%s", f.msg)
	}
	return n, nil
}

func signalNumber(s string) (syscall.Signal, *fault) {
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= rtMax {
		return syscall.Signal(n), nil
	}
	if n, ok := signals[name]; ok {
		return n, nil
	}
	for prefix, from := range map[string]int{"RTMIN+": rtMin, "RTMAX-": rtMax} {
		digits, ok := strings.CutPrefix(name, prefix)
		n, err := strconv.ParseUint(digits, 10, 8)
		if !ok || err != nil || n > rtMax-rtMin {
			continue
		}
		if prefix == "RTMAX-" {
			return syscall.Signal(from - int(n)), nil
		}
		return syscall.Signal(from + int(n)), nil
	}
	return 0, bad("%s is no signal", quote(s))
}

func appName(s string) (string, *fault) {
	if !pep508.ValidName(s) {
		return "", &fault{quote(s) + " is no name", "use letters and digits, with - between them", -1}
	}
	return pep508.NormalizeName(s), nil
}

func appVersion(s string) (string, *fault) {
	if _, err := semver.StrictNewVersion(s); err != nil {
		f := bad("%s is no semantic version", quote(s))
		if v, err := semver.NewVersion(s); err == nil {
			f.fix = "write " + v.String()
		} else {
			f.fix = "write three numbers, such as 1.0.0"
		}
		return "", f
	}
	return s, nil
}

func pythonVersion(s string) (string, *fault) {
	major, rest, _ := strings.Cut(s, ".")
	minor, _, more := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(minor, 10, 8)
	switch {
	case major != "3" || err != nil || strconv.FormatUint(n, 10) != minor:
		return "", &fault{quote(s) + " is no version of Python 3", "write it as 3.11", -1}
	case more:
		return "", &fault{quote(s) + " is more than a minor version", "write 3." + minor, -1}
	}
	return s, nil
}

func decodeOutputs(b *BuildSection, k *INIKey) *fault {
	off := 0
	for s := range strings.SplitSeq(k.Value, "\n") {
		switch {
		case s == "":
		case path.IsAbs(s) || path.Clean(s) == ".." || strings.HasPrefix(path.Clean(s), "../"):
			return &fault{quote(s) + " is outside the app directory", "write a path relative to it", off}
		case !validGlob(s):
			return &fault{quote(s) + " is no glob", "close its bracket", off}
		default:
			b.Outputs = append(b.Outputs, s)
			b.OutputsPos = append(b.OutputsPos, k.PosAt(off))
		}
		off += len(s) + 1
	}
	return nil
}

// decodeOptOuts reads lines of GLOB: REASON.
func decodeOptOuts(c *Config, k *INIKey) *fault {
	if n := strings.TrimPrefix(k.Name, "AB"); len(n) != 3 || strings.Trim(n, "0123456789") != "" {
		return &fault{"is no number of a rule", "write AB and three digits", -1}
	}
	off, before := 0, len(c.OptOuts)
	for s := range strings.SplitSeq(k.Value, "\n") {
		glob, reason, ok := strings.Cut(s, ":")
		glob, reason = strings.TrimSpace(glob), strings.TrimSpace(reason)
		switch {
		case s == "":
		case !ok || reason == "":
			return &fault{quote(s) + " has no reason", "write FILE: REASON", off}
		case glob == "" || !validGlob(glob):
			return &fault{quote(glob) + " is no glob", "write a path in the app directory, or ** for all", off}
		default:
			c.OptOuts = append(c.OptOuts, OptOut{Pos: k.PosAt(off), Rule: k.Name, Glob: glob, Reason: reason})
		}
		off += len(s) + 1
	}
	if len(c.OptOuts) == before {
		return &fault{"names no file", "write FILE: REASON", -1}
	}
	return nil
}

func validGlob(s string) bool {
	_, err := path.Match(s, "")
	return err == nil
}

func decodeTargets(b *BuildSection, k *INIKey) *fault {
	off := 0
	for s := range strings.SplitSeq(k.Value, "\n") {
		if s != "" {
			if _, err := pep425.ParsePlatform(s); err != nil {
				return &fault{err.Error(), "", off}
			}
			b.Targets = append(b.Targets, s)
		}
		off += len(s) + 1
	}
	return nil
}
