package build

import (
	"os"
	"testing"
)

// A process that left the session is found by its HOME.
func TestSweep(t *testing.T) {
	home := t.TempDir()
	proc, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "sleep 1000"}, &os.ProcAttr{Env: []string{"PATH=/usr/bin:/bin", "HOME=" + home}})
	if err != nil {
		t.Fatal(err)
	}
	sweep(home + "/other")
	sweep(home)
	state, err := proc.Wait()
	if err != nil || state.String() != "signal: killed" {
		t.Errorf("%v, %v", state, err)
	}
}
