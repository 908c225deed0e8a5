package cpp

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"appbundle/powerhose/internal/wire"
)

// heads is powerhose/testdata/vectors/heads.json.
type heads struct {
	Valid []struct {
		Name, Hex string
		Canonical *bool
		Head      map[string]any
	}
	Invalid []struct {
		Name, Hex, Error string
		Offset           int
	}
}

func loadHeads(t *testing.T) heads {
	t.Helper()
	text, err := os.ReadFile("../testdata/vectors/heads.json")
	if err != nil {
		t.Fatal(err)
	}
	var h heads
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	if len(h.Valid) == 0 || len(h.Invalid) == 0 {
		t.Fatalf("%d valid, %d invalid vectors", len(h.Valid), len(h.Invalid))
	}
	return h
}

func compact(s string) string { return strings.ReplaceAll(s, " ", "") }

// ask gives lines to the program bytes, and returns its lines.
func ask(t *testing.T, lines []string) []string {
	t.Helper()
	cmd := exec.Command(built(t, programs.bytes))
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bytes: %v\n%s", err, stderr.String())
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(lines) {
		t.Fatalf("%d answers to %d lines:\n%s", len(answers), len(lines), out)
	}
	return answers
}

// fieldOrder is that of the program.
var fieldOrder = []string{"number", "code", "pid", "attempt", "flags", "left", "busy_wait", "wait", "run", "lowest", "highest",
	"version", "window", "tries", "period", "max_body", "incarnation", "name", "socket", "kinds", "kind", "language", "library", "text", "held"}

// line is the head of a vector as the program prints it.
func line(t *testing.T, head map[string]any) string {
	t.Helper()
	out := head["type"].(string)
	known := 1
	for _, key := range fieldOrder {
		value, ok := head[key]
		if !ok {
			continue
		}
		known++
		switch v := value.(type) {
		case float64:
			out += fmt.Sprintf(" %s=%.0f", key, v)
		case string:
			switch key {
			case "number", "max_body", "incarnation":
				out += " " + key + "=" + v
			default:
				out += " " + key + "=" + hex.EncodeToString([]byte(v))
			}
		case []any:
			for _, e := range v {
				if key == "kinds" {
					e = hex.EncodeToString([]byte(e.(string)))
				}
				out += fmt.Sprintf(" %s=%s", key, e)
			}
		}
	}
	if known != len(head) {
		t.Fatalf("the vector has a field that this test does not know: %v", head)
	}
	return out
}

// Each valid head decodes to its fields and is encoded to the same bytes; each
// invalid one is refused for its reason, at its byte.
func TestVectors(t *testing.T) {
	h := loadHeads(t)
	var lines, names, want []string
	for _, v := range h.Valid {
		lines = append(lines, "decode ="+compact(v.Hex))
		names = append(names, v.Name)
		w := line(t, v.Head)
		if v.Canonical == nil || *v.Canonical {
			w += " " + compact(v.Hex)
		}
		want = append(want, w)
	}
	for _, v := range h.Invalid {
		lines = append(lines, "decode ="+compact(v.Hex))
		names = append(names, v.Name)
		want = append(want, v.Error+" "+strconv.Itoa(v.Offset))
	}
	for i, got := range ask(t, lines) {
		if i < len(h.Valid) && h.Valid[i].Canonical != nil && !*h.Valid[i].Canonical {
			got = got[:strings.LastIndexByte(got, ' ')]
		}
		if got != want[i] {
			t.Errorf("%s:\n got %s\nwant %s", names[i], got, want[i])
		}
	}
}

// What is not a head is not encoded; texts are cut as those of Go are; the
// pauses between tries are those of the specification.
func TestHelpers(t *testing.T) {
	texts := []string{"", "a", strings.Repeat("x", 512), strings.Repeat("x", 513), strings.Repeat("€", 171), "x" + strings.Repeat("\U0001f40e", 200),
		"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\xf0\x9f\x90", strings.Repeat("\xff", 300), "nul\x00 stays"}
	var lines, want []string
	for _, s := range texts {
		lines = append(lines, "cut ="+hex.EncodeToString([]byte(s)))
		want = append(want, "="+hex.EncodeToString([]byte(wire.CutText(s))))
	}
	for n, ms := range []int{100, 200, 400, 800, 1600, 2000, 2000} {
		lines = append(lines, fmt.Sprint("delay ", n))
		want = append(want, fmt.Sprint(ms, " ", ms-ms/5))
	}
	for n, w := range map[int]string{512: "none", 513: "length", 2000: "too-long", 70000: "too-long"} {
		lines = append(lines, fmt.Sprint("append ", n))
		size := 6
		if n == 512 {
			size += 12 + 2 + 3 + n
		}
		want = append(want, fmt.Sprint(w, " ", size))
	}
	for i, got := range ask(t, lines) {
		if got != want[i] {
			t.Errorf("%s: got %s, want %s", lines[i], got, want[i])
		}
	}
}

// Heads and whole connections that are broken at random: the sanitizers see to
// the memory, the program to what is decoded.
func TestMutations(t *testing.T) {
	h := loadHeads(t)
	var in strings.Builder
	for _, v := range h.Valid {
		fmt.Fprintln(&in, "="+compact(v.Hex))
	}
	for _, v := range h.Invalid {
		fmt.Fprintln(&in, "="+compact(v.Hex))
	}
	seed := strconv.FormatInt(time.Now().UnixNano(), 10)
	cmd := exec.Command(built(t, programs.bytes), "fuzz", seed, "40000")
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("bytes fuzz %s 40000: %v\n%s", seed, err, out)
	}
}
