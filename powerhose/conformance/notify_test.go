package conformance

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A worker that ends to be replaced announces it, after READY=1 and before it
// ends with status 0: a supervisor does not take that for a death.
func TestAnnounced(t *testing.T) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			path := filepath.Join(scratch(t), "n")
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			m := newMaster(t, single)
			p := l.start(t, m.Address(), "w", "MAXJOBS=2", "NOTIFY_SOCKET="+path)
			idle(t, m, 1)
			for range 2 {
				do(t, m, "echo")
			}
			if got := p.status(); got != 0 {
				t.Errorf("status %d, want 0", got)
			}
			// All that it has said is there, and nobody else speaks.
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteToUnix([]byte("END=1"), &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
				t.Fatal(err)
			}
			var said []string
			for b := make([]byte, 100); ; {
				n, err := c.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(b[:n])) {
					if line = strings.TrimSpace(line); !strings.HasPrefix(line, "BUSY=") {
						said = append(said, line)
					}
				}
				if said != nil && said[len(said)-1] == "END=1" {
					break
				}
			}
			if got := strings.Join(said, " "); got != "READY=1 STOPPING=1 END=1" {
				t.Errorf("it says %s", got)
			}
		})
	}
}
