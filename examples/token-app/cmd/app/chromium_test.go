package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A chromium is a browser without windows. It is spoken to by the DevTools protocol
// over two pipes, and listens nowhere.
type chromium struct {
	cmd      *exec.Cmd
	said     bytes.Buffer // on its standard error
	commands *os.File
	messages *os.File
	reader   *bufio.Reader
	last     int // number of the last command
}

// startChromium runs the browser until the end of the test. All that it writes is in
// a directory of its own, and no process of it is left.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v; tools/setup test installs it", err)
	}
	dir, err := os.MkdirTemp("", "b") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	theirCommands, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirCommands.Close()
	messages, theirMessages, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirMessages.Close()
	c := &chromium{commands: commands, messages: messages, reader: bufio.NewReader(messages)}
	// Its sandbox needs more rights than an ordinary user has in a container, and fewer
	// than root has. The pages here are ours.
	c.cmd = exec.Command(program, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--no-first-run", "--no-proxy-server", "--disable-gpu", "--disable-extensions", "--disable-sync", "--disable-component-update", "--disable-breakpad",
		"--disable-dev-shm-usage", "--password-store=basic", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8"}
	c.cmd.ExtraFiles = []*os.File{theirCommands, theirMessages} // 3 and 4, by the protocol
	c.cmd.Stderr = &c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = limit
	// The processes that the browser starts become this one's when it has ended.
	const setChildSubreaper = 36
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		t.Fatalf("prctl: %v", errno)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t) })
	return c
}

// end closes the browser, and waits for the last of its processes.
func (c *chromium) end(t *testing.T) {
	group := -c.cmd.Process.Pid
	defer func() {
		_ = syscall.Kill(group, syscall.SIGKILL)
		for err := error(nil); err != syscall.ECHILD; {
			_, err = syscall.Wait4(group, nil, 0, nil)
		}
		c.commands.Close()
		c.messages.Close()
	}()
	if t.Failed() {
		_ = syscall.Kill(group, syscall.SIGKILL)
		_ = c.cmd.Wait() // says that it was killed
		t.Logf("chromium says %s", c.said.Bytes())
	} else {
		(&tab{chromium: c, t: t}).call("Browser.close", nil, nil)
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("chromium: %v\n%s", err, c.said.Bytes())
		}
	}
}

// A message is an answer to a command, or an event.
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// A tab is a page of the browser, and what happened to it.
type tab struct {
	*chromium
	t       *testing.T
	session string
	events  []message
}

// receive gives the next message.
func (p *tab) receive() message {
	p.t.Helper()
	_ = p.messages.SetReadDeadline(time.Now().Add(limit))
	text, err := p.reader.ReadBytes(0)
	if err != nil {
		p.t.Fatalf("chromium: %v", err)
	}
	var m message
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		p.t.Fatalf("chromium sends %s: %v", text, err)
	}
	return m
}

// open opens a tab that shares nothing with others.
func (c *chromium) open(t *testing.T) *tab {
	t.Helper()
	browser := &tab{chromium: c, t: t}
	var context struct{ BrowserContextID string }
	browser.call("Target.createBrowserContext", nil, &context)
	var target struct{ TargetID string }
	browser.call("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": context.BrowserContextID}, &target)
	var attached struct{ SessionID string }
	browser.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &tab{chromium: c, t: t, session: attached.SessionID}
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		p.call(domain+".enable", nil, nil)
	}
	return p
}

// call has a command carried out. Events that come before its answer are kept.
func (p *tab) call(method string, params, result any) {
	p.t.Helper()
	p.last++
	command := message{ID: p.last, SessionID: p.session, Method: method}
	var err error
	if params != nil {
		if command.Params, err = json.Marshal(params); err != nil {
			p.t.Fatal(err)
		}
	}
	text, err := json.Marshal(command)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.commands.Write(append(text, 0)); err != nil {
		p.t.Fatalf("chromium: %v", err)
	}
	for {
		m := p.receive()
		switch {
		case m.ID == p.last && m.Error != nil:
			p.t.Fatalf("chromium: %s: %s", method, m.Error)
		case m.ID == p.last:
			if result != nil {
				if err := json.Unmarshal(m.Result, result); err != nil {
					p.t.Fatalf("chromium: %s: %s: %v", method, m.Result, err)
				}
			}
			return
		case m.SessionID == p.session:
			p.events = append(p.events, m)
		}
	}
}

// await gives the first event that is asked for, and waits for it if it has not come.
func (p *tab) await(is func(message) bool) message {
	p.t.Helper()
	for {
		if i := slices.IndexFunc(p.events, is); i >= 0 {
			return p.events[i]
		}
		if m := p.receive(); m.SessionID == p.session {
			p.events = append(p.events, m)
		}
	}
}

// visit goes to an address, and waits until all that the page names is there.
func (p *tab) visit(address string) {
	p.t.Helper()
	p.call("Page.navigate", map[string]any{"url": address}, nil)
	p.await(func(m message) bool { return m.Method == "Page.loadEventFired" })
}

// eval runs a script in the page, waits for what it promises, and reads that.
func (p *tab) eval(script string, result any) {
	p.t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &out)
	if out.ExceptionDetails != nil {
		p.t.Fatalf("%s\n%s", script, out.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(out.Result.Value, result); err != nil {
			p.t.Fatalf("%s\n%s: %v", script, out.Result.Value, err)
		}
	}
}

// click clicks into the middle of what a selector names.
func (p *tab) click(selector string) {
	p.t.Helper()
	quoted, err := json.Marshal(selector)
	if err != nil {
		p.t.Fatal(err)
	}
	var at struct{ X, Y float64 }
	p.eval(`(() => { const r = document.querySelector(`+string(quoted)+`).getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()`, &at)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}
