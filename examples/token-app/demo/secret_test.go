package demo

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Servers that start at once have one secret, and none sees half of it.
func TestSecretAtOnce(t *testing.T) {
	for range 100 {
		dir := t.TempDir()
		name := filepath.Join(dir, "master")
		var all sync.WaitGroup
		said := make([]string, 8)
		for i := range said {
			all.Go(func() {
				if err := secret(name); err != nil {
					t.Error(err)
				}
				data, err := os.ReadFile(name)
				if err != nil {
					t.Error(err)
				}
				said[i] = string(data)
			})
		}
		all.Wait()
		for _, s := range said {
			if s != said[0] || len(s) < 64 {
				t.Fatalf("the servers have read %q", said)
			}
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Fatalf("%v is left, %v", left, err)
		}
	}
}
