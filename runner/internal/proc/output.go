package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// MaxLine is the length of the longest line of output that stays in one
	// piece, in bytes.
	MaxLine = 64 << 10
	// SplitMark ends each piece of a longer line but the last.
	SplitMark = " [split]"

	// bigPipe is the size of the pipe of a process that writes much, and of the
	// buffers: most of the time goes into system calls, and into waiting for the
	// other side.
	bigPipe = 256 << 10
	// maxBig is how many pipes are big at a time. The kernel counts the pages of
	// all pipes of an ordinary user (pipe-user-pages-soft, 64 MiB): the children
	// want some too.
	maxBig = 64
)

// An Output reads what processes write and passes it on in whole lines, each
// with the prefix of its process. It has a loop of its own: a reader of ours
// that is slow holds up those who write, and nothing else.
//
// A line that is not ended when its process is gone is ended by the Output. The
// writer is called with one or more whole lines at a time.
type Output struct {
	loop *loop
	buf  []byte // what was read; used by the loop's goroutine only
	out  []byte // what is to be written; likewise
	big  int    // pipes that are; likewise

	mu      sync.Mutex
	streams map[*stream]struct{}
}

// NewOutput makes an Output.
func NewOutput() (*Output, error) {
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	return &Output{loop: l, buf: make([]byte, bigPipe), streams: map[*stream]struct{}{}}, nil
}

// A Sink is where lines go. It never makes anybody wait: what its writer does
// not take is thrown away. After an error that [Passing] names, the writer is
// tried again with the next lines; after any other one never again. Fail is
// told why, once for each time that the writer stops to work.
type Sink struct {
	W    io.Writer
	Fail func(error)
	// Back is told that the writer works again, and what was lost: the lines, the
	// one that was cut included, and their bytes.
	Back func(lines, size int)

	// Used by the Output's goroutine only.
	failed, final bool
	torn          bool // the writer took a part of a line
	lines, size   int  // lost since it failed
}

// Passing reports whether err, of a write, may be gone with the next one: a
// full disk, a full quota, or somebody who made the file non-blocking.
func Passing(err error) bool {
	for _, e := range []syscall.Errno{unix.ENOSPC, unix.EDQUOT, unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// write passes on whole lines.
func (s *Sink) write(out []byte) {
	if s.final {
		return
	}
	if s.torn { // what follows is a line of its own
		out = append([]byte{'\n'}, out...)
	}
	n, err := s.W.Write(out)
	if err == nil {
		s.worked()
		return
	}
	n = max(0, min(n, len(out)))
	lost := out[n:]
	if n > 0 {
		s.torn = out[n-1] != '\n'
	} else if s.torn {
		lost = lost[1:] // that newline is ours
	}
	s.lines += bytes.Count(lost, []byte{'\n'})
	s.size += len(lost)
	s.final = !Passing(err)
	if first := !s.failed; (first || s.final) && s.Fail != nil {
		s.Fail(err)
	}
	s.failed = true
}

// worked tells what was lost before a write that went well.
func (s *Sink) worked() {
	lines, size := s.lines, s.size
	back := s.failed && s.Back != nil
	s.failed, s.torn, s.lines, s.size = false, false, 0, 0
	if back {
		s.Back(lines, size)
	}
}

type stream struct {
	fd      int
	key     uint64 // guarded by the Output's mu
	prefix  []byte
	sink    *Sink
	partial []byte // a line that is not ended yet
	busy    bool   // has filled half a pipe at a time
	big     bool   // its pipe is
}

// Pipe makes a pipe whose lines go to sink, and gives the descriptor that a
// process writes to. The caller closes that once the process is started.
func (o *Output) Pipe(prefix string, sink *Sink) (int, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, fmt.Errorf("pipe: %w", err)
	}
	st := &stream{fd: fds[0], prefix: []byte(prefix), sink: sink}
	err := unix.SetNonblock(fds[0], true)
	if err == nil {
		o.mu.Lock()
		o.streams[st] = struct{}{}
		st.key, err = o.loop.add(fds[0], unix.EPOLLIN, func(uint32) { o.read(st) })
		o.mu.Unlock()
	}
	if err != nil {
		o.forget(st)
		unix.Close(fds[1])
		return -1, err
	}
	return fds[1], nil
}

// read takes what is there, at most one buffer: others want their turn.
func (o *Output) read(st *stream) (more bool) {
	n, err := unix.Read(st.fd, o.buf)
	switch {
	case n > 0:
		if n >= MaxLine/2 && !st.busy {
			o.enlarge(st)
		}
		o.pass(st, o.buf[:n])
		return true
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false
	}
	o.flush(st)
	o.forget(st)
	if st.big {
		o.big--
	}
	return false
}

// enlarge makes the pipe of a busy stream big, if the kernel lets us.
func (o *Output) enlarge(st *stream) {
	if o.big == maxBig {
		return
	}
	st.busy = true
	if size, err := unix.FcntlInt(uintptr(st.fd), unix.F_SETPIPE_SZ, bigPipe); err == nil && size >= bigPipe {
		st.big = true
		o.big++
	}
}

func (o *Output) forget(st *stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.streams[st]; ok {
		delete(o.streams, st)
		o.loop.remove(st.key, st.fd)
		unix.Close(st.fd)
	}
}

// pass writes the whole lines of data and keeps the rest.
func (o *Output) pass(st *stream, data []byte) {
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			o.keep(st, data)
			break
		}
		if len(st.partial)+i > MaxLine {
			o.keep(st, data[:i])
			data = data[i:]
			continue
		}
		o.out = append(append(append(o.out, st.prefix...), st.partial...), data[:i+1]...)
		st.partial = st.partial[:0]
		data = data[i+1:]
		if len(o.out) >= bigPipe { // prefixes can make it many times as long
			o.write(st)
		}
	}
	if cap(st.partial) > 0 && len(st.partial) == 0 {
		st.partial = nil
	}
	o.write(st)
}

// keep adds to the unfinished line, and splits it where it gets too long.
func (o *Output) keep(st *stream, data []byte) {
	for len(st.partial)+len(data) > MaxLine {
		n := MaxLine - len(st.partial)
		o.out = append(append(append(o.out, st.prefix...), st.partial...), data[:n]...)
		o.out = append(append(o.out, SplitMark...), '\n')
		st.partial, data = st.partial[:0], data[n:]
	}
	st.partial = append(st.partial, data...)
}

// flush ends the unfinished line.
func (o *Output) flush(st *stream) {
	if len(st.partial) > 0 {
		o.out = append(append(append(o.out, st.prefix...), st.partial...), '\n')
		st.partial = nil
	}
	o.write(st)
}

// write writes what is ready, which is at most one line more than a big pipe.
func (o *Output) write(st *stream) {
	out := o.out
	o.out = o.out[:0]
	if len(out) > 0 {
		st.sink.write(out)
	}
}

// maxDrain bounds how much of one pipe Drain reads, in buffers: a process that
// never stops writing must not keep it.
const maxDrain = 256

// Drain passes on what is in the pipes now, unfinished lines included, and
// returns when it is written. After a Close there is nothing.
func (o *Output) Drain() {
	done := make(chan struct{})
	called := o.loop.call(func() {
		defer close(done)
		o.mu.Lock()
		var all []*stream
		for st := range o.streams {
			all = append(all, st)
		}
		o.mu.Unlock()
		for _, st := range all {
			for n := 0; n < maxDrain && o.read(st); n++ {
			}
			o.flush(st)
		}
	})
	if called {
		<-done
	}
}

// Close drains and closes every pipe.
func (o *Output) Close() {
	o.Drain()
	o.loop.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	for st := range o.streams {
		unix.Close(st.fd)
	}
	clear(o.streams)
}
