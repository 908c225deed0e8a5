package build

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"appbundle/install"
)

// The directories of a build, beside the sources and the environment.
const homeDir, tmpDir, outDir = "home", "tmp", "out"

//go:embed hook.py
var hookScript string

// A call is what the script is told.
type call struct {
	Hook    string   `json:"hook"`
	Backend string   `json:"backend"`
	Path    []string `json:"path"` // directories of the backend
	Out     string   `json:"out"`  // directory for the wheel
	Answer  string   `json:"answer"`
}

const (
	maxOutput = 256 << 10 // of what a hook says: bytes that are looked at
	maxLines  = 20        // and lines that are told
	maxAnswer = 1 << 20
)

var errTime = fmt.Errorf("it took more than %v", MaxTime)

// hook calls a hook of the backend and decodes what it gives into answer.
func (b *builder) hook(ctx context.Context, hook string, answer any) error {
	b.tell("calls " + b.system.Backend + " " + hook)
	c := call{Hook: hook, Backend: b.system.Backend, Out: filepath.Join(b.work, outDir), Answer: filepath.Join(b.work, hook+".json")}
	for _, dir := range b.system.BackendPath {
		c.Path = append(c.Path, filepath.Join(b.source, filepath.FromSlash(dir)))
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(b.work, hook+".log"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // it is thrown away
	limited, stop := context.WithTimeoutCause(ctx, MaxTime, errTime)
	defer stop()
	err = b.run(limited, log, "-I", "-c", hookScript, string(text))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if limited.Err() != nil {
		err = errTime
	}
	var exit *exitError
	if err != nil && !errors.As(err, &exit) && err != errTime {
		return err
	}
	if err == nil {
		err = readAnswer(c.Answer, answer)
	}
	if err == nil {
		return nil
	}
	said := tail(log)
	return &Error{Reason: hook + ": " + err.Error(), Output: lastLines(said), Advice: advice(said)}
}

// run runs the interpreter of the environment in the source directory. Its output
// goes to a file, because a pipe would be held by whatever it leaves behind.
func (b *builder) run(ctx context.Context, log *os.File, args ...string) error {
	env := filepath.Join(b.work, install.EnvDir, "bin")
	home := filepath.Join(b.work, homeDir)
	alive, life, err := os.Pipe()
	if err != nil {
		return err
	}
	defer life.Close() // its end is the message
	python := filepath.Join(env, "python")
	proc, err := os.StartProcess(python, append([]string{python}, args...), &os.ProcAttr{
		Dir: b.source,
		Env: []string{
			"PATH=" + env + ":/usr/local/bin:/usr/bin:/bin",
			"LANG=C.UTF-8",
			"HOME=" + home,
			"TMPDIR=" + filepath.Join(b.work, tmpDir),
			"SOURCE_DATE_EPOCH=" + strconv.Itoa(epoch),
		},
		Files: []*os.File{alive, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	alive.Close() // the child has it
	if err != nil {
		return err
	}
	kill := func() { _ = syscall.Kill(-proc.Pid, syscall.SIGKILL) } // mostly nobody is left
	cancel := context.AfterFunc(ctx, kill)
	state, err := proc.Wait()
	cancel()
	kill()
	sweep(home)
	if err == nil && !state.Success() {
		err = &exitError{state.String()}
	}
	return err
}

// An exitError says how a hook ended.
type exitError struct{ state string }

func (e *exitError) Error() string { return e.state }

// maxSweeps is how often the table of processes is read: what is found may fork
// before it dies.
const maxSweeps = 100

// sweep kills the processes whose HOME is the one of this build.
func sweep(home string) {
	mark := []byte("HOME=" + home)
	for range maxSweeps {
		found := false
		dirs, _ := filepath.Glob("/proc/[0-9]*") // none but on Linux
		for _, dir := range dirs {
			env, err := os.ReadFile(filepath.Join(dir, "environ"))
			pid, err2 := strconv.Atoi(filepath.Base(dir))
			if err != nil || err2 != nil || pid == os.Getpid() {
				continue // of others, or gone
			}
			for word := range bytes.SplitSeq(env, []byte{0}) {
				if bytes.Equal(word, mark) {
					found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
					break
				}
			}
		}
		if !found {
			return
		}
	}
}

func readAnswer(path string, answer any) error {
	f, err := os.Open(path)
	if err != nil {
		return errors.New("it gave no answer")
	}
	defer f.Close() // opened for reading: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(data) > maxAnswer || json.Unmarshal(data, answer) != nil {
		return errors.New("what it gave is no answer")
	}
	return nil
}

// tail gives the end of what a hook said.
func tail(log *os.File) string {
	st, err := log.Stat()
	if err != nil {
		return ""
	}
	from := max(st.Size()-maxOutput, 0)
	data, _ := io.ReadAll(io.NewSectionReader(log, from, st.Size()-from)) // what there is
	return strings.ToValidUTF8(string(data), "\uFFFD")
}

// lastLines gives the end of a text as lines, without control characters and
// without an end of lines that are empty.
func lastLines(text string) []string {
	clean := strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < 0x20 || r >= 0x7f && r < 0xa0) {
			return -1
		}
		return r
	}, text)
	lines := strings.Split(strings.TrimRight(clean, " \t\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(len(lines)-maxLines, 0):]
}
