package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"appbundle/resolve/external"
	"appbundle/schema"
	"appbundle/schema/pep425"
)

// externalFile says what the system must provide.
const externalFile = "external-dependencies.txt"

// externalLines reads the system dependencies of the app in dir, which need not
// be whole otherwise, and the version of Python that its app.ini asks for, ""
// for none.
func externalLines(dir string) ([]schema.External, string, error) {
	data, err := readStandardFile(dir, externalFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return nil, "", err
		}
		return nil, "", &schema.Problem{Pos: schema.Pos{File: externalFile}, Msg: "there is none", Fix: "make it, empty where the system need provide nothing"}
	}
	if err != nil {
		return nil, "", err
	}
	deps, problems := schema.ParseExternal(externalFile, data)
	if len(problems) > 0 {
		return nil, "", problems
	}
	ini, err := readStandardFile(dir, "app.ini")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	cfg, _ := schema.ParseAppINI("app.ini", ini) // what is wrong with it is for check to say
	python := strings.TrimPrefix(cfg.App.Python, "python")
	if _, err := pep425.ParsePython(python); err != nil {
		python = ""
	}
	return deps, python, nil
}

// readStandardFile reads a file of the standard, within its limit.
func readStandardFile(dir, name string) ([]byte, error) {
	file := filepath.Join(dir, name)
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > schema.MaxFile {
		return nil, &schema.Problem{Pos: schema.Pos{File: name}, Msg: fmt.Sprintf("is no plain file of at most %d bytes", schema.MaxFile)}
	}
	return os.ReadFile(file)
}

// machines are what uname calls the architectures of Go, where it is another
// name.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l", "loong64": "loongarch64"}

// externalTarget is the distribution called name, or this host's for "".
func externalTarget(name, python string) (external.Target, error) {
	machine := runtime.GOARCH
	if m, ok := machines[machine]; ok {
		machine = m
	}
	own := name == ""
	if own {
		var err error
		if name, err = hostDistribution(); err != nil {
			return external.Target{}, err
		}
	}
	target, err := external.ParseTarget(name, machine)
	if unknown := (*external.UnknownError)(nil); !own && errors.As(err, &unknown) {
		return target, &usageError{err, unknown.Hint()}
	}
	if err != nil || python == "" {
		return target, err
	}
	return target.WithPython(python)
}

// hostDistribution gives ID-VERSION of this host.
func hostDistribution() (string, error) {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return external.ParseOSRelease(file, data)
	}
	return "", errors.New("/etc/os-release: there is none; name the distribution with --for")
}

// system is this host, as a system of the target's kind. Programs are looked for
// where run looks for them, and where the administrator's are.
func (g *globals) system(ctx context.Context, target external.Target) *external.System {
	cfg := external.SystemConfig{
		Root:   os.DirFS("/"),
		Target: target,
		Path:   append(filepath.SplitList(g.env("PATH")), "/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"),
	}
	if rpm, err := exec.LookPath("rpm"); err == nil {
		cfg.RPM = func(name string) (string, bool, error) { return askRPM(ctx, rpm, name) }
	}
	return external.NewSystem(cfg)
}

// askRPM asks rpm's database for the version of what provides name.
func askRPM(ctx context.Context, rpm, name string) (string, bool, error) {
	out, err := exec.CommandContext(ctx, rpm, "-q", "--whatprovides", "--qf", "%{VERSION}\n", name).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if len(exit.Stderr) == 0 {
			return "", false, nil // it has said so on standard output
		}
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", false, fmt.Errorf("rpm -q --whatprovides %s: %w", name, err)
	}
	version, _, _ := strings.Cut(string(out), "\n")
	return version, true, nil
}
