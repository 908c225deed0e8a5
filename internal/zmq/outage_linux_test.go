package zmq

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Both ends of a link over TCP tell the kernel how long an outage may be.
func TestOutage(t *testing.T) {
	leavesNothing(t)
	server, client := curvePair(t)
	server.Outage, client.Outage = 6*time.Second, 50*time.Millisecond
	r, d := newRouter(t, server), newDealer(t, client)
	connect(t, d, bind(t, r, "tcp://127.0.0.1:0"))
	if err := d.Send(soon(t), []byte("x")); err != nil {
		t.Fatal(err)
	}
	wantText(t, r, "x")
	options := func(l *Link) string {
		raw, err := l.nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		err = raw.Control(func(fd uintptr) {
			for _, o := range [][2]int{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
			} {
				n, err := unix.GetsockoptInt(int(fd), o[0], o[1])
				if err != nil {
					t.Error(err)
				}
				got = append(got, n)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	accepted, dialled := firstLink(r.socket), firstLink(d.socket)
	if got, want := options(accepted), "[1 2 2 3 6000]"; got != want {
		t.Errorf("options of the accepted end: %s, want %s", got, want)
	}
	if got, want := options(dialled), "[1 1 1 3 2000]"; got != want {
		t.Errorf("options of the dialled end: %s, want %s", got, want)
	}
	if err := dialled.SetOutage(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	if got, want := options(dialled), "[1 5 5 3 15000]"; got != want {
		t.Errorf("options afterwards: %s, want %s", got, want)
	}
}
