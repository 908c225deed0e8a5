package resolve_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"appbundle/resolve"
	"appbundle/resolve/internal/resolvetest"
	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep508"
)

// A scenario is a universe and a request in TOML, as a public collection of them
// for resolvers of Python packages writes it. What it leaves out of a release
// is there: a wheel for all, and a source distribution.
type scenario struct {
	Name string
	Root struct{ Requires []string }

	Packages map[string]struct {
		Versions map[string]struct {
			Requires       []string
			RequiresPython string              `toml:"requires_python"`
			Extras         map[string][]string `toml:"extras"`
			WheelTags      []string            `toml:"wheel_tags"`
			Wheel, Sdist   *bool
			Yanked         bool
			UploadTime     string `toml:"upload_time"`
			Dynamic        bool
		}
	}
	Resolver struct {
		Universal   bool
		Python      string
		Prereleases bool
		Platform    string   `toml:"python_platform"`
		NoBuild     []string `toml:"no_build"`
		NoBinary    []string `toml:"no_binary"`
	} `toml:"resolver_options"`
	Options struct {
		Resolution   string
		Preferences  []string
		Upgrade      []string
		Constraints  []string
		ExcludeNewer string `toml:"exclude_newer"`
		ExtraIndex   string `toml:"extra_index"`
		Requirements string
	}
}

// parseScenario reads a scenario.
func parseScenario(text string) (*scenario, error) {
	s := &scenario{}
	_, err := toml.Decode(text, s)
	return s, err
}

// universe gives what there is. Of a name that first has too, first counts.
func (s *scenario) universe(first *resolvetest.Universe) (*resolvetest.Universe, error) {
	u := resolvetest.New()
	for _, name := range slices.Sorted(maps.Keys(s.Packages)) {
		for _, version := range slices.Sorted(maps.Keys(s.Packages[name].Versions)) {
			v := s.Packages[name].Versions[version]
			r := resolvetest.Release{
				Name: name, Version: version, Requires: v.Requires, Python: v.RequiresPython,
				Yanked: v.Yanked, Wheels: []string{}, Dynamic: v.Dynamic, Sdist: v.Sdist == nil || *v.Sdist,
			}
			if v.Wheel == nil || *v.Wheel {
				r.Wheels = []string{"py3-none-any"}
				if v.WheelTags != nil {
					r.Wheels = v.WheelTags
				}
			}
			if v.UploadTime != "" {
				t, err := time.Parse(time.RFC3339, v.UploadTime)
				if err != nil {
					return nil, err
				}
				r.Uploaded = t
			}
			for _, extra := range slices.Sorted(maps.Keys(v.Extras)) {
				r.Extras = append(r.Extras, extra)
				for _, req := range v.Extras[extra] {
					with, err := withExtra(req, extra)
					if err != nil {
						return nil, err
					}
					r.Requires = append(r.Requires, with)
				}
			}
			if err := u.Add(r); err != nil {
				return nil, fmt.Errorf("%s %s: %w", name, version, err)
			}
		}
	}
	if first != nil {
		u.Prefer(first)
	}
	return u, nil
}

func withExtra(req, extra string) (string, error) {
	r, err := pep508.Parse(req)
	if err != nil {
		return "", err
	}
	marker := fmt.Sprintf("extra == %q", extra)
	if r.Marker != nil {
		marker = fmt.Sprintf("(%s) and %s", r.Marker, marker)
	}
	r.Marker = nil
	return r.String() + "; " + marker, nil
}

// request gives what is asked for. python is the full version where the scenario
// does not say.
func (s *scenario) request(platforms []string, python string) (resolve.Request, error) {
	r := resolve.Request{
		Strategy:    resolve.Strategy(s.Options.Resolution),
		Upgrade:     s.Options.Upgrade,
		Prereleases: s.Resolver.Prereleases,
		NoBinary:    s.Resolver.NoBinary,
		OnlyBinary:  s.Resolver.NoBuild,
	}
	if s.Resolver.Python != "" {
		python = s.Resolver.Python
	}
	if s.Resolver.Platform != "" {
		arch, name, _ := strings.Cut(s.Resolver.Platform, "-")
		platforms = []string{name + "_" + arch}
	}
	for _, p := range platforms {
		t, err := pep425.ParseTarget(p, python)
		if err != nil {
			return r, err
		}
		r.Targets = append(r.Targets, resolve.NewTarget(t))
	}
	if s.Options.ExcludeNewer != "" {
		t, err := time.Parse(time.RFC3339, s.Options.ExcludeNewer)
		if err != nil {
			return r, err
		}
		r.ExcludeNewer = t
	}
	for _, p := range s.Options.Preferences {
		name, version, _ := strings.Cut(p, "==")
		if r.Locked == nil {
			r.Locked = make(map[string][]resolve.Locked)
		}
		r.Locked[name] = []resolve.Locked{{Version: version}}
	}
	text := s.Options.Requirements
	if text == "" {
		text = strings.Join(s.Root.Requires, "\n")
	}
	own, problems := schema.ParseRequirements("dependencies.txt", []byte(text))
	if err := problems.Err(); err != nil {
		return r, err
	}
	r.Requirements, r.RequireHashes = own.Packages, own.RequireHashes
	more, problems := schema.ParseRequirements("constraints.txt", []byte(strings.Join(s.Options.Constraints, "\n")))
	r.Constraints = more.Packages
	return r, problems.Err()
}

// An expectation is what other resolvers answered to a scenario.
type expectation struct {
	Scenario string
	File     string // relative to the directory
	Python   string // "3.12"
	UV       reply  `json:"uv"`
	Pip      reply  `json:"pip"`
	// Universal are requirements with markers.
	Universal struct {
		OK    bool
		Lines []string
	} `json:"uv_universal"`
}

// A reply is one of them.
type reply struct {
	OK       bool
	Packages map[string]string // name to version
}

// parseExpected reads the answers, and the full versions of the Pythons by
// their short ones.
func parseExpected(data []byte) (list []expectation, pythons map[string]string, err error) {
	var file struct {
		Oracle    struct{ Python map[string]string }
		Scenarios []expectation
	}
	err = json.Unmarshal(data, &file)
	return file.Scenarios, file.Oracle.Python, err
}
