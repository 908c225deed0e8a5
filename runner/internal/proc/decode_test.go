package proc

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestParseNotice(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       map[string]string
	}{
		{"one", "READY=1", map[string]string{"READY": "1"}},
		{"newline at the end", "READY=1\n", map[string]string{"READY": "1"}},
		{"several", "READY=1\nSTATUS=a = b\nBUSY=1/4\n", map[string]string{"READY": "1", "STATUS": "a = b", "BUSY": "1/4"}},
		{"the last one counts", "STATUS=a\nSTATUS=b", map[string]string{"STATUS": "b"}},
		{"empty value", "STATUS=", map[string]string{"STATUS": ""}},
		{"no assignments", "READY\n=1\n\n\x00\n", map[string]string{}},
		{"nothing", "", map[string]string{}},
		{"no text", "\xff=\x80\nSTATUS=\x00\r\n", map[string]string{"\xff": "\x80", "STATUS": "\x00\r"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseNotice([]byte(tt.text)); !maps.Equal(got, tt.want) {
				t.Errorf("parseNotice(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=a = b\n"))
	f.Add([]byte("=\n\n==\nREADY\x00=1\n\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxNotify {
			b = b[:maxNotify] // a longer one is not read
		}
		var again strings.Builder
		vars := parseNotice(b)
		for name, value := range vars {
			if name == "" || strings.ContainsAny(name, "=\n") || strings.Contains(value, "\n") || !bytes.Contains(b, []byte(name+"="+value)) {
				t.Errorf("%q gives %q = %q", b, name, value)
			}
			fmt.Fprintf(&again, "%s=%s\n", name, value)
		}
		if got := parseNotice([]byte(again.String())); !maps.Equal(got, vars) {
			t.Errorf("%q gives %q, and that %q", b, vars, got)
		}
	})
}

// statText is a /proc/PID/stat.
func statText(comm string, state byte, ppid, session, threads int, born uint64) string {
	return fmt.Sprintf("17 (%s) %c %d 17 %d 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 %d 0 %d 1000 200 18446744073709551615 0 0\n", comm, state, ppid, session, threads, born)
}

func TestParseStat(t *testing.T) {
	want := stat{state: 'S', ppid: 1, session: 16, threads: 3, born: 123456789012}
	for _, comm := range []string{"sh", "", "a b", "a) R 2 3 4", "((", "))", ") Z 0 0 0 0 (", "a\nb", "\xff\x00", "1 2 3 4 5 6 7 8"} {
		text := statText(comm, 'S', 1, 16, 3, 123456789012)
		if got, ok := parseStat([]byte(text)); !ok || got != want {
			t.Errorf("parseStat(%q) = %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "17", "17 (sh", "17 (sh)", "17 (sh) S 1 17 16", strings.Replace(statText("sh", 'S', 1, 16, 3, 9), " 16 ", " x ", 1),
		strings.Replace(statText("sh", 'S', 1, 16, 3, 9), " 3 0 9 ", " 3 0 -9 ", 1), strings.Repeat(")", 30), strings.Repeat(") ", 30),
	} {
		if got, ok := parseStat([]byte(text)); ok {
			t.Errorf("parseStat(%q) = %+v, want none", text, got)
		}
	}
	for _, tt := range []struct {
		state   byte
		threads int
		want    bool
	}{{'Z', 1, true}, {'Z', 0, true}, {'Z', 2, false}, {'S', 1, false}, {'R', 0, false}} {
		st, ok := parseStat([]byte(statText("sh", tt.state, 1, 16, tt.threads, 9)))
		if !ok || st.dead() != tt.want {
			t.Errorf("a process in state %c with %d threads: dead is %v, want %v", tt.state, tt.threads, st.dead(), tt.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("a) S 1 (", byte('Z'), 1, 2, 3, uint64(4))
	f.Add("\n", byte('R'), 0, -1, 0, uint64(1<<63))
	f.Fuzz(func(t *testing.T, comm string, state byte, ppid, session, threads int, born uint64) {
		parseStat([]byte(comm)) // whatever it is
		if !('A' <= state && state <= 'z') || state == ')' {
			state = 'S'
		}
		want := stat{state, ppid, session, threads, born}
		if got, ok := parseStat([]byte(statText(comm, state, ppid, session, threads, born))); !ok || got != want {
			t.Errorf("the name %q gives %+v, %v, want %+v", comm, got, ok, want)
		}
	})
}

func TestPidsIn(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []int
	}{
		{"", nil}, {"7\n12\n", []int{7, 12}}, {"7 12 ", []int{7, 12}},
		{"0\n7\n0\n", []int{7}}, // of another pid namespace: never to be signalled
		{"-1\n-7\nx\n99999999999999999999\n+3\n", []int{3}},
	} {
		if got := pidsIn([]byte(tt.text)); !slices.Equal(got, tt.want) {
			t.Errorf("pidsIn(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}

func FuzzPidsIn(f *testing.F) {
	f.Add([]byte("0\n1\n-1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, pid := range pidsIn(b) {
			if pid <= 0 {
				t.Errorf("%q gives pid %d: that is a process group", b, pid)
			}
		}
	})
}

func TestHasVars(t *testing.T) {
	for _, tt := range []struct {
		env, mark string
		want      bool
	}{
		{"A=1\x00B=2\x00", "A=1\x00B=2", true},
		{"B=2\x00C=3\x00A=1", "A=1\x00B=2", true},
		{"A=1\x00", "A=1\x00B=2", false},
		{"A=11\x00B=2\x00", "A=1\x00B=2", false},
		{"XA=1\x00B=2\x00", "A=1\x00B=2", false},
		{"X=A=1\x00B=2\x00", "A=1\x00B=2", false},
		{"", "A=1", false},
	} {
		if got := hasVars([]byte(tt.env), tt.mark); got != tt.want {
			t.Errorf("hasVars(%q, %q) = %v, want %v", tt.env, tt.mark, got, tt.want)
		}
	}
}

const (
	v1Mounts = `24 30 0:22 / /proc rw,nosuid shared:5 - proc proc rw
31 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
35 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`
	v2Mount       = "32 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	unifiedMount  = "36 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	nestedMount   = "905 900 0:27 /docker/4f2a /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
	outsideMount  = "905 900 0:27 /../.. /host/cgroup rw - cgroup2 cgroup rw\n"
	strangeMount  = `905 900 0:27 /a\040b\134c /mnt/x\011y\012z rw - cgroup2 cgroup rw` + "\n"
	foreignMount  = "906 900 0:27 /kubepods/1 /mnt/kube rw - cgroup2 cgroup rw\n"
	noDashAtAll   = "906 900 0:27 / /mnt/kube rw cgroup2 cgroup rw\n"
	cgroup2InPath = "906 900 0:27 / /mnt/cgroup2 rw - tmpfs cgroup2 rw\n"
)

func TestCgroupDir(t *testing.T) {
	for _, tt := range []struct{ name, mounts, own, want, err string }{
		{"v2", v2Mount, "0::/user.slice/user-1000.slice\n", "/sys/fs/cgroup/user.slice/user-1000.slice", ""},
		{"v2, at the root", v2Mount, "0::/\n", "/sys/fs/cgroup", ""},
		{"hybrid", v1Mounts + unifiedMount, "4:memory:/x\n1:name=systemd:/y\n0::/system.slice/a.service\n", "/sys/fs/cgroup/unified/system.slice/a.service", ""},
		{"v1 only", v1Mounts, "4:memory:/x\n1:name=systemd:/y\n", "", "/proc/self/cgroup names no cgroup of the v2 hierarchy"},
		{"v1 is all that is mounted", v1Mounts, "4:memory:/x\n0::/\n", "", "no cgroup v2 hierarchy is mounted"},
		{"nothing", "", "", "", "/proc/self/cgroup names no cgroup of the v2 hierarchy"},
		{"container that sees its host's names", nestedMount, "0::/docker/4f2a\n", "/sys/fs/cgroup", ""},
		{"nested in that", nestedMount, "0::/docker/4f2a/init/a.b\n", "/sys/fs/cgroup/init/a.b", ""},
		{"container with a namespace", v2Mount, "0::/init.scope\n", "/sys/fs/cgroup/init.scope", ""},
		{"a neighbour of what is mounted", nestedMount, "0::/docker/4f2abc\n", "", "the cgroup v2 hierarchy at /sys/fs/cgroup does not show our cgroup /docker/4f2abc"},
		{"above what is mounted", nestedMount, "0::/docker\n", "", "the cgroup v2 hierarchy at /sys/fs/cgroup does not show our cgroup /docker"},
		{"moved out of the namespace", v2Mount, "0::/../other\n", "", "the cgroup v2 hierarchy at /sys/fs/cgroup does not show our cgroup /../other"},
		{"the host's mount in a namespace", outsideMount, "0::/\n", "", "the cgroup v2 hierarchy at /host/cgroup does not show our cgroup /"},
		{"below the host's mount", outsideMount, "0::/../../a\n", "/host/cgroup/a", ""},
		{"far above the host's mount", outsideMount, "0::/../../../a\n", "", "the cgroup v2 hierarchy at /host/cgroup does not show our cgroup /../../../a"},
		{"another part is mounted first", foreignMount + v2Mount, "0::/a\n", "/sys/fs/cgroup/a", ""},
		{"escapes", strangeMount, "0::/a b\\c/d e\n", "/mnt/x\ty\nz/d e", ""},
		{"lines of other forms", "\n - \n - cgroup2 \na b - cgroup2 x\n" + noDashAtAll + cgroup2InPath + v2Mount, "\n0:/\n0::\n::\n0::/a", "/sys/fs/cgroup/a", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cgroupDir(tt.mounts, tt.own)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("cgroupDir(%q, %q) = %q, %v, want %q, %s", tt.mounts, tt.own, got, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzCgroupDir(f *testing.F) {
	f.Add(v1Mounts+unifiedMount, "1:name=systemd:/y\n0::/system.slice/a.service\n")
	f.Add(nestedMount, "0::/docker/4f2a/x")
	f.Add(outsideMount, "0::/../../..")
	f.Add(strangeMount, "0::/a b\\c/../d\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		dir, err := cgroupDir(mounts, own)
		if (err == nil) != (dir != "") {
			t.Fatalf("cgroupDir(%q, %q) = %q, %v", mounts, own, dir, err)
		}
		if err != nil {
			return
		}
		for _, mount := range cgroup2Mounts(mounts) {
			if rel, err := filepath.Rel(mount, dir); err == nil && filepath.IsLocal(rel) {
				return
			}
		}
		t.Errorf("cgroupDir(%q, %q) = %q, which is below no mount", mounts, own, dir)
	})
}

// What the kernel says of this process is understood, whatever its cgroup is.
func TestOwnCgroup(t *testing.T) {
	dir, err := ownCgroup()
	if err != nil {
		mounts, readErr := os.ReadFile("/proc/self/mountinfo")
		if readErr != nil {
			t.Fatal(readErr)
		}
		for root, mount := range cgroup2Mounts(string(mounts)) {
			t.Logf("%s shows %s: %v", mount, root, err)
		}
		return
	}
	if pids := cgroupPids(dir); !slices.Contains(pids, os.Getpid()) {
		t.Errorf("%s has pids %v, want our own, %d", dir, pids, os.Getpid())
	}
}

// The kernel's own words for this process.
func TestReadStat(t *testing.T) {
	st, ok := readStat(os.Getpid())
	if !ok || st.ppid != os.Getppid() || st.threads < 2 || st.dead() || st.born == 0 || st.born > bootTicks() {
		t.Errorf("readStat of ourselves = %+v, %v; now is %d", st, ok, bootTicks())
	}
	if st, ok := readStat(1 << 30); ok {
		t.Errorf("readStat of a pid that cannot be = %+v", st)
	}
}

func FuzzShimOrder(f *testing.F) {
	f.Add("/bin/sh", "sh\x00-c\x00:", 7, uint64(1<<64-1), "web:api\x00b", uint32(1000), uint32(0), true)
	f.Add("/\xff\n\x01", "", -1, uint64(0), "", uint32(0), uint32(1<<32-1), false)
	f.Fuzz(func(t *testing.T, path, args string, resource int, value uint64, names string, uid, gid uint32, user bool) {
		parseOrder([]string{shimName, path, args}) // whatever it is
		spec := Spec{Path: path, Argv: strings.Split(args, "\x00")}
		sh := &Shim{Rlimits: []Rlimit{{resource, value}}}
		if names != "" {
			sh.FDNames = strings.Split(strings.ToValidUTF8(names, "?"), "\x00")
		}
		if user {
			spec.Cred = &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{gid, uid}}
		}
		exe, argv := sh.command(spec)
		if exe != "/proc/self/exe" || argv[0] != shimName || strings.Contains(argv[1], "\x00") {
			t.Fatalf("command = %q, %q", exe, argv)
		}
		order, rest, err := parseOrder(argv)
		want := shimOrder{Path: []byte(path), Limits: sh.Rlimits, FDNames: sh.FDNames, Cred: spec.Cred}
		if err != nil || !reflect.DeepEqual(order, want) || !slices.Equal(rest, spec.Argv) {
			t.Errorf("the order %s becomes %+v, %q, %v, want %+v, %q", argv[1], order, rest, err, want, spec.Argv)
		}
	})
}

// An order that is none is refused, and says what is wrong with it.
func TestShimRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{shimName}, "usage: this name is for the supervisor's own use"},
		{[]string{shimName, "{}"}, "usage: this name is for the supervisor's own use"},
		{[]string{shimName, "x", "sh"}, "invalid character 'x' looking for beginning of value"},
		{[]string{shimName, "{}", "sh"}, "exec : no such file or directory"},
		{[]string{shimName, `{"Limits":[{"Resource":99,"Value":1}]}`, "sh"}, "setrlimit 99 to 1: invalid argument"},
	} {
		if err := shim(tt.args); err == nil || err.Error() != tt.want {
			t.Errorf("shim(%q) = %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestLimitNames(t *testing.T) {
	for name, n := range rlimits {
		got, ok := LimitNumber(strings.ToUpper(name))
		if !ok || got != n || limitName(n) != "RLIMIT_"+strings.ToUpper(name) {
			t.Errorf("LimitNumber(%q) = %d, %v, and limitName(%d) = %s", name, got, ok, n, limitName(n))
		}
	}
	if n, ok := LimitNumber("nofiles"); ok {
		t.Errorf("LimitNumber(nofiles) = %d", n)
	}
	if got := limitName(99); got != "99" {
		t.Errorf("limitName(99) = %s", got)
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		ws   Status
		text string
		code int
	}{
		{0, "exit status 0", 0},
		{7 << 8, "exit status 7", 7},
		{unknownStatus, "exit status 255", 255},
		{15, "killed by SIGTERM", -15},
		{9, "killed by SIGKILL", -9},
		{6 | 0x80, "killed by SIGABRT", -6}, // it left a core
		{35, "killed by SIGRTMIN+1", -35},
		{32, "killed by signal 32", -32},
	} {
		if got := tt.ws.String(); got != tt.text || tt.ws.Code() != tt.code || tt.ws.Success() != (tt.ws == 0) {
			t.Errorf("status %#x is %q, %d, %v, want %q, %d", int(tt.ws), got, tt.ws.Code(), tt.ws.Success(), tt.text, tt.code)
		}
	}
	if got := SignalName(0); got != "signal 0" {
		t.Errorf("SignalName(0) = %s", got)
	}
}

// Of several trees of a slot the age decides.
func TestYoungestBefore(t *testing.T) {
	a, b, c := &Tree{born: 10}, &Tree{born: 20}, &Tree{born: 30}
	for born, want := range map[uint64]*Tree{9: nil, 10: a, 19: a, 20: b, 29: b, 30: c, 99: c} {
		if got := youngestBefore([]*Tree{b, c, a}, born); got != want {
			t.Errorf("of trees born at 10, 20 and 30 %d gives %p, want %p", born, got, want)
		}
	}
}
