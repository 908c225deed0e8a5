"""Jobs for other processes: bytes in, bytes out.

A caller:

    runner = powerhose.JobRunner()
    result = runner.execute(b"job", timeout=5.0)

A worker:

    @powerhose.target
    def square(job):
        return b"%d" % int(job) ** 2

    square.run()

docs/POWERHOSE.md of appbundle has the protocol.
"""

from ._errors import (
    ErrApplication,
    ErrBusy,
    ErrCancelled,
    ErrDraining,
    ErrMasterLost,
    ErrNoWorker,
    Error,
    ErrPanic,
    ErrQueueFull,
    ErrRejected,
    ErrTimeout,
    ErrTooBig,
    ErrWorkerLost,
    ExecutionError,
)
from ._runner import JobRunner
from ._target import Target, target
from ._version import __version__
from ._worker import Job, Worker

# The names of Mozilla's Powerhose.
TimeoutError = ErrTimeout
NoWorkerError = ErrNoWorker

__all__ = [
    "ErrApplication",
    "ErrBusy",
    "ErrCancelled",
    "ErrDraining",
    "ErrMasterLost",
    "ErrNoWorker",
    "ErrPanic",
    "ErrQueueFull",
    "ErrRejected",
    "ErrTimeout",
    "ErrTooBig",
    "ErrWorkerLost",
    "Error",
    "ExecutionError",
    "Job",
    "JobRunner",
    "NoWorkerError",
    "Target",
    "TimeoutError",
    "Worker",
    "target",
]
