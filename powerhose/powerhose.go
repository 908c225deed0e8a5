// Package powerhose gives jobs to workers: a job is a byte string, its result
// another, and a worker is a process in any language that speaks the protocol
// of docs/POWERHOSE.md.
//
// A [Call] says how a job is to be done. What became of it is a result or an
// [*Error], exactly one of them and at the deadline at the latest. A job is
// started once at most, unless its call is Repeatable; [Error.Started] tells
// whether it can have been.
//
// The caller:
//
//	runner, err := powerhose.NewJobRunner(powerhose.MasterConfig{Listen: "/run/shop/jobs/master.sock"})
//	…
//	thumb, err := runner.Execute(ctx, photo, powerhose.Call{Deadline: 2 * time.Second})
//
// The worker, a process of its own:
//
//	err := powerhose.Serve(ctx, "/run/shop/jobs/master.sock", func(ctx context.Context, job *powerhose.Job) ([]byte, error) {
//		return scale(job.Body)
//	})
//
// The [Master] is in the process of the caller, where a job goes to its worker
// without a stop. Several callers share one in a process of its own: they use
// [Connect]. Workers and callers on other hosts have [Keys]: see
// [MasterConfig.TCP], [Worker.Keys] and [ConnectKeys].
//
// # Limits
//
// Other hosts reach a master over TCP with [Keys] alone, and a worker there has
// one job at a time. What an ended master had accepted is lost with it; nothing is
// kept on disk.
package powerhose
