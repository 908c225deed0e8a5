package invariant

import "testing"

// A false check panics where checks are on, and only there.
func TestCheck(t *testing.T) {
	Check(true, "true")
	defer func() {
		got := recover()
		if Enabled && got != "invariant: 2 processes in slot 1" {
			t.Errorf("Check(false) panicked with %v", got)
		}
		if !Enabled && got != nil {
			t.Errorf("Check(false) panicked with %v though checks are off", got)
		}
	}()
	Check(false, "%d processes in slot %d", 2, 1)
}
