package watch

import "time"

// A step answers one kind of event in one phase.
type step struct {
	name string // as the printed table has it
	next func(Policy, State, Event) (State, []Action)
}

var (
	ignore   = step{"ignore", func(_ Policy, s State, _ Event) (State, []Action) { return s, nil }}
	never    = step{"never", func(_ Policy, s State, _ Event) (State, []Action) { return s, nil }}
	spawn    = step{"spawn", stepSpawn}
	respawn  = step{"respawn", stepRespawn}
	want     = step{"want", stepWant}
	unwant   = step{"unwant", stepUnwant}
	cancel   = step{"cancel", stepCancel}
	term     = step{"term", stepTerm}
	kill     = step{"kill", stepKill}
	died     = step{"died", stepDied}
	gone     = step{"gone", stepGone}
	unexec   = step{"noexec", stepNoExec}
	up       = step{"up", stepUp}
	note     = step{"note", stepNote}
	leave    = step{"leave", stepLeave}
	escalate = step{"escalate", stepEscalate}
)

// steps has an entry for every phase and event; "ignore" says that the event
// means nothing there, "never" that it cannot come. A test fails on a hole, and
// the table in docs/SUPERVISOR.md is printed from it.
var steps = [numPhases][numKinds]step{
	Down:     {Start: spawn, Stop: ignore, Kill: ignore, NoExec: never, Exit: never, Ready: ignore, Leave: ignore, Timer: never},
	Starting: {Start: ignore, Stop: term, Kill: kill, NoExec: unexec, Exit: died, Ready: up, Leave: ignore, Timer: up},
	Up:       {Start: ignore, Stop: term, Kill: kill, NoExec: never, Exit: died, Ready: note, Leave: leave, Timer: never},
	Stopping: {Start: want, Stop: unwant, Kill: escalate, NoExec: never, Exit: gone, Ready: ignore, Leave: ignore, Timer: escalate},
	Killing:  {Start: want, Stop: unwant, Kill: unwant, NoExec: never, Exit: gone, Ready: ignore, Leave: ignore, Timer: never},
	Waiting:  {Start: spawn, Stop: cancel, Kill: cancel, NoExec: never, Exit: never, Ready: ignore, Leave: ignore, Timer: respawn},
	Resting:  {Start: spawn, Stop: cancel, Kill: cancel, NoExec: never, Exit: never, Ready: ignore, Leave: ignore, Timer: respawn},
	Ended:    {Start: spawn, Stop: cancel, Kill: cancel, NoExec: never, Exit: never, Ready: ignore, Leave: ignore, Timer: never},
	Failed:   {Start: spawn, Stop: cancel, Kill: cancel, NoExec: never, Exit: never, Ready: ignore, Leave: ignore, Timer: never},
}

// stepSpawn obeys a command, and a command starts with a clean slate: who types
// start after mending a program does not wait for the rest of its punishment.
func stepSpawn(p Policy, s State, e Event) (State, []Action) {
	return stepRespawn(p, State{Want: true}, e)
}

// stepRespawn starts a process. The timer that it arms makes the process up
// when it has settled; one that says itself when it is up gets none.
func stepRespawn(p Policy, s State, e Event) (State, []Action) {
	s.Phase, s.Spawned = Starting, e.At
	if p.SaysReady {
		return s, []Action{{Do: Disarm}, {Do: Spawn}}
	}
	return s, []Action{{Do: Arm, In: Settled}, {Do: Spawn}}
}

// stepWant answers a start that came before the old process was gone: this is
// a restart.
func stepWant(_ Policy, s State, _ Event) (State, []Action) {
	s.Want = true
	return s, nil
}

func stepUnwant(_ Policy, s State, _ Event) (State, []Action) {
	s.Want = false
	return s, nil
}

// stepCancel leaves a phase that has no process.
func stepCancel(_ Policy, _ State, _ Event) (State, []Action) {
	return State{}, []Action{{Do: Disarm}}
}

func stepTerm(p Policy, s State, _ Event) (State, []Action) {
	s.Phase, s.Want = Stopping, false
	return s, []Action{{Do: Arm, In: p.Grace}, {Do: Terminate}}
}

func stepKill(_ Policy, s State, _ Event) (State, []Action) {
	s.Phase, s.Want = Killing, false
	return s, []Action{{Do: Disarm}, {Do: Destroy}}
}

// stepEscalate ends the patience with a process that was asked to stop. It
// keeps Want: a restart whose old process must be killed is still a restart.
func stepEscalate(_ Policy, s State, e Event) (State, []Action) {
	if e.Kind == Kill {
		s.Want = false
	}
	s.Phase = Killing
	return s, []Action{{Do: Disarm}, {Do: Destroy}}
}

func stepUp(_ Policy, s State, e Event) (State, []Action) {
	s.Phase, s.Unexec = Up, 0
	s.Ready = e.Kind == Ready
	return s, []Action{{Do: Disarm}}
}

// stepNote hears READY=1 of a process that is up by its age.
func stepNote(_ Policy, s State, _ Event) (State, []Action) {
	s.Ready = true
	return s, nil
}

// stepLeave hears STOPPING=1. Of a process that never said READY=1 it means
// nothing: a program that fails while it starts may say it on its way out.
func stepLeave(_ Policy, s State, _ Event) (State, []Action) {
	s.Leaving = s.Ready
	return s, nil
}

// stepGone answers the exit of a process that was asked to end.
func stepGone(p Policy, s State, e Event) (State, []Action) {
	if s.Want {
		return stepSpawn(p, s, e)
	}
	return stepCancel(p, s, e)
}

// stepDied replaces a process that ended unasked. When it happens Attempts
// times within one Window the slot rests first: a command that cannot stay up
// must not take the host's CPU away from those that can. An end that the process
// announced is none of these times.
func stepDied(p Policy, s State, e Event) (State, []Action) {
	announced := s.Announced(e.OK)
	s.Ready, s.Leaving = false, false
	if !p.Respawn {
		s.Phase, s.Want = Ended, false
		return s, []Action{{Do: Disarm}}
	}
	lived := e.At - s.Spawned
	young := lived <= Settled || p.SaysReady && s.Phase == Starting
	s.Unexec = 0
	if lived > p.Window {
		s.Rests = 0
	}
	if !announced {
		if s.Deaths == 0 || e.At-s.First > p.Window {
			s.First, s.Deaths = e.At, 0
		}
		s.Deaths++
		if p.Attempts > 0 && s.Deaths >= p.Attempts {
			return flap(p, s)
		}
	}
	if !young {
		s.Young = 0
		return stepRespawn(p, s, e)
	}
	if announced {
		s.Phase = Waiting
		return s, []Action{{Do: Arm, In: max(p.First, Breath)}}
	}
	s.Young++
	return wait(p, s, s.Young)
}

func flap(p Policy, s State) (State, []Action) {
	s.Deaths, s.Young = 0, 0
	if s.Rests++; p.MaxRests >= 0 && s.Rests > p.MaxRests {
		return giveUp(s)
	}
	s.Phase = Resting
	return s, []Action{{Do: Arm, In: p.RetryIn}}
}

// stepNoExec answers a command that could not be executed at all: a missing
// file, a lost x bit, no memory.
func stepNoExec(p Policy, s State, _ Event) (State, []Action) {
	if s.Unexec++; p.MaxRetry >= 0 && s.Unexec >= p.MaxRetry {
		return giveUp(s)
	}
	return wait(p, s, s.Unexec)
}

func giveUp(s State) (State, []Action) {
	s.Phase, s.Want = Failed, false
	return s, []Action{{Do: Disarm}, {Do: GiveUp}}
}

// wait arms the nth back-off in a row.
func wait(p Policy, s State, n int) (State, []Action) {
	s.Phase = Waiting
	return s, []Action{{Do: Arm, In: p.backoff(n)}}
}

// backoff is First, then twice as long each time, at most Max.
func (p Policy) backoff(n int) time.Duration {
	d := p.First
	for ; n > 1 && d < p.Max; n-- {
		if d > p.Max/2 {
			return p.Max
		}
		d *= 2
	}
	return min(d, p.Max)
}
