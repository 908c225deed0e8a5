package cpp

import (
	"encoding/hex"
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
	enc := func(h wire.Head) string { return hex.EncodeToString(encode(t, &h)) }
	job := func(n uint64, body string) string {
		return enc(wire.Head{Type: wire.Job, Number: n, Left: 60000, Attempt: 1}) + ":" + hex.EncodeToString([]byte(body))
	}
	long := strings.Repeat("\x00long", 20000) // not one frame of libzmq's buffers
	cmd := exec.Command(python, "testdata/master.py", m.path, enc(m.welcome), enc(wire.Head{Type: wire.Drain, Code: wire.Stop}), enc(wire.Head{Type: wire.Bye, Code: wire.Stop}))
	cmd.Stdin = strings.NewReader(strings.Join([]string{job(1, "a\x00b"), job(2, ""), job(3, long), job(4, "throw-int")}, "\n"))
	cmd.WaitDelay = patience
	var stderr strings.Builder
	cmd.Stderr = &stderr
	p := m.start("retry=50")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("master.py: %v; tools/setup test installs what it needs\n%s", err, stderr.String())
	}
	p.exits(0, "leaves: the master asks for it")
	lines := strings.Fields(string(out))
	if len(lines) < 2 || lines[0] != lines[1] {
		t.Fatalf("the HELLOs differ:\n%s", out)
	}
	var got []string
	for _, l := range lines[2:] {
		head, body, _ := strings.Cut(l, ":")
		b, err := hex.DecodeString(head)
		if err != nil {
			t.Fatal(err)
		}
		var h wire.Head
		if err := wire.Decode(b, &h); err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Type.String())
		if h.Number == 3 && body != hex.EncodeToString([]byte(long)) {
			t.Errorf("a body of %d bytes came back as %d others", len(long), len(body)/2)
		}
	}
	if want := "RESULT RESULT RESULT ERROR DRAIN BYE"; strings.Join(got, " ") != want {
		t.Errorf("the master got %q, want %s", got, want)
	}
}
