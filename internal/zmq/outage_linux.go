package zmq

import (
	"math"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// limitUnanswered limits how long what was written may be without an answer. It
// is the end of the probes too, instead of their number.
func limitUnanswered(c *net.TCPConn, d time.Duration) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	err = raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(min(d.Milliseconds(), math.MaxInt32)))
	})
	if err == nil {
		err = os.NewSyscallError("setsockopt", setErr)
	}
	return err
}
