// Package invariant checks, while the tests run, what the code believes of
// itself.
//
// A check states a fact that no input, no disk and no peer can make false:
// only a mistake in our own code can. It is therefore no way to validate
// input, and it never replaces an error.
//
// Checks are on where the race detector is on, that is in `make test` and in
// the fuzz targets, and cost nothing in a release: [Enabled] is a constant, so
// that the compiler drops a call behind it. A check whose arguments are dear
// to compute stands inside `if invariant.Enabled { … }`.
//
// A check that fails panics. There is nothing to recover: the state that would
// have to be handled is one that we said cannot be.
//
// The package imports nothing but fmt and may be used by every other one.
package invariant

import "fmt"

// Check panics with the formatted message when checks are on and ok is false.
func Check(ok bool, format string, args ...any) {
	if Enabled && !ok {
		panic("invariant: " + fmt.Sprintf(format, args...))
	}
}
