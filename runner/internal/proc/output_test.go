package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// wantOutput is what an Output makes of everything that one process writes, in
// the words of docs/SUPERVISOR.md: lines with a prefix, the long ones split, the
// last one ended.
func wantOutput(prefix string, data []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		for len(line) > MaxLine {
			out.WriteString(prefix + string(line[:MaxLine]) + SplitMark + "\n")
			line = line[MaxLine:]
		}
		out.WriteString(prefix + string(line) + "\n")
	}
	return out.Bytes()
}

// A recorder is a writer that wants whole lines, and that fails the write which
// passes the limit.
type recorder struct {
	tb    testing.TB
	buf   bytes.Buffer
	limit int // 0 for none
	full  bool
}

var errFull = errors.New("no space left")

func (r *recorder) Write(b []byte) (int, error) {
	if r.full {
		r.tb.Error("a write after one that failed")
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		r.tb.Errorf("write of %d bytes is not made of whole lines", len(b))
	}
	if r.limit > 0 && r.buf.Len()+len(b) > r.limit {
		r.full = true
		return 0, errFull
	}
	return r.buf.Write(b)
}

// chunks cuts data where cuts says: each byte is a length on a scale from 1 byte
// to 128 KiB, the last one counts to the end.
func chunks(data, cuts []byte) [][]byte {
	var out [][]byte
	for i := 0; len(data) > 0; i++ {
		n := MaxLine
		if len(cuts) > 0 {
			c := cuts[min(i, len(cuts)-1)]
			n = 1<<(c%18) + int(c)/18
		}
		n = min(n, len(data))
		out = append(out, data[:n])
		data = data[n:]
	}
	return out
}

// expand makes much of few bytes: a byte above 0x7f becomes a run of up to 128
// KiB of one letter, so that long lines and their neighbours are found.
func expand(seed []byte) []byte {
	var out []byte
	for _, c := range seed {
		if c >= 0x80 && len(out) < 1<<20 {
			n := 1<<(c%18) + int(c>>5) - 5
			out = append(out, bytes.Repeat([]byte{'a' + c%26}, n)...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// FuzzOutput cuts what two processes write into chunks and holds the Output to
// the model, also where the writer of one fails, and where a Drain comes between.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("one\ntwo\n\n\nthree"), []byte{2}, "web.1 | ", uint16(0))
	// 64 KiB less one, exactly, and one and two more; then twice that.
	f.Add([]byte("\x8e\n\xa0\n\xc4\n\xe8\n\xa1\nx\xa1\n\xa0"), []byte{16}, "web.1 | ", uint16(0))
	f.Add([]byte("\x8e\n\xa0\n\xc4\n\xe8\n\xa1\nx\xa1\n\xa0"), []byte{17, 3, 11}, "", uint16(0))
	f.Add([]byte("\xa1\xa1\xa1y"), []byte{15, 16, 17}, "p", uint16(0))
	f.Add(bytes.Repeat([]byte("\n"), 1<<10), []byte{17}, strings.Repeat("long", 300), uint16(0))
	f.Add([]byte("a\x00\xff\r\nb\n"), []byte{0}, "\xff", uint16(9))
	f.Add([]byte{}, []byte{}, "empty", uint16(1))
	f.Fuzz(func(t *testing.T, seed, cuts []byte, prefix string, limit uint16) {
		data := expand(seed)
		prefix = strings.ReplaceAll(prefix, "\n", "")
		if len(cuts) > 0 && len(data) > 1<<14 { // one byte at a time would take for ever
			cuts = bytes.ReplaceAll(cuts, []byte{0}, []byte{12})
		}
		o, err := NewOutput()
		if err != nil {
			t.Fatal(err)
		}
		whole, cut := &recorder{tb: t}, &recorder{tb: t, limit: int(limit)}
		failures := 0
		var ends []int
		for _, sink := range []*Sink{{W: whole}, {W: cut, Fail: func(err error) {
			failures++
			if !errors.Is(err, errFull) {
				t.Errorf("Fail(%v)", err)
			}
		}}} {
			fd, err := o.Pipe(prefix, sink)
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, fd)
		}
		for _, c := range chunks(data, cuts) {
			for _, fd := range ends {
				writeAll(t, fd, c)
			}
		}
		for _, fd := range ends {
			unix.Close(fd)
		}
		o.Close()
		want := wantOutput(prefix, data)
		if got := whole.buf.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("of %d bytes: %d bytes with prefix %q, want %d; they differ at %d", len(data), len(got), prefix, len(want), differ(got, want))
		}
		if got := cut.buf.Bytes(); !bytes.HasPrefix(want, got) || len(got) < len(want) != cut.full {
			t.Errorf("a writer with a limit of %d got %d bytes, want the first of %d", limit, len(got), len(want))
		}
		if failures > 1 || failures == 1 != cut.full {
			t.Errorf("Fail was called %d times", failures)
		}
	})
}

func differ(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func writeAll(tb testing.TB, fd int, b []byte) {
	tb.Helper()
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			tb.Fatal(err)
		}
		b = b[max(n, 0):]
	}
}

// A Drain between the chunks ends the unfinished line, and loses nothing.
func TestOutputDrain(t *testing.T) {
	leavesNothing(t)
	o, err := NewOutput()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	rec := &recorder{tb: t}
	fd, err := o.Pipe("p ", &Sink{W: rec})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var want strings.Builder
	for i, text := range []string{"a", "", "b\n", "c\nd", "\n", "e"} {
		writeAll(t, fd, []byte(text))
		o.Drain()
		want.Write(wantOutput("p ", []byte(text)))
		if got := rec.buf.String(); got != want.String() {
			t.Errorf("after the Drain number %d there is %q, want %q", i, got, want.String())
		}
	}
}

// Nobody waits for an Output that is closed.
func TestOutputClosed(t *testing.T) {
	leavesNothing(t)
	o, err := NewOutput()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := o.Pipe("", &Sink{W: &recorder{tb: t}})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	o.Close()
	o.Drain()
	o.Close()
}

// A process that never stops writing does not keep a Drain, and a writer that
// blocks holds up nobody but those of the Output.
func TestOutputEndless(t *testing.T) {
	leavesNothing(t)
	l := newLab(t, false)
	o, err := NewOutput()
	if err != nil {
		t.Fatal(err)
	}
	count := &counter{}
	fd, err := o.Pipe("", &Sink{W: count})
	if err != nil {
		t.Fatal(err)
	}
	c := l.start(func(s *Spec) { s.Stdout = fd }, "blast=9000000000000,100,65536")
	unix.Close(fd)
	o.Drain()
	if err := c.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	c.exit()
	o.Close()
	if count.lines*100 < count.bytes || count.lines*100 > count.bytes+100 {
		t.Errorf("%d bytes in %d lines", count.bytes, count.lines)
	}
}

// A counter is a writer that counts.
type counter struct{ bytes, lines int }

func (c *counter) Write(b []byte) (int, error) {
	c.bytes += len(b)
	c.lines += bytes.Count(b, []byte("\n"))
	return len(b), nil
}

// BenchmarkOutput passes 200 MB of one process on, and counts the lines.
func BenchmarkOutput(b *testing.B) {
	const total = 200 << 20
	for _, tt := range []struct {
		name, prefix string
		line, chunk  int
		file         bool
	}{
		{"file", "web.1 | ", 100, 64 << 10, true},
		{"count", "web.1 | ", 100, 64 << 10, false},
		{"noprefix", "", 100, 64 << 10, true},
		{"chunk4k", "web.1 | ", 100, 4 << 10, true},
		{"line1000", "web.1 | ", 1000, 64 << 10, true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			l := newLab(b, false)
			b.SetBytes(total)
			before := cpuTime(b)
			for b.Loop() {
				o, err := NewOutput()
				if err != nil {
					b.Fatal(err)
				}
				count := &counter{}
				sink := &Sink{W: count}
				file, err := os.CreateTemp(b.TempDir(), "")
				if err != nil {
					b.Fatal(err)
				}
				if tt.file {
					sink.W = file
				}
				fd, err := o.Pipe(tt.prefix, sink)
				if err != nil {
					b.Fatal(err)
				}
				c := l.start(func(s *Spec) { s.Stdout = fd }, fmt.Sprintf("blast=%d,%d,%d", total, tt.line, tt.chunk))
				unix.Close(fd)
				c.exit()
				o.Close()
				got := count.bytes
				if fi, err := file.Stat(); tt.file && err == nil {
					got = int(fi.Size())
				}
				file.Close()
				os.Remove(file.Name())
				if want := total / tt.line * (tt.line + len(tt.prefix)); got != want {
					b.Fatalf("%d bytes arrived, want %d", got, want)
				}
			}
			b.ReportMetric((cpuTime(b)-before)/float64(b.N), "cpu-s/op")
		})
	}
}

// cpuTime gives the seconds that this process has worked, without its children.
func cpuTime(tb testing.TB) float64 {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// Only who writes much gets a big pipe, and no more than maxBig do at a time.
func TestBigPipes(t *testing.T) {
	leavesNothing(t)
	o, err := NewOutput()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	count := &counter{}
	var ends []int
	defer func() {
		for _, fd := range ends {
			unix.Close(fd)
		}
	}()
	pipe := func() int {
		fd, err := o.Pipe("", &Sink{W: count})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, fd)
		return fd
	}
	line := append(bytes.Repeat([]byte{'x'}, MaxLine-1), '\n')
	busy := func(fd int) { // of more than fits half is read at a time, once at least
		for range 8 {
			writeAll(t, fd, line)
		}
	}
	big := func() (n int) {
		o.Drain()
		for _, fd := range ends {
			size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
			if err != nil {
				t.Fatal(err)
			}
			if size >= bigPipe {
				n++
			}
		}
		return n
	}
	for range 3 {
		writeAll(t, pipe(), []byte("a line now and then\n"))
	}
	if n := big(); n != 0 {
		t.Errorf("%d pipes are big of those that hardly write", n)
	}
	for range maxBig + 3 {
		busy(pipe())
	}
	most := big()
	if most > maxBig || most == 0 {
		t.Errorf("%d pipes are big, want at most %d", most, maxBig)
	}
	for _, fd := range ends[3:10] {
		unix.Close(fd)
	}
	ends = append(ends[:3], ends[10:]...)
	for range 7 { // in the place of those that have ended
		busy(pipe())
	}
	if n := big(); n > maxBig || n < most-3 {
		t.Errorf("%d pipes are big, there were %d before others ended", n, most)
	}
}
