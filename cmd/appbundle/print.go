package main

// This file alone writes and exits. The rules of output:
//
//   - Standard output carries the answer: findings, a path with its digest,
//     JSON. It is the same on a terminal and in a pipe, but for colour.
//   - Standard error carries remarks on the answer: a summary, progress, what
//     the build command of an app prints. --quiet leaves out the first two.
//   - A warning is a line of a command that carries on; --quiet keeps it.
//   - A failure is one "appbundle: …" on standard error, and perhaps one
//     "hint: …" that names what to type next. Never both an answer of "no"
//     on standard output and a failure that repeats it.
//   - Colours and a moving progress bar are for terminals, and neither for
//     those where TERM is "dumb"; --no-color and NO_COLOR turn colours off.
//   - An answer that cannot be written is a failure with a status of its own,
//     also of --help; but when the reader of a pipe has gone away, the command
//     dies of SIGPIPE without a word, as others do. A remark that cannot be
//     written is lost. (A closed stream is /dev/null: the Go runtime opens it
//     in its place before main, so that no file can ever get its number.)
//   - Names that the outside world chose are printed with %q where they could
//     carry control characters.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"

	"appbundle/bundle"
)

// A printer is where the commands write. The zero value is not useful.
type printer struct {
	answer  *answerWriter // standard output
	remarks io.Writer     // standard error

	quiet   bool // set by --quiet
	noColor bool // set by --no-color

	colorOut, colorErr bool // the stream is a terminal that wants colours
	width              int  // of the terminal that remarks go to; 0 for none
}

// newPrinter looks at the two streams and at NO_COLOR and TERM, once.
func newPrinter(stdout, stderr *os.File, env func(string) string) *printer {
	p := &printer{answer: &answerWriter{w: stdout}, remarks: stderr}
	if env("TERM") == "dumb" {
		return p
	}
	outTerm, errTerm := term.IsTerminal(int(stdout.Fd())), term.IsTerminal(int(stderr.Fd()))
	wanted := env("NO_COLOR") == ""
	p.colorOut, p.colorErr = outTerm && wanted, errTerm && wanted
	if errTerm {
		p.width = 80
		if w, _, err := term.GetSize(int(stderr.Fd())); err == nil && w > 0 {
			p.width = w
		}
	}
	return p
}

// An answerWriter remembers the first write that did not succeed, so that no
// caller has to look. One goroutine writes the answer.
type answerWriter struct {
	w   io.Writer
	err error
}

func (a *answerWriter) Write(b []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.w.Write(b)
	if err != nil {
		a.err = &outputError{err}
	}
	return n, a.err
}

// An outputError says that the answer did not arrive.
type outputError struct{ err error }

func (e *outputError) Error() string {
	var pe *os.PathError // its path is Go's name of the stream
	if errors.As(e.err, &pe) {
		return "standard output: " + pe.Err.Error()
	}
	return "standard output: " + e.err.Error()
}

func (e *outputError) Unwrap() error { return e.err }

// print writes a part of the answer.
func (p *printer) print(format string, args ...any) {
	fmt.Fprintf(p.answer, format, args...) // the writer remembers an error
}

// json writes v as the answer, indented for people.
func (p *printer) json(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it is read by people and by parsers, not by browsers
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	p.print("%s", b.String())
	return nil
}

// remark writes a line about the answer, unless --quiet.
func (p *printer) remark(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.remarks, format+"\n", args...)
	}
}

// warn writes a line that --quiet does not silence and that ends nothing.
func (p *printer) warn(format string, args ...any) {
	fmt.Fprintf(p.remarks, format+"\n", args...)
}

// A color is the parameter of an SGR control sequence.
type color string

// The colours that are in use.
const (
	red    color = "31"
	yellow color = "33"
	cyan   color = "36"
)

// paint colours a part of the answer, on a terminal that wants it.
func (p *printer) paint(c color, s string) string {
	return paint(p.colorOut && !p.noColor, c, s)
}

func paint(on bool, c color, s string) string {
	if !on {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// exit ends the process: with a failure on standard error when err is one, and
// with the status that it has.
func (p *printer) exit(err error) {
	if p.answer.err != nil && (err == nil || errors.Is(err, errNo)) {
		err = p.answer.err
	}
	if is[*outputError](err) && errors.Is(err, syscall.EPIPE) {
		_, _ = p.answer.w.Write([]byte("\n")) // nobody holds SIGPIPE any more
	}
	p.failure(err)
	os.Exit(exitCode(err))
}

// failure prints err and, where it has one, its hint.
func (p *printer) failure(err error) {
	if err == nil || errors.Is(err, errNo) || is[statusError](err) {
		return
	}
	on := p.colorErr && !p.noColor
	if found := (*bundle.CheckError)(nil); errors.As(err, &found) {
		for _, f := range found.Findings {
			fmt.Fprintf(p.remarks, "%s %s\n", paint(on, red, "appbundle:"), f)
		}
		return
	}
	fmt.Fprintf(p.remarks, "%s %s\n", paint(on, red, "appbundle:"), message(err))
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintf(p.remarks, "%s %s\n", paint(on, cyan, "hint:"), h.Hint())
	}
}

// message is err in words. The lines of a list after the first are indented, so
// that one failure stays one paragraph.
func message(err error) string {
	if errors.Is(err, errInterrupted) {
		return errInterrupted.Error()
	}
	return strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "\n  ")
}
