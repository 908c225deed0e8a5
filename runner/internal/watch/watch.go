// Package watch is the policy by which one process is kept alive: a pure
// function from a state and an event to the next state and what to do about it.
//
// A watcher has one State a slot, a slot being the place of one process among
// the n that the watcher asks for. Slots do not know of each other: one that
// flaps does not stop its neighbours. The goroutine that owns a watcher feeds
// the events of its slots to [Next], one at a time, and carries the actions out
// in their order.
//
// # Invariants
//
// They hold after every event, whatever the order in which events come, and a
// test walks all orders nine events deep:
//
//   - A Spawn is asked for only while no process of the slot lives. "Lives"
//     means: spawned, and its Exit or NoExec not yet seen.
//   - After Stop, and without a later Start, the slot comes to Down after at
//     most one Exit and one Timer: a process that ignores its stop signal meets
//     a Kill.
//   - A timer is armed only in the phases that wait for one, and each Arm
//     replaces the timer before it.
//
// # What counts
//
// Every death that nobody asked for counts towards flapping, however long the
// process lived; the end of a process that was asked to stop counts for
// nothing. Nor does an announced end: the process had said READY=1, then
// STOPPING=1, and ended with status 0. A process that lived longer than [Settled] is replaced at once, one
// that died younger waits for its back-off, which doubles with each young death
// in a row. A process that says READY=1 when it is up and ends before it did
// died young, however long it took. Policy.Attempts deaths within one Window, which opens with the
// first of them, are flapping: the slot rests, and gives up after MaxRests rests
// without a quiet Window between them. Exec failures are counted apart.
//
// An announced end is replaced as any other, but for its back-off, which is the
// first one, at least [Breath], however many there are in a row: it is no failure
// that could go on, and a worker that is replaced after a thousand short jobs has
// to be back soon. One that only says so costs a start each Breath.
//
// The package starts nothing and reads no clock: an Event carries its time.
package watch

import "time"

// Settled is how long a process must live to be replaced without a wait; a
// process that says READY=1 counts as up at once, any other one at this age,
// unless Policy.SaysReady.
const Settled = time.Second

// Breath is the least wait after a short life whose end was announced: such ends
// never flap, and must not spin.
const Breath = 100 * time.Millisecond

// A Phase is what a slot is doing now.
type Phase uint8

// The phases.
const (
	Down     Phase = iota // no process, none wanted
	Starting              // a process lives and is not up yet
	Up                    // a process lives and is up
	Stopping              // it was asked to end
	Killing               // it was told to end
	Waiting               // it died young; its replacement waits for the back-off
	Resting               // it flapped
	Ended                 // it ended by itself and is not to be replaced
	Failed                // the slot gave up
	numPhases
)

var phaseNames = [numPhases]string{"down", "starting", "up", "stopping", "killing", "waiting", "resting", "ended", "failed"}

func (p Phase) String() string { return phaseNames[p] }

// Alive reports whether a slot in phase p has a process.
func (p Phase) Alive() bool { return p >= Starting && p <= Killing }

// A Kind is what can happen to a slot.
type Kind uint8

// The kinds of events.
const (
	Start  Kind = iota // somebody wants a process
	Stop               // somebody wants none
	Kill               // somebody wants none, at once
	NoExec             // the process that was to be spawned could not be executed
	Exit               // the process ended
	Ready              // the process says that it is ready
	Leave              // the process says that it is about to end
	Timer              // the armed timer fired
	numKinds
)

var kindNames = [numKinds]string{"start", "stop", "kill", "noexec", "exit", "ready", "leave", "timer"}

func (k Kind) String() string { return kindNames[k] }

// An Event is something that happened to a slot.
type Event struct {
	Kind Kind
	At   time.Duration // on any clock that only goes forward
	OK   bool          // of an Exit: with status 0
}

// A State is all that is remembered of a slot; it is comparable, so that a walk
// over interleavings can tell states apart. Want is what the last command asked
// for, Phase is what is. The zero State is a slot that was never started.
type State struct {
	Phase   Phase
	Want    bool
	Ready   bool          // the process has said READY=1
	Leaving bool          // and after that STOPPING=1
	Spawned time.Duration // when the last process was asked for
	First   time.Duration // when the flapping window opened, if Deaths > 0
	Deaths  int           // in the window
	Young   int           // young deaths in a row
	Rests   int           // rests without a quiet window between them
	Unexec  int           // exec failures in a row
}

// Announced reports whether the end of the process, with status 0 or not, is one
// that it has announced.
func (s State) Announced(ok bool) bool { return s.Leaving && ok }

// A Policy is what a watcher's keys say. -1 in a limit means never.
type Policy struct {
	Respawn   bool
	SaysReady bool          // a process is up when it has said READY=1, at no age before
	Grace     time.Duration // from the stop signal to Kill
	Attempts  int           // deaths in a Window that are flapping; 0 or less for never
	Window    time.Duration
	RetryIn   time.Duration // length of a rest
	MaxRests  int           // rests before the slot gives up
	MaxRetry  int           // exec failures in a row before the slot gives up
	First     time.Duration // first back-off
	Max       time.Duration // longest back-off
}

// A Deed is what a slot asks its owner to do.
type Deed uint8

// The deeds.
const (
	Spawn     Deed = iota // start a process; answer with NoExec if that fails
	Terminate             // send the stop signal to the process
	Destroy               // KILL the process and all that it started
	Arm                   // fire a Timer after In, and forget any earlier timer
	Disarm                // forget the timer
	GiveUp                // tell the world that the slot gave up
	numDeeds
)

var deedNames = [numDeeds]string{"spawn", "term", "kill", "arm", "disarm", "give-up"}

func (d Deed) String() string { return deedNames[d] }

// An Action is a deed; In is the time of an Arm.
type Action struct {
	Do Deed
	In time.Duration
}

// Next is the policy: what follows from event e in state s under policy p. It
// depends on nothing else.
func Next(p Policy, s State, e Event) (State, []Action) {
	return steps[s.Phase][e.Kind].next(p, s, e)
}
