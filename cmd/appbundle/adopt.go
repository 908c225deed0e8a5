package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/schema"
)

// An adoption is how an archive becomes an app directory of this host.
type adoption struct {
	archive string
	flag    string // --python
	python  string // the interpreter, when accept has found it
	signer  *signer
}

// options are those of bundle.Unpack.
func (a *adoption) options() bundle.UnpackOptions {
	return bundle.UnpackOptions{Accept: a.accept, Finish: a.finish, File: a.signer.file()}
}

// accept refuses an archive that is for other hosts, before it is unpacked.
func (a *adoption) accept(m *schema.Manifest) error {
	if err := a.signer.name(m.Name); err != nil {
		return err
	}
	abi, platform, hasEnv := strings.Cut(m.Target, "-")
	if !hasEnv {
		platform = abi
	}
	if platform == "any" {
		return nil
	}
	machine, err := hostMachine()
	if err != nil {
		return err
	}
	if !strings.HasSuffix(platform, "_"+machine) {
		return &bundle.RefusedError{Archive: a.archive, Reason: fmt.Sprintf("is for %s, and this host is linux_%s", m.Target, machine)}
	}
	if !hasEnv {
		return nil
	}
	a.python, err = a.findPython((&schema.Environment{Python: abi}).PythonVersion())
	return err
}

// hostMachine names the processor as the kernel does: x86_64.
func hostMachine() (string, error) {
	var host unix.Utsname
	if err := unix.Uname(&host); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(host.Machine[:]), nil
}

// findPython looks for an interpreter of a version: the one of --python, else
// one that is called by its version, else python3.
func (a *adoption) findPython(version string) (string, error) {
	names := []string{"python" + version, "python3"}
	if a.flag != "" {
		names = []string{a.flag}
	}
	seen := "there is no Python"
	for _, name := range names {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if found, err = filepath.Abs(found); err != nil {
			return "", err
		}
		i, err := install.Ask(context.Background(), found, "")
		if err != nil {
			seen = err.Error()
			continue
		}
		if i.Version() == version {
			return found, nil
		}
		seen = fmt.Sprintf("%s is Python %s", found, i.Version())
	}
	return "", &otherPythonError{bundle.RefusedError{Archive: a.archive, Reason: fmt.Sprintf("is for Python %s, and %s", version, seen)}, version}
}

// finish adds to the new directory what names the host, when all of the archive was
// read and is still the one that was proved.
func (a *adoption) finish(ctx context.Context, dir string) error {
	if a.python == "" {
		return a.signer.still()
	}
	err := install.Adopt(ctx, dir, a.python, "")
	switch {
	case errors.Is(err, install.ErrNoEnvironment):
		return &bundle.RefusedError{Archive: a.archive, Reason: "says that it has an environment, and has none"}
	case is[*install.MisfitError](err):
		return &bundle.RefusedError{Archive: a.archive, Reason: err.Error()}
	case err == nil:
		err = a.signer.still()
	}
	return err
}

// A otherPythonError says that no interpreter of a host is the archive's.
type otherPythonError struct {
	refused bundle.RefusedError
	version string
}

func (e *otherPythonError) Error() string { return e.refused.Error() }
func (e *otherPythonError) Unwrap() error { return &e.refused }
func (e *otherPythonError) Hint() string {
	return "install Python " + e.version + ", or name an interpreter with unpack --python"
}
