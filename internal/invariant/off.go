//go:build !race

package invariant

// Enabled says that checks are off: this program was built without -race.
const Enabled = false
