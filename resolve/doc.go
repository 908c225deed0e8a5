// Package resolve finds which version of every package an application gets,
// and which files: it answers the requirements of dependencies.txt for one
// target ([Solve]) or for all declared targets at once ([Lock]).
//
// What there is to choose from comes from a [Provider]. The answer is a
// function of the request and of what the Provider says: neither the order of
// a page nor the moment at which an answer arrives changes it.
//
// # Which versions count
//
// A release counts for a target when one of its files can be installed there: a
// wheel whose tags fit, or a source distribution where those are allowed.
// Requires-Python must hold for the full version of the target's Python, upper
// bounds too; first as the page has it, then as the metadata has it.
//
// Pre-releases count where a line of the user names one for that project, where
// no final release fits the user's lines, and where [Request.Prereleases] says
// so; then they are like others. A dependency that names one admits them too,
// but a final release that fits comes before them.
//
// A yanked release counts where a line of the user pins it with == or ===, and
// where it is the locked version.
//
// A direct reference (URL or path) leaves one candidate: the file of the project
// that has this URL or path. The Provider lists it among the project's files.
// Dependencies cannot ask for a URL: only the user can.
//
// A line with hashes leaves the files that have one of them. What nobody can tell
// without a build counts only where [Request.AllowBuild] says so. Both are facts
// about a release: an older one is tried.
//
// Where [Request.Build] makes wheels, source distributions that are chosen are
// built, and the wheel decides whether they serve a target: one of a platform
// serves the host that it was built on. A build that fails ends the run.
//
// Versions are tried from the locked one, then from the newest ([Strategy] says
// otherwise). [Request.Constraints] narrow what is chosen and ask for nothing.
//
// # How it is found
//
// The solver is PubGrub. A package is a number of candidates, and all that is
// known of it is a set of them; every operation on such sets is exact, so
// that no kind of specifier is approximated. An extra is a switch: a package of
// its own with one candidate. Python is a constant of a target, so that
// Requires-Python is a fact about a run of versions. Requirements are read when
// a version is tried, and pages and metadata are asked for ahead, by a pool of
// goroutines that end before the answer is given.
//
// # No
//
// Requirements without a solution are an answer, a [*ConflictError]: the
// smallest set of lines that contradict each other, with file and line, why they
// do, and what was proved to help by solving again.
//
// # Limits
//
// A solution is given up after [MaxVersions] versions were tried, or after
// [MaxTime]; the error is a [*LimitError]. Markers are answered for declared
// targets only: a lock says nothing of others.
package resolve
