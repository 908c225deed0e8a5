package install

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when the kernel changed a file last, which nobody can set.
func changed(st fs.FileInfo) time.Time {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return time.Unix(sys.Ctim.Unix())
	}
	return st.ModTime()
}
