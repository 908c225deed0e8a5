package resolve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"appbundle/schema"
	"appbundle/schema/pep425"
	"appbundle/schema/pep440"
	"appbundle/schema/pep508"
)

const (
	// MaxVersions is how many versions one solution tries.
	MaxVersions = 100_000
	// MaxTime is how long one solution takes.
	MaxTime = 10 * time.Minute
)

// A Request is what a resolution depends on, but for what the Provider says.
type Request struct {
	// Requirements are the user's lines, in their order. Their places are what
	// an explanation points at.
	Requirements []schema.Package
	// Constraints are lines of constraint files: they narrow the versions of a
	// project that something else asks for.
	Constraints []schema.Package
	// Targets are what is resolved for: one for Solve, at least one for Lock.
	Targets []Target

	// Locked is what an earlier resolution chose, by normalised name. Of several
	// with the same name, the first whose marker is true counts.
	Locked map[string][]Locked
	// Upgrade names the projects for which Locked does not count, UpgradeAll is
	// all of them.
	Upgrade    []string
	UpgradeAll bool

	Strategy Strategy
	// Prereleases lets pre-releases count like others.
	Prereleases bool
	// ExcludeNewer leaves out files uploaded after it, and those whose time
	// nobody knows; files of the application directory stay. The zero time
	// leaves out nothing.
	ExcludeNewer time.Time

	// NoBinary and OnlyBinary are normalised names whose wheels, or source
	// distributions, do not count; ":all:" is every name.
	NoBinary   []string
	OnlyBinary []string
	// PreferBinary puts older wheels before newer source distributions.
	PreferBinary bool
	// AllowBuild lets metadata count that a build told.
	AllowBuild bool
	// Build makes a wheel of f, a source distribution that a target gets, because
	// only wheels are installed; nil means that nobody does. It is called for
	// what is chosen, and for what only a build tells something of, one at a time.
	// A *MetadataError says that it may not be built, and a *BuildError, that
	// it could not, which stops the run. A wheel of one platform serves the target
	// that has the name of its host, and no other.
	Build func(ctx context.Context, name string, r *Release, f *File) (*Built, error)
	// RequireHashes refuses what no line gives a hash of. It is implied by a
	// line with a hash for that project.
	RequireHashes bool

	// Fetchers is how many requests run at a time; 0 means 16.
	Fetchers int
	// MaxVersions is how many versions are tried; 0 means the constant.
	MaxVersions int
	// MaxTime bounds the whole of it; 0 means the constant.
	MaxTime time.Duration
}

// A Locked is a version that an earlier resolution chose.
type Locked struct {
	Version string
	Marker  *pep508.Marker // nil for every target
	// Hashes are those of its files, "sha256:…"; as long as the version stays,
	// no other file is added where one of these can be installed, and a source
	// distribution does not stand for a wheel.
	Hashes []string
	// Files are the names of its files: where the index has another file under
	// such a name, Hashes do not count, and there is a warning.
	Files []string
}

// A Strategy says which of several versions is tried first.
type Strategy string

// The strategies.
const (
	Highest      Strategy = ""              // the newest
	Lowest       Strategy = "lowest"        // the oldest
	LowestDirect Strategy = "lowest-direct" // the oldest of what a line names, the newest of others
)

// NewTarget gives a target of wheel tags and markers.
func NewTarget(t pep425.Target) Target {
	return Target{Name: t.Name, Python: t.Python, Env: t.Env, Tags: t.Tags}
}

// A LimitError says that a resolution was given up.
type LimitError struct {
	Versions int           // tried
	Time     time.Duration // 0 where the versions were too many
	Most     []string      // the projects of which most versions were tried, "boto3 (300)"
}

// Error names the projects.
func (e *LimitError) Error() string {
	after := fmt.Sprintf("%d versions", e.Versions)
	if e.Time > 0 {
		after = fmt.Sprintf("%v and %s", e.Time, after)
	}
	return fmt.Sprintf("no answer after %s; most were of %s", after, strings.Join(e.Most, ", "))
}

// A line is a line of the user with what is used of it.
type line struct {
	schema.Package
	name   string
	extras []string // normalised
}

// A plan is a request made ready: lines by name, sets for lists.
type plan struct {
	Request
	lines       []*line
	constraints []*line
	guess       bool // it answers what would be, and nothing is built for that
}

func newPlan(req Request) (*plan, error) {
	p := &plan{Request: req}
	var err error
	if p.lines, err = newLines(req.Requirements); err != nil {
		return nil, err
	}
	if p.constraints, err = newLines(req.Constraints); err != nil {
		return nil, err
	}
	if p.MaxVersions == 0 {
		p.MaxVersions = MaxVersions
	}
	if p.MaxTime == 0 {
		p.MaxTime = MaxTime
	}
	if p.Fetchers == 0 {
		p.Fetchers = 16
	}
	switch p.Strategy {
	case Highest, Lowest, LowestDirect:
	default:
		return nil, fmt.Errorf("unknown strategy %q", p.Strategy)
	}
	return p, nil
}

func newLines(packages []schema.Package) ([]*line, error) {
	lines := make([]*line, 0, len(packages))
	for _, p := range packages {
		if p.Req.Name == "" {
			return nil, &schema.Problem{
				Pos: p.Pos,
				Msg: fmt.Sprintf("nothing says which project %q is", p.Text),
				Fix: "write NAME @ in front of it",
			}
		}
		lines = append(lines, &line{p, p.Req.Key(), normalised(p.Req.Extras)})
	}
	return lines, nil
}

// without gives the plan without some of its lines.
func (p *plan) without(drop ...*line) *plan {
	q := *p
	q.lines = slices.DeleteFunc(slices.Clone(p.lines), func(l *line) bool { return slices.Contains(drop, l) })
	q.constraints = slices.DeleteFunc(slices.Clone(p.constraints), func(l *line) bool { return slices.Contains(drop, l) })
	return &q
}

// replace gives the plan with another line in the place of one.
func (p *plan) replace(old, by *line) *plan {
	q := *p
	q.lines = slices.Clone(p.lines)
	if i := slices.Index(q.lines, old); i >= 0 {
		q.lines[i] = by
	}
	return &q
}

// locked gives the version that is preferred because it is locked.
func (p *plan) locked(name string, g *group) (Locked, bool) {
	if p.UpgradeAll || slices.Contains(p.Upgrade, name) {
		return Locked{}, false
	}
	for _, l := range p.Locked[name] {
		if ok, err := l.Marker.Evaluate(g.targets[0].Env); ok && err == nil {
			return l, true
		}
	}
	return Locked{}, false
}

func (p *plan) wheels(name string) bool { return !listed(p.NoBinary, name) }

func (p *plan) sdists(name string) bool { return !listed(p.OnlyBinary, name) }

func listed(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, ":all:")
}

// pinned reports whether specifiers name v with == or ===.
func pinned(specs pep440.Specifiers, v pep440.Version) bool {
	for _, s := range specs {
		if (s.Op == "==" || s.Op == "===") && !strings.HasSuffix(s.Text, ".*") && (pep440.Specifiers{s}).Contains(v, pep440.Allow) {
			return true
		}
	}
	return false
}
