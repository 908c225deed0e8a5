package resolve

import (
	"appbundle/schema/pep508"
)

// A FactKind says what sort of a fact made a version impossible.
type FactKind string

// The kinds of facts. The detail of a Fact is in parentheses.
const (
	Asked       FactKind = "asked"        // a line of the user asks for it
	Constrained FactKind = "constrained"  // a constraint narrows it
	Requires    FactKind = "requires"     // another version asks for it (what it asks for)
	NoVersion   FactKind = "no-version"   // no version fits (the demand)
	Unknown     FactKind = "unknown"      // no index has a project of that name
	NoFile      FactKind = "no-file"      // the index lists no file that could be installed
	NoWheel     FactKind = "no-wheel"     // no wheel fits, and there is no source distribution (target)
	NeedsPython FactKind = "needs-python" // Requires-Python (what it says)
	Yanked      FactKind = "yanked"       // its files are yanked (why)
	Prerelease  FactKind = "prerelease"   // pre-releases do not count for this project
	TooNew      FactKind = "too-new"      // uploaded after ExcludeNewer (that time)
	NoHash      FactKind = "no-hash"      // no file has a hash that a line gives (place of the line)
	OtherFile   FactKind = "other-file"   // a line names another file (place of the line)
	NoSdist     FactKind = "no-sdist"     // wheels do not count, and there is no source distribution
	HostOnly    FactKind = "host-only"    // a build gives a wheel that fits its host alone (target and tag of the wheel)
	OnlySdist   FactKind = "only-sdist"   // source distributions do not count, and there is no wheel
	NoMetadata  FactKind = "metadata"     // nothing tells what it requires (why)
	Quarantined FactKind = "quarantined"  // the index does not offer the project (why)
	ByURL       FactKind = "by-url"       // it asks for a URL, which only a line of the user may (requirement)
)

// A leaf is the fact of an incompatibility: what a proof rests on.
type leaf struct {
	kind FactKind
	line *line // of Asked and Constrained
	// name is the project that the fact is about, extra the extra of it that
	// asks, "" for the project itself.
	name, extra string
	detail      string
	req         *pep508.Requirement // of Requires
}
