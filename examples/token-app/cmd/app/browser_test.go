package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"appbundle/powerhose"
)

var update = flag.Bool("update", false, "make docs/demo.png anew, if it is of another page")

// picture is what the documents show of the page.
const picture = "../../docs/demo.png"

// A shown is what the page shows of a sign-in.
type shown struct {
	Status, Node, Endpoint, Duration, Token, Key, Form, Payload string

	Work [][]string // kind, worker, milliseconds
}

// look reads the page when it shows a result, or what went wrong.
const look = `new Promise((resolve) => {
  const of = (id) => {
    const element = document.getElementById(id);
    return element.checkVisibility() ? element.innerText : "";
  };
  const done = () => {
    if (document.getElementById("result").hidden && document.getElementById("status").className !== "wrong") return false;
    resolve({
      status: of("status"), node: of("node"), endpoint: of("endpoint"), duration: of("duration"), token: of("token"), key: of("key"), form: of("form"), payload: of("payload"),
      work: [...document.getElementById("work").rows].map((row) => [...row.cells].map((cell) => cell.innerText)),
    });
    return true;
  };
  if (!done()) new MutationObserver((_, observer) => { if (done()) observer.disconnect(); }).observe(document.body, { subtree: true, attributes: true });
})`

// signIn does what a user does, and gives what the user sees.
func (p *tab) signIn(name, with, service string) (s shown) {
	p.t.Helper()
	p.click("#name")
	p.eval(`document.getElementById("name").select()`, nil)
	p.call("Input.insertText", map[string]any{"text": name}, nil)
	p.eval(fmt.Sprintf(`document.getElementById("with").value = %q; document.getElementById("service").value = %q`, with, service), nil)
	p.click("#sign-in button")
	p.eval(look, &s)
	return s
}

// requests are the addresses that the page asked for, in turn.
func (p *tab) requests() (addresses []string) {
	for _, m := range p.events {
		if m.Method == "Network.requestWillBeSent" {
			var sent struct{ Request struct{ URL string } }
			if err := json.Unmarshal(m.Params, &sent); err != nil {
				p.t.Fatal(err)
			}
			addresses = append(addresses, sent.Request.URL)
		}
	}
	return addresses
}

// complains says whether an event is a line in the console, or an exception.
func complains(m message) bool {
	return slices.Contains([]string{"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}, m.Method)
}

// A user signs in with a browser, with both kinds of credentials, for both forms of
// tokens; the server does the cryptography itself, or a worker does. The page asks
// nobody else for anything, may not, and the console stays empty.
func TestBrowser(t *testing.T) {
	browser := startChromium(t)
	for _, where := range []string{"server", "worker"} {
		t.Run(where, func(t *testing.T) {
			web := listen(t, "127.0.0.1:0")
			origin := "http://" + web.Addr().String()
			master := ""
			pid := 0
			if where == "worker" {
				master, pid = startWorker(t)
			}
			server := startWith(t, t.TempDir(), master, "web", web)
			server.hear("READY=1")
			if where == "server" {
				pid = server.cmd.Process.Pid
			}
			page := browser.open(t)
			page.visit(origin + "/demo/")
			want := []string{"/demo/", "/demo/page.css", "/demo/page.js"}
			for _, with := range []string{"bearer", "assertion"} {
				for _, service := range []string{"sync-1.5", "notes-1.0"} {
					saw := page.signIn("carol", with, service)
					checkShown(t, with+" "+service, saw, service, fmt.Sprintf("go %d", pid))
					want = append(want, "/demo/"+with+"?name=carol&service="+service, "/1.0/"+strings.Replace(service, "-", "/", 1), "/demo/open")
				}
			}
			if *update && where == "worker" {
				if file, err := os.ReadFile(picture); err != nil || !bytes.Contains(file, pageDigest(t)) {
					page.draw()
				}
			}
			for i := range want {
				want[i] = origin + want[i]
			}
			if got := page.requests(); !slices.Equal(got, want) {
				t.Errorf("the page asks for\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, m := range page.events {
				if complains(m) {
					t.Errorf("the console has %s", m.Params)
				}
			}
			// What would be a request elsewhere is refused and is in the console: else the two
			// above would have seen nothing.
			page.eval(`fetch("https://elsewhere.example/").catch(() => {})`, nil)
			if m := page.await(complains); !strings.Contains(string(m.Params), "Content Security Policy") {
				t.Errorf("after a request elsewhere the console has %s", m.Params)
			}

			page.eval(`document.getElementById("name").removeAttribute("pattern")`, nil)
			if saw := page.signIn("Carol", "bearer", "sync-1.5"); !strings.HasPrefix(saw.Status, "400: name is a word of small letters") || saw.Node != "" {
				t.Errorf("a wrong name: the page shows %+v", saw)
			}
		})
	}
}

// checkShown compares what a user sees with what it has to be.
func checkShown(t *testing.T, what string, saw shown, service, worker string) {
	t.Helper()
	var payload struct {
		Node    string
		UID     int64
		FxaUID  string `json:"fxa_uid"`
		Expires int64
	}
	if err := json.Unmarshal([]byte(saw.Payload), &payload); err != nil {
		t.Fatalf("%s: status %q, payload %q: %v", what, saw.Status, saw.Payload, err)
	}
	form := map[string]string{"sync-1.5": "signed", "notes-1.0": "encrypted"}[service]
	if saw.Status != "" || saw.Form != form || payload.FxaUID != "carol" || payload.Expires == 0 {
		t.Errorf("%s: status %q, %s token, payload %s", what, saw.Status, saw.Form, saw.Payload)
	}
	if !slices.Contains([]string{"https://db1.demo.example", "https://db2.demo.example"}, saw.Node) || payload.Node != saw.Node ||
		!strings.HasPrefix(saw.Endpoint, saw.Node+"/") || !strings.HasSuffix(saw.Endpoint, "/"+strconv.FormatInt(payload.UID, 10)) {
		t.Errorf("%s: node %q, endpoint %q, payload %s", what, saw.Node, saw.Endpoint, saw.Payload)
	}
	if len(saw.Token) < 100 || len(saw.Key) < 40 || saw.Duration != "1800 seconds" {
		t.Errorf("%s: token %q, key %q, good for %q", what, saw.Token, saw.Key, saw.Duration)
	}
	if len(saw.Work) != 2 {
		t.Fatalf("%s: the work is %q", what, saw.Work)
	}
	for i, kind := range []string{"verify", "mint"} {
		row := saw.Work[i]
		if took, err := strconv.ParseFloat(row[2], 64); row[0] != kind || row[1] != worker || err != nil || took <= 0 {
			t.Errorf("%s: the work is %q, want %s by %q in some milliseconds", what, saw.Work, kind, worker)
		}
	}
}

// startWorker runs bin/crypto-worker with a master until the end of the test.
func startWorker(t *testing.T) (master string, pid int) {
	t.Helper()
	if _, err := os.ReadFile("../crypto-worker/main.go"); err != nil { // the result depends on it
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "crypto-worker")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../crypto-worker").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	m, err := powerhose.NewMaster(powerhose.MasterConfig{Listen: filepath.Join(dir, "m.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	var said bytes.Buffer
	worker := exec.Command(program)
	worker.Env = append(os.Environ(), "POWERHOSE_MASTER="+m.Address(), "NOTIFY_SOCKET=")
	worker.Stderr = &said
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := worker.Process.Signal(syscall.SIGTERM)
		if err == nil {
			err = worker.Wait()
		}
		if err != nil {
			t.Errorf("crypto-worker: %v\n%s", err, said.Bytes())
		}
	})
	return m.Address(), worker.Process.Pid
}

// draw makes the picture of the page as it is.
func (p *tab) draw() {
	p.t.Helper()
	const width = 960
	size := func(height int) {
		p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	}
	size(100)
	var height int
	p.eval(`document.activeElement.blur(); document.documentElement.scrollHeight`, &height)
	size(height)
	var shot struct{ Data []byte }
	p.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	if err := os.WriteFile(picture, stamp(shot.Data, pageDigest(p.t)), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// pageDigest is the text in a picture that says of which page it is.
func pageDigest(t *testing.T) []byte {
	t.Helper()
	files, err := filepath.Glob("../../demo/page/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no page: %v", err)
	}
	sum := sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(f), len(text), text)
	}
	return fmt.Appendf(nil, "Source\x00demo/page %x", sum.Sum(nil)) // a keyword, and its text
}

// stamp puts a text into a PNG file, in front of its last chunk.
func stamp(file, text []byte) []byte {
	chunk := append([]byte("tEXt"), text...)
	at := len(file) - 12 // IEND is empty
	out := binary.BigEndian.AppendUint32(bytes.Clone(file[:at]), uint32(len(text)))
	out = append(out, chunk...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	return append(out, file[at:]...)
}

// The picture in the documents is of the page as it is.
func TestPicture(t *testing.T) {
	file, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(file)); err != nil || len(file) > 150_000 {
		t.Errorf("%s has %d bytes, %v; a page shows it, and 150,000 are enough", picture, len(file), err)
	}
	if !bytes.Contains(file, pageDigest(t)) {
		t.Errorf("%s is of another page; go test ./cmd/app -run TestBrowser -update makes it anew", picture)
	}
}
