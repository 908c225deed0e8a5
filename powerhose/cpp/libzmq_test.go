package cpp

import (
	"bufio"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appbundle/powerhose/internal/wire"
)

// A master may be one of libzmq, with heartbeats of its own.
func TestLibzmq(t *testing.T) {
	t.Parallel()
	python, err := filepath.Abs("../../out/servers/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if err := read("testdata/master.py"); err != nil {
		t.Fatal(err)
	}
	m := newMaster(t)
	m.l.Close()
	playLibzmq(t, m.welcome, []string{python, "testdata/master.py"}, nil, "ipc://"+m.path, func(string) *process { return m.start("retry=50") })
}

// playLibzmq runs a master on libzmq at an endpoint, and a worker that start
// starts for it.
func playLibzmq(t *testing.T, welcome wire.Head, argv, env []string, endpoint string, start func(endpoint string) *process) {
	t.Helper()
	enc := func(h wire.Head) string { return hex.EncodeToString(encode(t, &h)) }
	job := func(n uint64, body string) string {
		return enc(wire.Head{Type: wire.Job, Number: n, Left: 60000, Attempt: 1}) + ":" + hex.EncodeToString([]byte(body))
	}
	long := strings.Repeat("\x00long", 20000) // not one frame of libzmq's buffers
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], endpoint, enc(welcome),
		enc(wire.Head{Type: wire.Drain, Code: wire.Stop}), enc(wire.Head{Type: wire.Bye, Code: wire.Stop}))...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(strings.Join([]string{job(1, "a\x00b"), job(2, ""), job(3, long), job(4, "throw-int")}, "\n"))
	cmd.WaitDelay = patience
	var stderr output
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: %v; tools/setup test installs what it needs", argv, err)
	}
	out := bufio.NewReader(stdout)
	line := func() string {
		s, _ := out.ReadString('\n') // an end is seen below
		return strings.TrimSuffix(s, "\n")
	}
	p := start(line())
	first, second := line(), line()
	var got []string
	for range 6 {
		head, body, _ := strings.Cut(line(), ":")
		b, err := hex.DecodeString(head)
		var h wire.Head
		if err == nil {
			err = wire.Decode(b, &h)
		}
		if err != nil {
			t.Errorf("%q: %v", head, err)
			break
		}
		got = append(got, h.Type.String())
		if h.Number == 3 && body != hex.EncodeToString([]byte(long)) {
			t.Errorf("a body of %d bytes came back as %d others", len(long), len(body)/2)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, stderr.String())
	}
	p.exits(0, "leaves: the master asks for it")
	if first != second || first == "" {
		t.Errorf("the HELLOs differ: %q, %q", first, second)
	}
	if want := "RESULT RESULT RESULT ERROR DRAIN BYE"; strings.Join(got, " ") != want {
		t.Errorf("the master got %q, want %s", got, want)
	}
}
