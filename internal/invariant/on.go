//go:build race

package invariant

// Enabled says that checks are on: this program was built with -race.
const Enabled = true
