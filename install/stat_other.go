//go:build !linux

package install

import (
	"io/fs"
	"time"
)

// changed is when a file was modified last.
func changed(st fs.FileInfo) time.Time { return st.ModTime() }
