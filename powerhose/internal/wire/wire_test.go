package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// vectors is powerhose/testdata/vectors/heads.json, which the implementations
// in other languages pass too.
type vectors struct {
	Format int
	Valid  []struct {
		Name      string
		Hex       string
		Canonical *bool
		Head      fields
	}
	Invalid []struct {
		Name, Hex, Error string
		Offset           int
	}
}

// fields is a head as the vectors have it.
type fields struct {
	Type        string   `json:"type"`
	Number      uint64   `json:"number,string"`
	Code        uint16   `json:"code"`
	PID         uint32   `json:"pid"`
	Attempt     uint8    `json:"attempt"`
	Flags       uint8    `json:"flags"`
	Left        uint32   `json:"left"`
	BusyWait    uint32   `json:"busy_wait"`
	Wait        uint32   `json:"wait"`
	Run         uint32   `json:"run"`
	Lowest      uint8    `json:"lowest"`
	Highest     uint8    `json:"highest"`
	Version     uint8    `json:"version"`
	Window      uint8    `json:"window"`
	Tries       uint8    `json:"tries"`
	Period      uint32   `json:"period"`
	MaxBody     uint64   `json:"max_body,string"`
	Incarnation string   `json:"incarnation"`
	Name        string   `json:"name"`
	Socket      string   `json:"socket"`
	Kinds       []string `json:"kinds"`
	Kind        string   `json:"kind"`
	Language    string   `json:"language"`
	Library     string   `json:"library"`
	Text        string   `json:"text"`
	Held        []string `json:"held"`
}

// fieldsOf is the reverse of head.
func fieldsOf(h *Head) fields {
	f := fields{
		Type: h.Type.String(), Number: h.Number, Code: uint16(h.Code), PID: h.PID, Attempt: h.Attempt, Flags: h.Flags,
		Left: h.Left, BusyWait: h.BusyWait, Wait: h.Wait, Run: h.Run, Lowest: h.Lowest, Highest: h.Highest, Version: h.Version,
		Window: h.Window, Tries: h.Tries, Period: h.Period, MaxBody: h.MaxBody,
		Name: string(h.Name), Socket: string(h.Socket), Kind: string(h.Kind), Language: string(h.Language), Library: string(h.Library),
		Text: string(h.Text),
	}
	if h.Incarnation != [16]byte{} {
		f.Incarnation = hex.EncodeToString(h.Incarnation[:])
	}
	for k := range h.Kinds.All() {
		f.Kinds = append(f.Kinds, string(k))
	}
	for i := range h.Held.Len() {
		f.Held = append(f.Held, strconv.FormatUint(h.Held.At(i), 10))
	}
	return f
}

func (f *fields) head(t *testing.T) *Head {
	t.Helper()
	h := &Head{
		Number: f.Number, Code: Code(f.Code), PID: f.PID, Attempt: f.Attempt, Flags: f.Flags,
		Left: f.Left, BusyWait: f.BusyWait, Wait: f.Wait, Run: f.Run, Lowest: f.Lowest, Highest: f.Highest, Version: f.Version,
		Window: f.Window, Tries: f.Tries, Period: f.Period, MaxBody: f.MaxBody,
		Name: []byte(f.Name), Socket: []byte(f.Socket), Kind: []byte(f.Kind), Language: []byte(f.Language), Library: []byte(f.Library),
		Text: []byte(f.Text),
	}
	for typ := Hello; typ < numTypes; typ++ {
		if typ.String() == f.Type {
			h.Type = typ
		}
	}
	copy(h.Incarnation[:], unhex(t, f.Incarnation))
	for _, k := range f.Kinds {
		h.Kinds = h.Kinds.Add(k)
	}
	for _, s := range f.Held {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		h.Held = h.Held.Add(n)
	}
	return h
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB) vectors {
	text, err := os.ReadFile("../../testdata/vectors/heads.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	// The file says about itself what it is; that is for people.
	var whole struct {
		vectors
		About string
	}
	if err := d.Decode(&whole); err != nil {
		t.Fatal(err)
	}
	if v = whole.vectors; v.Format != 1 || len(v.Valid) == 0 || len(v.Invalid) == 0 {
		t.Fatalf("vectors of format %d, %d valid, %d invalid", v.Format, len(v.Valid), len(v.Invalid))
	}
	return v
}

// Each valid head decodes to its fields, and they encode to it.
func TestValid(t *testing.T) {
	seen := map[Type]bool{}
	for _, v := range load(t).Valid {
		t.Run(v.Name, func(t *testing.T) {
			b := unhex(t, v.Hex)
			var h Head
			if err := Decode(b, &h); err != nil {
				t.Fatal(err)
			}
			seen[h.Type] = true
			if got := fieldsOf(&h); !reflect.DeepEqual(got, v.Head) {
				t.Errorf("Decode = %+v\nwant %+v", got, v.Head)
			}
			if v.Canonical != nil && !*v.Canonical {
				return
			}
			got, err := v.Head.head(t).Append([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), b...); !bytes.Equal(got, want) {
				t.Errorf("Append = %x\nwant %x", got, want)
			}
		})
	}
	for typ := Hello; typ < numTypes; typ++ {
		if !seen[typ] {
			t.Errorf("no vector has a %v", typ)
		}
	}
}

// Each invalid one is refused for its reason, and each reason has one.
func TestInvalid(t *testing.T) {
	seen := map[Fault]bool{}
	for _, v := range load(t).Invalid {
		t.Run(v.Name, func(t *testing.T) {
			var h Head
			var fault *DecodeError
			if err := Decode(unhex(t, v.Hex), &h); !errors.As(err, &fault) {
				t.Fatalf("Decode = %v", err)
			}
			seen[fault.Fault] = true
			if fault.Fault.String() != v.Error || fault.Offset != v.Offset {
				t.Errorf("Decode = %s at %d, want %s at %d", fault.Fault, fault.Offset, v.Error, v.Offset)
			}
		})
	}
	for f := Fault(1); f < numFaults; f++ {
		if !seen[f] {
			t.Errorf("no vector has the fault %v", f)
		}
	}
}

// What cannot be decoded is not encoded, and leaves the buffer as it was.
func TestAppendRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxHead+1)
	for _, h := range []Head{
		{},
		{Type: numTypes},
		{Type: Job},
		{Type: Job, Number: 1},
		{Type: Job, Number: 1, Attempt: 1, Kind: []byte("a b")},
		{Type: Bye, Code: Stop, Text: []byte(long)},
		{Type: Bye, Code: Stop, Text: []byte(strings.Repeat(long, 66))},
		{Type: Hello, Incarnation: [16]byte{1}, Lowest: 1, Highest: 1, Window: 1, Name: []byte("a")},
	} {
		got, err := h.Append([]byte("before"))
		if err == nil || string(got) != "before" {
			t.Errorf("Append of %+v = %q, %v", h, got, err)
		}
	}
}

// An error says the type, what is wrong and where.
func TestErrorText(t *testing.T) {
	var h Head
	for in, want := range map[string]string{
		"":                                 "head ends too early (byte 0)",
		"50480102":                         "head ends too early (byte 4)",
		"504801060000000000000005":         "JOB head ends too early (byte 12)",
		"50480106000000000000000000000000": "JOB head has a number that its type cannot have (byte 4)",
	} {
		if err := Decode(unhex(t, in), &h); err == nil || err.Error() != want {
			t.Errorf("Decode(%s) = %v, want %s", in, err, want)
		}
	}
	if got := Type(99).String(); got != "unknown" {
		t.Errorf("Type(99) = %s", got)
	}
}

func TestHasBody(t *testing.T) {
	var got []string
	for typ := Type(0); typ < 20; typ++ {
		if typ.HasBody() {
			got = append(got, typ.String())
		}
	}
	if want := "JOB PROGRESS RESULT ERROR CALL REPLY"; strings.Join(got, " ") != want {
		t.Errorf("types with a body are %s, want %s", got, want)
	}
}

func TestCutText(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"short":                          "short",
		"a\xffb":                         "a\ufffdb",
		strings.Repeat("x", MaxText):     strings.Repeat("x", MaxText),
		strings.Repeat("x", MaxText+1):   strings.Repeat("x", MaxText),
		"a" + strings.Repeat("€", 200):   "a" + strings.Repeat("€", 170),
		"abc" + strings.Repeat("€", 200): "abc" + strings.Repeat("€", 169),
	} {
		if got := CutText(in); got != want {
			t.Errorf("CutText(%q) = %q, want %q", in, got, want)
		}
	}
}

// A decoded slice cannot grow into what follows it.
func TestNoAliasing(t *testing.T) {
	b, err := (&Head{Type: Hello, Incarnation: [16]byte{1}, Lowest: 1, Highest: 1, Window: 1, Name: []byte("n"), Socket: []byte("/s"),
		Kinds: Kinds(nil).Add("a").Add("b"), Library: []byte("lib")}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(b)
	var h Head
	if err := Decode(b, &h); err != nil {
		t.Fatal(err)
	}
	_ = append(h.Name, "xxxxxxxx"...)
	_ = append(h.Kinds, "xxxxxxxx"...)
	if !bytes.Equal(b, want) {
		t.Errorf("appending to a field wrote into the buffer: %q", b)
	}
}

func TestNoAllocation(t *testing.T) {
	job := Head{Type: Job, Number: 1 << 40, Left: 30000, Attempt: 1, Kind: []byte("sign")}
	buf := make([]byte, 0, MaxHead)
	var back Head
	got := testing.AllocsPerRun(100, func() {
		b, err := job.Append(buf)
		if err == nil {
			err = Decode(b, &back)
		}
		if err != nil || back.Number != job.Number {
			t.Error(err)
		}
	})
	if got != 0 {
		t.Errorf("a job costs %v allocations", got)
	}
}

// Whatever the bytes are, what is accepted is within its limits and encodes to
// something that decodes to the same.
func FuzzDecode(f *testing.F) {
	v := load(f)
	for _, x := range v.Valid {
		b, _ := hex.DecodeString(strings.ReplaceAll(x.Hex, " ", ""))
		f.Add(b)
	}
	for _, x := range v.Invalid {
		b, _ := hex.DecodeString(strings.ReplaceAll(x.Hex, " ", ""))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, back Head
		if Decode(b, &h) != nil {
			return
		}
		if len(b) > MaxHead || len(h.Text) > MaxText || len(h.Name) > MaxName || h.Held.Len() > MaxWindow || h.Window > MaxWindow {
			t.Fatalf("%x is beyond a limit: %+v", b, h)
		}
		again, err := h.Append(nil)
		if err != nil {
			t.Fatalf("%x decodes and does not encode: %v", b, err)
		}
		if len(again) > len(b) {
			t.Fatalf("%x is encoded longer, as %x", b, again)
		}
		if err := Decode(again, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(fieldsOf(&h), fieldsOf(&back)) {
			t.Fatalf("%+v became %+v", h, back)
		}
		if len(again) == len(b) && !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one head:\n%x\n%x", b, again)
		}
	})
}

func BenchmarkJob(b *testing.B) {
	job := Head{Type: Job, Number: 1 << 40, Left: 30000, Attempt: 1}
	buf := make([]byte, 0, MaxHead)
	var back Head
	for b.Loop() {
		out, err := job.Append(buf)
		if err == nil {
			err = Decode(out, &back)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// The specification has the numbers, names, lengths and limits of the code.
func TestSpecification(t *testing.T) {
	text, err := os.ReadFile("../../../docs/POWERHOSE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) > 2 {
			rows[cells[0]+" "+cells[1]] = append(cells, make([]string, 7)...)
		}
	}
	sizes := map[string]int{"u8": 1, "u16": 2, "u32": 4, "u64": 8, "bytes": 16}
	for typ := Hello; typ < numTypes; typ++ {
		row := rows[strconv.Itoa(int(typ))+" "+typ.String()]
		if row == nil {
			t.Errorf("no row of %v", typ)
			continue
		}
		at := headSize
		for field := range strings.SplitSeq(row[4], " · ") {
			if words := strings.Fields(field); len(words) > 0 {
				if words[0] != strconv.Itoa(at) {
					t.Errorf("%v: %q begins at %d", typ, field, at)
				}
				at += sizes[words[len(words)-1]]
			}
		}
		if at != headSize+shapes[typ].fixed {
			t.Errorf("%v: the fixed part of the table ends at %d, that of the code at %d", typ, at, headSize+shapes[typ].fixed)
		}
		if zero := row[3] == "0"; zero != (shapes[typ].number == none) {
			t.Errorf("%v: number %q", typ, row[3])
		}
		if body := row[6] != ""; body != typ.HasBody() {
			t.Errorf("%v: body in the table: %v", typ, body)
		}
		for tag := uint8(1); tag < numTags; tag++ {
			if has := strings.Contains(row[5], tagNames[tag]); has != (shapes[typ].tags&(1<<tag) != 0) {
				t.Errorf("%v: option %s in the table: %v", typ, tagNames[tag], has)
			}
		}
	}
	for tag := uint8(1); tag < numTags; tag++ {
		row := rows[strconv.Itoa(int(tag))+" "+tagNames[tag]]
		if want := strconv.Itoa(limits[tag].min) + "–" + strconv.Itoa(limits[tag].max); row == nil || row[2] != want {
			t.Errorf("option %s has no row with %s", tagNames[tag], want)
		}
	}
	for _, code := range []Code{
		OK, Application, Rejected, Cancelled, Expired, Panic, Busy, NoWorker, QueueFull, Timeout, Lost, Draining, TooBig, BadVersion, NameTaken,
		BadSocket, BadCredentials, TooMany, Malformed, TooFast, Broken, TooSlow, Silent, Overdue, Replaced, Stop, MaxJobs, MaxAge, MaxRSS,
	} {
		if !strings.Contains(string(text), "\n| "+strconv.Itoa(int(code))+" | ") {
			t.Errorf("no row of code %d", code)
		}
	}
}

var tagNames = [numTags]string{
	tagName: "name", tagSocket: "socket", tagKind: "kind", tagLanguage: "language", tagLibrary: "library", tagText: "text", tagHeld: "held",
}
