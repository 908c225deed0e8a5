// Package powerhose gives jobs to workers: a job is a byte string, its result
// another, and a worker is a process in any language that speaks the protocol
// of docs/POWERHOSE.md.
//
// A [Call] says how a job is to be done. What became of it is a result or an
// [*Error], exactly one of them and at the deadline at the latest. A job is
// started once at most, unless its call is Repeatable; [Error.Started] tells
// whether it can have been.
package powerhose
