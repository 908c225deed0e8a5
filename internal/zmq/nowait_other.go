//go:build !linux

package zmq

import (
	"errors"
	"net"
	"syscall"
)

// A nowait is not there.
type nowait struct {
	raw         syscall.RawConn
	push, drain func(fd uintptr) bool
}

func newNowait(net.Conn) *nowait { return nil }

func (*nowait) arrived() bool { return false }

func (*nowait) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (*nowait) load([]chunk) {}

func (*nowait) write(uintptr) (int, error) { return 0, errors.ErrUnsupported }
