package rpm

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// An ar archive is a magic word and members: a header of 60 bytes with decimal numbers,
// and content that is padded to an even length.
const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// An arReader reads the members of an ar archive in their order.
type arReader struct {
	r    io.Reader
	body *io.LimitedReader // of the current member
	odd  bool
}

// next gives the name of the next member and its size; the error is io.EOF behind
// the last.
func (a *arReader) next() (name string, size int64, err error) {
	if a.body != nil {
		if _, err := io.Copy(io.Discard, a.body); err != nil {
			return "", 0, err
		}
		if a.body.N > 0 {
			return "", 0, io.ErrUnexpectedEOF
		}
		if a.odd {
			var pad [1]byte
			if _, err := io.ReadFull(a.r, pad[:]); err != nil {
				return "", 0, cut(err)
			}
			if pad[0] != '\n' && pad[0] != 0 {
				return "", 0, malformed("has %q between two members", pad[0])
			}
		}
	}
	var b [arHeader]byte
	if _, err := io.ReadFull(a.r, b[:]); err != nil {
		return "", 0, err
	}
	if b[58] != '`' || b[59] != '\n' {
		return "", 0, malformed("has a member without the end of its header")
	}
	name = strings.TrimSuffix(strings.TrimRight(string(b[:16]), " "), "/")
	size, err = strconv.ParseInt(strings.TrimRight(string(b[48:58]), " "), 10, 64)
	if err != nil || size < 0 || b[48] == '+' {
		return "", 0, malformed("has a member of size %q", b[48:58])
	}
	a.body, a.odd = &io.LimitedReader{R: a.r, N: size}, size%2 == 1
	return name, size, nil
}

// arMember encodes the header of a member of our own.
func arMember(name string, mtime, size int64) []byte {
	return fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, mtime, 0, 0, "100644", size)
}
