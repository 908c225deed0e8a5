package zmq

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"strings"
)

// Flags of a frame (RFC 23, "Framing"). In a CURVE message (RFC 26) the first and
// the third are inside of the box, as flagMore and boxCommand.
const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
	boxCommand  = 2
)

// appendHeader writes flags and length of a frame.
func appendHeader(b []byte, flags byte, n int) []byte {
	if n <= 255 {
		return append(b, flags, byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, flags|flagLong), uint64(n))
}

// appendCommand writes a command as a frame of its own.
func appendCommand(b []byte, name string, body []byte) []byte {
	b = appendHeader(b, flagCommand, 1+len(name)+len(body))
	return append(appendName(b, name), body...)
}

func appendName(b []byte, name string) []byte {
	return append(append(b, byte(len(name))), name...)
}

// readHeader reads flags and length, and refuses flags that mean nothing. An
// error of r is returned as it is; io.EOF only if nothing was read.
func readHeader(r *bufio.Reader) (flags byte, n uint64, err error) {
	flags, err = r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	switch {
	case flags&^(flagMore|flagLong|flagCommand) != 0:
		return 0, 0, protocolErrorf("a frame with reserved flags: %#02x", flags)
	case flags&(flagCommand|flagMore) == flagCommand|flagMore:
		return 0, 0, protocolErrorf("a command with the flag MORE")
	}
	if flags&flagLong == 0 {
		short, err := r.ReadByte()
		return flags, uint64(short), unexpected(err)
	}
	var long [8]byte
	for i := range long {
		if long[i], err = r.ReadByte(); err != nil {
			return 0, 0, unexpected(err)
		}
	}
	return flags, binary.BigEndian.Uint64(long[:]), nil
}

// unexpected turns the end of a stream inside of a frame into
// [io.ErrUnexpectedEOF].
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// splitCommand gives name and body of a command (RFC 23, "Commands").
func splitCommand(b []byte) (name string, body []byte, err error) {
	if len(b) == 0 || b[0] == 0 || int(b[0]) > len(b)-1 {
		return "", nil, protocolErrorf("a command without a whole name")
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], nil
}

// parseMetadata calls property for each property, its name folded (RFC 23, "The
// READY Command").
func parseMetadata(b []byte, property func(name string, value []byte) error) error {
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 || len(b) < 1+n+4 {
			return protocolErrorf("metadata that ends inside of a property")
		}
		name := strings.ToLower(string(b[1 : 1+n]))
		size := binary.BigEndian.Uint32(b[1+n:])
		b = b[1+n+4:]
		if uint64(size) > uint64(len(b)) {
			return protocolErrorf("property %q of %d bytes, of which %d are there", name, size, len(b))
		}
		if err := property(name, b[:size:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// parse reads the metadata of a READY into p.
func (p *Peer) parse(b []byte) error {
	seen := false
	err := parseMetadata(b, func(name string, value []byte) error {
		switch name {
		case "socket-type":
			if seen {
				return protocolErrorf("two socket types")
			}
			seen = true
			p.Type = string(value)
		case "identity":
			p.Identity = string(value)
		}
		return nil
	})
	if err == nil && !seen {
		err = protocolErrorf("no socket type")
	}
	return err
}

// parseReason reads the body of an ERROR.
func parseReason(b []byte) error {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return &RefusedError{"no reason"}
	}
	return &RefusedError{string(b[1 : 1+int(b[0])])}
}

func appendReason(b []byte, reason string) []byte {
	reason = reason[:min(len(reason), 255)]
	return append(append(b, byte(len(reason))), reason...)
}

// parsePing splits the body of a PING: its time to live in tenths of a second,
// and the context that its PONG repeats (RFC 37).
func parsePing(b []byte) (ttl uint16, context []byte, err error) {
	if len(b) < 2 || len(b) > 2+16 {
		return 0, nil, protocolErrorf("a PING of %d bytes; it has 2 to 18", len(b))
	}
	return binary.BigEndian.Uint16(b), b[2:], nil
}

// greetingSize is the length of a greeting in bytes.
const greetingSize = 64

// checkGreeting judges the first bytes of a peer, as many as there are (RFC 23,
// "Greeting"). Bytes 1 to 8 and the filler are ignored, as is as-server, which
// not all peers set.
func checkGreeting(b []byte, mechanism string) error {
	if len(b) > 0 && b[0] != 0xff {
		return protocolErrorf("%#02x where a greeting begins: it does not speak ZMTP 3", b[0])
	}
	if len(b) > 9 && b[9] != 0x7f {
		return protocolErrorf("no signature: it speaks ZMTP 1 or something else")
	}
	if len(b) > 10 && b[10] < 3 {
		return protocolErrorf("version byte %d of a greeting: it speaks ZMTP 2; only 3.0 and later are spoken here", b[10])
	}
	if len(b) >= 32 {
		if theirs := bytes.TrimRight(b[12:32], "\x00"); string(theirs) != mechanism {
			return protocolErrorf("mechanism %q; here it is %s", theirs, mechanism)
		}
	}
	if len(b) > 32 && b[32] > 1 {
		return protocolErrorf("as-server %d in its greeting; it is 0 or 1", b[32])
	}
	return nil
}
