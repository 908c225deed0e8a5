package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestBar(t *testing.T) {
	tests := []struct {
		name        string
		done, total int64
		width       int
		want        string
	}{
		{"none", 0, 2048, 60, "build [                             ]   0 %  0 B of 2.0 KiB"},
		{"half", 1024, 2048, 60, "build [############             ]  50 %  1.0 KiB of 2.0 KiB"},
		{"all", 2048, 2048, 60, "build [#########################] 100 %  2.0 KiB of 2.0 KiB"},
		{"more than all", 4096, 2048, 60, "build [#########################] 100 %  2.0 KiB of 2.0 KiB"},
		{"a wide terminal", 2048, 2048, 300, "build [########################################] 100 %  2.0 KiB of 2.0 KiB"},
		{"a narrow terminal", 1024, 2048, 35, "build  50 %  1.0 KiB of 2.0 KiB"},
		{"hardly a terminal", 1024, 2048, 8, "build  "},
		{"larger than an int32", 3 << 40, 4 << 40, 60, "build [##################       ]  75 %  3.0 TiB of 4.0 TiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := bar("build", tt.done, tt.total, tt.width)
			if got != tt.want {
				t.Errorf("bar(%d, %d, %d) =\n%q, want\n%q", tt.done, tt.total, tt.width, got, tt.want)
			}
			if len(got) >= tt.width {
				t.Errorf("bar has %d columns on a terminal of %d, which would wrap", len(got), tt.width)
			}
		})
	}
}

// What is shown and when: a bar at most every tenth of a second, and at once
// for a large task; a line at most every five seconds; nothing for a short task
// and with --quiet.
func TestProgress(t *testing.T) {
	tests := []struct {
		name  string
		width int
		quiet bool
		scale int64 // of the task's 40 bytes
		step  time.Duration
		want  string // without the bars' texts
	}{
		{"a terminal", 80, false, 1, 60 * time.Millisecond, "\r…\x1b[K\r…\x1b[K\r\x1b[K"},
		{"a fast task on a terminal", 80, false, 1, time.Millisecond, ""},
		{"a fast and large task on a terminal", 80, false, 1 << 20, time.Millisecond, "\r…\x1b[K\r…\x1b[K\r\x1b[K"},
		{"no terminal", 0, false, 1, 3 * time.Second, "build: 20 B of 40 B\nbuild: 40 B of 40 B\n"},
		{"a fast task without a terminal", 0, false, 1, time.Second, ""},
		{"quiet on a terminal", 80, true, 1, time.Second, ""},
		{"quiet without a terminal", 0, true, 1, time.Hour, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			p := &printer{remarks: &b, width: tt.width, quiet: tt.quiet}
			clock := time.Unix(0, 0)
			task := &progress{out: p, verb: "build", now: func() time.Time { return clock }, last: clock}
			for done := int64(10); done <= 40; done += 10 {
				clock = clock.Add(tt.step)
				task.update(done*tt.scale, 40*tt.scale)
			}
			task.end()
			got := b.String()
			for _, text := range strings.Split(got, "\r") {
				if text, ok := strings.CutSuffix(text, "\x1b[K"); ok && text != "" {
					got = strings.Replace(got, text, "…", 1)
				}
			}
			if got != tt.want {
				t.Errorf("progress printed %q, want %q", got, tt.want)
			}
		})
	}
}
