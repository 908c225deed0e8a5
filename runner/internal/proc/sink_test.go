package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A balky writer takes what its answers say: so many bytes, and then an error.
type balkyWriter struct {
	buf     strings.Builder
	answers []answer
}

type answer struct {
	n   int
	err error
}

func (w *balkyWriter) Write(b []byte) (int, error) {
	a := answer{len(b), nil}
	if len(w.answers) > 0 {
		a, w.answers = w.answers[0], w.answers[1:]
	}
	w.buf.Write(b[:a.n])
	return a.n, a.err
}

// What passes is tried again with the next lines, and what was lost is counted;
// what stays ends the output for good. A line that was cut is ended.
func TestSink(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "log", Err: unix.ENOSPC}
	for _, tt := range []struct {
		name    string
		answers []answer // to "one\n", "two\nthree\n", "four\n"
		written string
		told    string
	}{
		{"well", nil, "one\ntwo\nthree\nfour\n", ""},
		{"full once", []answer{{0, full}}, "two\nthree\nfour\n", "fail: write log: no space left on device\nback: 1 4\n"},
		{"full twice", []answer{{0, full}, {0, full}}, "four\n", "fail: write log: no space left on device\nback: 3 14\n"},
		{"cut", []answer{{4, nil}, {6, full}}, "one\ntwo\nth\nfour\n", "fail: write log: no space left on device\nback: 1 4\n"},
		{"cut, then nothing", []answer{{2, full}, {0, full}}, "on\nfour\n", "fail: write log: no space left on device\nback: 3 12\n"},
		{"cut, then its end", []answer{{2, full}, {1, full}}, "on\nfour\n", "fail: write log: no space left on device\nback: 3 12\n"},
		{"cut between lines", []answer{{4, nil}, {4, unix.EAGAIN}}, "one\ntwo\nfour\n", "fail: resource temporarily unavailable\nback: 1 6\n"},
		{"never again", []answer{{0, unix.EPIPE}}, "", "fail: broken pipe\n"},
		{"worse and worse", []answer{{0, full}, {0, unix.EBADF}}, "", "fail: write log: no space left on device\nfail: bad file descriptor\n"},
		{"unknown", []answer{{0, errors.New("odd")}}, "", "fail: odd\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, told := &balkyWriter{answers: tt.answers}, ""
			s := &Sink{W: w,
				Fail: func(err error) { told += fmt.Sprintf("fail: %v\n", err) },
				Back: func(lines, size int) { told += fmt.Sprintf("back: %d %d\n", lines, size) }}
			for _, text := range []string{"one\n", "two\nthree\n", "four\n"} {
				s.write([]byte(text))
			}
			if w.buf.String() != tt.written {
				t.Errorf("written is %q, want %q", w.buf.String(), tt.written)
			}
			if told != tt.told {
				t.Errorf("told is %q, want %q", told, tt.told)
			}
		})
	}
}
