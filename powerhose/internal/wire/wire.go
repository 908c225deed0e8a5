// Package wire has the heads of the powerhose protocol, version 1: what is in
// the first frame of every message between a master, its workers and its
// callers. docs/POWERHOSE.md is the specification, and
// powerhose/testdata/vectors has the same in bytes.
//
// A head is a fixed part that its type decides, then options: tag, length,
// value, in rising order of tags. There is one encoding of a head: [Head.Append]
// writes it, and [Decode] refuses every other, except for options that it does
// not know and that may be ignored. No head is longer than [MaxHead]. Nothing
// is allocated for a head, whatever its bytes say: a decoded one refers to
// them.
//
// The body, the second frame, is the caller's and no business of this package;
// [Type.HasBody] says which types have one.
//
// Workers that read jobs from their standard input know nothing of heads:
// [AppendPipeJob] and [ReadPipeAnswer] are the other side of theirs.
package wire

import (
	"encoding/binary"
	"iter"
)

// Version is the one version that this package speaks.
const Version = 1

// Limits of a head. What is longer is refused.
const (
	MaxHead     = 1024 // bytes, the whole of it
	MaxWindow   = 16   // jobs that a worker may hold
	MaxKinds    = 16   // of one worker
	MaxName     = 64
	MaxSocket   = 255
	MaxKind     = 32
	MaxLanguage = 16
	MaxLibrary  = 32
	MaxText     = 512
)

// A Type says what a message is.
type Type uint8

// The types of version 1.
const (
	Hello Type = 1 + iota
	Welcome
	Refused
	Ping
	Pong
	Job
	Progress
	Result
	Error
	Returned
	Cancel
	Drain
	Bye
	Call
	Reply
	numTypes
)

var typeNames = [numTypes]string{
	Hello: "HELLO", Welcome: "WELCOME", Refused: "REFUSED", Ping: "PING", Pong: "PONG", Job: "JOB", Progress: "PROGRESS",
	Result: "RESULT", Error: "ERROR", Returned: "RETURNED", Cancel: "CANCEL", Drain: "DRAIN", Bye: "BYE", Call: "CALL", Reply: "REPLY",
}

// String gives the name that the specification uses.
func (t Type) String() string {
	if t == 0 || t >= numTypes {
		return "unknown"
	}
	return typeNames[t]
}

// HasBody reports whether a message of this type has a second frame. It has
// one always, which may be empty, or never.
func (t Type) HasBody() bool {
	return t < numTypes && shapes[t].body
}

// A Code says why: why a job failed, a call had no result, a peer was refused,
// a worker leaves. There is one list for all of them.
type Code uint16

// The codes of version 1. Those below 16 are of the worker that ran the job,
// those below 32 of the master, those below 48 of a refusal, the rest of a
// farewell.
const (
	OK          Code = 0 // a result
	Application Code = 1 // the handler said no: text is what it said
	Rejected    Code = 2 // the worker does not take such a job
	Cancelled   Code = 3
	Expired     Code = 4 // the deadline was over before the job was started
	Panic       Code = 5 // the handler broke, the worker did not

	Busy      Code = 16 // workers there are, and none was free in time
	NoWorker  Code = 17 // no worker takes such a job
	QueueFull Code = 18 // too many callers wait already
	Timeout   Code = 19 // the deadline of the call
	Lost      Code = 20 // the worker was lost while it had the job
	Draining  Code = 21 // the master is ending
	TooBig    Code = 22 // the body is longer than the master takes

	BadVersion     Code = 32 // no version in common
	NameTaken      Code = 33 // a worker of this name lives
	BadSocket      Code = 34 // not a socket of this worker
	BadCredentials Code = 35
	TooMany        Code = 36 // workers
	Malformed      Code = 37
	TooFast        Code = 38 // registrations
	Broken         Code = 39 // a peer that does not keep to the protocol
	TooSlow        Code = 40 // a peer that does not read
	Silent         Code = 41 // an idle peer that does not answer
	Overdue        Code = 42 // a job that went on after its deadline and its grace
	Replaced       Code = 43 // the same worker registered again

	Stop    Code = 48 // asked to
	MaxJobs Code = 49 // a worker that has done what it was to do, and is replaced
	MaxAge  Code = 50
	MaxRSS  Code = 51
)

// Flags of a JOB and of a CALL. Others are refused.
const (
	FlagRepeatable = 1 << 0 // may be run more than once
	FlagProgress   = 1 << 1 // the caller listens to PROGRESS
	FlagUrgent     = 1 << 2 // CALL only: before the others that wait
)

// BusyDefault in BusyWait of a CALL is what the master has configured.
const BusyDefault = 1<<32 - 1

// A Head is the head of any message. Which fields a type has is in the
// specification; [Head.Append] ignores the others, and [Decode] sets them to
// zero. The slices refer to the buffer that was decoded.
type Head struct {
	Type   Type
	Number uint64 // of the job, the call or the ping; 0 where there is none

	Code    Code   // REFUSED, ERROR, DRAIN, BYE, REPLY
	PID     uint32 // HELLO; REPLY: of the worker that ran the job, or 0
	Attempt uint8  // JOB, REPLY: 1 is the first
	Flags   uint8  // JOB, CALL

	Left     uint32 // JOB, CALL: milliseconds to the deadline; CALL: 0 is the master's default
	BusyWait uint32 // CALL: milliseconds to wait for a worker, or BusyDefault
	Wait     uint32 // REPLY: microseconds before a worker had the job
	Run      uint32 // RESULT, ERROR, REPLY: microseconds in the worker, PONG: milliseconds so far

	Lowest, Highest uint8    // HELLO: versions
	Version         uint8    // WELCOME: the version that was chosen
	Window          uint8    // HELLO: asked for, 0 is a caller; WELCOME: granted
	Tries           uint8    // WELCOME: periods of silence until a peer is given up
	Period          uint32   // WELCOME: milliseconds between pings
	MaxBody         uint64   // WELCOME: bytes
	Incarnation     [16]byte // HELLO: of the worker, WELCOME: of the master

	Name     []byte  // HELLO, REPLY
	Socket   []byte  // HELLO
	Kinds    Kinds   // HELLO: none is every kind
	Kind     []byte  // JOB, CALL
	Language []byte  // HELLO
	Library  []byte  // HELLO
	Text     []byte  // REFUSED, ERROR, DRAIN, BYE, REPLY
	Held     Numbers // HELLO, PONG: jobs that the worker has, the running one first
}

// Kinds is a list of kinds as it is on the wire: options, one after another.
type Kinds []byte

// Add returns the list with one kind more.
func (k Kinds) Add(kind string) Kinds {
	return append(appendOption(k, tagKind, nil, len(kind)), kind...)
}

// All gives the kinds of a decoded list in its order.
func (k Kinds) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := []byte(k); len(rest) >= optionHead; {
			n := optionHead + int(binary.BigEndian.Uint16(rest[1:]))
			if !yield(rest[optionHead:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Numbers is a list of job numbers as it is on the wire: eight bytes each.
type Numbers []byte

// Add returns the list with one number more.
func (n Numbers) Add(number uint64) Numbers {
	return binary.BigEndian.AppendUint64(n, number)
}

// Len is how many there are.
func (n Numbers) Len() int { return len(n) / 8 }

// At is the number at index i.
func (n Numbers) At(i int) uint64 { return binary.BigEndian.Uint64(n[8*i:]) }

// Bytes of the head before the part that the type decides, and of an option
// before its value.
const (
	headSize   = 12
	optionHead = 3
)

// The tags of version 1.
const (
	tagName     = 1
	tagSocket   = 2
	tagKind     = 3
	tagLanguage = 4
	tagLibrary  = 5
	tagText     = 6
	tagHeld     = 7
	numTags     = 8

	// tagCritical and what is above it must be known to be accepted.
	tagCritical = 128
)

// What Number has to be.
const (
	none = iota // 0
	some        // not 0
	any0        // anything
)

// A shape is what a type of message looks like.
type shape struct {
	fixed  int // bytes of the fixed part
	number uint8
	body   bool
	tags   uint8 // bit set
}

var shapes = [numTypes]shape{
	Hello:    {fixed: 23, number: none, tags: 1<<tagName | 1<<tagSocket | 1<<tagKind | 1<<tagLanguage | 1<<tagLibrary | 1<<tagHeld},
	Welcome:  {fixed: 31, number: none},
	Refused:  {fixed: 2, number: none, tags: 1 << tagText},
	Ping:     {number: some},
	Pong:     {fixed: 4, number: any0, tags: 1 << tagHeld},
	Job:      {fixed: 6, number: some, body: true, tags: 1 << tagKind},
	Progress: {number: some, body: true},
	Result:   {fixed: 4, number: some, body: true},
	Error:    {fixed: 6, number: some, body: true, tags: 1 << tagText},
	Returned: {number: some},
	Cancel:   {number: some},
	Drain:    {fixed: 2, number: none, tags: 1 << tagText},
	Bye:      {fixed: 2, number: none, tags: 1 << tagText},
	Call:     {fixed: 9, number: some, body: true, tags: 1 << tagKind},
	Reply:    {fixed: 15, number: some, body: true, tags: 1<<tagName | 1<<tagText},
}
