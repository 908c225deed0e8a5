// Package storetest starts a real PostgreSQL server for tests, of the programs that Debian
// installs. It listens on no address but a Unix socket, and writes nothing to be kept.
package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Postgres is a server on a Unix socket in a directory of its own. The zero value is one
// that has not been started.
type Postgres struct {
	once  sync.Once
	err   error
	dir   string
	cmd   *exec.Cmd
	ready chan struct{} // gets a value each time that the server takes connections
	ended chan error
}

// Start gives the address of a schema, which need not be there; the first call starts
// the server.
func (p *Postgres) Start(schema string) (string, error) {
	p.once.Do(func() { p.err = p.run() })
	return fmt.Sprintf("host=%s port=5432 user=token dbname=postgres search_path=%s", p.dir, schema), p.err
}

func (p *Postgres) run() (err error) {
	if p.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return err
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		if attr.Credential, err = ordinaryUser(); err != nil {
			return err
		}
		if err := os.Chown(p.dir, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return err
		}
	}
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return err
	}
	data := filepath.Join(p.dir, "data")
	cmd := p.command(attr, initdb, "-D", data, "-U", "token", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	program, err := postgresProgram("postgres")
	if err != nil {
		return err
	}
	p.cmd = p.command(attr, program, "-D", data, "-k", p.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_wal_size=4GB")
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	p.ready, p.ended = make(chan struct{}, 100), make(chan error, 1)
	started := make(chan error)
	go func() {
		// The signal of Pdeathsig comes when the thread ends that started the process.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.watch(log)
		p.ended <- p.cmd.Wait()
	}()
	if err := <-started; err != nil {
		return err
	}
	return p.Wait()
}

// watch reads the server's log.
func (p *Postgres) watch(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			p.ready <- struct{}{}
		}
	}
}

// Wait waits until the server takes connections once more.
func (p *Postgres) Wait() error {
	select {
	case <-p.ready:
		return nil
	case err := <-p.ended:
		p.ended <- err
		return fmt.Errorf("the server ended: %v", err)
	case <-time.After(time.Minute):
		return errors.New("the server is not ready after a minute")
	}
}

func (p *Postgres) command(attr *syscall.SysProcAttr, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = p.dir, []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}, attr
	return cmd
}

// Stop ends the server, if it was started and has not been stopped, and removes what it
// kept. It does not start again.
func (p *Postgres) Stop() error {
	if p.dir == "" {
		return nil
	}
	var err error
	if p.ended != nil {
		err = p.cmd.Process.Signal(syscall.SIGINT)
		if err == nil {
			err = <-p.ended
		}
	}
	dir := p.dir
	p.dir = ""
	return errors.Join(err, os.RemoveAll(dir))
}

func ordinaryUser() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

// postgresProgram finds a program of the server, which Debian keeps off PATH.
func postgresProgram(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) > 0 {
		slices.Sort(found)
		return found[len(found)-1], err
	}
	return exec.LookPath(name)
}
