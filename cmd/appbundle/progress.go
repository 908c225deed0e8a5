package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// redrawEvery is how often a bar moves on a terminal.
	redrawEvery = 100 * time.Millisecond
	// largeTask is how many bytes make a bar appear at once; one for less is
	// gone before anybody has read it.
	largeTask = 16 << 20
)

// lineEvery is how often a line says how far it is where there is no terminal; a
// short task says nothing.
var lineEvery = 5 * time.Second

// A progress shows how far a task is: a moving bar on a terminal, a line now
// and then elsewhere, nothing with --quiet. Its methods may be called from
// several goroutines.
type progress struct {
	out  *printer
	verb string
	now  func() time.Time

	mu    sync.Mutex
	last  time.Time // of the last output, or of the start
	drawn bool      // a bar is on the terminal
}

// progress begins to show a task; end has to be called before anything else is
// printed.
func (p *printer) progress(verb string) *progress {
	return &progress{out: p, verb: verb, now: time.Now, last: time.Now()}
}

// update shows that done of total bytes are dealt with.
func (b *progress) update(done, total int64) {
	if b.out.quiet || total <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	waited := now.Sub(b.last)
	if b.out.width == 0 {
		if waited >= lineEvery {
			b.last = now
			b.out.remark("%s: %s of %s", b.verb, size(done), size(total))
		}
		return
	}
	first, last := !b.drawn && total >= largeTask, b.drawn && done >= total
	if waited < redrawEvery && !first && !last {
		return
	}
	b.last, b.drawn = now, true
	fmt.Fprintf(b.out.remarks, "\r%s\x1b[K", bar(b.verb, done, total, b.out.width))
}

// note shows how far a task is whose end nobody knows.
func (b *progress) note(format string, args ...any) {
	if b.out.quiet {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	waited := now.Sub(b.last)
	text := b.verb + ": " + fmt.Sprintf(format, args...)
	switch {
	case b.out.width == 0 && waited >= lineEvery:
		b.last = now
		b.out.remark("%s", text)
	case b.out.width > 0 && waited >= redrawEvery:
		b.last, b.drawn = now, true
		fmt.Fprintf(b.out.remarks, "\r%s\x1b[K", text[:min(len(text), b.out.width-1)])
	}
}

// end takes the bar away.
func (b *progress) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drawn {
		fmt.Fprint(b.out.remarks, "\r\x1b[K")
		b.drawn = false
	}
}

// bar is a line shorter than width: verb [#####     ]  50 %  1.2 of 2.4 MiB.
func bar(verb string, done, total int64, width int) string {
	done = min(done, total)
	label := fmt.Sprintf(" %3d %%  %s of %s", done*100/total, size(done), size(total))
	room := width - 1 - len(verb) - len(label) - len(" []")
	if room < 5 {
		s := verb + label
		return s[:min(len(s), max(width-1, 0))]
	}
	room = min(room, 40)
	full := int(int64(room) * done / total)
	return verb + " [" + strings.Repeat("#", full) + strings.Repeat(" ", room-full) + "]" + label
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %s", f, units[unit])
}

var units = []string{"KiB", "MiB", "GiB", "TiB"}
