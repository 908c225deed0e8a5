package powerhose

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// A notifier tells the supervisor how busy a worker is: BUSY=n/100, the share of
// the last second in which it ran jobs.
type notifier struct {
	nc   net.Conn
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	told  bool // READY=1
	since time.Time
	busy  time.Duration
	began time.Time // the job that runs; zero is none
}

// notifyPeriod is how often the supervisor is told.
const notifyPeriod = time.Second

// notify tells the socket at path; an empty path, or one at which nobody
// listens, gives a notifier that tells nobody.
func notify(path string) *notifier {
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	nc, err := net.Dial("unixgram", path)
	if err != nil {
		return nil
	}
	n := &notifier{nc: nc, stop: make(chan struct{}), since: time.Now()}
	n.done.Go(n.run)
	return n
}

func (n *notifier) run() {
	tick := time.NewTicker(notifyPeriod)
	defer tick.Stop()
	last := -1
	for {
		select {
		case <-n.stop:
			return
		case now := <-tick.C:
			if share := n.share(now); share != last {
				last = share
				n.say(fmt.Sprintf("BUSY=%d/100", share))
			}
		}
	}
}

// share is how much of the time since the last call had jobs, in hundredths.
func (n *notifier) share(now time.Time) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.began.IsZero() {
		n.busy += now.Sub(n.began)
		n.began = now
	}
	whole := max(now.Sub(n.since), 1)
	share := int(100 * n.busy / whole)
	n.busy, n.since = 0, now
	return max(0, min(share, 100))
}

// say waits at most a period for a supervisor that does not read.
func (n *notifier) say(text string) {
	_ = n.nc.SetWriteDeadline(time.Now().Add(notifyPeriod))
	_, _ = n.nc.Write([]byte(text))
}

func (n *notifier) ready() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.told {
		n.told = true
		n.say("READY=1")
	}
}

// stopping announces the end of the process: with status 0 it is no death then.
func (n *notifier) stopping() {
	if n != nil {
		n.say("STOPPING=1")
	}
}

func (n *notifier) begin(now time.Time) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.began = now
}

func (n *notifier) end(now time.Time) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy += now.Sub(n.began)
	n.began = time.Time{}
}

func (n *notifier) close() {
	if n == nil {
		return
	}
	close(n.stop)
	n.done.Wait()
	n.nc.Close()
}
