"""Why a call has no result."""

from __future__ import annotations

import builtins
from typing import Dict, Type

from . import _wire


class Error(Exception):
    """A call has no result. str() is one sentence, and the attributes say more.

    started says whether a worker can have started the job. If not, the call may
    be made again, whatever the job does.
    """

    _default = "a reason that this version does not know"
    _started = True  # where there was an attempt

    def __init__(self, text: str = "", detail: bytes = b"") -> None:
        super().__init__(text or self._default)
        self.text = text
        self.detail = detail  # what the worker sent along: of a Python worker, the traceback
        self.worker = ""  # that had the job last
        self.pid = 0  # of it
        self.attempt = 0  # how often the job was given to a worker that may have started it
        self.wait = 0.0  # seconds before a worker had the job
        self.run = 0.0  # seconds in the worker
        self.code = 0

    @property
    def started(self) -> bool:
        return self._started and self.attempt > 0


class ExecutionError(Error):
    """The worker answered, and not with a result."""

    _default = "the worker answered with an error"


class ErrApplication(ExecutionError):
    """The target raised an exception: str() has its text, detail its traceback.

    A target may raise this one itself, to choose text and detail.
    """


class ErrRejected(ExecutionError):
    """The worker does not take such a job. For targets to raise."""

    _default = "the worker does not take such a job"


class ErrPanic(ExecutionError):
    """The target broke, for example by returning something that is not bytes."""

    _default = "the handler of the worker broke"


class ErrCancelled(Error):
    """The call was cancelled. For targets to raise that saw Job.cancelled."""

    _default = "the call was cancelled"


class ErrBusy(Error):
    """Workers there are, and none was free in time."""

    _default = "no worker is free"
    _started = False


class ErrNoWorker(Error):
    """No worker takes such a job."""

    _default = "no worker takes such a job"
    _started = False


class ErrQueueFull(Error):
    """Too many callers wait."""

    _default = "too many callers wait"
    _started = False


class ErrTimeout(Error, builtins.TimeoutError):
    """The deadline is over."""

    _default = "the deadline is over"


class ErrWorkerLost(Error):
    """The worker was lost while it had the job."""

    _default = "the worker was lost"


class ErrDraining(Error):
    """The master is ending."""

    _default = "the master is ending"
    _started = False


class ErrTooBig(Error):
    """The job is longer than the master takes."""

    _default = "the job is too big"
    _started = False


class ErrMasterLost(Error):
    """The master was lost, or is not there. What became of a job that it had is not known."""

    _default = "the master was lost"


_BY_CODE: Dict[int, Type[Error]] = {
    _wire.APPLICATION: ErrApplication,
    _wire.REJECTED: ErrRejected,
    _wire.CANCELLED: ErrCancelled,
    _wire.PANIC: ErrPanic,
    _wire.BUSY: ErrBusy,
    _wire.NO_WORKER: ErrNoWorker,
    _wire.QUEUE_FULL: ErrQueueFull,
    _wire.TOO_MANY: ErrQueueFull,
    _wire.TIMEOUT: ErrTimeout,
    _wire.LOST: ErrWorkerLost,
    _wire.DRAINING: ErrDraining,
    _wire.TOO_BIG: ErrTooBig,
}


def of_reply(h: _wire.Head, body: bytes) -> Error:
    """The error in a REPLY."""
    e = _BY_CODE.get(h.code, Error)(h.text, body)
    e.worker, e.pid, e.attempt, e.code = h.name, h.pid, h.attempt, h.code
    e.wait, e.run = h.wait / 1e6, h.run / 1e6
    return e


def master_lost(text: str, started: bool) -> ErrMasterLost:
    """The error of a call whose master has gone."""
    e = ErrMasterLost(text)
    e.attempt = int(started)
    return e
