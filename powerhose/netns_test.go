package powerhose

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setDevice switches a network device of this namespace on or off, with an address
// of a network of 256, if it is given one.
func setDevice(name, address string, up bool) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	set := func(request uint, value func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = value(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, request, r)
		}
		if err != nil {
			return fmt.Errorf("device %s: ioctl %#x: %w", name, request, err)
		}
		return nil
	}
	if address != "" {
		for _, a := range []struct {
			request uint
			ip      net.IP
		}{{unix.SIOCSIFADDR, net.ParseIP(address).To4()}, {unix.SIOCSIFNETMASK, net.IPv4(255, 255, 255, 0).To4()}} {
			if err := set(a.request, func(r *unix.Ifreq) error { return r.SetInet4Addr(a.ip) }); err != nil {
				return err
			}
		}
	}
	return set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		if up {
			r.SetUint16(unix.IFF_UP)
		}
		return nil
	})
}

// newVeth makes a cable: a device here, and one in the namespace of a process.
func newVeth(here, there string, pid int) error {
	const (
		infoKind, infoData = 1, 2 // IFLA_INFO_KIND, IFLA_INFO_DATA
		infoPeer           = 1    // VETH_INFO_PEER
	)
	name := func(s string) []byte { return netlinkAttr(unix.IFLA_IFNAME, append([]byte(s), 0)) }
	device := make([]byte, unix.SizeofIfInfomsg)
	peer := append(append(device[:len(device):len(device)], name(there)...), netlinkAttr(unix.IFLA_NET_NS_PID, binary.NativeEndian.AppendUint32(nil, uint32(pid)))...)
	info := append(netlinkAttr(infoKind, []byte("veth")), netlinkAttr(infoData, netlinkAttr(infoPeer, peer))...)
	body := append(append(device[:len(device):len(device)], name(here)...), netlinkAttr(unix.IFLA_LINKINFO, info)...)
	return netlink(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
}

// tryVeth says whether there can be a cable.
func tryVeth() error {
	if err := newVeth("try0", "try1", os.Getpid()); err != nil {
		return err
	}
	dev, err := net.InterfaceByName("try0")
	if err != nil {
		return err
	}
	device := make([]byte, unix.SizeofIfInfomsg)
	(*unix.IfInfomsg)(unsafe.Pointer(&device[0])).Index = int32(dev.Index)
	return netlink(unix.RTM_DELLINK, 0, device)
}

// netlinkAttr is an attribute, with what follows it aligned.
func netlinkAttr(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%unix.RTA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// netlink asks the kernel for one thing, and waits for its answer.
func netlink(kind, flags uint16, body []byte) error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	b = append(append(b, make([]byte, 8)...), body...) // its number, and who sends
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: an answer that is none")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return fmt.Errorf("netlink %d: %w", kind, syscall.Errno(-code))
	}
	return nil
}
