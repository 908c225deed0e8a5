package external

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A SystemConfig says what a [System] looks at.
type SystemConfig struct {
	Root   fs.FS    // of the file system: os.DirFS("/")
	Target Target   // whose package database and architecture count
	Path   []string // directories of programs; those that are not absolute are left out
	// RPM answers for a name that a package has or provides, since no other
	// program should read rpm's database; nil where there is no rpm.
	RPM func(name string) (version string, ok bool, err error)
}

// A System is a [Host]: files and package database of a machine. It reads, and
// runs nothing. It is for one goroutine, and sees what was there when it was
// first asked.
type System struct {
	cfg      SystemConfig
	dirs     []string          // of libraries
	packages map[string]string // version by name; nil before the first look
}

// NewSystem makes a System.
func NewSystem(cfg SystemConfig) *System { return &System{cfg: cfg} }

var _ Host = (*System)(nil)

// Library looks for soname in the loader's directories, not in its cache: a
// library that was copied there is found as well. A file for another
// architecture does not count.
func (s *System) Library(soname string) (bool, error) {
	if s.dirs == nil {
		s.dirs = libraryDirs(s.cfg.Root, s.cfg.Target.Machine)
	}
	for _, dir := range s.dirs {
		f, err := s.cfg.Root.Open(path.Join(dir, soname))
		if err != nil {
			continue // it is not there, or a file of nobody's business
		}
		var head [20]byte
		_, err = io.ReadFull(f, head[:])
		f.Close() // opened for reading: nothing can be lost
		if err == nil && isELF(head, s.cfg.Target.Machine) {
			return true, nil
		}
	}
	return false, nil
}

// elfMachines are class, byte order and e_machine of an architecture.
var elfMachines = map[string][3]byte{
	"x86_64": {2, 1, 62}, "aarch64": {2, 1, 183}, "i686": {1, 1, 3}, "armv7l": {1, 1, 40},
	"ppc64le": {2, 1, 21}, "s390x": {2, 2, 22}, "riscv64": {2, 1, 243},
}

// isELF reports whether head begins an ELF file for the machine.
func isELF(head [20]byte, machine string) bool {
	if string(head[:4]) != "\x7fELF" {
		return false
	}
	want, known := elfMachines[machine]
	if !known {
		return true
	}
	low := 18
	if want[1] == 2 {
		low = 19
	}
	return head[4] == want[0] && head[5] == want[1] && head[low] == want[2]
}

// libraryDirs are the directories that ld.so searches, those of glibc's and
// musl's configuration and those that are built in.
func libraryDirs(root fs.FS, machine string) []string {
	dirs := loaderConf(root, "etc/ld.so.conf", 4)
	if data, err := fs.ReadFile(root, "etc/ld-musl-"+machine+".path"); err == nil {
		for _, dir := range strings.FieldsFunc(string(data), func(r rune) bool { return r == ':' || r == '\n' }) {
			dirs = append(dirs, rooted(dir))
		}
	} else {
		dirs = append(dirs, "usr/local/lib")
	}
	triple := machine + "-linux-gnu"
	dirs = append(dirs, "lib/"+triple, "usr/lib/"+triple, "lib64", "usr/lib64", "lib", "usr/lib")
	return slices.DeleteFunc(dirs, func(dir string) bool { return !fs.ValidPath(dir) })
}

// loaderConf reads the directories of a file as ldconfig does, to a depth of
// includes.
func loaderConf(root fs.FS, name string, depth int) (dirs []string) {
	data, err := fs.ReadFile(root, name)
	if err != nil || depth == 0 {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "hwcap":
		case words[0] == "include":
			for _, pattern := range words[1:] {
				if !strings.HasPrefix(pattern, "/") {
					pattern = path.Join(path.Dir(name), pattern)
				}
				found, _ := fs.Glob(root, rooted(pattern)) // a bad pattern matches nothing
				for _, file := range found {
					dirs = append(dirs, loaderConf(root, file, depth-1)...)
				}
			}
		default:
			dirs = append(dirs, rooted(words[0]))
		}
	}
	return dirs
}

// rooted gives an absolute path as fs.FS has it.
func rooted(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// Command looks for an executable file.
func (s *System) Command(name string) (bool, error) {
	places := []string{name}
	if !strings.HasPrefix(name, "/") {
		places = nil
		for _, dir := range s.cfg.Path {
			if strings.HasPrefix(dir, "/") && !strings.Contains(name, "/") {
				places = append(places, path.Join(dir, name))
			}
		}
	}
	for _, p := range places {
		info, err := fs.Stat(s.cfg.Root, rooted(p))
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return true, nil
		}
	}
	return false, nil
}

// The package databases that are text.
const (
	dpkgStatus   = "var/lib/dpkg/status"
	apkInstalled = "lib/apk/db/installed"
)

// Package asks the package database of the target's family.
func (s *System) Package(name string) (string, bool, error) {
	if s.cfg.Target.Family == RPM {
		if s.cfg.RPM == nil {
			return "", false, errors.New("there is no rpm to ask")
		}
		return s.cfg.RPM(name)
	}
	if s.packages == nil {
		file, read := dpkgStatus, func(r io.Reader) (map[string]string, error) {
			return readDpkgStatus(r, s.cfg.Target.Machine)
		}
		if s.cfg.Target.Family == APK {
			file, read = apkInstalled, readAPKInstalled
		}
		f, err := s.cfg.Root.Open(file)
		if err != nil {
			if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
				err = pe.Err
			}
			return "", false, fmt.Errorf("/%s, the package database of %s: %w", file, s.cfg.Target.Name, err)
		}
		defer f.Close() // opened for reading: nothing can be lost
		if s.packages, err = read(f); err != nil {
			return "", false, fmt.Errorf("/%s: %w", file, err)
		}
	}
	version, ok := s.packages[name]
	return version, ok, nil
}

// maxDatabaseLine is the length of the longest line of a package database.
const maxDatabaseLine = 1 << 20

// debianArches are Debian's names of machines, where they are others.
var debianArches = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "i686": "i386", "armv7l": "armhf", "ppc64le": "ppc64el", "loongarch64": "loong64"}

// readDpkgStatus gives the version of every installed package of the Debian
// database and of what it provides, "" for what is provided without one.
// Packages for another architecture than machine do not count.
func readDpkgStatus(r io.Reader, machine string) (map[string]string, error) {
	installed := map[string]string{}
	native := machine
	if a, ok := debianArches[machine]; ok {
		native = a
	}
	var name, version, status, arch, provides string
	flush := func() {
		words := strings.Fields(status)
		if name != "" && len(words) == 3 && words[2] == "installed" && (arch == native || arch == "all") {
			for _, p := range strings.Split(provides, ",") {
				virtual, rest, _ := strings.Cut(strings.TrimSpace(p), " ")
				virtual, _, _ = strings.Cut(virtual, ":")
				if _, real := installed[virtual]; virtual != "" && !real {
					installed[virtual] = strings.Trim(rest, "(=) ")
				}
			}
			installed[name] = version
		}
		name, version, status, arch, provides = "", "", "", "", ""
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxDatabaseLine)
	for lines.Scan() {
		if lines.Text() == "" {
			flush()
			continue
		}
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			name = value
		case "Version":
			version = value
		case "Status":
			status = value
		case "Architecture":
			arch = value
		case "Provides":
			provides = value
		}
	}
	flush()
	return installed, lines.Err()
}

// apkProvided is a name in what a package of Alpine provides: "so:libz.so.1=1.3",
// "cmd:git=2.45-r0", "python3".
var apkProvided = regexp.MustCompile(`^([^=<>~\s]+)(?:[=<>~]+(\S+))?$`)

// readAPKInstalled is readDpkgStatus for Alpine's database.
func readAPKInstalled(r io.Reader) (map[string]string, error) {
	installed := map[string]string{}
	var name, version, provides string
	flush := func() {
		for _, p := range strings.Fields(provides) {
			m := apkProvided.FindStringSubmatch(p)
			if m == nil {
				continue
			}
			if _, real := installed[m[1]]; !real {
				installed[m[1]] = m[2]
			}
		}
		if name != "" {
			installed[name] = version
		}
		name, version, provides = "", "", ""
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxDatabaseLine)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch key {
		case "":
			flush()
		case "P":
			name = value
		case "V":
			version = value
		case "p":
			provides = value
		}
	}
	flush()
	return installed, lines.Err()
}
