// Package conformance shows that the workers in Go, Python and C++ are the same
// to a master, whatever happens to them. It has tests alone: each case of
// powerhose/testdata/cases.json is played with processes that are really killed,
// stopped and asked to end.
//
// The workers of the tests are one in each language, and do the same. A job is
// words:
//
//	pid                     the process
//	about                   kind, attempt, and whether it may be repeated
//	until FILE MARK END     as soon as FILE is there, whatever happens meanwhile
//	hold - MARK END         until nobody waits for it any more
//	die - MARK              SIGKILL
//	nap MS TEXT             itself, after so many milliseconds
//	big N                   N bytes
//	progress N              N messages
//	error TEXT, reject, break
//	fork FILE               a child that lives until FILE is there: its pid
//	play ID OP ARG          one of TestRandom, whose start is in the ledger
//
// MARK and END are files that get a line, with pid and attempt, when the job is
// begun and when it is done: what is run twice is seen. Any other job is its own
// result.
package conformance
