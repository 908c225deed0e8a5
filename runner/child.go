package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"appbundle/runner/internal/proc"
	"appbundle/schema"
)

// childPath is PATH behind the environment's own bin.
const childPath = "/usr/local/bin:/usr/bin:/bin"

// defaultPath is where execvp looks in an environment without PATH (confstr
// _CS_PATH, Python's os.defpath).
const defaultPath = "/bin:/usr/bin"

// A child is all that is known of a watcher's processes before one is started.
type child struct {
	r     *Runner
	cfg   schema.Watcher
	app   string // the version that the process sees
	dir   string
	name  string   // of the program, as the command has it
	path  string   // of the program
	head  []string // words before the program's own arguments: an interpreter and its argument
	cred  *syscall.Credential
	home  string
	socks []schema.Socket // those that become 3, 4, …
	shim  *proc.Shim
	// notifies: a process is told where our notify socket is.
	notifies bool
}

// newChild resolves what cfg says against this host. An error says what is not
// there.
func (r *Runner) newChild(cfg schema.Watcher, sockets []schema.Socket, version string) (*child, error) {
	c := &child{r: r, cfg: cfg, app: version, dir: r.cfg.Dir}
	if cfg.Dir != "" {
		c.dir = cfg.Dir
		if !filepath.IsAbs(c.dir) {
			c.dir = filepath.Join(r.cfg.Dir, cfg.Dir)
		}
	}
	if err := c.setUser(); err != nil {
		return nil, err
	}
	if err := c.setSockets(sockets); err != nil {
		return nil, err
	}
	if err := c.setLimits(); err != nil {
		return nil, err
	}
	if len(cfg.Cmd) == 0 || cfg.Cmd[0] == "" {
		return nil, errors.New("no command")
	}
	c.notifies = r.cfg.RunDir != "" && slices.Contains(c.env(1), "NOTIFY_SOCKET="+r.notifyPath())
	return c, c.setProgram()
}

// setUser finds the user and the groups (as Circus: the user's primary group
// where no group is named, and all groups that the user is in).
func (c *child) setUser() error {
	if c.cfg.UID == "" && c.cfg.GID == "" {
		c.home = homeOf(os.Getuid())
		return nil
	}
	cred := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	if c.cfg.UID != "" {
		u, err := lookupUser(c.cfg.UID)
		if err != nil {
			return err
		}
		cred.Uid, cred.Gid = number(u.Uid), number(u.Gid)
		c.home = u.HomeDir
		groups, err := u.GroupIds()
		if err != nil {
			groups = []string{u.Gid}
		}
		for _, g := range groups {
			cred.Groups = append(cred.Groups, number(g))
		}
	}
	if c.cfg.GID != "" {
		g, err := lookupGroup(c.cfg.GID)
		if err != nil {
			return err
		}
		cred.Gid = number(g.Gid)
	}
	if c.home == "" {
		c.home = homeOf(int(cred.Uid))
	}
	if int(cred.Uid) == os.Getuid() && int(cred.Gid) == os.Getgid() {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("only root may start a process as user %d, group %d", cred.Uid, cred.Gid)
	}
	c.cred = cred
	return nil
}

func lookupUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, convErr := strconv.ParseUint(name, 10, 32); convErr == nil {
			if u, err = user.LookupId(name); err != nil {
				// A number needs no entry in the user database.
				return &user.User{Uid: name, Gid: name, HomeDir: "/"}, nil
			}
		}
	}
	return u, err
}

func lookupGroup(name string) (*user.Group, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if _, convErr := strconv.ParseUint(name, 10, 32); convErr == nil {
			return &user.Group{Gid: name}, nil
		}
	}
	return g, err
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return math.MaxUint32 // the kernel refuses it
	}
	return uint32(n)
}

func homeOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.HomeDir
	}
	return "/"
}

// setSockets finds which sockets the child inherits: all of them with
// use_sockets, else those that its command names, in the order of the file.
func (c *child) setSockets(sockets []schema.Socket) error {
	refs := schema.SocketRefs(c.cfg.Cmd)
	for _, s := range sockets {
		i := slices.Index(refs, strings.ToLower(s.Name))
		if i >= 0 {
			refs = slices.Delete(refs, i, i+1)
		}
		if i >= 0 || c.cfg.UseSockets {
			c.socks = append(c.socks, s)
		}
	}
	if len(refs) > 0 {
		return fmt.Errorf("there is no socket %q", refs[0])
	}
	name := c.cfg.StdinSocket
	if name == "" {
		return nil
	}
	i := slices.IndexFunc(sockets, func(s schema.Socket) bool { return strings.EqualFold(s.Name, name) })
	if i < 0 {
		return fmt.Errorf("there is no socket %q", name)
	}
	if sockets[i].ReusePort {
		return fmt.Errorf("socket %q: so_reuseport and stdin_socket do not go together", name)
	}
	return nil
}

func (c *child) setLimits() error {
	var sh proc.Shim
	for _, l := range c.cfg.Rlimits {
		n, ok := proc.LimitNumber(l.Name)
		if !ok {
			return fmt.Errorf("there is no resource limit %q", l.Name)
		}
		sh.Rlimits = append(sh.Rlimits, proc.Rlimit{Resource: n, Value: l.Value})
	}
	if c.cfg.UseSockets {
		for _, s := range c.socks {
			sh.FDNames = append(sh.FDNames, s.Name)
		}
	}
	if sh.Rlimits == nil && sh.FDNames == nil {
		return nil
	}
	if !proc.CanShim() {
		return errors.New("resource limits and use_sockets need a program that calls runner.Init first in main")
	}
	c.shim = &sh
	return nil
}

// setProgram finds the file to execute: relative to the app directory where
// its name has a slash, along the child's PATH otherwise.
func (c *child) setProgram() error {
	name := c.cfg.Cmd[0]
	vars, _ := c.vars(1)
	name = vars.Expand(name)
	if strings.Contains(name, "/") {
		c.path = name
		if !filepath.IsAbs(name) {
			c.path = filepath.Join(c.r.cfg.Dir, name)
		}
	} else if path, ok := vars.Env("PATH"); ok {
		c.path = lookPath(name, path)
		if c.path == "" && name == "appbundle" {
			c.path = c.r.cfg.Self
		}
		if c.path == "" {
			return fmt.Errorf("%s: not found in the child's PATH %s", name, path)
		}
	} else if c.path = lookPath(name, defaultPath); c.path == "" {
		return fmt.Errorf("%s: not found in %s, where a program is looked for without PATH", name, defaultPath)
	}
	c.name = name
	if interpreter, arg := shebang(c.path); interpreter != "" && !filepath.IsAbs(interpreter) {
		// The kernel would look for it in the working directory; what is meant is
		// the app directory.
		c.head = []string{filepath.Join(c.r.cfg.Dir, interpreter)}
		if arg != "" {
			c.head = append(c.head, arg)
		}
	}
	return c.look()
}

// look says what of a process is not there now: its working directory, its
// program or the interpreter of that.
func (c *child) look() error {
	if fi, err := os.Stat(c.dir); err != nil || !fi.IsDir() {
		if err = cause(err); err == nil {
			err = unix.ENOTDIR
		}
		return fmt.Errorf("working directory %s: %w", c.dir, err)
	}
	if err := executable(c.path); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	interpreter, _ := shebang(c.path)
	path := interpreter
	if c.head != nil {
		path = c.head[0]
	}
	if path == "" {
		return nil
	}
	if err := executable(path); err != nil {
		return fmt.Errorf("%s: interpreter %q: %w", c.name, interpreter, err)
	}
	return nil
}

// explain adds to the error of a start what the kernel does not say: it gives
// one number for a program, an interpreter and a directory that is not there.
func (c *child) explain(err error) error {
	if _, bare := err.(syscall.Errno); !bare {
		return err
	}
	if found := c.look(); found != nil {
		return found
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

// shebang reads the first line of a script as the kernel does, which takes a
// carriage return for a part of the name; "" for what is no script.
func shebang(path string) (interpreter, arg string) {
	f, err := os.Open(path)
	if err != nil {
		return "", "" // executable and not readable: no script
	}
	defer f.Close()
	var head [512]byte
	n, err := f.Read(head[:])
	if err != nil || n < 2 || string(head[:2]) != "#!" {
		return "", ""
	}
	line, _, _ := strings.Cut(string(head[2:n]), "\n")
	line = strings.Trim(line, " \t")
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], strings.TrimLeft(line[i:], " \t")
	}
	return line, ""
}

func executable(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return cause(err)
	}
	if fi.IsDir() {
		return errors.New("is a directory")
	}
	if fi.Mode()&0o111 == 0 || unix.Access(path, unix.X_OK) != nil {
		return fs.ErrPermission
	}
	return nil
}

// cause gives the error without the path that is said already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func lookPath(name, path string) string {
	for _, dir := range filepath.SplitList(path) {
		if file := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(file) == nil {
			return file
		}
	}
	return ""
}

// env gives the complete environment of one process.
func (c *child) env(wid int) []string {
	var env []string
	set := func(name, value string) {
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		env = append(env, name+"="+value)
	}
	cfg := c.r.cfg
	if c.cfg.CopyEnv {
		for _, v := range cfg.Environ {
			name, value, ok := strings.Cut(v, "=")
			if ok && name != "NOTIFY_SOCKET" { // ours, not the children's
				set(name, value)
			}
		}
	}
	if !c.cfg.BareEnv {
		c.ownEnv(wid, set)
	}
	for _, v := range c.cfg.Env {
		set(v.Name, schema.ExpandEnv(v.Value, cfg.environ))
	}
	return env
}

// ownEnv sets what every child of an app may count on.
func (c *child) ownEnv(wid int, set func(name, value string)) {
	cfg := c.r.cfg
	path := childPath
	if cfg.EnvDir != "" {
		path = filepath.Join(cfg.EnvDir, "bin") + ":" + path
	}
	if !c.cfg.CopyEnv {
		set("PATH", path)
		set("LANG", "C.UTF-8")
		if dir, ok := cfg.environ("TMPDIR"); ok {
			set("TMPDIR", dir)
		}
	}
	if !c.cfg.CopyEnv || c.cred != nil {
		set("HOME", c.home)
	}
	set("APPBUNDLE_NAME", cfg.Name)
	set("APPBUNDLE_VERSION", c.app)
	set("APPBUNDLE_WATCHER", c.cfg.Name)
	set("APPBUNDLE_WID", strconv.Itoa(wid))
	if cfg.RunDir != "" {
		set("APPBUNDLE_RUN_DIR", cfg.RunDir)
		set("NOTIFY_SOCKET", c.r.notifyPath())
		set("POWERHOSE_MASTER", filepath.Join(cfg.RunDir, "powerhose", "master.sock"))
	}
	if cfg.StateDir != "" {
		set("APPBUNDLE_STATE_DIR", cfg.StateDir)
	}
}

// vars are what $(circus.X) stands for in process wid, and the descriptors it
// inherits.
func (c *child) vars(wid int) (schema.Vars, []int) {
	v := schema.Vars{WID: wid, Sockets: map[string]int{}, Options: map[string]string{
		"working_dir": c.dir, "uid": c.cfg.UID, "gid": c.cfg.GID, "numprocesses": strconv.Itoa(c.cfg.NumProcesses),
		"name": c.cfg.Name, "priority": strconv.Itoa(c.cfg.Priority),
	}}
	env := c.env(wid)
	v.Env = func(name string) (string, bool) {
		i := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		if i < 0 {
			return "", false
		}
		return env[i][len(name)+1:], true
	}
	var fds []int
	for i, s := range c.socks {
		v.Sockets[strings.ToLower(s.Name)] = 3 + i
		fds = append(fds, c.r.socketFD(s.Name))
	}
	return v, fds
}

// start starts process wid. exit is called once when it has ended.
func (c *child) start(wid int, exit func(*proc.Process, proc.Status)) (*proc.Process, error) {
	name := fmt.Sprintf("%s.%d", c.cfg.Name, wid)
	vars, fds := c.vars(wid)
	argv := c.cfg.Expand(vars)
	spec := proc.Spec{
		Path: c.path, Argv: argv, Env: c.env(wid), Dir: c.dir, Cred: c.cred, Shim: c.shim,
		Extra: slices.Clone(fds), Stdin: -1, Stdout: -1, Stderr: -1,
		Slot: name, Mark: "APPBUNDLE_WATCHER=" + c.cfg.Name + "\x00APPBUNDLE_WID=" + strconv.Itoa(wid), Cgroup: c.r.cgroups,
	}
	if c.cfg.BareEnv {
		spec.Mark = ""
	}
	if c.head != nil {
		spec.Path = c.head[0]
		spec.Argv = append(append(slices.Clone(c.head), c.path), argv[1:]...)
	}
	fresh, err := c.reusePorts(spec.Extra)
	defer func() {
		for _, l := range fresh {
			l.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := c.setStdin(&spec); err != nil {
		return nil, err
	}
	if c.shim != nil { // of which the kernel says that it was started, whatever it finds
		if err := c.look(); err != nil {
			return nil, err
		}
	}
	return c.startPiped(name, spec, exit)
}

func (c *child) setStdin(spec *proc.Spec) error {
	switch name := c.cfg.StdinSocket; {
	case name != "":
		if spec.Stdin = c.r.socketFD(name); spec.Stdin < 0 {
			return fmt.Errorf("socket %q is not bound", name)
		}
	case !c.cfg.CloseStdin:
		spec.Stdin = 0
	}
	return nil
}

// startPiped gives the process pipes for its output, and starts it.
func (c *child) startPiped(name string, spec proc.Spec, exit func(*proc.Process, proc.Status)) (*proc.Process, error) {
	prefix := name + " | "
	if c.r.cfg.NoPrefix {
		prefix = ""
	}
	var err error
	if !c.cfg.CloseStdout {
		if spec.Stdout, err = c.r.out.Pipe(prefix, c.r.stdout); err != nil {
			return nil, err
		}
		defer unix.Close(spec.Stdout)
	}
	if !c.cfg.CloseStderr {
		if spec.Stderr, err = c.r.out.Pipe(prefix, c.r.stderr); err != nil {
			return nil, err
		}
		defer unix.Close(spec.Stderr)
	}
	// The exit may come before Start has returned: it waits for p.
	started := make(chan *proc.Process, 1)
	spec.OnExit = func(st proc.Status) {
		if p := <-started; p != nil {
			exit(p, st)
		}
	}
	p, err := c.r.sys.Start(spec)
	started <- p
	if err != nil {
		return nil, c.explain(err)
	}
	return p, nil
}

// reusePorts replaces the descriptors of sockets with so_reuseport by sockets
// of the process' own.
func (c *child) reusePorts(fds []int) (fresh []*proc.Listener, err error) {
	for i, s := range c.socks {
		if !s.ReusePort {
			if fds[i] < 0 { // a reload could not bind it
				return fresh, fmt.Errorf("socket %q is not bound", s.Name)
			}
			continue
		}
		l, err := c.r.listen(s)
		if err != nil {
			return fresh, err
		}
		fresh = append(fresh, l)
		fds[i] = l.FD
	}
	return fresh, nil
}
