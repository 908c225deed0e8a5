package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// A Status is the first byte of an answer on the standard output of a worker
// that reads jobs from its standard input.
type Status uint8

// The statuses. Any other is a broken worker.
const (
	Done   Status = 0 // the body is the result
	Failed Status = 1 // the body is the text of an error of the application
	Refuse Status = 2 // the worker does not take such a job; the body says why
)

// eager is how much memory a length alone is worth: what is longer grows as its
// bytes arrive.
const eager = 64 << 10

// ErrPipeTooLong is a job or an answer of more bytes than the reader takes. A
// reader says with a [PipeTooLongError] how many they are; it has read none of them.
var ErrPipeTooLong = errors.New("is too long")

// A PipeTooLongError is a body of Size bytes, where Limit are taken.
type PipeTooLongError struct{ Size, Limit int64 }

// Error is one sentence.
func (e *PipeTooLongError) Error() string {
	return fmt.Sprintf("a body of %d bytes %v; at most %d are taken", e.Size, ErrPipeTooLong, e.Limit)
}

// Unwrap gives [ErrPipeTooLong].
func (e *PipeTooLongError) Unwrap() error { return ErrPipeTooLong }

// AppendPipeJob writes a job as such a worker reads it: the length in four bytes,
// and the body.
func AppendPipeJob(dst, body []byte) ([]byte, error) {
	return appendCounted(dst, body)
}

// AppendPipeAnswer writes an answer: the status, and the body as in a job.
func AppendPipeAnswer(dst []byte, s Status, body []byte) ([]byte, error) {
	out, err := appendCounted(append(dst, byte(s)), body)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func appendCounted(dst, body []byte) ([]byte, error) {
	if uint64(len(body)) > math.MaxUint32 {
		return dst, fmt.Errorf("a body of %d bytes %w", len(body), ErrPipeTooLong)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(body))), body...), nil
}

// ReadPipeJob reads a job of at most limit bytes into buf, which grows if it has
// to. The error is io.EOF if the input ended before the first byte, and
// io.ErrUnexpectedEOF if it ended later.
func ReadPipeJob(r io.Reader, limit int, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	return readBody(r, binary.BigEndian.Uint32(head[:]), limit, buf)
}

// ReadPipeAnswer reads an answer likewise. A status that there is not is an error.
// The status is there with a [PipeTooLongError] too.
func ReadPipeAnswer(r io.Reader, limit int, buf []byte) (Status, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	s := Status(head[0])
	if s > Refuse {
		return 0, nil, fmt.Errorf("an answer begins with byte %d; it can be 0, 1 or 2", s)
	}
	body, err := readBody(r, binary.BigEndian.Uint32(head[1:]), limit, buf)
	return s, body, err
}

func readBody(r io.Reader, size uint32, limit int, buf []byte) ([]byte, error) {
	if int64(size) > int64(limit) {
		return nil, &PipeTooLongError{int64(size), int64(limit)}
	}
	buf = buf[:0]
	for left := int(size); left > 0; {
		// Never more than twice of what has come.
		n := min(left, max(eager, len(buf)))
		buf = slices.Grow(buf, n)
		chunk := buf[len(buf) : len(buf)+n]
		if _, err := io.ReadFull(r, chunk); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		buf = buf[:len(buf)+n]
		left -= n
	}
	return buf, nil
}
