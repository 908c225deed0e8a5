package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

type pipeVector struct {
	Name, Hex, Body, Error string
	Status                 uint8
}

// The vectors, which workers in other languages pass too, whatever the pieces in
// which they arrive.
func TestPipeVectors(t *testing.T) {
	text, err := os.ReadFile("../../testdata/vectors/pipes.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Format        int
		About         string
		Jobs, Answers []pipeVector
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || v.Format != 1 {
		t.Fatal(v.Format, err)
	}
	fault := func(err error) string {
		switch {
		case err == nil:
			return ""
		case err == io.EOF:
			return "none"
		case errors.Is(err, io.ErrUnexpectedEOF):
			return "end"
		case errors.Is(err, ErrPipeTooLong):
			return "length"
		case strings.Contains(err.Error(), "begins with byte"):
			return "status"
		}
		return err.Error()
	}
	one := func(v pipeVector, read func(io.Reader) (Status, []byte, error), write func(Status, []byte) ([]byte, error)) {
		t.Run(v.Name, func(t *testing.T) {
			in := unhex(t, v.Hex)
			for _, r := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in))} {
				s, body, err := read(r)
				if got := fault(err); got != v.Error {
					t.Fatalf("read fails with %v, want %q", err, v.Error)
				}
				if err == nil && (s != Status(v.Status) || hex.EncodeToString(body) != v.Body) {
					t.Errorf("read status %d, body %x", s, body)
				}
			}
			if v.Error != "" {
				return
			}
			if out, err := write(Status(v.Status), unhex(t, v.Body)); err != nil || !bytes.Equal(out, in) {
				t.Errorf("write gives %x, %v", out, err)
			}
		})
	}
	for _, v := range v.Jobs {
		one(v, func(r io.Reader) (Status, []byte, error) {
			body, err := ReadPipeJob(r, 16, nil)
			return 0, body, err
		}, func(_ Status, body []byte) ([]byte, error) { return AppendPipeJob(nil, body) })
	}
	for _, v := range v.Answers {
		one(v, func(r io.Reader) (Status, []byte, error) { return ReadPipeAnswer(r, 16, nil) },
			func(s Status, body []byte) ([]byte, error) { return AppendPipeAnswer(nil, s, body) })
	}
}

// A length without bytes costs next to nothing, and one with them is read whole.
func TestPipeMemory(t *testing.T) {
	long := []byte("\x40\x00\x00\x00")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadPipeJob(bytes.NewReader(long), 1<<30, nil); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4*eager {
		t.Errorf("a length of 1 GiB without a body costs %d bytes", got)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	in, err := AppendPipeJob(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 3)
	got, err := ReadPipeJob(iotest.HalfReader(bytes.NewReader(in)), len(body), buf)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("a job of %d bytes: %d, %v", len(body), len(got), err)
	}
	again, err := ReadPipeJob(bytes.NewReader(in), len(body), got)
	if err != nil || &again[0] != &got[0] {
		t.Errorf("a buffer that is long enough is not used: %v", err)
	}
}

func FuzzPipe(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, body, err := ReadPipeAnswer(bytes.NewReader(b), 100, nil)
		if err != nil {
			return
		}
		if out, err := AppendPipeAnswer(nil, s, body); err != nil || !bytes.HasPrefix(b, out) {
			t.Fatalf("%x was read as %d %x, which is written %x, %v", b, s, body, out, err)
		}
	})
}
