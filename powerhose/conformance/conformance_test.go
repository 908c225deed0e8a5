package conformance

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// A fault is one of cases.json.
type fault struct {
	ID       string `json:"id"`
	Action   string `json:"action"`
	Expect   string `json:"expect"`
	WithinMS int    `json:"within_ms"`
}

// from begins the time of the case; what it returns ends it.
func (f *fault) from(t *testing.T) (end func()) {
	began := time.Now()
	return func() {
		t.Helper()
		took, within := time.Since(began), time.Duration(f.WithinMS)*time.Millisecond
		t.Logf("took %v of %v", took.Round(10*time.Microsecond), within)
		if took > slack*within {
			t.Errorf("%s: took %v, more than %d times %v", f.Action, took, slack, within)
		}
	}
}

// runs says with which workers a case is played.
type runs int

const (
	each     runs = iota // once in each language
	together             // once, with workers in all languages
	once                 // once: it is about the master alone, or about a peer made of bytes
)

// table has each case of cases.json. The language of one that is played once is
// that of good workers beside.
var table = []struct {
	id   string
	with runs
	play func(*testing.T, language, *fault)
}{
	{"kill9-holding", each, killHolding},
	{"kill9-holding-repeatable", each, killRepeatable},
	{"kill9-poison", each, killPoison},
	{"kill9-window2", each, killWindow},
	{"kill9-after-answer", each, killAfterAnswer},
	{"kill9-idle", each, killIdle},
	{"sigstop-idle", each, stopIdle},
	{"sigstop-busy", each, stopBusy},
	{"never-answers", each, neverAnswers},
	{"double-answer", once, doubleAnswer},
	{"answer-of-other-job", once, answerOfOther},
	{"late-answer", each, lateAnswer},
	{"never-asked-answer", once, neverAsked},
	{"master-kill9-restart", each, masterRestart},
	{"master-gone", together, masterGone},
	{"master-sigstop", each, masterStop},
	{"all-busy", each, allBusy},
	{"no-worker", each, noWorker},
	{"drain-worker", each, drainWorker},
	{"drain-master", each, drainMaster},
	{"cancel-running", each, cancelRunning},
	{"cancel-waiting", each, cancelWaiting},
	{"reconnect-storm", once, storm},
	{"slow-reader", once, slowReader},
	{"frame-1gib", once, hugeFrame},
	{"frame-2e62", once, impossibleFrames},
	{"endless-more", once, endlessMore},
	{"silent-peer", each, silentPeer},
	{"bad-greeting", once, badGreeting},
	{"wrong-version", each, wrongVersion},
	{"name-taken", each, nameTaken},
	{"foreign-path", each, foreignPath},
	{"foreign-uid", once, foreignUser},
	{"stale-socket", once, staleSocket},
	{"fork-child", each, forkChild},
	{"recycle", each, recycle},
	{"mixed-languages", together, mixed},
	{"leak", together, leak},
	{"progress", each, progress},
	{"error", each, errorDetail},
	{"reject", each, reject},
	{"break", each, broken},
	{"limits", each, limits},
	{"about", each, about},
	{"returned-after-bye", each, returnedAfterBye},
	{"held", each, held},
}

// alone are cases that look at this whole process.
var alone = map[string]bool{"leak": true}

// TestCases plays every case.
func TestCases(t *testing.T) {
	b, err := os.ReadFile("../testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var faults []fault
	if err := json.Unmarshal(b, &faults); err != nil {
		t.Fatal(err)
	}
	unplayed := map[string]*fault{}
	for i, f := range faults {
		if f.ID == "" || f.Action == "" || f.Expect == "" || f.WithinMS <= 0 || unplayed[f.ID] != nil {
			t.Errorf("cases.json: case %d (%q) is incomplete, or there twice", i+1, f.ID)
		}
		unplayed[f.ID] = &faults[i]
	}
	for _, c := range table {
		f := unplayed[c.id]
		if f == nil {
			t.Errorf("%s is no case of cases.json, or is in the table twice", c.id)
			continue
		}
		delete(unplayed, c.id)
		play := func(name string, l language) {
			t.Run(name, func(t *testing.T) {
				if !alone[c.id] {
					t.Parallel()
				}
				c.play(t, l, f)
			})
		}
		switch c.with {
		case each:
			for _, l := range languages {
				play(c.id+"/"+l.name, l)
			}
		case together, once:
			play(c.id, languages[0])
		}
	}
	for id := range unplayed {
		t.Errorf("%s is played nowhere", id)
	}
}
