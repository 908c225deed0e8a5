// Package proc makes every system call by which processes are started, seen to
// end and brought to an end. It has no policy: what is to be done and when is
// decided by its callers.
//
// # One place that waits
//
// A [System] has one epoll loop. It watches a pidfd for each process, the
// notify socket, and the cgroup.events file of each tree that is to end. Only
// System waits for children, always by pid: the status of a process reaches
// the process' owner once and nobody else. A System that adopts orphans (its
// process is a child subreaper) reaps those too, by looking at who is waitable
// without taking the status (waitid with WNOWAIT) and taking it only where it
// is nobody's.
//
// A process is registered while the lock that reaping needs is held, so no
// process is mistaken for an orphan in the moment after its birth.
//
// # Trees
//
// A [Tree] is a process and whatever it started. Where a cgroup v2 directory
// can be made each tree has one: membership is exact and one write ends it.
// Elsewhere a tree is found through /proc: the descendants of the process, and
// among the orphans that the System adopted those of its session, those that
// carry its APPBUNDLE_WATCHER and APPBUNDLE_WID, and, where it is the only tree
// they can have come from, all others. An orphan that hides from all that (it
// left its session and its environment and there are several slots) is ended
// when the supervisor ends, see [EndDescendants].
//
// # Attributes before exec
//
// Go runs nothing between fork and exec. What the kernel takes from the calling
// thread is set on the System's side; what it takes from the child itself
// (resource limits, LISTEN_PID) is done by a shim: our own binary, which
// sets it and then executes the program. See [Shim].
package proc
