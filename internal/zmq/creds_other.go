//go:build !linux

package zmq

import (
	"errors"
	"net"
)

func unixCredentials(*net.UnixConn) (Credentials, error) {
	return Credentials{}, errors.ErrUnsupported
}
