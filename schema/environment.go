package schema

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

const (
	// EnvironmentFormat is the format number that this package writes.
	EnvironmentFormat = 1
	// MaxEnvironment is the size of the largest file, in bytes.
	MaxEnvironment = 16 << 20

	maxSites = 8
)

// An Environment says what is in an environment: .appbundle/env/installed.json.
// It names nothing of the host that made it. Whether an environment is what a
// lock says, and whether it can run on a host, is decided by it.
type Environment struct {
	Format   int    `json:"format"`
	Python   string `json:"python"`   // "cp311"
	Platform string `json:"platform"` // "linux_x86_64"; with musl "musllinux_1_2_x86_64"
	Bytecode string `json:"bytecode"` // cache tag and magic number of the byte code; "" without
	// Site are the absolute directories that the packages are in, where those are the
	// system's and the environment has none: a Linux package said so.
	Site     []string           `json:"site,omitempty"`
	Packages []InstalledPackage `json:"packages"` // by name
}

// An InstalledPackage is a package of an environment.
type InstalledPackage struct {
	Name      string `json:"name"` // normalised
	Version   string `json:"version"`
	File      string `json:"file"`      // name of the wheel
	SHA256    string `json:"sha256"`    // of the wheel, in lower-case hexadecimal digits
	Requested bool   `json:"requested"` // somebody asked for it by name
}

var (
	abiText      = regexp.MustCompile(`^cp3[0-9]{1,2}t?$`)
	platformText = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)
	bytecodeText = regexp.MustCompile(`^([a-z]+-[0-9]+t?-[0-9a-f]+)?$`)
)

// ParseEnvironment reads an installed.json as strictly as [ParseManifest] reads a
// manifest.
func ParseEnvironment(file string, data []byte) (*Environment, Problems) {
	var e Environment
	problems := decodeJSON(file, "environment", data, MaxEnvironment, EnvironmentFormat, &e)
	if len(problems) > 0 {
		return nil, problems
	}
	if e.check(Pos{File: file}, &problems); len(problems) > 0 {
		return nil, problems
	}
	return &e, nil
}

func (e *Environment) formatNumber() int { return e.Format }

func (e *Environment) check(at Pos, ps *Problems) {
	switch {
	case !abiText.MatchString(e.Python):
		ps.Add(at, "", "%s is no Python", quote(e.Python))
	case !platformText.MatchString(e.Platform) || len(e.Platform) > 100:
		ps.Add(at, "", "%s is no platform", quote(e.Platform))
	case !bytecodeText.MatchString(e.Bytecode):
		ps.Add(at, "", "%s is no byte code", quote(e.Bytecode))
	case len(e.Site) > maxSites || slices.ContainsFunc(e.Site, func(d string) bool { return !path.IsAbs(d) || path.Clean(d) != d }):
		ps.Add(at, "", "site has what is no absolute, clean path, or more than %d of them", maxSites)
		return
	case len(e.Packages) > MaxLockedPackages:
		ps.Add(at, "", "the environment has %d packages, more than %d", len(e.Packages), MaxLockedPackages)
		return
	}
	for i, p := range e.Packages {
		if msg := p.check(); msg != "" {
			ps.Add(at, "", "package %s: %s", quote(p.Name), msg)
		}
		if i > 0 && p.Name <= e.Packages[i-1].Name {
			ps.Add(at, "", "package %s: it is not after %s in bytewise order", quote(p.Name), quote(e.Packages[i-1].Name))
		}
	}
}

func (p *InstalledPackage) check() string {
	if !pep508.ValidName(p.Name) || pep508.NormalizeName(p.Name) != p.Name {
		return "the name is not a normalised one"
	}
	version, err := pep440.Parse(p.Version)
	if err != nil {
		return quote(p.Version) + " is no version"
	}
	wheel, err := pep508.ParseWheelName(p.File)
	switch {
	case err != nil:
		return quote(p.File) + " is no name of a wheel"
	case pep508.NormalizeName(wheel.Name) != p.Name || pep440.Compare(wheel.Version, version) != 0:
		return fmt.Sprintf("%s is not a wheel of version %s of it", p.File, p.Version)
	case !sha256Text.MatchString(p.SHA256):
		return quote(p.SHA256) + " is no sha256"
	}
	return ""
}

// Target names the Python and the platform, as manifests and archives do:
// "cp311-linux_x86_64".
func (e *Environment) Target() string { return e.Python + "-" + e.Platform }

// PythonVersion gives "3.11" and "3.13t".
func (e *Environment) PythonVersion() string {
	minor, ok := strings.CutPrefix(e.Python, "cp3")
	if !ok {
		return e.Python
	}
	return "3." + minor
}

// Encode writes the environment: the same bytes for the same content.
func (e *Environment) Encode() ([]byte, error) {
	c := *e
	if c.Packages == nil {
		c.Packages = []InstalledPackage{}
	}
	text, err := json.MarshalIndent(&c, "", "\t")
	return append(text, '\n'), err
}
