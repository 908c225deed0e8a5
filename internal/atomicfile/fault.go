package atomicfile

import (
	"errors"
	"fmt"
	"iter"
	"sync"
)

// ErrFault is the cause of a failure that a test asked for.
var ErrFault = errors.New("injected fault")

// A Fault makes one operation fail, the n-th from when it was made, and
// remembers which that was. The operations after it work again: a cleanup that
// goes on writing shows. It may be used by several goroutines at once.
type Fault struct {
	mu   sync.Mutex
	n    int
	seen int
	what string // the operation that failed, "" when none did
}

// FailAt returns the Fault of the n-th operation, n counting from 1.
func FailAt(n int) *Fault { return &Fault{n: n} }

// FS returns a file system that is the real one but for the fault.
func (f *Fault) FS() FS {
	return FS{Before: func(op Op, path string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.seen++; f.seen != f.n {
			return nil
		}
		f.what = string(op) + " " + path
		return ErrFault
	}}
}

// Hit reports whether the operation was reached, and so failed.
func (f *Fault) Hit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.what != ""
}

// String names the operation: "operation 7, rename /srv/shop".
func (f *Fault) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.what == "" {
		return fmt.Sprintf("operation %d, never reached", f.n)
	}
	return fmt.Sprintf("operation %d, %s", f.n, f.what)
}

// Faults yields a Fault for the first operation, the second, and so on, and
// ends after the first that was not reached: that run had no fault and must
// have succeeded. In a test:
//
//	for fault := range atomicfile.Faults() {
//		err := work(fault.FS())
//		if (err != nil) != fault.Hit() {
//			t.Fatalf("%v: got %v", fault, err)
//		}
//		// … and that nothing half is left
//	}
func Faults() iter.Seq[*Fault] {
	return func(yield func(*Fault) bool) {
		for n := 1; ; n++ {
			f := FailAt(n)
			if !yield(f) || !f.Hit() {
				return
			}
		}
	}
}
