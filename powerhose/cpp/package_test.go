package cpp

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"appbundle/powerhose/internal/wire"
)

var block = regexp.MustCompile("(?ms)^```(cpp|sh)\n(.*?)^```$")

// The worker of README.md is built as it says, and the example with the CMake
// package; both do what they should.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := read("include/powerhose/*.hpp", "CMakeLists.txt", "powerhose-config.cmake", "examples/*"); err != nil {
		t.Fatal(err)
	}
	dir := scratch(t)
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(source, filepath.Join(dir, "powerhose")); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, b := range block.FindAllStringSubmatch(string(text), -1) {
		switch {
		case b[1] == "sh":
			script.WriteString(b[2])
		case strings.Count(b[2], "\n") > 16:
			t.Errorf("the worker of README.md has %d lines", strings.Count(b[2], "\n"))
			fallthrough
		default:
			if err := os.WriteFile(filepath.Join(dir, "upper.cpp"), []byte(b[2]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command("sh", "-eu")
	cmd.Stdin = strings.NewReader(script.String())
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the commands of README.md: %v\n%s", err, out)
	}

	buildCurve(t, dir)

	start := func(program string, args ...string) (*process, *link, wire.Head) {
		t.Helper()
		m := newMaster(t)
		cmd := exec.Command(filepath.Join(dir, program), args...)
		cmd.Env = append(os.Environ(), "POWERHOSE_MASTER="+m.path)
		p := m.startCommand(cmd)
		_, work, h := m.register()
		return p, work, h
	}
	do := func(work *link, number uint64, kind, body string) {
		work.send(wire.Head{Type: wire.Job, Number: number, Left: 60000, Attempt: 1, Flags: wire.FlagProgress, Kind: []byte(kind)}, []byte(body)...)
	}
	p, work, h := start("upper")
	if got := kindsOf(h); len(got) != 1 || got[0] != "upper" {
		t.Errorf("the worker of README.md takes %q", got)
	}
	do(work, 1, "upper", "a\x00z!")
	work.result(1, "A\x00Z!")
	do(work, 2, "upper", "")
	work.fails(2, wire.Application, "nothing to do")
	p.leaves(work)

	// Without curve.hpp it has no TCP, and with it all that there is.
	m := newTCPMaster(t)
	m.serve(m.worker)
	env := append(os.Environ(), "POWERHOSE_MASTER="+m.ln.Endpoint(), "POWERHOSE_KEY="+m.key, "POWERHOSE_MASTER_KEY="+m.public)
	cmd = exec.Command(filepath.Join(dir, "example/worker"), "cpp.1", "tcp://127.0.0.1:0")
	cmd.Env = env
	m.startCommand(cmd).exits(2, m.ln.Endpoint()+": TCP needs CURVE; include powerhose/curve.hpp, and link libsodium")
	cmd = exec.Command(filepath.Join(dir, "upper-tcp"))
	cmd.Env = env
	m.startCommand(cmd).exits(2, "a worker of "+m.ln.Endpoint()+" needs a socket: give tcp://HOST:PORT")

	p, work, h = start("example/worker", "cpp.1")
	if got := kindsOf(h); strings.Join(got, " ") != "burn echo upper" || string(h.Name) != "cpp.1" {
		t.Errorf("the example is %q and takes %q", h.Name, got)
	}
	do(work, 1, "echo", "\x00bytes")
	work.result(1, "\x00bytes")
	do(work, 2, "upper", "abc")
	work.result(2, "ABC")
	do(work, 3, "burn", "1:a")
	if _, body := work.recv(wire.Progress); string(body) != "0" {
		t.Errorf("PROGRESS %q", body)
	}
	work.result(3, "af63dc4c8601ec8c") // FNV-1a of "a"
	do(work, 4, "burn", "many:a")
	work.fails(4, wire.Rejected, "a job of the kind burn is ROUNDS:BYTES")
	do(work, 5, "burn", "18446744073709551615:a")
	work.recv(wire.Progress)
	work.send(wire.Head{Type: wire.Cancel, Number: 5})
	for {
		head, _, err := work.read()
		if err != nil {
			t.Fatal(err)
		}
		var h wire.Head
		if err := wire.Decode(head, &h); err != nil {
			t.Fatal(err)
		}
		if h.Type == wire.Error && h.Number == 5 && h.Code == wire.Cancelled {
			break
		}
		if h.Type != wire.Progress {
			t.Fatalf("got %v", h.Type)
		}
	}
	p.leaves(work)
}

// buildCurve uses the component curve of the package that was installed in dir, and
// one that there is not.
func buildCurve(t *testing.T, dir string) {
	t.Helper()
	project := filepath.Join(dir, "tcp")
	if err := os.Mkdir(project, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.cpp": "#include <powerhose/curve.hpp>\nint main() { return powerhose::detail::read_keys == nullptr || sodium_init() < 0; }\n",
		"CMakeLists.txt": "cmake_minimum_required(VERSION 3.16)\nproject(tcp LANGUAGES CXX)\nfind_package(powerhose 0.1 CONFIG REQUIRED COMPONENTS ${PART})\n" +
			"add_executable(main main.cpp)\ntarget_link_libraries(main PRIVATE powerhose::curve)\n",
	} {
		if err := os.WriteFile(filepath.Join(project, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmake := func(part string) (string, error) {
		cmd := exec.Command("cmake", "-S", project, "-B", filepath.Join(project, part), "-DPART="+part, "-DCMAKE_PREFIX_PATH="+filepath.Join(dir, "prefix"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := cmake("rust"); err == nil || !strings.Contains(out, "there is no component rust; there is curve") {
		t.Errorf("a component that there is not: %v\n%s", err, out)
	}
	if out, err := cmake("curve"); err != nil {
		t.Fatalf("the component curve: %v\n%s", err, out)
	}
	for _, argv := range [][]string{{"cmake", "--build", filepath.Join(project, "curve")}, {filepath.Join(project, "curve/main")}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
}
