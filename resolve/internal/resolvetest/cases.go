package resolvetest

import (
	"fmt"
	"strings"
	"time"

	"appbundle/resolve"
	"appbundle/schema"
	"appbundle/schema/pep425"
)

// A Case is a universe, a request, and the answer as text.
//
// A file holds many, each begun by a line "=== TITLE". Then come the lines of a
// universe; "? " begins a line of dependencies.txt, "@ " an option of the
// request, "> " a line of the answer. The options:
//
//	constraint LINE       a line of constraints.txt
//	target PLATFORM PYTHON; without one it is manylinux_2_28_x86_64 3.11
//	locked NAME==VERSION [HASH...]
//	upgrade NAME          or :all:
//	lowest, lowest-direct, pre, build, prefer-binary, require-hashes
//	exclude-newer YYYY-MM-DD
//	only-binary NAME, no-binary NAME
//	versions N            the limit
type Case struct {
	Title    string
	Universe *Universe
	Request  resolve.Request
	Want     string
	// Input is what stands before the answer.
	Input string
}

// ParseCases reads a file of cases. The error names the case.
func ParseCases(text string) ([]*Case, error) {
	var list []*Case
	for i, part := range strings.Split("\n"+text, "\n=== ") {
		if i == 0 {
			continue
		}
		c, err := parseCase(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Title, err)
		}
		list = append(list, c)
	}
	return list, nil
}

func parseCase(text string) (*Case, error) {
	c := &Case{}
	var body string
	c.Title, body, _ = strings.Cut(text, "\n")
	var universe, lines, constraints, want, input strings.Builder
	for l := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(l, "> "); ok {
			want.WriteString(rest)
			continue
		}
		if strings.TrimSpace(l) != "" {
			input.WriteString(l)
		}
		switch {
		case strings.HasPrefix(l, "? "):
			lines.WriteString(l[2:])
		case strings.HasPrefix(l, "@ constraint "):
			constraints.WriteString(strings.TrimPrefix(l, "@ constraint "))
		case strings.HasPrefix(l, "@ "):
			if err := c.option(strings.Fields(l[2:])); err != nil {
				return c, err
			}
		default:
			universe.WriteString(l)
		}
	}
	c.Want, c.Input = want.String(), input.String()
	var err error
	if c.Universe, err = Parse(universe.String()); err != nil {
		return c, err
	}
	if c.Request.AllowBuild {
		c.Request.Build = c.Universe.Build
	}
	reqs, problems := schema.ParseRequirements("dependencies.txt", []byte(lines.String()))
	if err := problems.Err(); err != nil {
		return c, err
	}
	c.Request.Requirements = reqs.Packages
	more, problems := schema.ParseRequirements("constraints.txt", []byte(constraints.String()))
	if err := problems.Err(); err != nil {
		return c, err
	}
	c.Request.Constraints = more.Packages
	if c.Request.Targets == nil {
		return c, c.option([]string{"target", "manylinux_2_28_x86_64", "3.11"})
	}
	return c, nil
}

func (c *Case) option(words []string) (err error) {
	r := &c.Request
	switch word, args := words[0], words[1:]; word {
	case "target":
		t, err := pep425.ParseTarget(args[0], args[1])
		if err != nil {
			return err
		}
		r.Targets = append(r.Targets, resolve.NewTarget(t))
	case "locked":
		name, version, _ := strings.Cut(args[0], "==")
		if r.Locked == nil {
			r.Locked = make(map[string][]resolve.Locked)
		}
		r.Locked[name] = append(r.Locked[name], resolve.Locked{Version: version, Hashes: args[1:]})
	case "upgrade":
		if args[0] == ":all:" {
			r.UpgradeAll = true
		} else {
			r.Upgrade = append(r.Upgrade, args[0])
		}
	case "lowest", "lowest-direct":
		r.Strategy = resolve.Strategy(word)
	case "pre":
		r.Prereleases = true
	case "build":
		r.AllowBuild = true
	case "prefer-binary":
		r.PreferBinary = true
	case "require-hashes":
		r.RequireHashes = true
	case "exclude-newer":
		r.ExcludeNewer, err = time.Parse(time.DateOnly, args[0])
	case "only-binary":
		r.OnlyBinary = append(r.OnlyBinary, args[0])
	case "no-binary":
		r.NoBinary = append(r.NoBinary, args[0])
	case "versions":
		_, err = fmt.Sscan(args[0], &r.MaxVersions)
	default:
		err = fmt.Errorf("unknown option %q", word)
	}
	return err
}
