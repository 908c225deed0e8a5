//go:build !linux

package zmq

import (
	"errors"
	"net"
)

func unixCredentials(*net.UnixConn) (Credentials, error) {
	return Credentials{}, errors.ErrUnsupported
}

// A nowait is not there.
type nowait struct{}

func writesNow(net.Conn) *nowait { return nil }

func (*nowait) arrived() bool { return false }

func (*nowait) write([]byte) (int, error) { return 0, nil }
