package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// A child is a program that answers on its standard output. It is an
// interpreter that runs a script of ours and starts no other program, so that
// its pipes end when it does.
type child struct {
	proc   *os.Process
	in     *os.File
	out    *bufio.Reader
	pipes  []*os.File // of ours
	errs   chan string
	said   string // on standard error; known when end has returned
	cancel func() bool
}

// maxComplaint is how much of what a child says on standard error is kept.
const maxComplaint = 4096

// startChild starts argv, whose first word is a path, with an environment of its
// own. When ctx ends it is killed.
func startChild(ctx context.Context, argv ...string) (*child, error) {
	c := &child{errs: make(chan string, 1)}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			c.closePipes()
			return nil, err
		}
		ours, other := r, w
		if i == 0 {
			ours, other = w, r
		}
		c.pipes, theirs = append(c.pipes, ours), append(theirs, other)
	}
	proc, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Env:   []string{"LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin"},
		Files: theirs,
	})
	if err != nil {
		c.closePipes()
		return nil, err
	}
	c.proc, c.in, c.out = proc, c.pipes[0], bufio.NewReaderSize(c.pipes[1], 64<<10)
	stderr := c.pipes[2]
	go func() {
		text, _ := io.ReadAll(io.LimitReader(stderr, maxComplaint))
		c.errs <- strings.TrimSpace(string(text))
		_, _ = io.Copy(io.Discard, stderr) // it must not block on a full pipe
	}()
	c.cancel = context.AfterFunc(ctx, func() { _ = proc.Kill() })
	return c, nil
}

func (c *child) closePipes() {
	for _, f := range c.pipes {
		f.Close()
	}
}

// end closes the child's standard input, waits for it, and returns why it
// failed, with the last line of what it said.
func (c *child) end() error {
	closeErr := c.in.Close()
	_, _ = io.Copy(io.Discard, c.out)
	state, err := c.proc.Wait()
	c.cancel()
	c.said = <-c.errs
	c.closePipes()
	switch {
	case errors.Is(err, syscall.ECHILD):
		// A supervisor waits for every child that it has, of which it may have
		// adopted any: it took the status. Whoever asked finds out by the answer.
	case err != nil:
		return err
	case !state.Success():
		return errors.New(strings.TrimSuffix(fmt.Sprintf("%s: %s", state, gist(c.said, state.ExitCode())), ": "))
	case closeErr != nil && !errors.Is(closeErr, os.ErrClosed):
		return closeErr
	}
	return nil
}

// maxGist is how much of a line is told: what is no Python may repeat the whole
// of the program that it got.
const maxGist = 200

// gist is the line that says most: a traceback's last; the first of what did not
// find a program, such as a version manager's stand-in for a Python.
func gist(said string, status int) string {
	line := said[strings.LastIndexByte(said, '\n')+1:]
	if status == 127 {
		line, _, _ = strings.Cut(said, "\n")
	}
	if line = strings.TrimSpace(line); len(line) > maxGist {
		line = strings.ToValidUTF8(line[:maxGist], "") + "…"
	}
	return line
}
