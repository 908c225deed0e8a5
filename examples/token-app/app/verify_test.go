package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"appbundle/powerhose"
)

// A call is made again at the next master, within limits, and for nothing else.
func TestAgain(t *testing.T) {
	const wait = 100 * time.Millisecond
	other := errors.New("something else")
	for _, tt := range []struct {
		name   string
		errs   []error // of the calls in turn; the last one is that of all others
		want   error
		calls  int
		within time.Duration
	}{
		{"well", []error{nil}, nil, 1, 0},
		{"lost once", []error{powerhose.ErrMasterLost, nil}, nil, 2, 0},
		{"lost twice", []error{powerhose.ErrMasterLost}, powerhose.ErrMasterLost, 2, 0},
		{"ending", []error{powerhose.ErrDraining, powerhose.ErrDraining, powerhose.ErrDraining, nil}, nil, 4, 3 * endingPause},
		{"ending, then lost", []error{powerhose.ErrDraining, powerhose.ErrMasterLost, powerhose.ErrDraining, nil}, nil, 4, 2 * endingPause},
		{"never another", []error{powerhose.ErrDraining}, powerhose.ErrDraining, int(wait/endingPause) + 1, wait},
		{"other", []error{other}, other, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				execute := again(func(context.Context, string, []byte) ([]byte, error) {
					err := tt.errs[min(calls, len(tt.errs)-1)]
					calls++
					if err != nil {
						err = fmt.Errorf("powerhose: %w", err)
					}
					return nil, err
				}, wait)
				start := time.Now()
				_, err := execute(t.Context(), "mint", nil)
				if took := time.Since(start); !errors.Is(err, tt.want) || calls != tt.calls || took != tt.within {
					t.Errorf("%v after %d calls in %v, want %v after %d in %v", err, calls, took, tt.want, tt.calls, tt.within)
				}
			})
		})
	}
}

// Who has gone waits for no master.
func TestAgainWithoutCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		calls := 0
		for _, cause := range []error{powerhose.ErrDraining, powerhose.ErrMasterLost} {
			_, err := again(func(context.Context, string, []byte) ([]byte, error) {
				calls++
				return nil, cause
			}, time.Hour)(ctx, "verify", nil)
			if !errors.Is(err, cause) {
				t.Errorf("%v, want %v", err, cause)
			}
		}
		if calls > 3 {
			t.Errorf("%d calls", calls)
		}
	})
}
